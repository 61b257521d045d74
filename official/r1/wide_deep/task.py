"""What the tasks of wide and deep share: rows in memory, and one optimizer a part."""

import abc
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.r1.wide_deep.optimizer import Ftrl, WideDeepOptimizer
from official.utils.data import synthetic
from official.utils.data.streams import (
    ArrayEvaluationStream,
    ArrayTrainingStream,
    Share,
)
from official.utils.training import optimizers
from official.utils.training.task import Task

SPLITS = ("train", "validation", "test")


class WideDeepTask(Task):
    """A task on a network whose wide part is the layer named `wide`."""

    _scorer = None

    @abc.abstractmethod
    def outputs(self, network: keras.Model, batch, training: bool):
        """What the network makes of a batch, float32 [batch]."""

    def take_parts(
        self,
        parts: Mapping[str, Any],
        prepare: Callable[[Any], Mapping[str, np.ndarray]],
    ) -> None:
        """Keeps the parts of a data set, and what the network takes of them.

        Args:
            parts: by `SPLITS`.
            prepare: ids, numbers and labels of all rows of a part: each is the same in
                every epoch.
        """
        self.parts = parts
        self.arrays = {split: prepare(part) for split, part in parts.items()}
        if self.settings.use_synthetic_data:
            self.arrays = {
                split: synthetic.like(arrays, len(parts[split]), by_column=True)
                for split, arrays in self.arrays.items()
            }

    def described(self, source: str, rows: str) -> str:
        """One line: which set it is, where from, its sizes, and what its rows are."""
        if self.settings.use_synthetic_data:
            source = "made-up rows of its form (--use_synthetic_data)"
        sizes = ", ".join(f"{len(self.parts[split]):,} {split}" for split in SPLITS)
        return f"{self.settings.dataset}, {source} ({sizes} {rows})"

    def training_stream(self) -> ArrayTrainingStream:
        """See `Task.training_stream`."""
        settings = self.settings
        return ArrayTrainingStream(
            self.arrays["train"],
            settings.batch_size,
            settings.seed,
            parallel_calls=settings.num_parallel_calls or os.cpu_count() or 1,
        )

    def evaluation_stream(self, split: str) -> ArrayEvaluationStream:
        """See `Task.evaluation_stream`."""
        settings = self.settings
        return ArrayEvaluationStream(
            self.arrays[split], settings.eval_batch_size or settings.batch_size
        )

    def all_outputs(self, network: keras.Model, split: str, rows: int) -> np.ndarray:
        """Outputs of every row of `split`, float32 [rows]."""
        # One function for all evaluations of a run: to trace it takes long.
        if self._scorer is None or self._scorer[0] is not network:
            call = tf.function(lambda batch: self.outputs(network, batch, False))
            self._scorer = (network, call)
        batches = self.evaluation_stream(split).dataset(Share(1, 0, 1))
        parts = [self._scorer[1](batch).numpy() for batch in batches]
        return np.concatenate(parts)[:rows]

    def make_optimizer(
        self, model: keras.Model, total_steps: int
    ) -> keras.optimizers.Optimizer:
        """FTRL for the wide part, the flags' optimizer for the rest; see `Task`."""
        settings = self.settings
        optimizer = optimizers.make_optimizer(settings, total_steps)
        if settings.model_type == "deep":
            return optimizer
        is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        deep = optimizer.inner_optimizer if is_scaled else optimizer
        wide = Ftrl(
            learning_rate=settings.wide_learning_rate,
            l1_regularization_strength=settings.wide_l1,
            l2_regularization_strength=settings.wide_l2,
        )
        both = WideDeepOptimizer(wide, deep, model.get_layer("wide").variables)
        return keras.optimizers.LossScaleOptimizer(both) if is_scaled else both
