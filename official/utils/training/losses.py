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


def projected_cross_entropy(
    x: Any,
    matrix: Any,
    bias: Any,
    labels: Any,
    weights: Any,
    smoothing: float,
    parts: int,
    training: bool,
) -> tuple[Any, Any]:
    """Cross entropy of smoothed labels, from what makes the logits.

    The label has the probability 1 - smoothing, and each other class smoothing /
    (classes - 1), as in the Transformer of 2019; what a perfect guess of them costs is
    taken off, so the least possible loss is 0.

    With a large vocabulary the logits and their gradient are most of the memory of a
    step. Here they are made, used for the loss and all gradients, and dropped, part of
    the rows after part, and never computed twice.

    Args:
        x: float [rows, width].
        matrix: float [classes, width], of the dtype of `x`; logits are x times its
            transpose.
        bias: float32 [classes], or None.
        labels: integer [rows].
        weights: float32 [rows].
        smoothing: share of the target that is spread over the other classes.
        parts: how many the rows are cut into; some are empty where rows are fewer.
        training: whether gradients are made; without them nobody may ask for one.

    Returns:
        Weighted sums of the losses and of right guesses, float32 scalars; the second
        has no gradient.
    """
    has_bias = bias is not None
    size = -(-tf.shape(x)[0] // parts)

    @tf.custom_gradient
    def sums(x, matrix, *biases):
        total = hits = tf.constant(0.0)
        slopes_of_x, slope_of_matrix, slope_of_bias = [], 0.0, 0.0
        before = []
        for part in range(parts):
            own = slice(part * size, (part + 1) * size)
            # Else TensorFlow makes the logits of all parts first.
            with tf.control_dependencies(before):
                rows = tf.identity(x[own])
            logits = tf.matmul(rows, matrix, transpose_b=True)
            logits = tf.cast(logits, tf.float32)
            if has_bias:
                logits += biases[0]
            losses, gradient = _smoothed_cross_entropy(logits, labels[own], smoothing)
            total += tf.reduce_sum(losses * weights[own])
            is_hit = tf.argmax(logits, -1, output_type=labels.dtype) == labels[own]
            hits += tf.reduce_sum(tf.cast(is_hit, tf.float32) * weights[own])
            before = [total, hits]
            if training:
                slopes = gradient(weights[own])
                if has_bias:
                    slope_of_bias += tf.reduce_sum(slopes, axis=0)
                slopes = tf.cast(slopes, x.dtype)
                slopes_of_x.append(tf.matmul(slopes, matrix))
                product = tf.matmul(slopes, rows, transpose_a=True)
                slope_of_matrix += tf.cast(product, tf.float32)
                before += [slopes_of_x[-1], slope_of_matrix]

        def gradient_of_sums(upstream, _):
            assert training, "asked for the gradient of an evaluation"
            found = [tf.concat(slopes_of_x, 0), slope_of_matrix]
            if has_bias:
                found.append(slope_of_bias)
            given = (x, matrix, *biases)
            return [
                tf.cast(tf.cast(slope, tf.float32) * upstream, value.dtype)
                for slope, value in zip(found, given, strict=True)
            ]

        return (total, hits), gradient_of_sums

    return sums(x, matrix, *([bias] if has_bias else []))


def _smoothed_cross_entropy(logits, labels, smoothing):
    """Loss of each row, and a function from the losses' gradient to that of logits.

    No tensor of targets is made, and the gradient is one pass over the logits.
    """
    classes = logits.shape[-1]
    low = smoothing / (classes - 1)
    high = 1 - smoothing
    least = -sum(p * math.log(p) * n for p, n in ((high, 1), (low, classes - 1)) if p)
    largest = tf.reduce_max(logits, axis=-1, keepdims=True)
    exponentials = tf.exp(logits - largest)
    total = tf.reduce_sum(exponentials, axis=-1, keepdims=True)
    normaliser = largest + tf.math.log(total)
    places = tf.stack([tf.range(tf.size(labels), dtype=labels.dtype), labels], 1)
    own = tf.gather_nd(logits, places)
    found = normaliser[:, 0] - (high - low) * own
    if low:
        found -= low * tf.reduce_sum(logits, axis=-1)

    def gradient(upstream):
        slopes = (exponentials / total - low) * upstream[:, tf.newaxis]
        return tf.tensor_scatter_nd_sub(slopes, places, (high - low) * upstream)

    return found - least, gradient
