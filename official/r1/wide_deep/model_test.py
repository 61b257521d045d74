import keras
import numpy as np
import pytest

from official.r1.wide_deep import model, movielens_model
from official.r1.wide_deep.model import Sizes
from official.r1.wide_deep.movielens_model import RatingSizes
from official.utils.training.variables import named_variables

SIZES = Sizes(
    wide=(5, 4, 20),
    indicators=(5, 3),
    embedded=(6, 7),
    numbers=2,
    hidden_units=(10, 4),
    embedding_size=3,
    dropout=0.1,
)


def inputs(rows=4):
    generator = np.random.default_rng(0)

    def ids(sizes):
        return np.stack([generator.integers(0, n, rows) for n in sizes], 1)

    return {
        "wide_ids": ids(SIZES.wide).astype(np.int32),
        "indicator_ids": ids(SIZES.indicators).astype(np.int32),
        "embedded_ids": ids(SIZES.embedded).astype(np.int32),
        "numbers": generator.normal(size=(rows, 2)).astype(np.float32),
    }


def own(network, batch):
    return {name: batch[name] for name in network.input}


# The wide part: 29 + 1. The deep one: 13 vectors of 3, then 6 + 8 + 2 = 16 inputs,
# 16 * 10 + 10, 10 * 4 + 4, 4 + 1; and 2 + 2 numbers of the dropouts' state.
@pytest.mark.parametrize(
    "model_type, weights",
    [("wide", 30), ("deep", 39 + 170 + 44 + 5), ("wide_deep", 30 + 258)],
)
def test_number_of_weights(model_type, weights):
    network = model.build_model(model_type, SIZES)
    assert sum(np.prod(v.shape) for v in network.trainable_variables) == weights


def test_wide_part_is_a_sum_of_weights():
    network = model.build_model("wide", SIZES)
    table = network.get_layer("wide").weights_of_ids.table
    table.assign(np.arange(29, dtype=np.float32)[:, np.newaxis])
    network.get_layer("wide").bias.assign([100.0])
    batch = inputs()
    hot = np.zeros((4, 29))
    for row, ids in enumerate(batch["wide_ids"]):
        hot[row, np.add(ids, [0, 5, 9])] = 1
    found = network.predict(own(network, batch), verbose=0)
    np.testing.assert_allclose(found, hot @ table.numpy() + 100)


def test_deep_part_is_a_network_of_vectors_indicators_and_numbers():
    keras.utils.set_random_seed(0)
    network = model.build_model("deep", SIZES)
    batch = inputs()
    table = network.get_layer("embedding").table.numpy()
    x = table[batch["embedded_ids"] + [0, 6]].reshape(4, 6)
    hot = np.eye(8)[batch["indicator_ids"] + [0, 5]].sum(axis=1)
    x = np.concatenate([x, hot, batch["numbers"]], axis=1)
    for name in ("hidden1", "hidden2"):
        kernel, bias = network.get_layer(name).get_weights()
        x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = network.get_layer("deep_logits").get_weights()
    found = network.predict(own(network, batch), verbose=0)
    np.testing.assert_allclose(found, x @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_names_do_not_depend_on_earlier_models():
    def names(build):
        return list(named_variables(build()))

    for build in (
        lambda: model.build_model("wide_deep", SIZES),
        lambda: movielens_model.build_model("wide_deep", RatingSizes(4, 5, 3)),
    ):
        assert names(build) == names(build)
    assert "model/wide/weights_of_ids/table" in names(
        lambda: model.build_model("wide", SIZES)
    )


def test_it_fits_in_a_notebook():
    keras.utils.set_random_seed(1)
    network = model.build_model("wide_deep", SIZES)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile("adam", loss, run_eagerly=True)  # Nothing to trace: sooner done.
    batch = inputs(64)
    labels = (batch["numbers"].sum(1, keepdims=True) > 0).astype(np.float32)
    history = network.fit(own(network, batch), labels, epochs=8, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.95 * losses[0]


def test_ratings_network():
    keras.utils.set_random_seed(0)
    sizes = RatingSizes(4, 5, 3, 2, 3, (6,), 0.0)
    network = movielens_model.build_model("wide_deep", sizes)
    # 4 + 5 + 3 + 4 * 3; 4 * 2 + 5 * 3, (2 + 3 + 3 + 1) * 6 + 6, 6 + 1.
    assert network.count_params() == 24 + 23 + 60 + 7
    wide = movielens_model.build_model("wide", sizes)
    layer = wide.get_layer("wide")
    layer.users.assign([[1.0], [2], [3], [4]])
    layer.items.assign([[10.0], [20], [30], [40], [50]])
    layer.genres.assign([[100.0], [200], [300]])
    layer.users_by_genres.assign(1000.0 * np.arange(12).reshape(4, 3))
    found = wide.predict(
        {
            "user": np.array([1, 3], np.int32),
            "item": np.array([0, 4], np.int32),
            "genres": np.array([[1, 0, 1], [0, 0, 0]], np.float32),
        },
        verbose=0,
    )
    np.testing.assert_allclose(found, [[2 + 10 + 400 + 3000 + 5000], [4 + 50]])
