import itertools

import numpy as np
import pytest
import tensorflow as tf

from official.utils.data import buckets
from official.utils.data.streams import Share
from official.utils.testing.errors import message_of

ALONE = Share(1, 0, 1)


def rows(number=203, longest=40, **settings):
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, longest + 1, number)
    lists = [np.full(n, i + 1, np.int32) for i, n in enumerate(lengths)]
    return buckets.Rows(
        {"ids": buckets.Ragged.of(lists)}, {"number": np.arange(number)}, **settings
    )


def stream(batch_size=10, seed=3, transform=None, **settings):
    return buckets.BucketedTrainingStream(
        rows(**settings), batch_size, seed, transform=transform
    )


def numbers(dataset, count):
    return [batch["number"].numpy().tolist() for batch in dataset.take(count)]


def test_rows_are_padded_to_the_longest_of_their_batch():
    lengths = rows().lengths
    for batch in stream().dataset(0, ALONE).take(20):
        ids, picked = batch["ids"].numpy(), batch["number"].numpy()
        np.testing.assert_array_equal(batch["ids_length"], lengths[picked])
        assert ids.shape[1] == -(-lengths[picked].max() // 8) * 8
        for row, number in zip(ids, picked, strict=True):
            expected = np.zeros(ids.shape[1], np.int32)
            expected[: lengths[number]] = number + 1
            np.testing.assert_array_equal(row, expected)


def test_an_epoch_holds_no_row_twice_and_the_next_has_another_order():
    found = numbers(stream().dataset(0, ALONE), 40)
    epochs = [np.ravel(found[:20]).tolist(), np.ravel(found[20:]).tolist()]
    for epoch in epochs:
        assert len(set(epoch)) == 200
    assert epochs[0] != epochs[1]
    other = numbers(stream(seed=4).dataset(0, ALONE), 20)
    assert np.ravel(other).tolist() != epochs[0]


def test_windows_sort_only_their_own_rows(monkeypatch):
    monkeypatch.setattr(buckets, "WINDOW_ROWS", 50)
    monkeypatch.setattr(buckets, "WINDOW_BATCHES", 5)
    found = numbers(stream().dataset(0, ALONE), 20)
    assert stream().batches_per_window == 5
    lengths = rows().lengths
    for first in range(0, 20, 5):
        window = found[first : first + 5]
        spans = sorted((lengths[b].min(), lengths[b].max()) for b in window)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    means = [lengths[batch].mean() for batch in found]
    assert means != sorted(means), "batches follow each other by length"


def test_padding_is_small_beside_that_of_whole_batches():
    wide = stream(number=2000)
    assert wide.padding_share() < 0.16
    whole = buckets.BucketedTrainingStream(
        rows(number=2000, fixed_length=40), 10, 3
    ).padding_share()
    assert whole == pytest.approx(1 - rows(number=2000).lengths.mean() / 40, abs=0.01)


def test_rows_of_a_fixed_length_are_not_sorted():
    fixed = buckets.BucketedTrainingStream(rows(number=2000, fixed_length=40), 10, 3)
    found = numbers(fixed.dataset(0, ALONE), fixed.steps_per_epoch)
    assert sorted(itertools.chain(*found)) == list(range(2000))
    lengths = rows(number=2000).lengths
    spread = np.mean([lengths[batch].std() for batch in found])
    assert spread == pytest.approx(lengths.std(), rel=0.1)
    again = numbers(fixed.dataset(150, ALONE), 5)
    assert again == found[150:155]


def test_a_stream_begins_at_any_step():
    whole = numbers(stream().dataset(0, ALONE), 45)
    for start in (1, 7, 19, 20, 33):
        assert numbers(stream().dataset(start, ALONE), 5) == whole[start : start + 5]


def test_replicas_share_each_batch():
    whole = list(stream().dataset(3, ALONE).take(4))
    halves = list(stream().dataset(3, Share(2, 0, 2)).take(8))
    for i, batch in enumerate(whole):
        pair = halves[2 * i : 2 * i + 2]
        both = np.concatenate([half["number"] for half in pair])
        assert sorted(both) == sorted(batch["number"].numpy())
        assert {half["ids"].shape[1] for half in pair} == {batch["ids"].shape[1]}


def test_seeds_belong_to_step_and_row():
    def seeds(start, share, count):
        made = stream(transform=lambda batch: batch).dataset(start, share)
        return [batch["seed"].numpy() for batch in made.take(count)]

    whole = seeds(2, ALONE, 1)[0]
    assert (whole[:, 0] == 3).all()
    np.testing.assert_array_equal(whole[:, 1], np.arange(20, 30))
    halves = seeds(2, Share(2, 0, 2), 2)
    np.testing.assert_array_equal(halves[0], whole[::2])
    np.testing.assert_array_equal(halves[1], whole[1::2])


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_evaluation_counts_every_row_once(replicas):
    made = buckets.BucketedEvaluationStream(rows(), 16)
    batches = list(made.dataset(Share(replicas, 0, replicas)))
    assert len(batches) == replicas * made.num_batches(replicas)
    counts = np.zeros(203)
    for batch in batches:
        np.add.at(counts, batch["number"].numpy(), batch["example_weight"].numpy())
    np.testing.assert_array_equal(counts, 1)


def test_evaluation_goes_by_its_order():
    made = buckets.BucketedEvaluationStream(rows(), 16)
    found = np.concatenate([batch["number"] for batch in made.dataset(ALONE)])
    np.testing.assert_array_equal(found[:203], made.order)
    assert (np.diff(rows().lengths[made.order]) <= 0).all()


def test_too_large_a_batch():
    assert message_of(stream, batch_size=300) == (
        "--batch_size=300 is larger than the training set of 203 examples; lower it"
    )


def test_ragged_of_nothing_and_of_empty_rows():
    assert len(buckets.Ragged.of([])) == 0
    ragged = buckets.Ragged.of([np.array([1, 2]), np.array([]), np.array([3])])
    assert ragged.lengths.tolist() == [2, 0, 1]
    made = buckets.BucketedEvaluationStream(buckets.Rows({"ids": ragged}), 3)
    (batch,) = made.dataset(ALONE)
    assert batch["ids"].shape == (3, 8)
    assert tf.reduce_sum(batch["ids"]) == 6


@pytest.mark.parametrize("settings", [{}, {"multiple": 3}, {"fixed_length": 25}])
def test_numpy_takes_the_same_rows(settings):
    made = rows(**settings)
    batch = np.random.default_rng(1).permutation(len(made))[:20]
    expected = made.gatherer()(tf.constant(batch[3:8]), tf.constant(batch))
    found = made.take(batch[3:8], batch)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])
        assert value.dtype == expected[name].numpy().dtype
    assert made.take(batch[:0], batch)["ids"].shape == (0, found["ids"].shape[1])
