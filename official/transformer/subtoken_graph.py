r"""The subtokens of 2019 in TensorFlow operations, for a SavedModel.

Word pieces of tensorflow-text are the longest ones from left to right, too. When each
subtoken is one that begins a word, and one that goes on, they are the same, once all
characters are replaced by letters and digits: the operation takes no NUL, ends at a
character U+0011, and has a mark for pieces that go on, which must not be in the text.
"""

import functools
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text

from official.transformer.subtokens import characters, is_word
from official.transformer.text import EOS, before_end

# In the vocabulary of the operation; neither is a letter or a digit.
_GOES_ON, _UNKNOWN = "##", "[UNK]"
_PRIVATE = range(0xE000, 0xF900)
_MAX_DIGITS = 7
# Stands for numbers that are no character's, as in 2019.
_UNDEFINED = "\u3013"
# Of strings, which no other device knows: nothing is to be copied to and fro.
_DEVICE = "/cpu:0"


class SubtokenGraph:
    """Encodes and decodes; see `subtokens.SubtokenText`."""

    def __init__(self, subtokens: Sequence[str]):
        """Builds the tables.

        Args:
            subtokens: all different, each at the place of its id.
        """
        self._subtokens = list(subtokens)
        replacements = _replacements(subtokens)
        alphabet = characters(subtokens)
        self._alphabet = np.array([ord(c) for c in alphabet], np.int32)
        self._replaced = np.array([ord(replacements[c]) for c in alphabet], np.int32)
        used = set("".join(subtokens))
        unused = (chr(c) for c in _PRIVATE if chr(c) not in used)
        # Stand for themselves while a text is decoded.
        self._backslash, self._underline, self._number, self._number_end = (
            itertools.islice(unused, 4)
        )
        pieces = ["".join(map(replacements.get, each)) for each in subtokens]
        # Outside of the graph that asks first: it serves others, too.
        with tf.init_scope(), tf.device(_DEVICE):
            self._pieces = tensorflow_text.FastWordpieceTokenizer(
                [*pieces, *(_GOES_ON + piece for piece in pieces), _UNKNOWN],
                suffix_indicator=_GOES_ON,
                max_bytes_per_word=np.iinfo(np.int32).max,
                token_out_type=tf.int32,
                unknown_token=_UNKNOWN,
                no_pretokenization=True,
            )

    def encode(self, text: Any) -> tf.RaggedTensor:
        """From string [N] to int32 [N, (pieces)]."""
        with tf.device(_DEVICE):
            return self._encode(tf.strings.unicode_decode(text, "UTF-8"))

    def decode(self, ids: Any) -> tf.Tensor:
        """From int32 [N, length] to string [N]."""
        with tf.device(_DEVICE):
            inside = before_end(ids)
            return self._decode(
                inside.with_values(tf.gather(self._subtokens, inside.values))
            )

    # ---- To ids ----

    def _encode(self, texts):
        codes, rows = texts.values, texts.value_rowids()
        begins_row, ends_row = _runs(rows)
        begins, ends = _runs(_is_word(codes))
        begins, ends = begins | begins_row, ends | ends_row
        # A blank alone, between two words.
        is_left_out = tf.equal(codes, ord(" ")) & begins & ends
        is_left_out &= ~(begins_row | ends_row)
        codes, rows, begins, ends = (
            tf.boolean_mask(each, ~is_left_out) for each in (codes, rows, begins, ends)
        )
        written, lengths = self._escaped(codes, ends)
        # Where the last character of each part ends.
        splits = tf.boolean_mask(tf.cumsum(lengths), ends)
        tokens = tf.RaggedTensor.from_row_splits(
            tf.gather(self._replaced, self._place(written)),
            tf.concat([[0], splits], axis=0),
            validate=False,
        )
        found = self._pieces.tokenize(tf.strings.unicode_encode(tokens, "UTF-8"))
        ids = tf.RaggedTensor.from_value_rowids(
            found.with_values(found.values % len(self._subtokens)),
            tf.boolean_mask(rows, begins),
            nrows=texts.nrows(),
            validate=False,
        ).merge_dims(1, 2)
        return tf.concat([ids, tf.fill([texts.nrows(), 1], EOS)], axis=1)

    def _escaped(self, codes, ends):
        r"""Writes characters with those of the vocabulary.

        Args:
            codes: int32 [characters].
            ends: bool [characters], whether a part ends here, with "_".

        Returns:
            written: int32 [written].
            lengths: int64 [characters], how many are written for each.
        """
        is_known = tf.equal(tf.gather(self._alphabet, self._place(codes)), codes)
        # "\\" and "\u"
        is_pair = tf.equal(codes, ord("\\")) | tf.equal(codes, ord("_"))
        powers = 10 ** np.arange(_MAX_DIGITS, dtype=np.int32)
        digits = tf.maximum(tf.searchsorted(powers, codes, side="right"), 1)
        lengths = tf.where(is_pair, 2, tf.where(is_known, 1, digits + 2))
        with_end = lengths + tf.cast(ends, tf.int32)

        of = tf.repeat(tf.range(tf.size(codes)), with_end)
        first = tf.gather(tf.cumsum(with_end, exclusive=True), of)
        place = tf.range(tf.size(of)) - first
        # How many of the same character are behind this one; the "_" is none.
        behind = tf.gather(lengths, of) - 1 - place
        code, is_pair = tf.gather(codes, of), tf.gather(is_pair, of)
        power = tf.gather(powers, tf.clip_by_value(behind - 1, 0, _MAX_DIGITS - 1))
        digit = code // power % 10 + ord("0")
        second = tf.where(
            is_pair,
            tf.where(tf.equal(code, ord("_")), ord("u"), ord("\\")),
            tf.where(tf.equal(behind, 0), ord(";"), digit),
        )
        escaped = tf.where(tf.equal(place, 0), ord("\\"), second)
        written = tf.where(tf.gather(is_known, of) & ~is_pair, code, escaped)
        written = tf.where(behind < 0, ord("_"), written)
        return written, tf.cast(with_end, tf.int64)

    def _place(self, codes):
        """Where characters are in the alphabet, if they are."""
        place = tf.searchsorted(self._alphabet, codes)
        return tf.minimum(place, len(self._alphabet) - 1)

    # ---- And back ----

    def _decode(self, subtokens):
        text = _joined(subtokens)
        # Nothing of this goes over a "_", which ends parts.
        for pattern, rewrite in (
            (r"\\\\", self._backslash),
            (r"\\u", self._underline),
            (
                rf"\\0*([0-9]{{1,{_MAX_DIGITS}}});",
                rf"{self._number}\1{self._number_end}",
            ),
            (r"\\[0-9]+;", _UNDEFINED),
        ):
            text = tf.strings.regex_replace(text, pattern, rewrite)
        tokens = tf.strings.split(text, "_")
        tokens = tf.ragged.boolean_mask(tokens, tf.not_equal(tokens, ""))
        found = tf.strings.regex_replace(tokens.values, self._backslash, r"\\")
        found = tf.strings.regex_replace(found, self._underline, "_")
        found = self._with_characters(found)
        # The blank between two words was left out.
        first = tf.strings.substr(found, 0, 1, unit="UTF8_CHAR")
        is_word = _is_word(tf.strings.unicode_decode(first, "UTF-8").values)
        begins_row, _ = _runs(tokens.value_rowids())
        begins, _ = _runs(is_word)
        blank = tf.where(is_word & ~begins & ~begins_row, " ", "")
        return _joined(tokens.with_values(blank + found))

    def _with_characters(self, text):
        """Puts characters in the place of their numbers, string [N]."""
        parts = tf.strings.split(text, self._number)
        # Whatever does not begin with a number comes before the first one.
        pattern = f"(?s)([0-9]+){self._number_end}(.*)"
        is_number = tf.strings.regex_full_match(parts.values, pattern)
        number = tf.strings.regex_replace(parts.values, pattern, r"\1")
        number = tf.strings.to_number(tf.where(is_number, number, "0"), tf.int32)
        character = tf.strings.unicode_encode(
            number[:, tf.newaxis], "UTF-8", replacement_char=ord(_UNDEFINED)
        )
        rest = tf.strings.regex_replace(parts.values, pattern, r"\2")
        found = tf.where(is_number, character + rest, parts.values)
        return _joined(parts.with_values(found))


def _replacements(subtokens: Sequence[str]) -> dict[str, str]:
    """For each character another; one byte each for those of the longest subtokens."""
    longest: dict[str, int] = {}
    for subtoken in subtokens:
        for character in subtoken:
            longest[character] = max(longest.get(character, 0), len(subtoken))
    ordered = sorted(longest, key=lambda each: (-longest[each], each))
    others = filter(is_word, map(chr, range(sys.maxunicode)))
    return dict(zip(ordered, others, strict=False))


@functools.cache
def _word_bounds() -> np.ndarray:
    """Code points at which letters and numbers begin and end by turns, int32."""
    kinds = [is_word(chr(code)) for code in range(sys.maxunicode + 1)]
    return np.flatnonzero(np.diff([False, *kinds])).astype(np.int32)


def _is_word(codes):
    return tf.searchsorted(_word_bounds(), codes, side="right") % 2 > 0


def _runs(values):
    """Where equal values begin and end, bool [N] each, of values [N]."""
    changes = tf.not_equal(values[1:], values[:-1])
    outside = tf.fill([tf.minimum(tf.size(values), 1)], True)
    return tf.concat([outside, changes], 0), tf.concat([changes, outside], 0)


def _joined(parts):
    """One string of each row, string [N], of string [N, (parts)]."""
    # `reduce_join` would make all rows as long as the longest one.
    return tf.strings.unsorted_segment_join(
        parts.values, parts.value_rowids(), tf.cast(parts.nrows(), tf.int32)
    )
