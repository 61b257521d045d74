"""From users, movies and times to what the rating network takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from official.r1.wide_deep.columns import FIRST_ID, scale, vocabulary
from official.r1.wide_deep.features import id_table, scaled
from official.r1.wide_deep.movielens import Parts

CATEGORIES = ("user_id", "item_id", "genres")
NUMBERS = ("timestamp",)


def learn(parts: Parts, min_count: int) -> dict[str, Any]:
    """Learns vocabularies, the scale of time and the mean rating.

    Args:
        parts: the data set; only ratings of the training part are looked at.
        min_count: users and movies with fewer ratings are as unseen.

    Returns:
        Plain JSON.
    """
    train = parts.train
    names = sorted({genre for genres in parts.genres.values() for genre in genres})
    places = {genre: place for place, genre in enumerate(names)}
    return {
        "users": vocabulary(train.columns["user_id"], min_count),
        "items": vocabulary(train.columns["item_id"], min_count),
        "genres": names,
        # Also of movies that nobody of the training part rated.
        "genres_of_items": {
            item: [places[genre] for genre in genres]
            for item, genres in parts.genres.items()
        },
        "time_scale": scale(train.columns["timestamp"]),
        "mean_rating": float(train.ratings.astype(np.float64).mean()),
        "rating_range": [float(train.ratings.min()), float(train.ratings.max())],
    }


class RatingFeatures:
    """Turns columns into ids and numbers.

    Attributes:
        resources: tables that a SavedModel has to hold.
        num_users: ids of users, missing and unseen ones included.
        num_items: the same of movies.
        num_genres: how many there are.
    """

    def __init__(self, facts: Mapping[str, Any]):
        """Builds the tables of what `learn` returned."""
        self._time_scale = facts["time_scale"]
        self._users = id_table(facts["users"])
        self._items = id_table(facts["items"])
        self._genres = id_table(facts["genres"])
        # The last row is for movies of which nothing is known.
        known = list(facts["genres_of_items"])
        self._rows = id_table(known)
        flags = np.zeros((FIRST_ID + len(known), len(facts["genres"])), np.float32)
        for row, places in enumerate(facts["genres_of_items"].values(), FIRST_ID):
            flags[row, places] = 1
        self._flags = flags
        self.resources = [self._users, self._items, self._genres, self._rows]
        self.num_users = FIRST_ID + len(facts["users"])
        self.num_items = FIRST_ID + len(facts["items"])
        self.num_genres = len(facts["genres"])

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Transforms a batch.

        Args:
            columns: `user_id` and `item_id`, string [N]; `genres`, string [N], with `|`
                between them, where it is empty those that the movie's id stands for;
                `timestamp`, float32 [N].

        Returns:
            `user` and `item`, int32 [N]; `genres`, float32 [N, genres], 0 or 1; `time`,
            float32 [N].
        """
        items = tf.strings.strip(columns["item_id"])
        known = tf.gather(tf.constant(self._flags), self._rows.lookup(items))
        given = tf.strings.split(columns["genres"], "|")
        ids = self._genres.lookup(tf.strings.strip(given.flat_values))
        hot = tf.one_hot(ids - FIRST_ID, self.num_genres)  # Unknown ones are no row.
        given_flags = tf.math.unsorted_segment_max(
            hot, given.value_rowids(), tf.cast(given.nrows(), tf.int64)
        )
        is_given = tf.strings.length(tf.strings.strip(columns["genres"])) > 0
        # A row without any word has the least number there is as its largest.
        flags = tf.maximum(tf.where(is_given[:, tf.newaxis], given_flags, known), 0.0)
        return {
            "user": tf.cast(
                self._users.lookup(tf.strings.strip(columns["user_id"])), tf.int32
            ),
            "item": tf.cast(self._items.lookup(items), tf.int32),
            "genres": flags,
            "time": scaled(columns["timestamp"], *self._time_scale),
        }
