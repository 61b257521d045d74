import numpy as np
import pytest
import tensorflow as tf

from official.r1.wide_deep import columns
from official.r1.wide_deep.columns import Columns, Limits
from official.r1.wide_deep.features import Features

NAN = float("nan")
TABLE = {
    "color": np.array(["red", "green", "red", "?", "green", "blue"], object),
    "shop": np.array(["a", "b", "c", "d", "", "?"], object),
    "price": np.array([1, 2, 3, 4, NAN, 5], np.float32),
}


def make(cross_buckets=1000, min_count=1, **changes):
    sets = dict(
        categories=("color", "shop"),
        numbers=("price",),
        wide=("color", "price"),
        crosses=(("color", "price"),),
        indicators=("color",),
        embedded=("shop", "price"),
        plain=("price",),
        hashed={"shop": 50},
        boundaries={"price": (2.0, 4.0)},
    )
    facts = columns.learn(
        Columns(**(sets | changes)), TABLE, Limits(min_count, 4, cross_buckets)
    )
    return Features(facts)


def apply(features, **columns_):
    found = features({name: tf.constant(value) for name, value in columns_.items()})
    return {name: value.numpy() for name, value in found.items()}


def test_ids_of_words_and_buckets():
    found = make().prepare(TABLE)
    # 0 is missing, 1 unseen; then blue, green, red.
    np.testing.assert_array_equal(found["indicator_ids"][:, 0], [4, 3, 4, 0, 3, 2])
    # Below 2, from 2 on, from 4 on; the fifth is missing.
    np.testing.assert_array_equal(found["wide_ids"][:, 1], [1, 2, 2, 3, 0, 3])
    # Of 4 buckets' ids: missing, and three buckets.
    np.testing.assert_array_equal(
        found["wide_ids"][:, 2], found["wide_ids"][:, 0] * 4 + found["wide_ids"][:, 1]
    )
    assert found["wide_ids"].dtype == np.int32
    shops = found["embedded_ids"][:, 0]
    assert (shops[:4] > 0).all() and (shops[4:] == 0).all() and shops.max() <= 50


def test_sizes_bound_the_ids():
    for features in (make(), make(cross_buckets=7)):
        found = features.prepare(TABLE)
        for name in ("wide", "indicator", "embedded"):
            sizes = getattr(features, f"{name}_sizes")
            ids = found[f"{name}_ids"]
            assert ids.shape == (6, len(sizes))
            assert (ids >= 0).all() and (ids < sizes).all()
    assert make().wide_sizes == [5, 4, 20]
    assert make(cross_buckets=7).wide_sizes == [5, 4, 7]


def test_hashed_cross_spreads_evenly():
    """Chi-squared of 20,000 ids over 100 buckets, whose mean is 99."""
    words = [f"w{i}" for i in range(200)]
    table = {"color": np.array(words * 100, object), "shop": np.repeat(words, 100)}
    table["price"] = np.zeros(20_000, np.float32)
    facts = columns.learn(
        Columns(("color", "shop"), (), (), (("color", "shop"),), (), (), ()),
        table,
        Limits(1, 4, 100),
    )
    grid = np.meshgrid(words, words)
    pairs = {
        name: tf.constant(side.ravel().tolist())
        for name, side in zip(("color", "shop"), grid, strict=True)
    }
    ids = Features(facts)(pairs)["wide_ids"].numpy()[:, 0]
    counts = np.bincount(ids, minlength=100)
    expected = len(ids) / 100
    assert ((counts - expected) ** 2 / expected).sum() < 160


def test_numbers_are_scaled_and_missing_ones_are_the_mean():
    numbers = make().prepare(TABLE)["numbers"][:, 0]
    np.testing.assert_allclose(numbers[[0, 1, 2, 3, 5]].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(numbers[[0, 1, 2, 3, 5]].std(), 1, rtol=1e-6)
    assert numbers[4] == 0
    far = apply(make(), color=["red"] * 2, shop=["a"] * 2, price=[1e30, 5.0])
    assert far["numbers"][0] == far["numbers"][1]
    plain = make(is_scaled=False).prepare(TABLE)["numbers"][:, 0]
    np.testing.assert_array_equal(plain, [1, 2, 3, 4, 0, 5])


def test_unseen_and_missing_values_at_serving():
    found = apply(
        make(),
        color=["violet", "", " red ", "?"],
        shop=["z", "", " ", "?"],
        price=[NAN, -1e9, float("inf"), 2.0],
    )
    np.testing.assert_array_equal(found["indicator_ids"][:, 0], [1, 0, 4, 0])
    np.testing.assert_array_equal(found["embedded_ids"][1:, 0], 0)
    np.testing.assert_array_equal(found["wide_ids"][:, 1], [0, 1, 3, 2])
    assert np.isfinite(found["numbers"]).all()


def test_rare_words_are_as_unseen():
    found = make(min_count=2).prepare(TABLE)
    np.testing.assert_array_equal(found["indicator_ids"][:, 0], [3, 2, 3, 0, 2, 1])


@pytest.mark.parametrize("rows", [[0], [3, 4], [5, 0, 1]])
def test_rows_do_not_depend_on_their_batch(rows):
    features = make(cross_buckets=7)
    whole = features.prepare(TABLE)
    part = features.prepare({name: values[rows] for name, values in TABLE.items()})
    for name, values in whole.items():
        np.testing.assert_array_equal(part[name], values[rows])
