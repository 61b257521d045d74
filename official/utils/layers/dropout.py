"""Dropout whose mask is a pure function of (seed, step, replica, layer)."""

import zlib

import keras

from official.utils.layers import randomness


@keras.saving.register_keras_serializable(package="official")
class Dropout(keras.layers.Dropout):
    """Dropout that repeats itself after a resume and differs between replicas.

    Keras' own layer keeps a counter as state: all replicas of a mirrored strategy draw
    one mask, and a checkpoint without the counter resumes with other masks. In the
    garden's loop this layer keeps no state. Elsewhere (`fit`, another backend) it is
    `keras.layers.Dropout`.

    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15 (2014).

    Attributes:
        path_in_model: structural path of the layer, which tells its masks from those
            of other layers; the loop sets it.
    """

    path_in_model: str | None = None

    def call(self, inputs, training=False):
        """Drops units.

        Args:
            inputs: float tensor of any shape.
            training: whether to drop.

        Returns:
            A tensor of the same shape and dtype.
        """
        position = randomness.current()
        if position is None:
            return super().call(inputs, training=training)
        if not training or self.rate == 0:
            return inputs
        assert self.rate < 1, "dropout of everything"
        import tensorflow as tf  # The loop, which set the position, is TensorFlow's.

        assert self.path_in_model is not None, f"{self.name} was not given its path"
        # One number holds run and layer, the other step and part: 31 + 32 and 43 + 20
        # bits. Philox mixes them.
        run_and_layer = position.seed << 32 | zlib.crc32(self.path_in_model.encode())
        step_and_part = position.step * 2**20 + position.part
        key = tf.stack([tf.constant(run_and_layer, tf.int64), step_and_part])
        sizes = tf.shape(inputs)
        if self.noise_shape is not None:
            sizes = tf.stack(
                [
                    size if fixed is None else fixed
                    for fixed, size in zip(
                        self.noise_shape, tf.unstack(sizes), strict=True
                    )
                ]
            )
        # On a CPU drawing takes most of the time: a number of 32 bits serves two units.
        # A product with the mask takes less than a choice between two tensors.
        dropped = min(round(self.rate * 2**16), 2**16 - 1)
        is_kept = _random_16_bits(sizes, key) >= tf.constant(dropped, tf.uint16)
        scale = tf.constant(1 / (1 - dropped / 2**16), inputs.dtype)
        return inputs * (tf.cast(is_kept, inputs.dtype) * scale)


def _random_16_bits(sizes, key):
    """uint16 [sizes]; whole numbers, for XLA turns the same bits into other fractions.

    Args:
        sizes: int32 [rank].
        key: int64 [2].
    """
    import tensorflow as tf

    number = tf.reduce_prod(sizes)
    pairs = [(number + 1) // 2]
    bits = tf.random.stateless_uniform(
        pairs, key, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    halves = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])
    return tf.reshape(halves[:number], sizes)
