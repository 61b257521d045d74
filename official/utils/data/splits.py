"""Holding out a part of a data set."""

import numpy as np


def split_indices(
    num_examples: int, num_held_out: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the indices of a data set at random into two parts.

    The parts depend on the arguments alone. They come from PCG64's raw output, which
    NumPy promises never to change; it makes no such promise for
    `Generator.permutation` (NEP 19), so a test set drawn with that could become
    another one with the next release.

    Args:
      num_examples: size of the whole set.
      num_held_out: size of the part held out, from 0 to `num_examples`.
      seed: a number from 0 on.

    Returns:
      kept: int64 [num_examples - num_held_out], ascending.
      held_out: int64 [num_held_out], ascending.
    """
    assert 0 <= num_held_out <= num_examples, (num_examples, num_held_out)
    # Ranks of random 64-bit numbers are a random order; a stable sort settles ties.
    order = np.argsort(np.random.PCG64(seed).random_raw(num_examples), kind="stable")
    order = order.astype(np.int64)
    return np.sort(order[num_held_out:]), np.sort(order[:num_held_out])
