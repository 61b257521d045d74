import numpy as np
import pytest
import tensorflow as tf

from official.utils.training import losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_cross_entropy_equals_that_of_targets(smoothing):
    generator = np.random.default_rng(0)
    logits = tf.constant(generator.normal(size=(5, 7)) * 3, tf.float32)
    labels = tf.constant([0, 3, 6, 3, 1])
    weights = tf.constant([1.0, 2.0, 0.0, 1.0, 0.5])
    targets = tf.one_hot(labels, 7, 1 - smoothing, smoothing / 6)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        found = losses.smoothed_cross_entropy(logits, labels, smoothing)
        expected = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        sums = [tf.reduce_sum(each * weights) for each in (found, expected)]
    least = -np.sum(np.where(targets > 0, targets * np.log(targets + 1e-30), 0), -1)
    np.testing.assert_allclose(found, expected - least, atol=1e-5)
    gradients = [tape.gradient(each, logits) for each in sums]
    np.testing.assert_allclose(*gradients, atol=1e-6)
    assert np.abs(gradients[0]).max() > 0.1


def test_a_perfect_guess_costs_nothing():
    logits = tf.math.log(tf.constant([[0.9, 0.05, 0.05]]))
    found = losses.smoothed_cross_entropy(logits, tf.constant([0]), 0.1)
    np.testing.assert_allclose(found, [0.0], atol=1e-6)
