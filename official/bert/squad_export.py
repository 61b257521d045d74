"""Answers inside a SavedModel: from strings to strings in TensorFlow operations."""

from typing import Any

import keras
import tensorflow as tf

from official.bert import sequences
from official.bert.text import Tokenizer

_NEVER = -1e9


def answer(
    network: keras.Model,
    tokenizer: Tokenizer,
    questions: Any,
    contexts: Any,
    max_length: int,
    max_query_length: int,
    max_answer_length: int,
    null_threshold: float | None,
) -> dict[str, Any]:
    """Finds the best answer to each question in one window of its text.

    Args:
        network: from `model.build_span_model`.
        tokenizer: of the network.
        questions: string [N].
        contexts: string [N]; what does not fit into a window is not read.
        max_length: most pieces of a window.
        max_query_length: most pieces of a question.
        max_answer_length: most pieces of an answer.
        null_threshold: see `squad_answers.answers`.

    Returns:
        `answers`, string [N]; and `probabilities`, float32 [N], among all spans.
    """
    asked = tokenizer.tokenize(questions)[:, :max_query_length]
    ids, starts, ends = tokenizer.tokenize_with_offsets(contexts)
    room = max_length - 3 - tf.cast(asked.row_lengths(), tf.int32)
    lengths = tf.minimum(tf.cast(ids.row_lengths(), tf.int32), room)
    is_read = (
        tf.ragged.range(tf.cast(ids.row_lengths(), tf.int32)) < room[:, tf.newaxis]
    )
    ids, starts, ends = (
        tf.ragged.boolean_mask(each, is_read) for each in (ids, starts, ends)
    )
    rows = tf.shape(questions)[0]

    def column(value):
        values = tf.fill([rows], tf.constant(value, tf.int32))
        return tf.RaggedTensor.from_uniform_row_length(values, 1)

    cls, sep, none = (
        column(value) for value in (tokenizer.cls_id, tokenizer.sep_id, -1)
    )
    sequence = tf.concat([cls, asked, sep, ids, sep], axis=1)
    segment_starts = tf.cast(asked.row_lengths(), tf.int32) + 2
    unasked = tf.zeros_like(asked) - 1
    # [N, length]: places in the text, in bytes; -1 outside it.
    starts, ends = (
        tf.concat([none, unasked, none, each, none], axis=1).to_tensor(-1)
        for each in (starts, ends)
    )
    logits = network(
        sequences.network_inputs(
            sequence.to_tensor(0), segment_starts + lengths + 1, segment_starts
        ),
        training=False,
    )
    outside = tf.where(starts < 0, _NEVER, 0.0)
    first, last = logits[..., 0], logits[..., 1]
    null = first[:, 0] + last[:, 0]
    # [N, length, length], of which a span must not end before it begins, or be long.
    sums = (first + outside)[:, :, tf.newaxis] + (last + outside)[:, tf.newaxis]
    length = tf.shape(starts)[1]
    limit = tf.minimum(max_answer_length, length) - 1
    is_span = tf.linalg.band_part(tf.ones([length, length]), 0, limit)
    spans = tf.reshape(tf.where(is_span > 0, sums, _NEVER), [rows, -1])
    best = tf.argmax(spans, axis=1, output_type=tf.int32)
    score = tf.gather(spans, best, batch_dims=1)
    begin = tf.gather(starts, best // length, batch_dims=1)
    end = tf.gather(ends, best % length, batch_dims=1)
    has_span = score > 0.5 * _NEVER
    total = tf.reduce_logsumexp(spans, axis=1)
    if null_threshold is not None:
        is_null = null - score > null_threshold
        total = tf.reduce_logsumexp(tf.stack([total, null]), axis=0)
        score = tf.where(is_null, null, score)
        has_span &= ~is_null
    size = tf.where(has_span, end - begin, 0)
    return {
        "answers": tf.strings.substr(contexts, tf.maximum(begin, 0), size),
        "probabilities": tf.exp(score - total),
    }
