"""Made-up ratings whose law is known, and with it the best ranking there is.

Users and items belong to clusters of taste. A user takes items one after the other,
each time one of those that are left, with a probability in proportion to exp(score);
the score is known. So the last item is drawn by these scores from all that are left,
and no ranking finds it more often than theirs.
"""

import dataclasses

import numpy as np

from official.utils.data.ratings_files import Ratings

NUM_USERS = 3000
NUM_ITEMS = 1000
ITEMS_PER_USER = 40
_NUM_CLUSTERS = 12
_NUM_FACTORS = 8
_SPREAD = 0.35  # Of the members about the centre of their cluster.
_TASTE = 5.0  # What the taste weighs in the score,
_FAME = 0.7  # and what the item itself.
# Whatever the seed of a run, the ratings are the same.
_SEED = 7


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """Ratings, and the scores that they were drawn by.

    Attributes:
        ratings: of every user `ITEMS_PER_USER`, times from 0 on.
        scores: float32 [users, items].
    """

    ratings: Ratings
    scores: np.ndarray


def make() -> Clusters:
    """Draws the ratings; they are the same on every machine.

    Ids are texts: `user-0001`, `item-0001` and so on.
    """
    draws = np.random.PCG64(_SEED)
    centres = _normal(draws, _NUM_CLUSTERS, _NUM_FACTORS)
    tastes = _members(draws, centres, NUM_USERS)
    kinds = _members(draws, centres, NUM_ITEMS)
    scores = _TASTE * tastes @ kinds.T + _FAME * _normal(draws, 1, NUM_ITEMS)
    # With Gumbel's noise the order of the sums is that of drawing without replacement.
    noise = -np.log(-np.log(_uniform(draws, NUM_USERS, NUM_ITEMS)))
    items = np.argsort(-(scores + noise), axis=1, kind="stable")[:, :ITEMS_PER_USER]
    ratings = Ratings(
        users=np.repeat(np.arange(NUM_USERS, dtype=np.int32), ITEMS_PER_USER),
        items=items.astype(np.int32).ravel(),
        times=np.tile(np.arange(ITEMS_PER_USER, dtype=np.int64), NUM_USERS),
        user_ids=_names("user", NUM_USERS),
        item_ids=_names("item", NUM_ITEMS),
    )
    return Clusters(ratings, scores.astype(np.float32))


def _names(kind: str, number: int) -> np.ndarray:
    return np.array([f"{kind}-{i:04}" for i in range(1, number + 1)], object)


def _members(draws, centres, number) -> np.ndarray:
    """Points of length 1 about the centres."""
    cluster = draws.random_raw(number) % np.uint64(len(centres))
    points = centres[cluster.astype(np.int64)]
    points = points + _SPREAD * _normal(draws, number, _NUM_FACTORS)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _uniform(draws, *shape) -> np.ndarray:
    """Numbers between 0 and 1, from the raw output that NumPy never changes."""
    bits = draws.random_raw(int(np.prod(shape))).reshape(shape)
    return ((bits >> np.uint64(11)) + 0.5) * 2.0**-53


def _normal(draws, *shape) -> np.ndarray:
    """Normal numbers, by the transform of Box and Muller."""
    radius = np.sqrt(-2 * np.log(_uniform(draws, *shape)))
    return radius * np.cos(2 * np.pi * _uniform(draws, *shape))
