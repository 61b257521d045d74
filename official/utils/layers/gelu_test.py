import math

import numpy as np
import pytest
import tensorflow as tf

from official.utils.layers import gelu

X = np.array([-6.0, -2.5, -1.0, -0.3, 0.0, 0.2, 1.0, 2.5, 6.0])


def by_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def by_erf(x):
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])


@pytest.mark.parametrize(
    "ours, formula", [(gelu.gelu_by_tanh, by_tanh), (gelu.gelu_by_erf, by_erf)]
)
def test_values_and_gradients(ours, formula):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ours(x)
    np.testing.assert_allclose(y, formula(X), atol=1e-9)
    numeric = (formula(X + 1e-6) - formula(X - 1e-6)) / 2e-6
    np.testing.assert_allclose(tape.gradient(y, x), numeric, atol=1e-7)


@pytest.mark.parametrize("ours", [gelu.gelu_by_tanh, gelu.gelu_by_erf])
def test_half_precision_stays_finite(ours):
    x = tf.constant([-1e4, -20.0, 0.0, 20.0, 1e4], tf.bfloat16)
    y = ours(x)
    assert y.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(y, tf.float32), tf.nn.relu(tf.cast(x, tf.float32))
    )
