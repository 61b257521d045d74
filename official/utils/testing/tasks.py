"""Small tasks that exercise the loop."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.utils.data.streams import (
    ArrayEvaluationStream,
    ArrayTrainingStream,
    Share,
)
from official.utils.distribution import strategies
from official.utils.export.saved_model import Signature
from official.utils.flags import core as flags_core
from official.utils.training.loop import Loop, build_loop
from official.utils.training.losses import classification_loss
from official.utils.training.task import Loss, Task


def settings(**values: Any) -> flags_core.Settings:
    """Resolved flags of a made-up main, with `values` set."""
    flag_values = flags_core.make_flags(
        lambda: flags_core.shared_flags(("rows",), "rows"), **values
    )
    return flags_core.resolve(flag_values, ())


class RowsTask(Task):
    """Tells four kinds of made-up rows apart."""

    name = "rows"

    def __init__(self, settings_, network=None, num_rows=256, num_test=97):
        """Makes the data; `network` maps an input of 12 numbers to 4 logits."""
        super().__init__(settings_)
        self._network = network
        self._num_rows = num_rows
        self._num_test = num_test
        self.load()

    def load(self) -> str:
        """Rows whose label is the largest of four sums of three numbers."""
        generator = np.random.default_rng(1)

        def rows(number):
            values = generator.normal(size=(number, 12)).astype(np.float32)
            labels = values.reshape(number, 4, 3).sum(-1).argmax(-1)
            return {"values": values, "label": labels.astype(np.int32)}

        self._rows = {"train": rows(self._num_rows), "test": rows(self._num_test)}
        return "made-up rows"

    def build_model(self) -> keras.Model:
        """Two dense layers, or the network given."""
        inputs = keras.Input((12,))
        if self._network:
            return keras.Model(inputs, self._network(inputs))
        x = keras.layers.Dense(16, activation="tanh")(inputs)
        return keras.Model(inputs, keras.layers.Dense(4)(x))

    def training_stream(self) -> ArrayTrainingStream:
        """Shuffled rows."""
        return ArrayTrainingStream(
            self._rows["train"], self.settings.batch_size, self.settings.seed
        )

    def evaluation_stream(self, split: str) -> ArrayEvaluationStream:
        """Every row once."""
        return ArrayEvaluationStream(self._rows[split], self.settings.batch_size)

    def loss(self, model, batch: Mapping[str, Any], training: bool) -> Loss:
        """Cross entropy and accuracy."""
        return classification_loss(model(batch["values"], training=training), batch)

    def signatures(self, model) -> Mapping[str, Signature]:
        """Logits of rows."""
        spec = tf.TensorSpec([None, 12], tf.float32, name="values")
        return {
            "serving_default": Signature(lambda values: {"l": model(values)}, [spec])
        }


def make_loop(task: Task, replicas: int = 1, total_steps: int = 100) -> Loop:
    """A loop with fresh, seeded weights on `replicas` virtual CPUs."""
    kind = "mirrored" if replicas > 1 else "off"
    strategy = strategies.make_strategy(
        settings(distribution_strategy=kind, num_virtual_cpus=replicas)
    )
    keras.utils.set_random_seed(task.settings.seed)
    return build_loop(task, strategy, total_steps)


def assert_step_compiles(task: Task, steps: int = 2) -> None:
    """Asserts what a TPU needs: static shapes, and a step that XLA compiles.

    Args:
        task: with `enable_xla` set and its data loaded.
        steps: how many are run.
    """
    assert task.settings.enable_xla
    element = task.training_stream().dataset(0, Share(1, 0, 1)).element_spec
    for name, spec in element.items():
        assert spec.shape.is_fully_defined(), f"{name} has the shape {spec.shape}"
    loop = make_loop(task)
    batches = loop.batches(task.training_stream(), 0)
    assert np.isfinite(loop.train(batches, 0, steps)["loss"]).all()
