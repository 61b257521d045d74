import numpy as np
import pytest
import tensorflow as tf

from official.benchmark import recommendation_contenders as contenders
from official.benchmark import recommendation_scale
from official.benchmark.recommendation_scale import make_pairs


def test_pairs_differ_and_reach_everyone():
    users, items = make_pairs(60, 40, 1000, seed=0)
    assert len(set(zip(users.tolist(), items.tolist(), strict=True))) == 1000
    assert set(users.tolist()) == set(range(60)) and set(items.tolist()) == set(
        range(40)
    )
    assert (np.diff(users) >= 0).all()
    # Few items have most of them.
    counts = np.sort(np.bincount(items))[::-1]
    assert counts[:10].sum() > 1.5 * counts[-10:].sum()


def test_rows_of_a_step_count_once():
    class Stream:
        def dataset(self, start_step, share):
            batch = {"user": [4, 4, 1], "item": [[0, 1], [1, 2], [2, 2]]}
            return tf.data.Dataset.from_tensors(batch).repeat()

    assert recommendation_scale._rows_a_step(Stream()) == 2 + 3


def test_rates_count_examples():
    def steps(count):
        taken.append(count)

    taken = []
    rate, processor_rate = contenders.timed(steps, seconds=0)
    assert taken == [3, 5, 5]
    assert rate > 0 and processor_rate > 0


def test_rivals_draw_items_that_were_not_taken():
    users, items = make_pairs(60, 40, 1000, seed=0)
    form = contenders.Form(60, 40, 8, [16, 8], batch_size=500, seconds=0)
    taken = set(zip(users.tolist(), items.tolist(), strict=True))
    drawn = []
    for _, batch in zip(
        range(20), contenders.drawn_batches(form, users, items, 4), strict=False
    ):
        for user, item, label in zip(*(part.tolist() for part in batch), strict=True):
            assert ((user, item) in taken) == (label == 1)
            drawn.append(item)
        user, _, label = batch
        assert len(user) == 500 and label.sum() == 100
        # A pair and its negatives are of one user.
        assert (user.reshape(100, 5) == user.reshape(100, 5)[:, :1]).all()
    assert len(set(drawn)) == 40


@pytest.mark.parametrize("name", ["ready", "drawn"])
def test_fit_takes_the_batches(name):
    users, items = make_pairs(60, 40, 1000, seed=0)
    form = contenders.Form(60, 40, 8, [16, 8], batch_size=500, seconds=0.01)
    batches = contenders.ready_batches(form)
    if name == "drawn":
        batches = contenders.drawn_batches(form, users, items, 4)
    rate, _ = contenders.keras_rate(form, batches)
    assert rate > 0
