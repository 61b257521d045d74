"""Losses that several models share."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from official.utils.training.task import Loss


def classification_loss(logits: Any, batch: Mapping[str, Any]) -> Loss:
    """Cross entropy and accuracy of one class out of several.

    Args:
        logits: float [batch, classes].
        batch: `label`, integer [batch]; `example_weight`, float32 [batch], where rows
            do not all count.

    Returns:
        Sums over the batch, with the metric `accuracy`.
    """
    labels = batch["label"]
    # A loss in half precision would lose what the network gained.
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    guesses = tf.argmax(logits, axis=-1, output_type=labels.dtype)
    hits = tf.cast(guesses == labels, tf.float32)
    weights = batch.get("example_weight", tf.ones_like(losses))
    weight = tf.reduce_sum(weights)
    return Loss(
        total=tf.reduce_sum(losses * weights),
        weight=weight,
        metrics={"accuracy": (tf.reduce_sum(hits * weights), weight)},
    )
