"""Translations from a network: beam search, greedy search and sampling, in the graph.

The search of Wu et al., 2016, arXiv:1609.08144, as the Transformer of 2019 has it: the
best `beam_size` unfinished translations are followed; those that end are put aside, and
a sentence is done as soon as none that is still followed can become better than what
was put aside. Nothing of a sentence depends on the others of its batch.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from official.utils.errors import UserError

# Scores of what there is not.
_NONE = -1e9
# Steps for which there is room in the cache at a time.
_CHUNK = 16


@dataclasses.dataclass(frozen=True)
class DecodingOptions:
    """How translations are found.

    Attributes:
        beam_size: unfinished translations that are followed; 1 is greedy search.
        length_penalty: alpha; see `decode`.
        max_extra_length: pieces that a translation may have more than its sentence.
        sampling_temperature: above 0 pieces are drawn, at this temperature, and
            `beam_size` has to be 1.
        seed: of the draws, beside the sentence itself.
    """

    beam_size: int = 4
    length_penalty: float = 0.6
    max_extra_length: int = 50
    sampling_temperature: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if self.beam_size < 1:
            raise UserError(f"--beam_size={self.beam_size}: should be at least 1")
        if self.sampling_temperature and self.beam_size > 1:
            raise UserError(
                f"--sampling_temperature={self.sampling_temperature} draws one "
                f"translation; give --beam_size=1 with it, not {self.beam_size}"
            )


def decode(model: Any, inputs: Any, options: DecodingOptions) -> dict[str, Any]:
    """Finds translations.

    A score is the log probability divided by ((5 + length) / 6) ** length_penalty,
    where the length counts the end-of-sentence piece. A translation that reaches its
    greatest length without an end counts as it is.

    Args:
        model: a `model.Transformer`.
        inputs: int32 [batch, length], each row with its end-of-sentence piece, padded.
        options: see there.

    Returns:
        `outputs`, int32 [batch, beam_size, longest], the best first, with their
        end-of-sentence piece and padding behind it; and `scores`, float32 [batch,
        beam_size].
    """
    config = model.config
    is_there = tf.not_equal(inputs, config.pad_id)
    # The sentence's own end is none of its pieces.
    lengths = tf.reduce_sum(tf.cast(is_there, tf.int32), axis=1) - 1
    limits = tf.maximum(lengths, 0) + options.max_extra_length + 1
    find = _greedy if options.beam_size == 1 else _beam_search
    return find(model, inputs, limits, options)


def _penalty(length: Any, alpha: float) -> Any:
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** alpha


def _log_sum(logits: Any, largest: Any) -> Any:
    """The logarithm of the sum of exponentials of the last axis."""
    sums = tf.reduce_sum(tf.exp(logits - largest), axis=-1)
    return tf.math.log(sums) + largest[..., 0]


# ---- One translation of each sentence ----


def _greedy(model, inputs, limits, options):
    config, rows = model.config, tf.shape(inputs)[0]
    source, matrices = model.start(inputs), model.cast_matrices()
    longest = tf.reduce_max(limits)
    keys = _keys(inputs, options.seed)

    def is_open(time, ids, outputs, totals, is_done, cache):
        return (time < longest) & ~tf.reduce_all(is_done)

    def step(time, ids, outputs, totals, is_done, cache):
        cache, room = _with_room(model, cache, rows, 1, time)
        visible = tf.tile((tf.range(room) <= time)[None, None], [rows, 1, 1])
        with model.reading(matrices):
            logits, cache = model.step(ids, time, visible, source, cache)
        logits = logits[:, 0]
        if options.sampling_temperature:
            noise = _gumbel(keys, time, config.vocab_size)
            picked = tf.argmax(
                logits / options.sampling_temperature + noise, -1, tf.int32
            )
        else:
            picked = tf.argmax(logits, -1, tf.int32)
        chosen = tf.gather(logits, picked, batch_dims=1)
        largest = tf.reduce_max(logits, axis=-1, keepdims=True)
        gain = chosen - _log_sum(logits, largest)
        totals += tf.where(is_done, 0.0, gain)
        picked = tf.where(is_done, config.pad_id, picked)
        outputs = tf.concat([outputs, picked[:, None]], axis=1)
        is_done |= (picked == config.eos_id) | (time + 1 >= limits)
        return time + 1, picked[:, None], outputs, totals, is_done, cache

    first = (
        tf.constant(0),
        tf.fill([rows, 1], config.start_id),
        tf.zeros([rows, 0], tf.int32),
        tf.zeros([rows]),
        tf.zeros([rows], tf.bool),
        model.empty_cache(rows, 1, _CHUNK),
    )
    shapes = (
        tf.TensorShape([]),
        tf.TensorShape([None, 1]),
        tf.TensorShape([None, None]),
        tf.TensorShape([None]),
        tf.TensorShape([None]),
        _cache_shapes(first[-1]),
    )
    _, _, outputs, totals, _, _ = tf.while_loop(is_open, step, first, shapes)
    length = tf.reduce_sum(tf.cast(outputs != config.pad_id, tf.int32), axis=1)
    scores = totals / _penalty(length, options.length_penalty)
    return {"outputs": outputs[:, None], "scores": scores[:, None]}


def _keys(inputs, seed):
    """A pair of numbers a row, from the sentence alone, wherever it stands."""
    places = tf.range(1, tf.shape(inputs)[1] + 1, dtype=tf.int64)
    sums = tf.reduce_sum(tf.cast(inputs, tf.int64) * places * 2_654_435_761, axis=1)
    return tf.stack([sums, tf.fill(tf.shape(sums), tf.constant(seed, tf.int64))], 1)


def _gumbel(keys, time, size):
    """float32 [rows, size]: the largest sum with it is a draw by the logits."""

    def of_row(key):
        key = tf.random.fold_in(key, tf.cast(time, tf.int64), alg="philox")
        return tf.random.stateless_uniform([size], key, 1e-7, 1.0, alg="philox")

    numbers = tf.map_fn(of_row, keys, fn_output_signature=tf.float32)
    return -tf.math.log(-tf.math.log(numbers))


# ---- Several ----


def _beam_search(model, inputs, limits, options):
    config, beams, alpha = model.config, options.beam_size, options.length_penalty
    rows = tf.shape(inputs)[0]
    source, matrices = model.start(inputs), model.cast_matrices()
    longest = tf.reduce_max(limits)
    own = tf.eye(beams, dtype=tf.bool)

    def is_open(time, ids, live, totals, seen, ended, scores, is_done, cache):
        return (time < longest) & ~tf.reduce_all(is_done)

    def step(time, ids, live, totals, seen, ended, scores, is_done, cache):
        cache, room = _with_room(model, cache, rows, beams, time)
        # [rows, beams, slots]: each beam sees its history, and itself.
        seen = tf.concat([seen, tf.tile(own[None], [rows, 1, 1])], axis=2)
        rest = room * beams - tf.shape(seen)[2]
        visible = tf.pad(seen, [[0, 0], [0, 0], [0, rest]])
        with model.reading(matrices):
            logits, cache = model.step(ids, time, visible, source, cache)

        # Twice as many as beams, for one half of them may end.
        best, pieces = tf.math.top_k(logits, min(2 * beams, config.vocab_size))
        best += (totals - _log_sum(logits, best[:, :, :1]))[:, :, None]
        number = best.shape[2]
        best, places = tf.math.top_k(tf.reshape(best, [rows, beams * number]), number)
        parents = places // number
        pieces = tf.gather(
            tf.reshape(pieces, [rows, beams * number]), places, batch_dims=1
        )
        histories = tf.concat(
            [tf.gather(live, parents, batch_dims=1), pieces[:, :, None]], axis=2
        )
        is_end = pieces == config.eos_id

        # What ends, and at the greatest length all that is left, is put aside.
        is_last = time + 1 >= limits
        first = (
            tf.range(number)
            - tf.cast(tf.math.cumsum(tf.cast(is_end, tf.int32), axis=1), tf.int32)
            < beams
        )
        counts = is_end | (is_last[:, None] & first)
        counts &= ~is_done[:, None] & (best > _NONE / 2)
        news = tf.where(counts, best / _penalty(time + 1, alpha), _NONE)
        ended = tf.pad(ended, [[0, 0], [0, 0], [0, 1]], constant_values=config.pad_id)
        ended = tf.concat([ended, histories], axis=1)
        scores, kept = tf.math.top_k(tf.concat([scores, news], axis=1), beams)
        ended = tf.gather(ended, kept, batch_dims=1)

        # The best of the others go on.
        totals, picked = tf.math.top_k(tf.where(is_end, _NONE, best), beams)
        live = tf.gather(histories, picked, batch_dims=1)
        seen = tf.gather(seen, tf.gather(parents, picked, batch_dims=1), batch_dims=1)
        # No longer translation has a better score than this.
        hope = totals[:, 0] / _penalty(limits, alpha)
        is_done |= is_last | (scores[:, -1] >= hope)
        ids = live[:, :, -1]
        return time + 1, ids, live, totals, seen, ended, scores, is_done, cache

    first = (
        tf.constant(0),
        tf.fill([rows, beams], config.start_id),
        tf.zeros([rows, beams, 0], tf.int32),
        # All beams begin alike, so one of them is enough.
        tf.tile(tf.constant([[0.0] + [_NONE] * (beams - 1)]), [rows, 1]),
        tf.zeros([rows, beams, 0], tf.bool),
        tf.zeros([rows, beams, 0], tf.int32),
        tf.fill([rows, beams], _NONE),
        tf.zeros([rows], tf.bool),
        model.empty_cache(rows, beams, _CHUNK),
    )
    shapes = (
        tf.TensorShape([]),
        tf.TensorShape([None, beams]),
        tf.TensorShape([None, beams, None]),
        tf.TensorShape([None, beams]),
        tf.TensorShape([None, beams, None]),
        tf.TensorShape([None, beams, None]),
        tf.TensorShape([None, beams]),
        tf.TensorShape([None]),
        _cache_shapes(first[-1]),
    )
    found = tf.while_loop(is_open, step, first, shapes)
    outputs, scores = found[5], found[6]
    return {"outputs": outputs, "scores": scores}


# ---- The cache ----


def _cache_shapes(cache):
    return tf.nest.map_structure(
        lambda values: tf.TensorShape([None, values.shape[-1]]), cache
    )


def _with_room(model, cache, rows, beams, time):
    """The cache with a slot for step `time`, and the steps there is room for."""
    room = (time // _CHUNK + 1) * _CHUNK
    is_full = (time > 0) & (time % _CHUNK == 0)
    cache = tf.cond(
        is_full,
        lambda: model.grown_cache(cache, rows, beams, _CHUNK),
        lambda: cache,
    )
    return cache, room
