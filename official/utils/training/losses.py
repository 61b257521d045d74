"""Losses that several models share."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from official.utils.training.task import Loss


def classification_loss(
    logits: Any,
    batch: Mapping[str, Any],
    targets: Any = None,
    label_smoothing: float = 0.0,
    top_k: int | None = None,
) -> Loss:
    """Cross entropy and accuracy of one class out of several.

    Args:
        logits: float [batch, classes].
        batch: `label`, integer [batch]; `example_weight`, float32 [batch], where rows
            do not all count.
        targets: float32 [batch, classes], probabilities to be learnt where they are
            not those of `label` alone. Accuracy always goes by `label`.
        label_smoothing: share of the target that is spread evenly over all classes
            (Szegedy et al. 2016, arXiv:1512.00567).
        top_k: also count an example as right if its label is among so many best
            guesses; not where there are no more classes than that.

    Returns:
        Sums over the batch, with the metric `accuracy`, and `top_<k>_accuracy`.
    """
    labels = batch["label"]
    # A loss in half precision would lose what the network gained.
    logits = tf.cast(logits, tf.float32)
    num_classes = logits.shape[-1]
    if targets is None and not label_smoothing:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    else:
        if targets is None:
            targets = tf.one_hot(labels, num_classes)
        targets = targets * (1 - label_smoothing) + label_smoothing / num_classes
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    guesses = tf.argmax(logits, axis=-1, output_type=labels.dtype)
    hits = {"accuracy": guesses == labels}
    if top_k and top_k < num_classes:
        own = tf.gather(logits, labels, batch_dims=1)
        better = tf.math.count_nonzero(logits > own[:, tf.newaxis], axis=-1)
        hits[f"top_{top_k}_accuracy"] = better < top_k
    weights = batch.get("example_weight", tf.ones_like(losses))
    weight = tf.reduce_sum(weights)
    return Loss(
        total=tf.reduce_sum(losses * weights),
        weight=weight,
        metrics={
            name: (tf.reduce_sum(tf.cast(hit, tf.float32) * weights), weight)
            for name, hit in hits.items()
        },
    )


def smoothed_cross_entropy(logits: Any, labels: Any, smoothing: float) -> Any:
    """Cross entropy of smoothed labels, less what a perfect guess of them costs.

    The label has the probability 1 - smoothing, and each other class smoothing /
    (classes - 1), as in the Transformer of 2019; the least possible loss is 0. No
    tensor of targets is made, and the gradient is one pass over the logits.

    Args:
        logits: float32 [rows, classes].
        labels: integer [rows].
        smoothing: share of the target that is spread over the other classes.

    Returns:
        float32 [rows].
    """
    classes = logits.shape[-1]
    low = smoothing / (classes - 1)
    high = 1 - smoothing
    least = -sum(p * math.log(p) * n for p, n in ((high, 1), (low, classes - 1)) if p)

    @tf.custom_gradient
    def losses(logits):
        largest = tf.reduce_max(logits, axis=-1, keepdims=True)
        total = tf.reduce_sum(tf.exp(logits - largest), axis=-1, keepdims=True)
        normaliser = largest + tf.math.log(total)
        places = tf.stack([tf.range(tf.size(labels), dtype=labels.dtype), labels], 1)
        own = tf.gather_nd(logits, places)
        found = normaliser[:, 0] - (high - low) * own
        if low:
            found -= low * tf.reduce_sum(logits, axis=-1)

        def gradient(upstream):
            slopes = (tf.exp(logits - normaliser) - low) * upstream[:, tf.newaxis]
            return tf.tensor_scatter_nd_sub(slopes, places, (high - low) * upstream)

        return found - least, gradient

    return losses(logits)
