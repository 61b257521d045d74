import keras
import numpy as np
import pytest
import tensorflow as tf

from official.recommendation.lazy_adam import LazyAdam
from official.utils.training.adam import Adam


def variables():
    generator = np.random.default_rng(0)
    table = keras.Variable(generator.normal(size=[6, 3]).astype(np.float32))
    return table, keras.Variable(np.ones(2, np.float32))


def built(make):
    table, other = variables()
    optimizer = make(table)
    optimizer.build([table, other])
    return optimizer, table, other


SETTINGS = dict(learning_rate=0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-3)


def slices(rows, numbers):
    return tf.IndexedSlices(
        tf.constant(rows, tf.float32), tf.constant(numbers), tf.constant([6, 3])
    )


@pytest.mark.parametrize("weight_decay", [None, 0.5])
def test_rows_of_each_batch_are_moved_as_by_adam(weight_decay):
    """With every row in every batch the two are one; rows that repeat are added up."""
    settings = {**SETTINGS, "weight_decay": weight_decay}
    lazy, lazy_table, lazy_other = built(lambda t: LazyAdam([t], **settings))
    adam, table, other = built(lambda t: Adam(**settings))
    generator = np.random.default_rng(1)
    for _ in range(4):
        rows = generator.normal(size=[9, 3]).astype(np.float32)
        numbers = np.concatenate([generator.permutation(6), [0, 5, 5]])
        gradient = slices(rows, numbers)
        dense = tf.constant(generator.normal(size=2).astype(np.float32))
        lazy.apply([gradient, dense])
        adam.apply([tf.convert_to_tensor(gradient), dense])
    np.testing.assert_allclose(lazy_table, table, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lazy_other, other, rtol=1e-6)


@pytest.mark.parametrize("repeats", [1, 5])
def test_other_rows_and_their_moments_stay(repeats):
    """By rows, and, of a batch with more of them than the table, by the whole table."""
    lazy, table, _ = built(lambda t: LazyAdam([t], **SETTINGS))
    zero = tf.zeros(2)
    lazy.apply([slices(np.ones([6, 3]), range(6)), zero])
    before = [v.numpy() for v in (table, lazy._momentums[0], lazy._velocities[0])]
    lazy.apply([slices(np.ones([2 * repeats, 3]), [1, 4] * repeats), zero])
    after = [v.numpy() for v in (table, lazy._momentums[0], lazy._velocities[0])]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[[0, 2, 3, 5]], other[[0, 2, 3, 5]])
        assert (one[[1, 4]] != other[[1, 4]]).all()


def test_a_gradient_of_the_whole_table_is_taken_by_rows():
    by_rows, one, _ = built(lambda t: LazyAdam([t], **SETTINGS))
    whole, other, _ = built(lambda t: LazyAdam([t], **SETTINGS))
    for numbers in ([0, 1, 2], [2, 5, 2]):
        gradient = slices(np.arange(1, 10).reshape(3, 3), numbers)
        by_rows.apply([gradient, tf.zeros(2)])
        whole.apply([tf.convert_to_tensor(gradient), tf.zeros(2)])
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_settings_are_those_of_the_optimizer_it_comes_from():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    settings = {**SETTINGS, "learning_rate": schedule}
    adam = Adam(weight_decay=0.01, global_clipnorm=2.0, use_ema=True, **settings)
    lazy = LazyAdam.of(adam, [])
    one, other = adam.get_config(), lazy.get_config()
    assert {**one, "name": ""} == {**other, "name": ""}
