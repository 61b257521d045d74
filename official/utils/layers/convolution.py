"""Convolution and pooling with equal padding on every side."""

import keras
from keras import ops

from official.utils import hardware


def _is_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


@keras.saving.register_keras_serializable(package="official")
class Convolution(keras.layers.Conv2D):
    """A convolution padded by (kernel size - 1) / 2 zeros on every side.

    So it is padded in PyTorch's networks. Keras' `same` pads less before than behind
    where a convolution strides over an even size, which moves the picture by a pixel.
    With a stride of 1 both are the same, and TensorFlow's kernel pads; else, and on
    other backends, the padding is a step of its own.

    In bfloat16 on hardware without instructions for it TensorFlow convolves in float32
    and rounds the result, which is what such instructions compute, up to the order of
    sums: its own kernels are about ten times slower there.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        """Takes the arguments of `keras.layers.Conv2D` except `padding`.

        Args:
            filters: output channels.
            kernel_size: an odd number.
            **kwargs: strides, initializers, ...
        """
        assert kwargs.pop("padding", "valid") == "valid"
        super().__init__(filters, kernel_size, padding="valid", **kwargs)
        assert all(size % 2 for size in self.kernel_size)
        assert self.data_format == "channels_last"

    @property
    def _pads(self) -> tuple[tuple[int, int], ...]:
        return tuple(((size - 1) // 2,) * 2 for size in self.kernel_size)

    def compute_output_shape(self, input_shape):
        """[batch, height, width, channels] of the output."""
        return super().compute_output_shape(_padded_shape(input_shape, self._pads))

    def build(self, input_shape):
        """Makes the kernel; `input_shape` is that before the padding."""
        super().build(_padded_shape(input_shape, self._pads))

    def convolution_op(self, inputs, kernel):
        """Pads and convolves."""
        if not _is_tensorflow():
            return super().convolution_op(_padded(inputs, self._pads, 0.0), kernel)
        import tensorflow as tf

        # "SAME" is the same where no stride meets a padding. Elsewhere the padding is a
        # step of its own: oneDNN has no gradients of explicit paddings, and the kernels
        # it leaves them to take up to three times as long, in bfloat16 a hundred times.
        is_same = self.strides == (1, 1) or self.kernel_size == (1, 1)

        def convolve(images, weights):
            return tf.nn.conv2d(
                images if is_same else _padded(images, self._pads, 0.0),
                weights,
                self.strides,
                "SAME" if is_same else "VALID",
                dilations=self.dilation_rate,
            )

        if inputs.dtype != tf.bfloat16 or hardware.has_bfloat16():
            return convolve(inputs, kernel)

        # Casts once more for the gradients, so that nothing waits for them in float32.
        # What else would be computed again is unused, and falls out of the graph.
        @tf.recompute_grad
        def convolve_in_float32(images, weights):
            images, weights = (tf.cast(x, tf.float32) for x in (images, weights))
            return tf.cast(convolve(images, weights), tf.bfloat16)

        return convolve_in_float32(inputs, kernel)


@keras.saving.register_keras_serializable(package="official")
class MaxPooling(keras.layers.MaxPooling2D):
    """Max pooling padded by (pool size - 1) / 2 on every side; see `Convolution`."""

    def __init__(self, pool_size, strides=None, **kwargs):
        """Takes the arguments of `keras.layers.MaxPooling2D` except `padding`."""
        assert kwargs.pop("padding", "valid") == "valid"
        super().__init__(pool_size, strides, padding="valid", **kwargs)
        assert self.data_format == "channels_last"

    @property
    def _pads(self) -> tuple[tuple[int, int], ...]:
        return tuple(((size - 1) // 2,) * 2 for size in self.pool_size)

    def compute_output_shape(self, input_shape):
        """[batch, height, width, channels] of the output."""
        return super().compute_output_shape(_padded_shape(input_shape, self._pads))

    def call(self, inputs):
        """Pads with what is never the largest, and pools."""
        if not _is_tensorflow():
            return super().call(_padded(inputs, self._pads, float("-inf")))
        import tensorflow as tf

        # Apart, for the gradient of the pooling that pads by itself is the slower one.
        padded = _padded(inputs, self._pads, inputs.dtype.min)
        return tf.nn.max_pool2d(padded, self.pool_size, self.strides, "VALID")


def _padded_shape(shape, pads):
    batch, *sizes, channels = shape
    padded = [
        size if size is None else size + sum(pad)
        for size, pad in zip(sizes, pads, strict=True)
    ]
    return (batch, *padded, channels)


def _padded(inputs, pads, value):
    return ops.pad(inputs, ((0, 0), *pads, (0, 0)), constant_values=value)
