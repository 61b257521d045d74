import numpy as np
import pytest
import tensorflow as tf

from official.recommendation import sampling
from official.recommendation.interactions import HeldOut, Interactions, ItemSets
from official.utils.data.streams import Share
from official.utils.testing.errors import message_of

NUM_ITEMS = 30
WHOLE = Share(1, 0, 1)


def item_sets(per_user):
    starts = np.cumsum([0] + [len(items) for items in per_user])
    return ItemSets(starts, np.concatenate(per_user).astype(np.int32))


@pytest.fixture(scope="module")
def taken():
    """What 12 users took; the sizes go from 1 to 29 of the 30 items."""
    generator = np.random.default_rng(0)
    sizes = [1, 29, *generator.integers(2, 28, 10)]
    return [np.sort(generator.permutation(NUM_ITEMS)[:size]) for size in sizes]


@pytest.fixture(scope="module")
def interactions(taken):
    sets = item_sets(taken)
    users = np.repeat(np.arange(12, dtype=np.int32), sets.sizes)
    held_out = HeldOut(
        np.arange(12, dtype=np.int32), np.array([t[0] for t in taken], np.int32), sets
    )
    return Interactions(users, sets.items, sets, held_out, held_out, NUM_ITEMS)


def batches(stream, count, start=0, share=WHOLE):
    dataset = stream.dataset(start, share).take(count)
    return list(dataset.as_numpy_iterator())


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return ((counts - expected) ** 2 / expected).sum()


def test_the_nth_untaken_item_of_each_user(taken):
    untaken = sampling.Untaken(item_sets(taken), NUM_ITEMS)
    for user, items in enumerate(taken):
        expected = np.setdiff1d(np.arange(NUM_ITEMS), items)
        assert untaken.number(tf.constant([user])).numpy() == [len(expected)]
        ranks = tf.range(len(expected))[tf.newaxis]
        found = untaken.items(tf.constant([user]), ranks)[0]
        np.testing.assert_array_equal(found, expected)


def test_users_who_took_nothing():
    untaken = sampling.Untaken(item_sets([[], [0, 2], []]), 4)
    ranks = tf.constant([[0, 3], [0, 1], [1, 2]])
    found = untaken.items(tf.constant([0, 1, 2]), ranks)
    np.testing.assert_array_equal(found, [[0, 3], [1, 3], [1, 2]])


def test_negatives_are_uniform_and_never_taken(interactions, taken):
    stream = sampling.NegativesStream(interactions, 400, 3, seed=5)
    counts = np.zeros([12, NUM_ITEMS], int)
    for batch in batches(stream, 1000):
        users = np.repeat(batch["user"], 3)
        np.add.at(counts, (users, batch["item"][:, 1:].ravel()), 1)
    for user, items in enumerate(taken):
        assert counts[user, items].sum() == 0
        untaken = np.setdiff1d(np.arange(NUM_ITEMS), items)
        # The 1e-5 quantile of 28 degrees of freedom is 67; there are 12 such tests.
        assert chi_square(counts[user, untaken]) < 67
    # One user has one item left; the others have draws enough for the test.
    assert counts.sum(-1).min() > 1000


def test_every_pair_stands_once_in_an_epoch(interactions):
    stream = sampling.NegativesStream(interactions, 4, 3, seed=5)
    epochs = []
    for epoch in range(2):
        start = epoch * stream.steps_per_epoch
        found = batches(stream, stream.steps_per_epoch, start)
        epochs.append([(b["user"][0], b["item"][0, 0]) for b in found])
        pairs = zip(interactions.users, interactions.items, strict=True)
        assert sorted(epochs[-1]) == sorted(pairs)
    assert epochs[0] != epochs[1]


def test_the_stream_follows_from_seed_and_step(interactions):
    stream = sampling.NegativesStream(interactions, 48, 3, seed=5)
    found = batches(stream, 6)
    for one, other in zip(found[2:], batches(stream, 4, start=2), strict=True):
        np.testing.assert_array_equal(one["user"], other["user"])
        np.testing.assert_array_equal(one["item"], other["item"])
    another = batches(sampling.NegativesStream(interactions, 48, 3, seed=6), 6)
    differ = [
        np.mean(a["item"] != b["item"]) for a, b in zip(found, another, strict=True)
    ]
    assert min(differ) > 0.5
    # Negatives are fresh in every step.
    assert len({batch["item"][:, 1:].tobytes() for batch in found}) == 6


def test_replicas_share_the_batch_of_one(interactions):
    stream = sampling.NegativesStream(interactions, 48, 3, seed=5)
    (whole,) = batches(stream, 1, start=7)
    parts = batches(stream, 3, start=7, share=Share(3, 0, 3))
    for name, values in whole.items():
        np.testing.assert_array_equal(
            np.concatenate([part[name] for part in parts]), values
        )


@pytest.mark.parametrize(
    ("batch_size", "replicas", "fragments"),
    [
        (3, 1, ["--batch_size=3", "--num_neg=3", "give 4"]),
        (10**6, 1, ["--batch_size=1000000", "less"]),
        (40, 3, ["--batch_size=40", "10 pairs", "36 can be"]),
    ],
)
def test_batch_sizes_that_cannot_be(interactions, batch_size, replicas, fragments):
    def begin():
        stream = sampling.NegativesStream(interactions, batch_size, 3, seed=5)
        stream.dataset(0, Share(replicas, 0, replicas))

    message = message_of(begin)
    for fragment in fragments:
        assert fragment in message


def test_rivals_are_different_untaken_and_uniform():
    # 4,000 users who took the same: each has a draw of its own.
    items = np.sort(np.random.default_rng(2).permutation(NUM_ITEMS)[:11])
    untaken = sampling.Untaken(item_sets([items] * 4000), NUM_ITEMS)
    rest = np.setdiff1d(np.arange(NUM_ITEMS), items)
    found, is_there = sampling.rivals(untaken, tf.range(4000), 6, 3)
    assert is_there.numpy().all()
    counts = np.bincount(found.numpy().ravel(), minlength=NUM_ITEMS)
    assert counts[items].sum() == 0
    # The 1e-5 quantile of 18 degrees of freedom is 53; without replacement there is
    # less spread than in the test's law.
    assert chi_square(counts[rest]) < 53
    assert (np.diff(np.sort(found, axis=-1), axis=-1) > 0).all()
    # No pair of items goes together.
    pairs = np.zeros([NUM_ITEMS, NUM_ITEMS], int)
    np.add.at(pairs, (found[:, 0].numpy(), found[:, 1].numpy()), 1)
    pairs = pairs[np.ix_(rest, rest)]
    assert chi_square(pairs[~np.eye(len(rest), dtype=bool)]) < 420
    some = [3999, 7]
    alone, _ = sampling.rivals(untaken, tf.constant(some), 6, 3)
    np.testing.assert_array_equal(alone, found.numpy()[some])
    other, _ = sampling.rivals(untaken, tf.range(4000), 6, 4)
    assert (other.numpy() != found.numpy()).mean() > 0.9


def test_users_with_few_items_left_have_few_rivals(taken):
    untaken = sampling.Untaken(item_sets(taken), NUM_ITEMS)
    items, is_there = sampling.rivals(untaken, tf.range(12), 20, 3)
    for user, own in enumerate(taken):
        found = items[user].numpy()[is_there[user].numpy()]
        assert len(set(found)) == len(found) == min(20, 30 - len(own))
        assert not set(found) & set(own)


@pytest.mark.parametrize("num_rivals", [5, -1])
@pytest.mark.parametrize("replicas", [1, 3])
def test_every_held_out_item_once(interactions, num_rivals, replicas):
    stream = sampling.HeldOutStream(interactions.test, NUM_ITEMS, num_rivals, 7, 0)
    found = []
    dataset = stream.dataset(Share(replicas, 0, replicas))
    for batch in dataset.as_numpy_iterator():
        real = batch["example_weight"] > 0
        found += zip(batch["user"][real], batch["item"][real, 0], strict=True)
        if num_rivals < 0:
            rows = np.repeat(batch["user"], np.bincount(batch["known_row"]))
            assert {
                (user, item)
                for user, item in zip(rows, batch["known_item"], strict=True)
            } <= set(zip(interactions.users, interactions.items, strict=True))
    test = interactions.test
    assert sorted(found) == sorted(zip(test.users, test.items, strict=True))
