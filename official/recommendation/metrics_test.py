import numpy as np
import pytest
import tensorflow as tf

from official.recommendation import metrics


def plain(scores, counts):
    """Rank, hit, gain and cost of the first of a row of scores, one by one."""
    rank = sum(
        bool(counted) and not score < scores[0]
        for score, counted in zip(scores[1:], counts[1:], strict=True)
    )
    gain = 1 / np.log2(rank + 2) if rank < 10 else 0.0
    others = [s for s, c in zip(scores[1:], counts[1:], strict=True) if c]
    cost = float(np.sum(np.log1p(np.exp(others))))
    return rank, float(rank < 10), gain, cost


@pytest.fixture
def scores():
    """Scores of few values, so that many are equal."""
    generator = np.random.default_rng(0)
    return generator.integers(-3, 4, [200, 40]).astype(np.float32)


def compare(standing, expected):
    ranks, hits, gains, costs = map(np.array, zip(*expected, strict=True))
    np.testing.assert_array_equal(standing.rank, ranks)
    hit, gain = metrics.hit_and_gain(standing.rank)
    np.testing.assert_array_equal(hit, hits)
    np.testing.assert_allclose(gain, gains, rtol=1e-6)
    np.testing.assert_allclose(standing.others_cost, costs, rtol=1e-5)
    assert 0.1 < hits.mean() < 0.9


def test_listed_items_as_in_plain_numpy(scores):
    counts = np.random.default_rng(1).random(scores.shape) < 0.7
    counts[:, 0] = True
    batch = {"user": tf.range(200), "item": tf.zeros([200, 40], tf.int32)}
    standing = metrics.standings(
        batch | {"counts": tf.constant(counts)}, lambda users, items: scores, None
    )
    compare(standing, [plain(*row) for row in zip(scores, counts, strict=True)])
    np.testing.assert_array_equal(standing.others, counts[:, 1:].sum(-1))


def test_all_items_as_in_plain_numpy(scores):
    generator = np.random.default_rng(1)
    own = generator.integers(0, 40, 200)
    is_known = generator.random(scores.shape) < 0.3
    is_known[np.arange(200), own] = True
    rows, items = np.nonzero(is_known)
    batch = {
        "user": tf.range(200),
        "item": tf.constant(own[:, np.newaxis], tf.int32),
        "known_row": tf.constant(rows, tf.int32),
        "known_item": tf.constant(items, tf.int32),
    }
    standing = metrics.standings(batch, None, lambda users: tf.constant(scores))
    expected = []
    for row, item, known in zip(scores, own, is_known, strict=True):
        order = np.concatenate([[item], np.flatnonzero(~known)])
        expected.append(plain(row[order], np.ones(len(order), bool)))
    compare(standing, expected)
    np.testing.assert_array_equal(standing.others, (~is_known).sum(-1))


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ([1, 1, 1], 2),
        ([1, 0, 2], 1),
        ([1, np.nan, 0], 1),
        ([np.nan, 0, 0], 2),
    ],
)
def test_ties_and_what_is_no_number_count_against_the_model(values, rank):
    batch = {"user": tf.range(1), "item": tf.zeros([1, 3], tf.int32)}
    standing = metrics.standings(
        batch | {"counts": tf.ones([1, 3], tf.bool)},
        lambda users, items: tf.constant([values], tf.float32),
        None,
    )
    assert standing.rank.numpy() == [rank]


def test_only_ten_places_count():
    hit, gain = metrics.hit_and_gain(tf.constant([0, 1, 9, 10]))
    assert hit.numpy().tolist() == [1, 1, 1, 0]
    expected = [1, np.log(2) / np.log(3), np.log(2) / np.log(11), 0]
    np.testing.assert_allclose(gain, expected, rtol=1e-6)
