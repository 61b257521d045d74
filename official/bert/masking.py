"""Hides word pieces for a network to find, anew in each epoch.

Of a sequence, a part of the pieces is chosen; in the place of each, the network sees
[MASK], another piece or the piece itself (Devlin et al. 2018,
https://arxiv.org/abs/1810.04805, appendix A.1).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.bert.text import Tokenizer
from official.bert.vocabulary import CONTINUATION
from official.utils.data import seeded

PROBABILITY = 0.15
MAX_PREDICTIONS = 20
# A chosen piece becomes [MASK] below the first, one drawn evenly from the whole
# vocabulary below the second, and stays otherwise.
_MASK_BELOW, _RANDOM_BELOW = 0.8, 0.9
# What numbers are drawn for, beside what other modules draw of the same seeds.
_PURPOSE = 16


def continuations(vocabulary: Sequence[str]) -> np.ndarray:
    """Which pieces go on with a word, bool [pieces]."""
    return np.array([piece.startswith(CONTINUATION) for piece in vocabulary], bool)


def mask(
    ids: Any,
    lengths: Any,
    seeds: Any,
    tokenizer: Tokenizer,
    probability: float = PROBABILITY,
    max_predictions: int = MAX_PREDICTIONS,
    is_continuation: np.ndarray | None = None,
) -> dict[str, tf.Tensor]:
    """Chooses pieces of each row and hides them.

    Any piece but [CLS] and [SEP] may be chosen. As many are as `probability` says of
    them, at least one and no more than `max_predictions`. Where whole words are
    chosen, they are taken in a drawn order, and one that would be too much is passed
    over; so there may be fewer then.

    A row depends on its own ids and seed alone, neither on its padding nor on the other
    rows; only the number of columns of the result does.

    Args:
        ids: int32 [rows, length], padded.
        lengths: int32 [rows], pieces of each row.
        seeds: int64 [rows, 2].
        tokenizer: of the ids; its special ids and the size of its vocabulary count.
        probability: part of the pieces that is chosen.
        max_predictions: most pieces of a row that are chosen.
        is_continuation: choose whole words, of which these pieces are not the first;
            see `continuations`. None: choose single pieces.

    Returns:
        `input_word_ids`, int32 [rows, length]: what the network sees.
        `masked_lm_positions`, int32 [rows, most chosen of a row]: the chosen places of
            each row, ascending, then 0.
        `masked_lm_ids`, int32 of the same shape: the pieces that stood there, then 0.
        `masked_lm_weights`, float32 of the same shape: 1, then 0.
    """
    ids, seeds = tf.convert_to_tensor(ids), tf.convert_to_tensor(seeds)
    length = tf.shape(ids)[1]
    is_candidate = tf.sequence_mask(lengths, length)
    is_candidate &= (ids != tokenizer.cls_id) & (ids != tokenizer.sep_id)
    candidates = tf.reduce_sum(tf.cast(is_candidate, tf.int32), axis=1)
    # float64, as Python would round.
    share = tf.round(probability * tf.cast(candidates, tf.float64))
    limits = tf.clip_by_value(tf.cast(share, tf.int32), 1, max_predictions)

    order, kinds, pieces = _draws(seeds, length + 1)
    words = _words(ids, is_candidate, is_continuation)
    is_chosen_word = _choose(_sizes(words), limits, order)
    is_chosen = tf.gather(is_chosen_word, words, batch_dims=1)

    size = len(tokenizer.vocabulary)
    # A product may be rounded up to the size itself.
    random_pieces = tf.minimum(tf.cast(pieces[:, 1:] * size, tf.int32), size - 1)
    kinds = kinds[:, 1:]
    changed = tf.where(kinds < _RANDOM_BELOW, random_pieces, ids)
    changed = tf.where(kinds < _MASK_BELOW, tokenizer.mask_id, changed)

    counts = tf.reduce_sum(tf.cast(is_chosen, tf.int32), axis=1)
    most = tf.maximum(tf.reduce_max(counts), 0)
    # Of equal values, `top_k` gives the first ones first.
    is_place, positions = tf.math.top_k(tf.cast(is_chosen, tf.int32), most)
    return {
        "input_word_ids": tf.where(is_chosen, changed, ids),
        "masked_lm_positions": positions * is_place,
        "masked_lm_ids": tf.gather(ids, positions, batch_dims=1) * is_place,
        "masked_lm_weights": tf.cast(is_place, tf.float32),
    }


def _draws(seeds, columns):
    """Three uniform numbers for each column of each row, float32 [rows, columns]."""
    columns = tf.range(tf.cast(columns, tf.int64))
    # Far from the numbers that tell rows, epochs or runs apart.
    first = seeds[:, :1] + tf.bitwise.left_shift(columns, tf.constant(40, tf.int64))
    second = tf.broadcast_to(seeds[:, 1:], tf.shape(first))
    draws = seeded.uniform(tf.stack([first, second], axis=2), 3, _PURPOSE)
    return tf.unstack(draws, axis=2)


def _words(ids, is_candidate, is_continuation):
    """Numbers of the words, from 1 on, int32 [rows, length]; 0 for what is none."""
    is_first = is_candidate
    if is_continuation is not None:
        # A segment may begin within a word, where text was cut.
        follows = tf.pad(is_candidate[:, :-1], [[0, 0], [1, 0]])
        goes_on = tf.gather(tf.constant(is_continuation), ids) & follows
        is_first &= ~goes_on
    numbers = tf.cumsum(tf.cast(is_first, tf.int32), axis=1)
    return tf.where(is_candidate, numbers, 0)


def _sizes(words):
    """Pieces of each word, int32 [rows, length + 1], 0 where there is none."""
    rows, columns = tf.shape(words)[0], tf.shape(words)[1] + 1
    slots = words + columns * tf.range(rows)[:, tf.newaxis]
    is_word = tf.cast(words > 0, tf.int32)
    sizes = tf.math.unsorted_segment_sum(is_word, slots, rows * columns)
    return tf.reshape(sizes, [rows, columns])


def _choose(sizes, limits, draws):
    """Which words are chosen, bool [rows, length + 1]."""
    # Slots without a word come last.
    order = tf.argsort(tf.where(sizes > 0, draws, 2.0), axis=1, stable=True)
    fits = _fit(tf.gather(sizes, order, batch_dims=1), limits[:, tf.newaxis])
    return tf.gather(fits, tf.argsort(order, axis=1), batch_dims=1)


def _fit(sizes, limits):
    """Takes words one after the other, without those that would pass the limit.

    Args:
        sizes: int32 [rows, words].
        limits: int32 [rows, 1].

    Returns:
        bool [rows, words].
    """

    def overflows(fits):
        filled = tf.cumsum(tf.where(fits, sizes, 0), axis=1)
        return filled, fits & (filled > limits)

    def without(fits):
        filled, is_over = overflows(fits)
        place = tf.argmax(is_over, axis=1, output_type=tf.int32)[:, tf.newaxis]
        at = tf.gather(filled - sizes, place, batch_dims=1)
        # Room never grows, so that later words of this size do not fit either.
        is_later = tf.range(tf.shape(sizes)[1]) >= place
        is_out = is_later & (sizes > limits - at)
        return (fits & ~(is_out & tf.reduce_any(is_over, axis=1, keepdims=True)),)

    (fits,) = tf.while_loop(
        lambda fits: tf.reduce_any(overflows(fits)[1]), without, (sizes > 0,)
    )
    return fits
