"""From word pieces to the sequences that the network reads, and to its inputs.

The same functions prepare batches of a run and stand in the SavedModel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.bert.text import Tokenizer
from official.utils.data.buckets import Ragged

# Texts that are tokenised at a time.
_CHUNK = 4096


def pack(tokenizer: Tokenizer, texts: Sequence[Any], max_length: int):
    """A sequence for each text, [CLS] a [SEP], or each pair, [CLS] a [SEP] b [SEP].

    What is too long is cut at its end; of a pair, the longer one first, until both are
    equally long, as in the original.

    Args:
        tokenizer: of the network.
        texts: one or two tensors, string [N].
        max_length: most pieces of a sequence.

    Returns:
        ids: int32 ragged [N, (pieces)].
        segment_starts: int32 [N], where the second segment begins; the length of the
            sequence where there is none.
    """
    pieces = [tokenizer.tokenize(text) for text in texts]
    room = max_length - 1 - len(pieces)
    lengths = [tf.cast(each.row_lengths(), tf.int32) for each in pieces]
    if len(pieces) == 1:
        limits = [tf.minimum(lengths[0], room)]
    else:
        first, second = lengths
        limits = [
            tf.minimum(first, tf.maximum(room - second, (room + 1) // 2)),
            tf.minimum(second, tf.maximum(room - first, room // 2)),
        ]
    rows = tf.shape(limits[0])[0]
    parts = [_column(rows, tokenizer.cls_id)]
    for each, length, limit in zip(pieces, lengths, limits, strict=True):
        is_kept = tf.ragged.range(length) < tf.expand_dims(limit, 1)
        parts += [
            tf.ragged.boolean_mask(each, is_kept),
            _column(rows, tokenizer.sep_id),
        ]
    return tf.concat(parts, axis=1), limits[0] + 2


def _column(rows, piece: int):
    """`piece` in each row, int32 ragged [rows, (1)]."""
    values = tf.fill([rows], tf.constant(piece, tf.int32))
    return tf.RaggedTensor.from_uniform_row_length(values, 1)


def pack_all(
    tokenizer: Tokenizer,
    text_a: Sequence[str],
    text_b: Sequence[str] | None,
    max_length: int,
) -> tuple[Ragged, np.ndarray]:
    """Sequences of a whole data set, in memory.

    Args:
        tokenizer: of the network.
        text_a: the texts, or the first of each pair.
        text_b: the second ones, or None.
        max_length: most pieces of a sequence.

    Returns:
        The ids, and where the second segment begins, int32 [N]; see `pack`.
    """
    columns = [text_a] if text_b is None else [text_a, text_b]
    packed = tf.function(
        lambda *texts: pack(tokenizer, texts, max_length),
        input_signature=[tf.TensorSpec([None], tf.string)] * len(columns),
        autograph=False,
    )
    values, lengths, starts = [], [], []
    for first in range(0, len(text_a), _CHUNK):
        chunk = [tf.constant(column[first : first + _CHUNK]) for column in columns]
        ids, segment_starts = packed(*chunk)
        values.append(ids.values.numpy())
        lengths.append(ids.row_lengths().numpy())
        starts.append(segment_starts.numpy())
    if not values:
        return Ragged.of([]), np.zeros(0, np.int32)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return Ragged(np.concatenate(values), offsets), np.concatenate(starts)


def network_inputs(ids: Any, lengths: Any, segment_starts: Any) -> dict[str, Any]:
    """What the encoder reads.

    Args:
        ids: int32 [batch, length], padded.
        lengths: int32 [batch], pieces of each row.
        segment_starts: int32 [batch], where the second segment begins.

    Returns:
        `input_word_ids`, `input_mask` and `input_type_ids`, int32 [batch, length] each.
    """
    place = tf.range(tf.shape(ids)[1])
    is_there = place < tf.expand_dims(lengths, 1)
    is_second = is_there & (place >= tf.expand_dims(segment_starts, 1))
    return {
        "input_word_ids": ids,
        "input_mask": tf.cast(is_there, tf.int32),
        "input_type_ids": tf.cast(is_second, tf.int32),
    }


def serving_inputs(
    tokenizer: Tokenizer, texts: Sequence[Any], max_length: int
) -> Mapping[str, Any]:
    """The network's inputs for texts as they come, string [N] each."""
    ids, starts = pack(tokenizer, texts, max_length)
    lengths = tf.cast(ids.row_lengths(), tf.int32)
    return network_inputs(ids.to_tensor(0), lengths, starts)
