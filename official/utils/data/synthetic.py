"""Made-up data of a given form, to measure the speed of a model without its input."""

from collections.abc import Mapping

import numpy as np


def like(arrays: Mapping[str, np.ndarray], num_rows: int) -> dict[str, np.ndarray]:
    """Seeded random arrays with the dtypes, row shapes and ranges of `arrays`.

    Args:
        arrays: arrays by name, at least one row each.
        num_rows: rows of the result.

    Returns:
        Integers are drawn evenly between the smallest and the largest value of the
        original, floats from a normal distribution of its mean and deviation.
    """
    generator = np.random.default_rng(0)
    made = {}
    for name, array in arrays.items():
        shape = (num_rows, *array.shape[1:])
        if array.dtype.kind in "iub":
            low, high = int(array.min()), int(array.max())
            made[name] = generator.integers(low, high + 1, shape).astype(array.dtype)
        else:
            values = generator.normal(array.mean(), array.std() or 1.0, shape)
            made[name] = values.astype(array.dtype)
    return made
