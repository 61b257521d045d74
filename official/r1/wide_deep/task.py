"""What the tasks of wide and deep share: one optimizer a part."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from official.r1.wide_deep.optimizer import Ftrl, WideDeepOptimizer
from official.utils.data import synthetic
from official.utils.data.streams import Share
from official.utils.training import optimizers
from official.utils.training.task import Task


class WideDeepTask(Task):
    """A task on a network whose wide part is the layer named `wide`."""

    _scorer = None

    def outputs(self, network: keras.Model, batch, training: bool):
        """What the network makes of a batch, float32 [batch]."""
        raise NotImplementedError

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


def made_up(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Random rows, as many as there are, each column in the range of its own ids."""

    def like(array):
        if array.ndim > 1:
            return np.stack([like(column) for column in array.T], axis=1)
        return synthetic.like({"": array}, len(array))[""]

    return {name: like(array) for name, array in arrays.items()}
