"""The SavedModel of boosted trees: CSV lines, records or a matrix in, classes out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.r1.boosted_trees.forest import Forest
from official.utils.export.saved_model import Signature

# What stands for a missing value in a CSV line, beside nothing and nan.
_MISSING = "NA"


def signatures(
    forest: Forest, names: Sequence[str], enable_xla: bool
) -> Mapping[str, Signature]:
    """Functions of the SavedModel.

    Args:
        forest: with one output.
        names: of the features: the order of CSV lines and matrices, and the keys of
            records.
        enable_xla: whether XLA compiles the forest. Batches then are filled up to a
            power of two, as XLA compiles anew for each size.

    Returns:
        `serving_default(inputs)` for CSV lines as in 2019, `examples(examples)` for
        serialized `tf.Example`, `matrix(features)` for float64 [N, features]. All give
        what the classifier of 2019 gave: `class_ids`, `classes`, `logistic`, `logits`,
        `probabilities`.
    """
    score = _compiled(forest) if enable_xla else forest

    def classify(rows):
        logits = score(rows)
        logistic = forest.link(logits)
        probabilities = tf.concat([1 - logistic, logistic], axis=1)
        class_ids = tf.cast(logistic > 0.5, tf.int64)
        return {
            "class_ids": class_ids,
            "classes": tf.strings.as_string(class_ids),
            "logistic": tf.cast(logistic, tf.float32),
            "logits": tf.cast(logits, tf.float32),
            "probabilities": tf.cast(probabilities, tf.float32),
        }

    def from_lines(inputs):
        fields = tf.io.decode_csv(inputs, [_missing()] * len(names), na_value=_MISSING)
        return classify(tf.stack(fields, axis=1))

    def from_examples(examples):
        form = {
            name: tf.io.FixedLenFeature([], tf.float32, default_value=np.nan)
            for name in names
        }
        columns = tf.io.parse_example(examples, form)
        return classify(tf.stack([columns[name] for name in names], axis=1))

    def from_matrix(features):
        return classify(features)

    def strings(name):
        return [tf.TensorSpec([None], tf.string, name=name)]

    matrix = [tf.TensorSpec([None, len(names)], tf.float64, name="features")]
    return {
        "serving_default": Signature(from_lines, strings("inputs")),
        "examples": Signature(from_examples, strings("examples")),
        "matrix": Signature(from_matrix, matrix),
    }


def _missing() -> Any:
    return tf.constant([np.nan], tf.float64)


def _compiled(forest: Forest):
    """The forest under XLA, with batches filled up to a power of two, 16 at least."""
    compiled = tf.function(forest, jit_compile=True)

    def score(rows):
        number = tf.shape(rows)[0]
        bits = tf.math.ceil(
            tf.math.log(tf.cast(tf.maximum(number, 16), tf.float64)) / np.log(2)
        )
        size = tf.bitwise.left_shift(1, tf.cast(bits, tf.int32))
        padded = tf.pad(tf.cast(rows, tf.float64), [[0, size - number], [0, 0]])
        return compiled(padded)[:number]

    return score
