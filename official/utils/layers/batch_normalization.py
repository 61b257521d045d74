"""Batch normalisation by TensorFlow's fused kernel where there is one."""

import keras


@keras.saving.register_keras_serializable(package="official")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation, computed by the fused kernel of TensorFlow.

    The kernel reads the activations twice where Keras' chain of operations reads them
    about six times. It serves image batches (rank 4, normalised over the channels, the
    last axis) on the TensorFlow backend; all else goes to Keras. Variables, arguments
    and results are those of `keras.layers.BatchNormalization`, except that the moving
    variance takes the unbiased variance of the batch (n / (n - 1)), as the kernel and
    the networks of 2019 do.

    Ioffe and Szegedy, "Batch Normalization", 2015, arXiv:1502.03167.
    """

    def build(self, input_shape):
        """Creates the variables.

        Args:
            input_shape: shape of the inputs, the channels last.
        """
        super().build(input_shape)
        self._is_fusable = (
            keras.backend.backend() == "tensorflow"
            and len(input_shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in ("float32", "bfloat16", "float16")
            and not self.synchronized
            and not self.renorm
        )

    def call(self, inputs, training=None, mask=None):
        """Normalises.

        Args:
            inputs: float tensor, [batch, height, width, channels] for the kernel.
            training: whether to use and to track the statistics of the batch.
            mask: not None: left to Keras.

        Returns:
            A tensor of the same shape and dtype.
        """
        if not self._is_fusable or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        # The kernel takes its parameters in float32 also beside bfloat16 activations.
        channels = self.moving_mean.shape
        scale = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(channels)
        offset = tf.cast(self.beta, tf.float32) if self.center else tf.zeros(channels)
        is_training = bool(training) and self.trainable
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            scale,
            offset,
            mean=None if is_training else self.moving_mean.value,
            variance=None if is_training else self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=is_training,
        )
        if is_training:
            for moving, batch in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs
