"""From measured numbers to verdicts; nothing here reads a clock or a file.

Two questions are answered. The gate: do tonight's runs keep the recipe's bands, and are
they as fast as the nights before? The comparison: is one build as fast as another,
measured in turns on one machine?
"""

import dataclasses
import functools
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

# ---- The gate ----

# Verdicts of a recipe in one night.
GOOD, FASTER, SLOWER, WORSE = "good", "faster", "slower", "worse"
BROKEN, INTERRUPTED, SKIPPED = "broken", "interrupted", "skipped"

MIN_NIGHTS = 10
MAX_NIGHTS = 30
# Times the standard deviation that the median absolute deviation stands for.
_DEVIATIONS = 4.0
_MAD_TO_SIGMA = 1.4826


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One thing that the gate on speed looks at.

    Attributes:
        name: its key in `results.json`.
        title: its name in tables.
        higher_is_better: which way is a regression.
        margin: largest change, as a fraction, while there are too few nights.
        floor: smallest margin, as a fraction, however quiet the nights were.
        least: smallest change in its own unit that is a regression.
    """

    name: str
    title: str
    higher_is_better: bool
    margin: float
    floor: float
    least: float = 0.0


QUANTITIES = (
    Quantity("examples_per_second", "examples/s", True, margin=0.07, floor=0.03),
    # Reading packages from a cold disk takes seconds; half a second is no regression.
    Quantity("startup_seconds", "start-up", False, margin=0.25, floor=0.1, least=0.5),
    Quantity("peak_memory_bytes", "memory", False, margin=0.1, floor=0.03),
)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a quantity may be tonight.

    Attributes:
        median: of the nights before.
        low: smallest good value.
        high: largest good value.
        nights: how many nights it rests on.
    """

    median: float
    low: float
    high: float
    nights: int


def limits(quantity: Quantity, before: Sequence[float]) -> Limits | None:
    """Limits from the nights before.

    From 10 nights on they are 4 robust standard deviations (median absolute deviation,
    Hampel 1974) around the median, at least `floor`; before that `margin`.

    Args:
        quantity: what is measured.
        before: a value a night, oldest first; the last 30 count.

    Returns:
        None where there was no night before.
    """
    values = list(before)[-MAX_NIGHTS:]
    if not values:
        return None
    median = statistics.median(values)
    if len(values) < MIN_NIGHTS:
        reach = quantity.margin * median
    else:
        deviation = statistics.median(abs(value - median) for value in values)
        reach = max(
            _DEVIATIONS * _MAD_TO_SIGMA * deviation, quantity.floor * abs(median)
        )
    reach = max(reach, quantity.least)
    return Limits(median, median - reach, median + reach, len(values))


def speed_change(quantity: Quantity, value: float, allowed: Limits | None) -> int:
    """-1 for a regression, 1 for an improvement, 0 for what lies within the limits."""
    if allowed is None or allowed.low <= value <= allowed.high:
        return 0
    return 1 if (value > allowed.high) == quantity.higher_is_better else -1


def out_of_band(
    bands: Mapping[str, tuple[float, float]], metrics: Mapping[str, float | None]
) -> dict[str, str]:
    """What one run misses: a phrase by metric.

    A metric that is missing or not a number is out of every band.
    """
    found = {}
    for name, (low, high) in bands.items():
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            found[name] = f"{name} is missing or no number"
        elif not low <= value <= high:
            found[name] = f"{name} {value:.4g} is outside {low:g} to {high:g}"
    return found


# ---- The comparison ----

SAME = "same"

# `slower` needs the median beyond the first and the interval beyond the second.
MEDIAN_THRESHOLD = 0.05
INTERVAL_THRESHOLD = 0.02
CONFIDENCE = 0.99
MIN_ROUNDS = 3
MAX_ROUNDS = 15
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How the candidate's speed compares with the baseline's; above 1 is faster.

    Attributes:
        median: of the paired ratios.
        low: lower end of the bootstrap interval.
        high: its upper end.
        rounds: how many rounds it rests on.
    """

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def paired_ratio(rounds: Sequence[Sequence[float]], seed: int = 0) -> Ratio:
    """The median of paired ratios with a bootstrap interval of 99 %.

    Pairs of one round share two processes, and a process keeps a speed of its own
    (where its memory came to lie). So the bootstrap draws rounds first, and then pairs
    within each (Davison and Hinkley 1997, 3.8).

    Args:
        rounds: for each round its ratios of paired turns, positive.
        seed: of the bootstrap.
    """
    pairs = min(len(ratios) for ratios in rounds)
    table = np.log([list(ratios)[:pairs] for ratios in rounds])  # [rounds, pairs]
    number = len(table)
    # [resamples, rounds * pairs]
    resamples = table.ravel()[_resampled_positions(number, pairs, seed)]
    medians = np.median(resamples, axis=1, overwrite_input=True)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.exp(np.percentile(medians, [tail, 100 - tail]))
    return Ratio(float(np.exp(np.median(table))), float(low), float(high), number)


@functools.lru_cache(maxsize=32)
def _resampled_positions(rounds: int, pairs: int, seed: int) -> np.ndarray:
    """Positions in a table [rounds, pairs], drawn for every resample."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(rounds, size=(_RESAMPLES, rounds, 1))
    inner = generator.integers(pairs, size=(_RESAMPLES, rounds, pairs))
    return (drawn * pairs + inner).reshape(_RESAMPLES, -1)


def speed_verdict(
    ratio: Ratio,
    median_threshold: float = MEDIAN_THRESHOLD,
    interval_threshold: float = INTERVAL_THRESHOLD,
) -> str | None:
    """`slower`, `faster` or `same`; None while more rounds could decide.

    `same` before the last round means that the interval leaves no room for a change
    beyond the median's threshold.
    """
    far, near = 1 - median_threshold, 1 - interval_threshold
    if ratio.rounds >= MIN_ROUNDS:
        if ratio.median < far and ratio.high < near:
            return SLOWER
        if ratio.median > 1 / far and ratio.low > 1 / near:
            return FASTER
        if ratio.low > far and ratio.high < 1 / far:
            return SAME
    return SAME if ratio.rounds >= MAX_ROUNDS else None


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Largest absolute difference of two series as far as both go; None if empty."""
    pairs = list(zip(one, other, strict=False))
    return max((abs(a - b) for a, b in pairs), default=None)
