"""What the benchmark of the loop lets take turns: Keras `fit`, and a tiny network."""

import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.benchmark import micro, steps
from official.utils.data.streams import (
    ArrayEvaluationStream,
    ArrayTrainingStream,
    Share,
    TrainingStream,
)
from official.utils.export.saved_model import Signature
from official.utils.flags import core as flags_core
from official.utils.training import loop, precision
from official.utils.training.losses import classification_loss
from official.utils.training.task import Loss, Task


class TaskModel(keras.Model):
    """A task's network with its loss and metrics, for Keras `fit`."""

    def __init__(self, task: Task, metric_names: list[str]):
        """Builds a new network.

        Args:
            task: whose network, loss and metrics these are.
            metric_names: the names in `Loss.metrics`.
        """
        super().__init__()
        self.network = task.build_model()
        self.built = True
        self._task = task
        self._trackers = {
            name: keras.metrics.Mean(name) for name in ["loss", *metric_names]
        }

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What `fit` resets at the begin of an epoch."""
        return list(self._trackers.values())

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The outputs of the network."""
        return self.network(inputs, training=training)

    def train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """One step as Keras' own, with the loss of the task."""
        with tf.GradientTape() as tape:
            loss = self._task.loss(self.network, batch, training=True)
            mean = tf.cast(loss.total, tf.float32) / loss.weight
            if self.network.losses:
                mean += tf.add_n(self.network.losses)
            target = self.optimizer.scale_loss(mean)
        weights = self.network.trainable_weights
        gradients = tape.gradient(target, [weight.value for weight in weights])
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        pairs = {"loss": (mean * loss.weight, loss.weight), **loss.metrics}
        for name, (total, weight) in pairs.items():
            self._trackers[name].update_state(total / weight, sample_weight=weight)
        return {name: tracker.result() for name, tracker in self._trackers.items()}


def compiled_model(
    task: Task, total_steps: int, dataset: tf.data.Dataset, steps_per_execution: int
) -> TaskModel:
    """A new network, ready for `fit`, with the weights that the loop's begins with.

    Args:
        task: whose network is built, from the seed of its settings.
        total_steps: the length of the learning rate's schedule.
        dataset: the batches.
        steps_per_execution: of `compile`.
    """
    names = _metric_names(task, dataset)
    keras.utils.set_random_seed(task.settings.seed)
    with precision.policy(precision.resolve_dtype(task.settings.dtype)):
        model = TaskModel(task, names)
        optimizer = task.make_optimizer(model.network, total_steps)
    model.compile(
        optimizer,
        jit_compile=task.settings.enable_xla,
        steps_per_execution=steps_per_execution,
    )
    return model


class _Clock(keras.callbacks.Callback):
    """Notes when the last step of `fit` is done."""

    def on_train_end(self, logs=None):
        self.end = time.perf_counter()


def fit_seconds(model: keras.Model, dataset: tf.data.Dataset, **arguments) -> float:
    """Calls Keras' `fit`, and measures up to the end of its last step.

    What comes then is left out: `fit` waits for the tuner of tf.data to wake up, which
    happens 2.55, 5.11, 10.23 s and so on after its beginning.

    Args:
        model: a compiled model.
        dataset: of batches.
        **arguments: of `fit`, as steps_per_epoch.

    Returns:
        Seconds.
    """
    clock = _Clock()
    begun = time.perf_counter()
    model.fit(dataset, verbose=0, callbacks=[clock], **arguments)
    return clock.end - begun


def fit_contender(
    task: Task, total_steps: int, stream: TrainingStream, steps_per_execution: int
) -> micro.Contender:
    """Keras `fit`: a turn is a call of it, with one epoch; see `compiled_model`."""
    dataset = stream.dataset(0, Share(1, 0, 1))
    model = compiled_model(task, total_steps, dataset, steps_per_execution)

    def train(count):
        # The stream is shuffled already.
        return fit_seconds(model, dataset, steps_per_epoch=count, shuffle=False)

    return micro.Contender(train, steps_per_execution)


def _metric_names(task, dataset) -> list[str]:
    network = task.build_model()
    names = []

    def trace(batch):
        names.extend(task.loss(network, batch, training=False).metrics)

    tf.function(trace, autograph=False).get_concrete_function(dataset.element_spec)
    return names


class PerceptronTask(Task):
    """784-128-10 on noise: a step so small that what is around it shows."""

    name = "perceptron"

    def __init__(self, seed: int, dtype: str):
        """Describes the training, with SGD and a batch of 32.

        Args:
            seed: of weights and data.
            dtype: `fp32` or another of the flag `--dtype`.
        """
        super().__init__(
            flags_core.resolve(
                flags_core.make_flags(
                    lambda: flags_core.shared_flags(("noise",), "noise"),
                    seed=seed,
                    dtype=dtype,
                    batch_size=32,
                    optimizer="sgd",
                    learning_rate=0.01,
                    momentum=0.9,
                ),
                (),
            )
        )

    def load(self) -> str:
        """Draws the examples."""
        generator = np.random.default_rng(self.settings.seed)
        self._arrays = {
            "image": generator.random((4096, 784), np.float32),
            "label": generator.integers(0, 10, 4096).astype(np.int32),
        }
        return "noise (4,096 examples)"

    def build_model(self) -> keras.Model:
        """784-128-10: 101,770 weights."""
        return keras.Sequential(
            [
                keras.Input((784,)),
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(10, dtype="float32"),
            ]
        )

    def training_stream(self) -> ArrayTrainingStream:
        """Shuffled batches."""
        settings = self.settings
        return ArrayTrainingStream(self._arrays, settings.batch_size, settings.seed)

    def evaluation_stream(self, split: str) -> ArrayEvaluationStream:
        """Every example once."""
        return ArrayEvaluationStream(self._arrays, self.settings.batch_size)

    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy and accuracy."""
        return classification_loss(model(batch["image"], training=training), batch)

    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """None: it is not exported."""
        return {}


def perceptron(seed: int, dtype: str) -> steps.Training:
    """The perceptron at its first step.

    Args:
        seed: of weights and data.
        dtype: the precision, resolved.
    """
    task = PerceptronTask(seed, dtype)
    description = task.load()
    total_steps = task.training_stream().steps_per_epoch
    keras.utils.set_random_seed(seed)
    with precision.policy(dtype):
        built = loop.build_loop(task, tf.distribute.get_strategy(), total_steps)
    return steps.Training(task, built, description, total_steps)
