"""Which columns a table has, and what the wide and the deep part make of them.

What is learned from data (vocabularies, boundaries, scales) is learned here, from the
training part alone. It is plain JSON, which stands in every checkpoint.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from official.utils.errors import UserError

# A category that is not there.
MISSING = ("", "?")
# Numbers of the first ids of a category; those of the vocabulary follow.
MISSING_ID, UNSEEN_ID, FIRST_ID = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns of a table and their use.

    A number is used as such, and as the bucket that it falls into: as a category, it
    is its bucket.

    Attributes:
        categories: names of columns of text.
        numbers: names of columns of numbers.
        wide: columns whose categories have weights in the wide part.
        crosses: columns whose categories have weights in the wide part together.
        indicators: columns whose categories enter the deep part as they are.
        embedded: columns whose categories enter the deep part as vectors.
        plain: columns whose numbers enter the deep part.
        hashed: columns of text whose categories are no vocabulary but so many hashes.
        boundaries: of the buckets of some columns of numbers; those of others are
            learned.
        is_scaled: whether numbers are brought to mean 0 and deviation 1.
    """

    categories: tuple[str, ...]
    numbers: tuple[str, ...]
    wide: tuple[str, ...]
    crosses: tuple[tuple[str, ...], ...]
    indicators: tuple[str, ...]
    embedded: tuple[str, ...]
    plain: tuple[str, ...]
    hashed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    boundaries: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    is_scaled: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return self.categories + self.numbers


@dataclasses.dataclass(frozen=True)
class Limits:
    """How finely columns are cut.

    Attributes:
        min_count: how often a category stands in the training part at least; rarer ones
            are as unseen, so that there is something to learn about unseen ones.
        num_buckets: of a number, at most.
        cross_buckets: of a cross, at most; a larger one is hashed into so many.
    """

    min_count: int
    num_buckets: int
    cross_buckets: int


def learn(
    columns: Columns, table: Mapping[str, np.ndarray], limits: Limits
) -> dict[str, Any]:
    """Learns vocabularies, boundaries and scales.

    Args:
        columns: what there is to learn.
        table: columns of the training part by name: text, str [N], and numbers, float32
            [N], NaN where one is missing.
        limits: how finely.

    Returns:
        Plain JSON, from which `features.Features` is made.
    """
    keys = {*columns.wide, *columns.indicators, *columns.embedded}
    keys.update(key for cross in columns.crosses for key in cross)
    numbers = {name: table[name] for name in columns.numbers}
    return {
        "categories": list(columns.categories),
        "numbers": list(columns.numbers),
        "vocabularies": {
            name: vocabulary(table[name], limits.min_count)
            for name in columns.categories
            if name not in columns.hashed
        },
        "hashed": dict(columns.hashed),
        "boundaries": {
            name: list(columns.boundaries[name])
            if name in columns.boundaries
            else learn_boundaries(numbers[name], limits.num_buckets)
            for name in columns.numbers
            if name in keys
        },
        "scales": {
            name: scale(numbers[name]) if columns.is_scaled else [None, None, 0.0, 1.0]
            for name in columns.plain
        },
        # Lists have the order of the network's inputs: a checkpoint keeps that of lists
        # alone.
        "plain": list(columns.plain),
        "wide": [[name] for name in columns.wide] + [list(c) for c in columns.crosses],
        "cross_buckets": limits.cross_buckets,
        "indicators": list(columns.indicators),
        "embedded": list(columns.embedded),
    }


def vocabulary(values: np.ndarray, min_count: int) -> list[str]:
    """Categories in alphabetical order, without missing and rare ones."""
    counts = collections.Counter(values.tolist())
    return sorted(
        value
        for value, count in counts.items()
        if count >= min_count and value not in MISSING
    )


def learn_boundaries(values: np.ndarray, num_buckets: int) -> list[float]:
    """Boundaries between buckets of about as many rows each.

    A value that alone fills a bucket has one of its own, as the 0 of a column that is
    mostly 0; the rest is cut into equal parts.

    Args:
        values: float32 [N]; NaN does not count.
        num_buckets: at most so many.

    Returns:
        Ascending; a bucket holds its lower boundary. Halfway between two values.
    """
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    # Common values between others make more buckets than were asked for; then larger
    # ones are tried.
    growth = 1.0
    while True:
        ends = _bucket_ends(counts, num_buckets, growth)
        if len(ends) < num_buckets:
            break
        growth *= 1.1
    return [(float(distinct[i]) + float(distinct[i + 1])) / 2 for i in ends]


def _bucket_ends(counts: np.ndarray, num_buckets: int, growth: float) -> list[int]:
    """Indices of the last value of each bucket but the last."""
    total = int(counts.sum())
    is_common = counts * num_buckets > growth * total
    buckets_left = max(1, num_buckets - int(is_common.sum()))
    size = growth * int(counts[~is_common].sum()) / buckets_left
    ends, filled = [], 0
    for i in range(len(counts) - 1):
        filled += int(counts[i])
        # The next value is taken in where that brings the bucket nearer to its size.
        is_full = filled + counts[i + 1] / 2 > size
        if is_common[i] or is_common[i + 1] or is_full:
            ends.append(i)
            filled = 0
    return ends


def scale(values: np.ndarray) -> list[float]:
    """Lowest and highest value, mean and deviation."""
    values = values[~np.isnan(values)].astype(np.float64)
    if not values.size:
        return [0.0, 0.0, 0.0, 1.0]
    deviation = float(values.std())
    return [
        float(values.min()),
        float(values.max()),
        float(values.mean()),
        deviation if deviation > 0 and math.isfinite(deviation) else 1.0,
    ]


def parse_crosses(text: str, columns: Columns) -> tuple[tuple[str, ...], ...]:
    """Crosses of the flag `--crosses`.

    Args:
        text: `education*occupation,age*education`, `none`, or `pairs` for all pairs of
            the wide part's columns.
        columns: what there is to be crossed.

    Raises:
        UserError: a cross is none, or names an unknown column.
    """
    if text == "none":
        return ()
    if text == "pairs":
        names = columns.wide
        return tuple((a, b) for i, a in enumerate(names) for b in names[i + 1 :])
    crosses = []
    for part in text.split(","):
        cross = tuple(name.strip() for name in part.split("*"))
        if len(cross) < 2:
            raise UserError(
                f"--crosses={text}: {part!r} is no cross; write COLUMN*COLUMN, with "
                "commas between crosses"
            )
        for name in cross:
            if name not in columns.names:
                raise UserError(
                    f"--crosses={text}: the table has no column {name!r}; it has "
                    f"{', '.join(columns.names)}"
                )
        crosses.append(cross)
    return tuple(crosses)


def with_crosses(columns: Columns, crosses: tuple[tuple[str, ...], ...]) -> Columns:
    """The same columns with other crosses."""
    return dataclasses.replace(columns, crosses=crosses)
