import numpy as np

from official.benchmark import recommendation_contenders as contenders
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


def test_rates_count_examples():
    def steps(count):
        taken.append(count)

    taken = []
    rate, processor_rate = contenders.timed(steps, seconds=0)
    assert taken == [3, 5, 5]
    assert rate > 0 and processor_rate > 0
