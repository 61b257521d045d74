import keras
import numpy as np
import pytest

from official.recommendation import model
from official.recommendation.model import NcfConfig
from official.utils.training.variables import named_variables

USERS = np.array([3, 0, 3])
ITEMS = np.array([[1, 2, 6], [0, 0, 5], [6, 3, 1]])


def make(seed=0, **sizes):
    keras.utils.set_random_seed(seed)
    return model.build_model(NcfConfig(5, 7, **sizes))


def plain(network, user, item):
    """The logit of a pair as the paper has it, from the weights one by one."""
    config = network.config
    rows = {
        side: np.concatenate([table.rows.numpy()[number] for table in tables])
        for side, tables, number in (
            ("user", network.user_tables, user),
            ("item", network.item_tables, item),
        )
    }
    cut = config.factors
    parts = [rows["user"][:cut] * rows["item"][:cut]]
    if config.width:
        x = np.concatenate([rows["user"][cut:], rows["item"][cut:]])
        x = x @ network.first_kernel.numpy() + network.first_bias.numpy()
        for layer in network.perceptron:
            kernel, bias = (weight.numpy() for weight in layer.weights)
            x = np.maximum(x, 0) @ kernel + bias
        parts.append(np.maximum(x, 0))
    last = network.last_kernel.numpy()
    return np.concatenate(parts) @ last + network.last_bias.numpy()


@pytest.mark.parametrize("separate_tables", [False, True])
@pytest.mark.parametrize("kind", model.KINDS)
def test_outputs_are_those_of_the_paper(kind, separate_tables):
    network = make(kind=kind, separate_tables=separate_tables, layers=(12, 6, 4))
    generator = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(generator.normal(size=variable.shape))
    logits = np.array(network({"user": USERS, "item": ITEMS}))
    expected = [
        [plain(network, u, i) for i in row] for u, row in zip(USERS, ITEMS, strict=True)
    ]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    # The same items for all users: the sides without a row of their own.
    sides = network.item_side(network.item_rows(np.arange(7)))
    whole = network.pair(network.user_side(network.user_rows(USERS)), sides)
    np.testing.assert_allclose(
        np.take_along_axis(np.array(whole), ITEMS, 1), logits, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("sizes", "number"),
    [
        # Tables 12 * 40; 64 * 32 + 32; 32 * 16 + 16; 16 * 8 + 8; 16 + 1.
        ({}, 12 * 40 + 2080 + 528 + 136 + 17),
        ({"separate_tables": True}, 12 * 40 + 2080 + 528 + 136 + 17),
        ({"kind": "gmf"}, 12 * 8 + 9),
        ({"kind": "mlp"}, 12 * 32 + 2080 + 528 + 136 + 9),
    ],
)
def test_numbers_of_weights(sizes, number):
    assert make(**sizes).count_params() == number


PINNED = [0.055163, -0.034681, -0.03395]


def test_first_outputs_are_pinned():
    logits = np.array(make()({"user": USERS, "item": ITEMS}))
    np.testing.assert_allclose(logits[0], PINNED, rtol=1e-3)


def test_names_are_the_same_however_often_it_is_built():
    names = [list(named_variables(make(separate_tables=s))) for s in (0, 0, 1)]
    assert names[0] == names[1]
    assert sorted(names[0]) == [
        "model/first_bias",
        "model/first_kernel",
        "model/item_tables/0/rows",
        "model/last_bias",
        "model/last_kernel",
        "model/perceptron/0/bias",
        "model/perceptron/0/kernel",
        "model/perceptron/1/bias",
        "model/perceptron/1/kernel",
        "model/user_tables/0/rows",
    ]
    assert {"model/user_tables/1/rows", "model/item_tables/1/rows"} < set(names[2])


def test_it_compiles_and_fits():
    network = make()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    inputs = {"user": np.arange(5), "item": np.arange(5)[:, np.newaxis] + [0, 1]}
    labels = np.tile([[1.0, 0.0]], [5, 1])
    history = network.fit(inputs, labels, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]


def test_layers_have_their_own_regularisation():
    config = NcfConfig(5, 7, layers=(12, 6, 4))
    network = model.build_model(config, (0.5, 0.25))
    first, second = network.first_kernel, network.perceptron[0].kernel
    expected = 0.5 * np.square(first).sum() + 0.25 * np.square(second).sum()
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-5)
