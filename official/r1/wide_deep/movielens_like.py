"""Made-up ratings with a known best root mean squared error.

Users and movies have a mean of their own. A user also likes some genres more than
others, by a taste of two numbers that no column names. A rating is the sum, plus noise,
rounded to half stars.
"""

import math

import numpy as np

from official.r1.wide_deep.movielens import Parts, Ratings, split

NUM_USERS = 240
NUM_ITEMS = 500
_GENRES = ("Action", "Comedy", "Drama", "Horror", "Musical", "Western")
_STARS = np.arange(1, 11) / 2
_NOISE = 0.8
_SEED = 3


def load(seed: int) -> Parts:
    """Makes the set; only the validation part depends on the seed."""
    bits = np.random.PCG64(_SEED)

    def uniform(*shape):
        # Raw output, which NumPy promises never to change.
        raw = bits.random_raw(math.prod(shape)).reshape(shape)
        return (raw >> np.uint64(11)) * 2.0**-53

    def normal(*shape):
        # Box and Muller, 1958; 1 - u is never 0.
        radius = np.sqrt(-2 * np.log(1 - uniform(*shape)))
        return radius * np.cos(2 * np.pi * uniform(*shape))

    user_means, item_means = 0.35 * normal(NUM_USERS), 0.35 * normal(NUM_ITEMS)
    tastes = normal(NUM_USERS, 2)
    angles = 2 * np.pi * np.arange(len(_GENRES)) / len(_GENRES)
    characters = np.stack([np.cos(angles), np.sin(angles)])  # [2, genres]
    # One genre, and for every other movie a second one.
    first = np.floor(len(_GENRES) * uniform(NUM_ITEMS)).astype(int)
    second = np.floor(len(_GENRES) * uniform(NUM_ITEMS)).astype(int)
    second = np.where(uniform(NUM_ITEMS) < 0.5, second, first)
    has = np.zeros((NUM_ITEMS, len(_GENRES)))
    has[np.arange(NUM_ITEMS), first] = has[np.arange(NUM_ITEMS), second] = 1

    # Each user rates each movie once.
    num_ratings = NUM_USERS * NUM_ITEMS
    users, items = np.divmod(np.arange(num_ratings), NUM_ITEMS)
    preferences = 0.45 * tastes @ characters  # [users, genres]
    means = (
        3.1
        + user_means[users]
        + item_means[items]
        + (preferences[users] * has[items]).sum(axis=1)
    )
    stars = np.clip(np.rint(2 * (means + _NOISE * normal(num_ratings))) / 2, 0.5, 5)
    columns = {
        "user_id": np.array([f"u{i}" for i in range(NUM_USERS)], object)[users],
        "item_id": np.array([f"m{i}" for i in range(NUM_ITEMS)], object)[items],
        "timestamp": np.floor(1.4e9 + 1e8 * uniform(num_ratings)).astype(np.float32),
    }
    genres = {
        f"m{i}": tuple(genre for genre, flag in zip(_GENRES, row, strict=True) if flag)
        for i, row in enumerate(has)
    }
    ratings = Ratings(
        columns, stars.astype(np.float32), expected_stars(means).astype(np.float32)
    )
    return split(ratings, genres, seed, "movielens_like")


def expected_stars(means: np.ndarray) -> np.ndarray:
    """The mean of a normal number of deviation `_NOISE` that is rounded and cut.

    Args:
        means: of the normal numbers, [N].
    """
    edges = (_STARS[1:] + _STARS[:-1]) / 2
    # The star is the lowest one plus half a star for each edge that is passed.
    scaled = (means[:, np.newaxis] - edges) / (_NOISE * math.sqrt(2))
    passed = 0.5 * (1 + np.vectorize(math.erf)(scaled))
    return _STARS[0] + 0.5 * passed.sum(axis=1)
