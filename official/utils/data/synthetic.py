"""Made-up data of a given form, to measure the speed of a model without its input."""

from collections.abc import Mapping

import numpy as np


def like(
    arrays: Mapping[str, np.ndarray], num_rows: int, by_column: bool = False
) -> dict[str, np.ndarray]:
    """Seeded random arrays with the dtypes, row shapes and ranges of `arrays`.

    Args:
        arrays: arrays by name, at least one row each.
        num_rows: rows of the result.
        by_column: whether each place of a row has a range of its own, as where columns
            are ids of different things.

    Returns:
        Integers are drawn evenly between the smallest and the largest value of the
        original, floats from a normal distribution of its mean and deviation.
    """
    generator = np.random.default_rng(0)
    axis = 0 if by_column else None
    made = {}
    for name, array in arrays.items():
        shape = (num_rows, *array.shape[1:])
        if array.dtype.kind in "iub":
            low = array.min(axis).astype(np.int64)
            high = array.max(axis).astype(np.int64)
            made[name] = generator.integers(low, high + 1, shape).astype(array.dtype)
        else:
            deviation = array.std(axis)
            deviation = np.where(deviation, deviation, 1.0)
            values = generator.normal(array.mean(axis), deviation, shape)
            made[name] = values.astype(array.dtype)
    return made
