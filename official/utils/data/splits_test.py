import numpy as np
import pytest

from official.utils.data import splits


@pytest.mark.parametrize("num_held_out", [0, 1, 30, 100])
def test_disjoint_complete_and_sorted(num_held_out):
    kept, held_out = splits.split_indices(100, num_held_out, seed=3)
    assert kept.dtype == held_out.dtype == np.int64
    assert len(held_out) == num_held_out
    assert (np.diff(kept) > 0).all() and (np.diff(held_out) > 0).all()
    np.testing.assert_array_equal(
        np.sort(np.concatenate([kept, held_out])), np.arange(100)
    )


def test_pinned_parts():
    # Were these to change, so would every validation set and its figures.
    assert splits.split_indices(20, 5, seed=0)[1].tolist() == [2, 3, 11, 13, 15]
    assert splits.split_indices(20, 5, seed=1)[1].tolist() == [2, 9, 16, 18, 19]


def test_global_numpy_seed_has_no_effect():
    np.random.seed(1)
    first = splits.split_indices(1000, 100, seed=0)[1]
    np.random.seed(2)
    np.testing.assert_array_equal(splits.split_indices(1000, 100, seed=0)[1], first)


def test_every_index_is_held_out_equally_often():
    counts = np.zeros(50)
    for seed in range(1000):
        counts[splits.split_indices(50, 10, seed)[1]] += 1
    # 1000 draws with p = 1/5: mean 200, standard deviation 12.6; five of them.
    assert counts.sum() == 10_000
    assert counts.min() > 200 - 63 and counts.max() < 200 + 63


def test_too_many_held_out():
    with pytest.raises(AssertionError):
        splits.split_indices(10, 11, seed=0)
