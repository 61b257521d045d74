import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.layers.layer_normalization import LayerNormalization


def outputs_and_gradients(layer, x, upstream):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    variables = [variable.value for variable in layer.trainable_variables]
    return [y, *tape.gradient(y, [x, *variables], tf.cast(upstream, y.dtype))]


@pytest.mark.parametrize("shape", [(7, 16), (2, 3, 16)])
def test_equals_keras(shape):
    generator = np.random.default_rng(0)
    x, upstream = (
        tf.constant(generator.normal(size=shape), tf.float32) for _ in range(2)
    )
    found = []
    for kind in (LayerNormalization, keras.layers.LayerNormalization):
        layer = kind(epsilon=1e-12)
        layer.build(shape)
        layer.gamma.assign(np.linspace(0.5, 2, 16))
        layer.beta.assign(np.linspace(-1, 1, 16))
        found.append(outputs_and_gradients(layer, x * 3 + 5, upstream))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_statistics_are_float32_beside_bfloat16():
    layer = LayerNormalization(epsilon=1e-12, dtype="mixed_bfloat16")
    x = tf.constant(np.random.default_rng(0).normal(100, 1, (4, 256)), tf.float32)
    x = tf.cast(x, tf.bfloat16)
    y = layer(x)
    assert y.dtype == tf.bfloat16
    exact = tf.cast(x, tf.float32).numpy()
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact, atol=0.02)


def test_other_axes_go_to_keras():
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 4, 5)), tf.float32)
    ours, theirs = (
        kind(axis=1)(x)
        for kind in (LayerNormalization, keras.layers.LayerNormalization)
    )
    np.testing.assert_allclose(ours, theirs)
