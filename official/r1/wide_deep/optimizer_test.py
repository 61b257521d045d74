import keras
import numpy as np
import pytest
import tensorflow as tf

from official.r1.wide_deep.optimizer import Ftrl, WideDeepOptimizer
from official.utils.training.adam import Adam
from official.utils.training.variables import named_variables


def variables():
    return [
        keras.Variable(np.linspace(-1, 1, 6).reshape(3, 2), dtype="float32", name="a"),
        keras.Variable(np.linspace(1, 2, 4), dtype="float32", name="b"),
    ]


def gradients(step):
    generator = np.random.default_rng(step)
    return [
        tf.constant(generator.normal(size=shape), tf.float32)
        for shape in ((3, 2), (4,))
    ]


def run(optimizers, steps=7):
    """Values after some steps, with one optimizer for all or one for each."""
    found = variables()
    if len(optimizers) == 1:
        optimizers[0].build(found)
    for step in range(steps):
        if len(optimizers) == 1:
            optimizers[0].apply(gradients(step))
            continue
        for i in range(2):
            optimizers[i].apply([gradients(step)[i]], [found[i]])
    return [variable.numpy() for variable in found]


@pytest.mark.parametrize("l1, l2", [(0.0, 0.0), (0.3, 0.2)])
def test_fused_ftrl_is_that_of_keras(l1, l2):
    settings = dict(
        learning_rate=0.2, l1_regularization_strength=l1, l2_regularization_strength=l2
    )
    ours, theirs = run([Ftrl(**settings)]), run([keras.optimizers.Ftrl(**settings)])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_ftrl_adds_up_the_rows_of_a_lookup():
    weights = keras.Variable(np.zeros((5, 1)), dtype="float32")
    optimizer = Ftrl(learning_rate=0.1)
    optimizer.build([weights])
    rows = tf.IndexedSlices(tf.ones([3, 1]), tf.constant([1, 1, 4]), (5, 1))
    optimizer.apply([rows])
    # n = .1 + g^2; w = -g * rate / sqrt(n).
    expected = [0, -2 * 0.1 / np.sqrt(4.1), 0, 0, -0.1 / np.sqrt(1.1)]
    np.testing.assert_allclose(weights.numpy()[:, 0], expected, rtol=1e-6)


def compose(deep, **options):
    found = variables()
    optimizer = WideDeepOptimizer(Ftrl(0.2, **options), deep, [found[0]])
    optimizer.build(found)
    return optimizer, found


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(0.05, weight_decay=0.1),
        lambda: keras.optimizers.Adagrad(0.05),
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1),
    ],
    ids=["adamw", "adagrad", "sgd"],
)
def test_each_part_is_updated_as_alone(make):
    expected = run([Ftrl(0.2), make()])
    optimizer, found = compose(make())
    for step in range(7):
        optimizer.apply(gradients(step))
    assert int(optimizer.iterations.numpy()) == 7
    # What is said of weight decay at the begin of a run.
    assert not optimizer._use_weight_decay(found[0])
    assert optimizer._use_weight_decay(found[1]) == bool(optimizer.weight_decay)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-6)


def test_the_whole_is_clipped_and_averaged():
    deep = Adam(0.05, global_clipnorm=0.1, use_ema=True, ema_momentum=0.7)
    optimizer, found = compose(deep, initial_accumulator_value=1e-4)
    plain, expected = compose(Adam(0.05), initial_accumulator_value=1e-4)
    history = []
    for step in range(2):
        optimizer.apply(gradients(step))
        plain.apply(tf.clip_by_global_norm(gradients(step), 0.1)[0])
        history.append([variable.numpy() for variable in found])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5)
    optimizer.finalize_variable_values(found)
    # The average begins with the values after the first step.
    for average, first, second in zip(found, *history, strict=True):
        assert np.abs(second - first).max() > 1e-3
        np.testing.assert_allclose(
            average.numpy(), 0.7 * first + 0.3 * second, rtol=1e-5
        )


def test_slots_have_structural_names():
    def names():
        inputs = keras.Input((2,))
        wide = keras.layers.Dense(1, name="wide")(inputs)
        deep = keras.layers.Dense(1, name="deep")(inputs)
        model = keras.Model(inputs, keras.layers.Add()([wide, deep]))
        optimizer = WideDeepOptimizer(
            Ftrl(0.2), Adam(0.1), model.get_layer("wide").variables
        )
        optimizer.build(model.trainable_variables)
        return [n for n in named_variables(model, optimizer) if n[:5] == "optim"]

    found = names()
    assert found == names()
    parts = ("wide/accumulators/wide", "wide/linears/wide")
    parts += ("deep/momentums/deep", "deep/velocities/deep")
    slots = [f"optimizer/{part}/{w}" for part in parts for w in ("kernel", "bias")]
    assert sorted(found) == sorted(
        ["optimizer/iterations", "optimizer/learning_rate", *slots]
    )
