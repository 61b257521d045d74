"""The SavedModel of recommendations: ids in, ids and scores out."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from official.recommendation import model
from official.recommendation.dataset import Dataset
from official.utils.export.saved_model import Signature

# Pairs of user and item that are scored at a time.
_BLOCK_PAIRS = 1 << 16


class Recommender:
    """Finds the best items of users among all that they did not take.

    Attributes:
        resources: tables and weights that it reads.
    """

    def __init__(self, network: model.NeuMF, data: Dataset):
        """Takes the network, and ids and items taken from the data set."""
        self._network = network
        self._num_items = len(data.item_ids)
        self._user_dtype, users = _ids(data.user_ids)
        self._item_dtype, items = _ids(data.item_ids)
        self._user_numbers = _numbers_of(users)
        self._item_numbers = _numbers_of(items)
        everything = data.interactions.test.known
        # Variables: as constants of the graph they could not be as large.
        self._taken = tf.Variable(everything.items, trainable=False)
        self._starts = tf.Variable(everything.starts, trainable=False)
        taken_by = np.bincount(everything.items, minlength=self._num_items)
        share = (taken_by / len(data.user_ids)).astype(np.float32)
        self._popularity = tf.Variable(share, trainable=False)
        self._nothing = tf.constant(
            "" if self._item_dtype == tf.string else -1, self._item_dtype
        )
        # One more, for places that stay empty.
        self._item_ids = tf.concat([items, self._nothing[tf.newaxis]], axis=0)
        self.resources = (
            self._user_numbers,
            self._item_numbers,
            self._taken,
            self._starts,
            self._popularity,
        )

    def user_spec(self, name: str) -> tf.TensorSpec:
        """Of ids of users."""
        return tf.TensorSpec([None], self._user_dtype, name=name)

    def item_spec(self, name: str) -> tf.TensorSpec:
        """Of ids of items."""
        return tf.TensorSpec([None], self._item_dtype, name=name)

    def top(self, user_id: tf.Tensor, k: int) -> dict[str, tf.Tensor]:
        """The best items.

        Args:
            user_id: [N], text or int64 as in the data.
            k: how many.

        Returns:
            `item_id` [N, k]; `score` float32 [N, k], from 0 to 1 and descending;
            `is_known` bool [N]. A user of whom nothing is known gets the items that
            most users took, and the share of users who did as score. Where fewer than
            `k` items are left, the rest is "" or -1 with score 0.
        """
        users = self._user_numbers.lookup(user_id)
        is_known = users >= 0
        size = max(1, _BLOCK_PAIRS // self._num_items)
        number = tf.size(users)
        blocks = -(-number // size)
        padded = tf.pad(users, [[0, blocks * size - number]])
        k_here = min(k, self._num_items)
        network = self._network
        # Outside of the loop: the same for all blocks.
        items = network.item_side(network.item_rows(tf.range(self._num_items)))

        def best_of(block):
            scores = self._scores(tf.maximum(block, 0), items)
            return tuple(tf.math.top_k(scores, k_here))

        scores, best = tf.map_fn(
            best_of,
            tf.reshape(padded, [-1, size]),
            fn_output_signature=(
                tf.TensorSpec([size, k_here], tf.float32),
                tf.TensorSpec([size, k_here], tf.int32),
            ),
            parallel_iterations=1,
        )
        scores = tf.reshape(scores, [-1, k_here])[:number]
        items = tf.reshape(best, [-1, k_here])[:number]
        famous, famous_items = tf.math.top_k(self._popularity, k_here)
        column = is_known[:, tf.newaxis]
        scores = tf.where(column, tf.sigmoid(scores), famous)
        items = tf.where(column, items, famous_items)
        # -inf marks what the user took; its sigmoid is 0.
        items = tf.where(scores > 0, items, self._num_items)
        rest = [[0, 0], [0, k - k_here]]
        items = tf.pad(items, rest, constant_values=self._num_items)
        return {
            "item_id": tf.gather(self._item_ids, items),
            "score": tf.pad(scores, rest),
            "is_known": is_known,
        }

    def _scores(self, users, items):
        """Logits of users with all `items`, -inf for those taken."""
        network = self._network
        scores = network.pair(network.user_side(network.user_rows(users)), items)
        starts = tf.gather(self._starts, users)
        taken = tf.ragged.range(starts, tf.gather(self._starts, users + 1))
        places = tf.stack(
            [
                tf.cast(taken.value_rowids(), tf.int32),
                tf.gather(self._taken, taken.values),
            ],
            axis=-1,
        )
        lowest = tf.fill([tf.shape(places)[0]], -np.inf)
        return tf.tensor_scatter_nd_update(
            scores, places, tf.cast(lowest, scores.dtype)
        )

    def score(self, user_id: tf.Tensor, item_id: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores pairs.

        Args:
            user_id: [N].
            item_id: [N].

        Returns:
            `score` float32 [N], from 0 to 1, also of items that the user took. An
            unknown user counts as in `top`; an unknown item has 0. `is_known` bool [N],
            whether both are known.
        """
        users = self._user_numbers.lookup(user_id)
        items = self._item_numbers.lookup(item_id)
        logits = self._network(
            {"user": tf.maximum(users, 0), "item": tf.maximum(items, 0)[:, tf.newaxis]}
        )
        fame = tf.gather(self._popularity, tf.maximum(items, 0))
        scores = tf.where(users >= 0, tf.sigmoid(logits[:, 0]), fame)
        return {
            "score": tf.where(items >= 0, scores, 0.0),
            "is_known": (users >= 0) & (items >= 0),
        }


def _ids(ids: np.ndarray):
    """The dtype of ids, and the ids as a tensor."""
    dtype = tf.int64 if ids.dtype.kind == "i" else tf.string
    return dtype, tf.constant(ids.tolist(), dtype)


def _numbers_of(ids: tf.Tensor) -> tf.lookup.StaticHashTable:
    """A table from ids to their places, -1 for others."""
    places = tf.range(tf.size(ids), dtype=tf.int32)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(ids, places), default_value=-1
    )


def signatures(
    network: model.NeuMF, data: Dataset, top_k: int
) -> Mapping[str, Signature]:
    """Functions of the SavedModel.

    Args:
        network: whose weights are stored.
        data: whose ids and taken items are.
        top_k: how many items `serving_default` gives.

    Returns:
        `serving_default(user_id)`, see `Recommender.top`, and `score(user_id,
        item_id)`, see `Recommender.score`.
    """
    recommender = Recommender(network, data)
    return {
        "serving_default": Signature(
            lambda user_id: recommender.top(user_id, top_k),
            [recommender.user_spec("user_id")],
            recommender.resources,
        ),
        "score": Signature(
            recommender.score,
            [recommender.user_spec("user_id"), recommender.item_spec("item_id")],
        ),
    }
