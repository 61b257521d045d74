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
        import tensorflow as tf  # The loop, which set the position, is TensorFlow's.

        assert self.path_in_model is not None, f"{self.name} was not given its path"
        layer = zlib.crc32(self.path_in_model.encode())
        key = tf.constant([position.seed, layer], tf.int64)
        for fold in (position.step, position.part):
            key = tf.random.experimental.stateless_fold_in(key, fold)
        shape = None
        if self.noise_shape is not None:
            sizes = tf.unstack(tf.shape(inputs))
            shape = [n or size for n, size in zip(self.noise_shape, sizes, strict=True)]
        return tf.nn.experimental.stateless_dropout(
            inputs, self.rate, seed=key, noise_shape=shape, rng_alg="philox"
        )
