"""The training loop of every gradient model, under every strategy.

One `tf.function` runs many steps a call. Within a step each replica sums its gradients
over micro-batches; one all-reduce adds gradients, weights, metrics and batch norm
statistics over the replicas; then one update follows. Every sum is divided once, by the
weight of the whole batch, so that replicas, micro-batches and ragged batches give the
step of one big batch.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from official.utils.data.streams import EvaluationStream, Share, TrainingStream
from official.utils.distribution import strategies
from official.utils.layers import randomness
from official.utils.layers.dropout import Dropout
from official.utils.training import optimizers
from official.utils.training.task import Task
from official.utils.training.variables import named_layers


def build_loop(
    task: Task, strategy: tf.distribute.Strategy, total_steps: int
) -> "Loop":
    """A loop with a new network and optimizer.

    Args:
        task: whose network is built; `task.settings` says which optimizer.
        strategy: in whose scope both are made.
        total_steps: the length of the learning rate's schedule.
    """
    with strategy.scope():
        model = task.build_model()
        optimizer = task.make_optimizer(model, total_steps)
        optimizer.build(model.trainable_variables)
    scales = task.learning_rate_scales(model)
    if scales:
        optimizers.scale_learning_rates(optimizer, model, scales)
    return Loop(task, model, optimizer, strategy)


class Loop:
    """Trains and evaluates one network.

    Attributes:
        model: the network.
        optimizer: its optimizer, built.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
    ):
        """Takes what was made in the scope of `strategy`."""
        self.model = model
        self.optimizer = optimizer
        self._task = task
        self._strategy = strategy
        self._replicas = strategy.num_replicas_in_sync
        self._micro_batches = task.settings.gradient_accumulation_steps
        self._is_whole = self._replicas == self._micro_batches == 1
        self._is_fp16 = task.settings.dtype == "fp16"
        # A gather's gradient has a row for each time that one was read, as of a word
        # that a text repeats. Clipping needs the norm of their sums. And workers that
        # exchange such rows fail where a step has more or fewer of them than the one
        # before ("Shape mismatch in the collective instance", TensorFlow 2.21).
        is_one_worker = strategies.workers_of(strategy).number == 1
        self._is_dense = bool(task.settings.clip_norm) or not is_one_worker
        self._seed = task.settings.seed
        # Training may have other metrics than evaluation.
        self._metric_names: dict[bool, list[str]] = {}
        # Batch norm's moving statistics, which replicas would else keep each its own.
        self._statistics = [
            variable.value
            for variable in model.non_trainable_variables
            if self._replicas > 1 and keras.backend.is_float_dtype(variable.dtype)
        ]
        # Keras adds up the gradients of the replicas inside apply(); this loop has done
        # so before, because clipping needs the norm of the whole.
        for each in (optimizer, getattr(optimizer, "inner_optimizer", optimizer)):
            each._all_reduce_sum_gradients = list
        for path, layer in named_layers(model).items():
            if isinstance(layer, Dropout):
                layer.path_in_model = path
        self._backward = self._gradients
        if task.settings.enable_xla:
            # apply() stays outside: variables of several devices cannot be inside.
            self._backward = tf.function(
                self._gradients, jit_compile=True, autograph=False
            )
        eager = task.settings.run_eagerly
        self._run_sum = tf.function(self._sum)
        self._run_steps = self._steps if eager else tf.function(self._steps)
        self._run_evaluation = (
            self._evaluation_steps if eager else tf.function(self._evaluation_steps)
        )

    def batches(self, stream: TrainingStream, step: int) -> Iterator:
        """The distributed batches of `stream` from `step` on."""
        return iter(self._distributed(lambda share: stream.dataset(step, share)))

    def train(self, batches: Iterator, step: int, count: int) -> dict[str, np.ndarray]:
        """Runs `count` steps, the first of which is number `step`, counted from 0.

        Returns:
            `loss` and the task's metrics, float32 [count], each the mean over the whole
            batch of a step.
        """
        sums = self._run_steps(
            batches, tf.constant(step, tf.int64), tf.constant(count, tf.int64)
        ).numpy()
        return self._means(sums, training=True)

    def evaluate(self, stream: EvaluationStream) -> dict[str, float]:
        """Means of loss and metrics over every example of `stream` once."""
        batches = iter(self._distributed(stream.dataset))
        count = stream.num_batches(self._replicas)
        sums = self._run_evaluation(batches, tf.constant(count, tf.int64)).numpy()
        # float64: a float32 sum stops counting at 2^24 examples.
        means = self._means(sums.astype(np.float64).sum(axis=0), training=False)
        return {name: float(mean) for name, mean in means.items()}

    def sum_over_workers(self, numbers: Sequence[int]) -> list[int]:
        """Adds up what each worker of several gives, and gives it to all of them.

        Args:
            numbers: as many on each worker.
        """
        local = self._replicas // strategies.workers_of(self._strategy).number
        sums = self._run_sum(tf.constant(numbers, tf.int64)).numpy()
        # Each replica of a worker gave the numbers.
        return [int(number) // local for number in sums]

    def _sum(self, numbers):
        def add():
            replica = tf.distribute.get_replica_context()
            # identity() puts the numbers on the replica's device.
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(numbers))

        return self._first_replica(self._strategy.run(add))

    def _distributed(self, make_dataset) -> tf.data.Dataset:
        """One dataset for each worker, whose elements go to its replicas in turn."""
        if self._replicas == 1:
            return make_dataset(Share(1, 0, 1))

        def for_worker(context):
            local = self._replicas // context.num_input_pipelines
            return make_dataset(
                Share(self._replicas, local * context.input_pipeline_id, local)
            )

        return self._strategy.distribute_datasets_from_function(for_worker)

    def _steps(self, batches, first_step, count):
        history = tf.TensorArray(tf.float32, size=tf.cast(count, tf.int32))
        for i in tf.range(count):
            batch = next(batches)
            sums = self._strategy.run(self._step, args=(batch, first_step + i))
            history = history.write(tf.cast(i, tf.int32), self._first_replica(sums))
        return history.stack()

    @tf.autograph.experimental.do_not_convert
    def _step(self, batch, step):
        """One optimizer step, as each replica runs it; returns sums of the whole."""
        if self._is_whole:
            gradients, sums = self._backward(batch, step, tf.constant(0, tf.int64))
            self.optimizer.apply(gradients)
            return sums
        replica = tf.distribute.get_replica_context()
        gradients, sums = self._summed_gradients(
            batch, step, tf.cast(replica.replica_id_in_sync_group, tf.int64)
        )
        if self._replicas > 1:
            statistics = _flattened(self._statistics)
            gradients, sums, statistics = replica.all_reduce(
                tf.distribute.ReduceOp.SUM, (gradients, sums, statistics)
            )
            self._set_statistics(statistics / self._replicas)
        weight = _safe(sums[1])
        self.optimizer.apply([_divided(gradient, weight) for gradient in gradients])
        return sums

    def _summed_gradients(self, batch, step, replica):
        """Gradients and sums of a replica's rows, in one or in several pieces."""
        pieces = self._micro_batches
        if pieces == 1:
            return self._backward(batch, step, replica)

        def piece(i):
            def rows(tensor):
                size = tf.shape(tensor)[0] // pieces
                return tensor[i * size : (i + 1) * size]

            part = replica * pieces + tf.cast(i, tf.int64)
            gradients, sums = self._backward(
                tf.nest.map_structure(rows, batch), step, part
            )
            return [tf.convert_to_tensor(gradient) for gradient in gradients], sums

        def add_piece(i, total):
            return i + 1, tf.nest.map_structure(tf.add, total, piece(i))

        # The first piece outside the loop gives the shapes of the sums.
        return tf.while_loop(
            lambda i, total: i < pieces, add_piece, (1, piece(tf.constant(0)))
        )[1]

    def _gradients(self, batch, step, part):
        """Sums of gradients, and a vector of the sums of loss, weight and metrics."""
        with tf.GradientTape() as tape:
            with randomness.at(randomness.Position(self._seed, step, part)):
                loss = self._task.loss(self.model, batch, training=True)
            total = tf.cast(loss.total, tf.float32)
            if self.model.losses:
                # Times the weight that the sum is divided by in the end.
                total += tf.add_n(self.model.losses) * loss.weight
            # Where the batch is in one piece, to divide its loss is to divide the
            # gradients, for one operation instead of one a weight. In fp16 a sum over
            # examples would overflow, so each piece is divided and multiplied back.
            divides = self._is_whole or self._is_fp16
            weight = _safe(loss.weight)
            target = self.optimizer.scale_loss(total / weight if divides else total)
        gradients = tape.gradient(
            target,
            [variable.value for variable in self.model.trainable_variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        if self._is_dense:
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if divides and not self._is_whole:
            gradients = [_divided(gradient, 1 / weight) for gradient in gradients]
        return gradients, self._vector(loss, total, training=True)

    def _evaluation_steps(self, batches, count):
        history = tf.TensorArray(tf.float32, size=tf.cast(count, tf.int32))
        for i in tf.range(count):
            batch = next(batches)
            sums = self._strategy.run(self._evaluation_step, args=(batch,))
            total = self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)
            history = history.write(tf.cast(i, tf.int32), total)
        return history.stack()

    @tf.autograph.experimental.do_not_convert
    def _evaluation_step(self, batch):
        loss = self._task.loss(self.model, batch, training=False)
        return self._vector(loss, tf.cast(loss.total, tf.float32), training=False)

    def _vector(self, loss, total, training):
        self._metric_names[training] = ["loss", *loss.metrics]
        pairs = [(total, loss.weight), *loss.metrics.values()]
        return tf.stack([tf.cast(x, tf.float32) for pair in pairs for x in pair])

    def _means(self, sums: np.ndarray, training: bool) -> dict[str, np.ndarray]:
        """Metrics by name, from vectors that end in (sum, weight) pairs."""
        pairs = sums.reshape(*sums.shape[:-1], -1, 2)
        means = pairs[..., 0] / np.maximum(pairs[..., 1], 1e-12)
        names = self._metric_names[training]
        return {name: means[..., i] for i, name in enumerate(names)}

    def _first_replica(self, per_replica):
        return self._strategy.experimental_local_results(per_replica)[0]

    def _set_statistics(self, flat):
        sizes = [int(np.prod(variable.shape)) for variable in self._statistics]
        for variable, mean in zip(
            self._statistics, tf.split(flat, sizes) if sizes else (), strict=True
        ):
            variable.assign(tf.reshape(mean, variable.shape))


def _flattened(variables):
    if not variables:
        return tf.zeros([0])
    return tf.concat([tf.reshape(variable, [-1]) for variable in variables], axis=0)


def _safe(weight):
    """A divisor for a batch that may hold nothing but weight 0."""
    return tf.maximum(tf.cast(weight, tf.float32), 1e-12)


def _divided(gradient, weight):
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values / tf.cast(weight, gradient.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient / tf.cast(weight, gradient.dtype)
