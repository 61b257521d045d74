"""Adam whose cost does not grow with the tables that it trains."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from official.utils.training.adam import Adam


@keras.saving.register_keras_serializable(package="official")
class LazyAdam(Adam):
    """Adam that leaves rows of tables alone which the batch does not read.

    Such a row keeps its weights and its moments as they are, while plain Adam goes on
    moving it by its old momentum and lets the moments decay. All that a batch reads is
    updated as by Adam: a row that it reads several times once, by the sum of its
    gradients, and with the correction of bias of the step. Variables that are no tables
    are updated as by `Adam`.
    """

    def __init__(self, tables: Sequence[keras.Variable] = (), **kwargs):
        """Makes an optimizer.

        Args:
            tables: variables [rows, size] that are read by rows.
            **kwargs: those of `keras.optimizers.Adam`.
        """
        super().__init__(**kwargs)
        self._table_keys = {self._var_key(table) for table in tables}

    @classmethod
    def of(cls, adam: Adam, tables: Sequence[keras.Variable]) -> "LazyAdam":
        """The lazy form of an optimizer with a schedule that is not built."""
        kept = (
            "beta_1 beta_2 epsilon weight_decay global_clipnorm use_ema ema_momentum "
            "loss_scale_factor"
        ).split()
        lazy = cls(
            tables,
            learning_rate=adam._learning_rate,
            **{name: getattr(adam, name) for name in kept},
        )
        if adam.weight_decay:
            lazy.exclude_from_weight_decay(var_names=["bias"])
        return lazy

    def update_step(self, gradient, variable, learning_rate):
        """Moves a variable and its moments; see `Adam`."""
        if self._var_key(variable) not in self._table_keys:
            super().update_step(gradient, variable, learning_rate)
            return
        rows = variable.shape[0]
        if isinstance(gradient, tf.IndexedSlices):
            number = gradient.indices.shape[0]
            if rows <= number:
                summed, is_read = _summed(gradient.values, gradient.indices, rows)
                self._move_table(summed, is_read, variable, learning_rate)
                return
            numbers, places = tf.unique(gradient.indices)
            summed, _ = _summed(gradient.values, places, number)
            # There are as many sums as there may be; the last ones are of no row.
            summed = summed[: tf.size(numbers)]
            self._move_rows(numbers, summed, variable, learning_rate)
            return
        # Replicas or micro-batches were added up to a whole table: the rows that were
        # read are those that are not 0.
        is_read = tf.reduce_any(gradient != 0, axis=-1)
        numbers = tf.where(is_read)[:, 0]
        self._move_rows(numbers, tf.gather(gradient, numbers), variable, learning_rate)

    def _slots(self, variable):
        index = self._get_variable_index(variable)
        return self._momentums[index].value, self._velocities[index].value

    def _move_table(self, gradient, is_read, variable, learning_rate):
        """Moves the rows that were read of a table of which most were.

        The fused kernel moves all in one pass; the others are put back.
        """
        others = tf.where(tf.logical_not(is_read))[:, 0]
        targets = (variable, *self._slots(variable))
        kept = [tf.gather(target, others) for target in targets]
        with tf.control_dependencies(kept):
            super().update_step(gradient, variable, learning_rate)
        for target, values in zip(targets, kept, strict=True):
            _write(target, others, values)

    def _move_rows(self, numbers, gradient, variable, learning_rate):
        """Moves the rows of some numbers, each of which stands once."""
        momentum, velocity = self._slots(variable)
        rate = tf.cast(learning_rate, variable.dtype)
        step = tf.cast(self.iterations + 1, variable.dtype)
        root = tf.sqrt(1 - tf.cast(self.beta_2, variable.dtype) ** step)
        m, v, rows = (
            tf.gather(each, numbers) for each in (momentum, velocity, variable)
        )
        if self.weight_decay and self._use_weight_decay(variable):
            rows *= 1 - self.weight_decay * rate
        rate *= root / (1 - tf.cast(self.beta_1, variable.dtype) ** step)
        m += (gradient - m) * (1 - self.beta_1)
        v += (tf.square(gradient) - v) * (1 - self.beta_2)
        # Epsilon is added to the root without bias, as in `Adam`.
        rows -= rate * m / (tf.sqrt(v) + self.epsilon * root)
        for target, values in ((momentum, m), (velocity, v), (variable, rows)):
            _write(target, numbers, values)


# XLA's loop takes a sixth of the time of the operation outside of it, whose threads
# look through all rows each (TensorFlow 2.21: 99,000 rows of 40 in 1.4 ms, not 9).
@tf.function(jit_compile=True, autograph=False)
def _summed(values, segments, number):
    """Sums of rows by segment.

    Args:
        values: float32 [rows, size], the number of rows known when this is traced.
        segments: int [rows], of which segment each is.
        number: how many segments there are, no tensor.

    Returns:
        float32 [number, size], and bool [number], whether a segment has any row.
    """
    sums = tf.math.unsorted_segment_sum(values, segments, number)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(segments), segments, number)
    return sums, counts > 0


def _write(variable, numbers, rows) -> None:
    tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=numbers, updates=rows
    )
