import numpy as np
import pytest
import tensorflow as tf

from official.utils.training import losses

ROWS, WIDTH, CLASSES = 5, 4, 7
LABELS = np.array([0, 3, 6, 3, 1], np.int32)
WEIGHTS = np.array([1.0, 2.0, 0.0, 1.0, 0.5], np.float32)


@tf.function(autograph=False)
def sums_and_gradients(smoothing, parts, *values):
    with tf.GradientTape() as tape:
        tape.watch(values)
        x, matrix, *bias = values
        rows = tf.constant(LABELS), tf.constant(WEIGHTS)
        found = losses.projected_cross_entropy(
            x, matrix, *bias or [None], *rows, smoothing, parts, True
        )
        # A loss is divided by a weight.
        total = found[0] / 3
    return *found, *tape.gradient(total, values)


# Seven parts of five rows: two are empty.
@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("has_bias", [False, True])
def test_equals_the_cross_entropy_of_targets(smoothing, parts, has_bias):
    generator = np.random.default_rng(0)
    shapes = [(ROWS, WIDTH), (CLASSES, WIDTH), (CLASSES,)][: 2 + has_bias]
    values = [tf.constant(generator.normal(size=s) * 2, tf.float32) for s in shapes]
    targets = np.where(
        np.arange(CLASSES) == LABELS[:, np.newaxis],
        1 - smoothing,
        smoothing / (CLASSES - 1),
    )
    with tf.GradientTape() as tape:
        tape.watch(values)
        logits = values[0] @ tf.transpose(values[1]) + sum(values[2:])
        loss = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        expected = tf.reduce_sum(loss * WEIGHTS) / 3
    least = -np.sum(np.where(targets > 0, targets * np.log(targets + 1e-30), 0), -1)
    total, hits, *gradients = sums_and_gradients(smoothing, parts, *values)
    np.testing.assert_allclose(total, 3 * expected - WEIGHTS @ least, atol=1e-5)
    assert hits == WEIGHTS @ (np.argmax(logits, -1) == LABELS)
    for found, wanted in zip(gradients, tape.gradient(expected, values), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert np.abs(wanted).max() > 0.1


def test_a_perfect_guess_costs_nothing():
    logits = np.log(np.array([[0.9, 0.05, 0.05]], np.float32))
    total, hits = losses.projected_cross_entropy(
        tf.constant([[1.0]]), logits.T, None, tf.constant([0]), [1.0], 0.1, 1, False
    )
    np.testing.assert_allclose([total, hits], [0, 1], atol=1e-6)


def test_bfloat16_sums_in_float32():
    generator = np.random.default_rng(0)
    wide = [
        tf.constant(generator.normal(size=s), tf.bfloat16) for s in [(5, 4), (7, 4)]
    ]
    narrow = [tf.cast(value, tf.float32) for value in wide]
    (total, *_), (expected, *_) = (
        sums_and_gradients(0.1, 2, *values) for values in (wide, narrow)
    )
    assert total.dtype == tf.float32
    np.testing.assert_allclose(total, expected, rtol=0.01)
