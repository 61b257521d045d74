import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.testing.errors import message_of
from official.utils.testing.tasks import settings
from official.utils.training import optimizers
from official.utils.training.adam import Adam

GENERATOR = np.random.default_rng(0)
START = {"kernel": GENERATOR.normal(size=(4, 3)), "bias": GENERATOR.normal(size=3)}
STEPS = [
    [GENERATOR.normal(size=value.shape) for value in START.values()] for _ in range(5)
]


def trained(optimizer, scales=None):
    variables = [
        keras.Variable(value, name=name, dtype="float32")
        for name, value in START.items()
    ]
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    optimizer.rate_scales = scales
    for gradients in STEPS:
        optimizer.apply([tf.constant(g, tf.float32) for g in gradients])
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("decay", [None, 0.1])
def test_equals_keras(decay):
    # So small that its place does not show.
    common = dict(learning_rate=0.01, weight_decay=decay, epsilon=1e-12, beta_2=0.98)
    ours = trained(Adam(**common))
    theirs = trained(keras.optimizers.Adam(**common))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)


def test_equals_the_formula_of_decoupled_decay():
    rate, decay, epsilon = 0.01, 0.1, 0.01
    found = trained(Adam(rate, weight_decay=decay, epsilon=epsilon))
    for number, (name, value) in enumerate(START.items()):
        m = v = 0
        for step, gradients in enumerate(STEPS, start=1):
            if name == "kernel":
                value = value * (1 - rate * decay)
            m = 0.9 * m + 0.1 * gradients[number]
            v = 0.999 * v + 0.001 * gradients[number] ** 2
            first, second = m / (1 - 0.9**step), v / (1 - 0.999**step)
            value = value - rate * first / (np.sqrt(second) + epsilon)
        np.testing.assert_allclose(found[number], value, rtol=1e-5)


def test_each_variable_has_its_rate():
    kernel, bias = trained(Adam(0.01, weight_decay=0.1), scales=[0.5, 0.0])
    (half, _) = trained(Adam(0.005, weight_decay=0.1))
    np.testing.assert_allclose(kernel, half, rtol=2e-6)
    np.testing.assert_allclose(bias, START["bias"], rtol=1e-6)


def test_gradients_of_few_rows():
    """A gather gives them; the moments of the other rows decay all the same."""
    values = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    rows = tf.IndexedSlices(values, tf.constant([2, 0]), tf.constant([4, 2]))
    results = []
    for gradient in (rows, tf.convert_to_tensor(rows)):
        table = keras.Variable(np.ones((4, 2)), dtype="float32")
        optimizer = Adam(0.1)
        optimizer.build([table])
        for _ in range(3):
            optimizer.apply([gradient])
        results.append(table.numpy())
    np.testing.assert_array_equal(*results)


def test_other_optimizers_have_no_rates_by_layer():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = optimizers.make_optimizer(settings(optimizer="sgd"), 10)
    optimizer.build(model.trainable_variables)
    message = message_of(
        optimizers.scale_learning_rates, optimizer, model, {"model/dense/bias": 0.5}
    )
    assert "--layer_decay" in message
