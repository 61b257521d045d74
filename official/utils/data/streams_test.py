import numpy as np
import pytest
import tensorflow as tf

from official.utils.data import synthetic
from official.utils.data.streams import (
    ArrayEvaluationStream,
    ArrayTrainingStream,
    Share,
)
from official.utils.errors import UserError

ONE = Share(1, 0, 1)


def batches(stream, start, number, share=ONE):
    found = stream.dataset(start, share).take(number * share.local)
    return list(found.as_numpy_iterator())


def stream_of(num_rows, batch_size, seed=0, **options):
    return ArrayTrainingStream({"id": np.arange(num_rows)}, batch_size, seed, **options)


def test_each_epoch_holds_every_example_once_in_another_order():
    stream = stream_of(30, 10)
    assert stream.steps_per_epoch == 3
    epochs = [
        np.concatenate([batch["id"] for batch in batches(stream, 3 * epoch, 3)])
        for epoch in range(3)
    ]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(30))
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[1] != epochs[2]).any()
    assert (epochs[0] != np.arange(30)).any()


def test_remainder_is_dropped_but_not_the_same_examples_each_epoch():
    stream = stream_of(25, 10)
    assert stream.steps_per_epoch == 2
    seen = {i for batch in batches(stream, 0, 40) for i in batch["id"]}
    assert seen == set(range(25))


def test_any_step_is_the_same_wherever_the_stream_starts():
    stream = stream_of(1000, 7, seed=5)
    whole = batches(stream, 0, 300)
    for start in (1, 142, 143, 299):
        resumed = batches(stream, start, 1)[0]
        np.testing.assert_array_equal(resumed["id"], whole[start]["id"])
    other_seed = batches(stream_of(1000, 7, seed=6), 0, 1)[0]["id"]
    assert (other_seed != whole[0]["id"]).any()


@pytest.mark.parametrize("replicas, workers", [(2, 1), (3, 1), (4, 2)])
def test_replicas_share_the_rows_of_one_batch(replicas, workers):
    stream = stream_of(100, 12)
    whole = batches(stream, 5, 4)
    local = replicas // workers
    parts = [
        batches(stream, 5, 4, Share(replicas, worker * local, local))
        for worker in range(workers)
    ]
    for step in range(4):
        rows = [
            parts[worker][step * local + i]["id"]
            for worker in range(workers)
            for i in range(local)
        ]
        assert {len(r) for r in rows} == {12 // replicas}
        np.testing.assert_array_equal(np.concatenate(rows), whole[step]["id"])


def test_the_shuffle_is_even():
    """Chi-square over where 20 examples stand in 4,000 epochs."""
    stream = stream_of(20, 20)
    counts = np.zeros((20, 20))
    for batch in batches(stream, 0, 4000):
        counts[np.arange(20), batch["id"]] += 1
    chi_square = ((counts - 200) ** 2 / 200).sum()
    # 361 degrees of freedom: mean 361, deviation sqrt(2 * 361) = 27.
    assert chi_square < 361 + 6 * 27


def test_transforms_have_a_seed_for_each_row_whatever_the_replicas():
    def transform(batch):
        draw = tf.map_fn(
            lambda seed: tf.random.stateless_uniform([], seed),
            batch.pop("seed"),
            fn_output_signature=tf.float32,
        )
        return batch | {"draw": draw}

    stream = stream_of(40, 8, transform=transform)
    whole = batches(stream, 3, 2)
    halves = batches(stream, 3, 2, Share(2, 0, 2))
    draws = np.concatenate([half["draw"] for half in halves])
    np.testing.assert_array_equal(draws, np.concatenate([b["draw"] for b in whole]))
    assert len(np.unique(draws)) == 16


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(UserError, match=r"--batch_size=11 .* 10 examples"):
        stream_of(10, 11)


@pytest.mark.parametrize("num_rows", [1, 7, 8, 9, 24])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_evaluation_gives_each_row_once(num_rows, replicas):
    stream = ArrayEvaluationStream({"id": np.arange(num_rows) + 100}, 8)
    share = Share(replicas, 0, replicas)
    found = list(stream.dataset(share).as_numpy_iterator())
    assert len(found) == stream.num_batches(replicas) * replicas
    assert len({len(batch["id"]) for batch in found}) == 1
    real = [batch["id"][batch["example_weight"] == 1] for batch in found]
    np.testing.assert_array_equal(np.concatenate(real), np.arange(num_rows) + 100)


def test_synthetic_data_has_the_form_of_the_original():
    arrays = {
        "image": np.arange(60, dtype=np.uint8).reshape(5, 3, 4),
        "weight": np.linspace(0, 1, 5, dtype=np.float32),
    }
    made = synthetic.like(arrays, 1000)
    assert made["image"].dtype == np.uint8
    assert made["image"].shape == (1000, 3, 4)
    assert (made["image"].min(), made["image"].max()) == (0, 59)
    assert made["weight"].dtype == np.float32
    assert made["weight"].mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(made["image"], synthetic.like(arrays, 1000)["image"])
