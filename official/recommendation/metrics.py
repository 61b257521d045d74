"""How high a user's held-out item stands among others."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

K = 10


class Standing(NamedTuple):
    """How held-out items stand among others, [batch] each.

    Attributes:
        rank: int32, how many others stand before the own item; 0 is the first place.
        own: float32, its score.
        others: float32, how many others there are.
        others_cost: float32, the sum of softplus of their scores: their cross entropy,
            as scores are logits.
    """

    rank: tf.Tensor
    own: tf.Tensor
    others: tf.Tensor
    others_cost: tf.Tensor


def standings(
    batch: Mapping[str, tf.Tensor],
    score_pairs: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    score_all: Callable[[tf.Tensor], tf.Tensor],
) -> Standing:
    """Ranks the held-out items of a batch.

    Ties count against the model: an item with the same score stands before. So does one
    whose score is not a number, and all do where the own score is none.

    Args:
        batch: of `sampling.HeldOutStream`.
        score_pairs: scores, float32 [batch, items], of users [batch] with items [batch,
            items]; for listed items.
        score_all: scores, float32 [batch, all items], of users [batch]; for all.
    """
    if "known_item" in batch:
        return _among_all(batch, score_all(batch["user"]))
    scores = score_pairs(batch["user"], batch["item"])
    own, others = scores[:, 0], scores[:, 1:]
    counts = batch["counts"][:, 1:]
    is_before = tf.logical_not(others < own[:, tf.newaxis]) & counts
    return Standing(
        tf.math.count_nonzero(is_before, axis=-1, dtype=tf.int32),
        own,
        tf.reduce_sum(tf.cast(counts, tf.float32), axis=-1),
        tf.reduce_sum(tf.where(counts, tf.nn.softplus(others), 0.0), axis=-1),
    )


def _among_all(batch, scores) -> Standing:
    """The same for all items but those that the user knows, the own one among them."""
    own = tf.gather(scores, batch["item"][:, 0], batch_dims=1)
    is_before = tf.logical_not(scores < own[:, tf.newaxis])
    places = tf.stack([batch["known_row"], batch["known_item"]], axis=-1)
    number = tf.size(own)

    def of_known(values):
        known = tf.gather_nd(values, places)
        return tf.math.unsorted_segment_sum(known, batch["known_row"], number)

    before = tf.cast(is_before, tf.int32)
    costs = tf.nn.softplus(scores)
    num_known = of_known(tf.ones_like(scores))
    return Standing(
        tf.reduce_sum(before, axis=-1) - of_known(before),
        own,
        tf.cast(tf.shape(scores)[1], tf.float32) - num_known,
        tf.reduce_sum(costs, axis=-1) - of_known(costs),
    )


def hit_and_gain(rank: tf.Tensor, k: int = K) -> tuple[tf.Tensor, tf.Tensor]:
    """Hit rate and normalised discounted cumulative gain of one held-out item.

    Args:
        rank: integer [batch], 0 for the first place.
        k: places that count.

    Returns:
        float32 [batch] each: 1 or 0; log 2 / log(rank + 2) or 0.
    """
    hit = tf.cast(rank < k, tf.float32)
    return hit, hit * math.log(2) / tf.math.log(tf.cast(rank, tf.float32) + 2)
