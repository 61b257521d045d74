"""Small layers around networks whose tokens stand in one row, [batch * length, ...]."""

import keras
from keras import layers, ops

# Added to the scores of what is not to be seen; e^-10000 is 0 in every precision.
_UNSEEN = -10000.0


@keras.saving.register_keras_serializable(package="official")
class Bias(layers.Layer):
    """Adds a number to each of the last axis; in float32, as a loss should be."""

    def build(self, x_shape):
        """Makes the numbers."""
        self.bias = self.add_weight((x_shape[-1],), "zeros", name="bias")
        self.built = True

    def call(self, x):
        """Adds, and gives float32 [..., channels]."""
        return ops.cast(x, "float32") + self.bias


@keras.saving.register_keras_serializable(package="official")
class AdditiveMask(layers.Layer):
    """What a mask adds to scores of attention, once for all blocks."""

    def call(self, mask):
        """int32 [batch, length] to [batch, 1, 1, length]: 0 where it is not 0."""
        unseen = ops.cast(ops.equal(mask, 0), self.compute_dtype) * _UNSEEN
        return unseen[:, None, None, :]


@keras.saving.register_keras_serializable(package="official")
class ByRow(layers.Layer):
    """Puts tokens back into rows."""

    def call(self, x, ids):
        """[batch * length, channels] to the shape of `ids`, and channels."""
        return ops.reshape(x, (-1, ops.shape(ids)[1], x.shape[-1]))

    def compute_output_shape(self, x_shape, ids_shape):
        """[batch, length, channels]."""
        return (*ids_shape, x_shape[-1])


@keras.saving.register_keras_serializable(package="official")
class PickTokens(layers.Layer):
    """Takes some tokens of each row."""

    def call(self, x, ids, positions):
        """Picks.

        Args:
            x: [batch * length, channels].
            ids: [batch, length], for its shape.
            positions: int32 [batch, picks], in the row.

        Returns:
            [batch * picks, channels].
        """
        batch, length = ops.shape(ids)[0], ops.shape(ids)[1]
        firsts = ops.arange(batch, dtype="int32")[:, None] * length
        return ops.take(x, ops.reshape(firsts + positions, (-1,)), axis=0)

    def compute_output_shape(self, x_shape, ids_shape, positions_shape):
        """[batch * picks, channels]."""
        return (None, x_shape[-1])
