"""The Gaussian error linear unit, exact and approximate, with lean gradients.

Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", 2016, arXiv:1606.08415.
"""

import math
from typing import Any

import keras
from keras import ops

# 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) is
# x * sigmoid(x * (_LINEAR + _CUBIC * x^2)), for tanh(z) = 2 sigmoid(2 z) - 1.
_LINEAR = 2 * math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _LINEAR


def gelu_by_tanh(x: Any) -> Any:
    """The approximation by tanh, that of BERT in 2018.

    Args:
        x: float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.gelu(x, approximate=True)
    import tensorflow as tf

    # The gradient of the chain of operations would keep five tensors where two do.
    @tf.custom_gradient
    def gelu(x):
        gate = tf.sigmoid(x * (_LINEAR + _CUBIC * tf.square(x)))

        def gradient(upstream):
            slope = x * (_LINEAR + 3 * _CUBIC * tf.square(x))
            return upstream * (gate + gate * (1 - gate) * slope)

        return x * gate, gradient

    return gelu(x)


def gelu_by_erf(x: Any) -> Any:
    """The exact one, x times the normal distribution's cumulative function.

    Args:
        x: float tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.gelu(x, approximate=False)
    import tensorflow as tf

    @tf.custom_gradient
    def gelu(x):
        share = 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))

        def gradient(upstream):
            density = tf.exp(-0.5 * tf.square(x)) / math.sqrt(2 * math.pi)
            return upstream * (share + x * density)

        return x * share, gradient

    return gelu(x)
