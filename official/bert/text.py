"""From text to the ids of word pieces, in TensorFlow operations.

Text is normalised and divided into words by the table of `characters`, and the words
into the longest pieces of the vocabulary, from left to right, by tensorflow-text. Its
own normalisation differs from that of BERT in many characters, though not in ASCII,
where its operation for both is taken, as it is four times as fast.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from official.bert import characters
from official.bert.vocabulary import CONTINUATION, SPECIAL
from official.utils.errors import UserError

# Longer words are [UNK].
MAX_CHARACTERS = 100
# In UTF-8.
_MAX_BYTES = 4 * MAX_CHARACTERS
# ASCII without control characters other than white space.
_PLAIN = r"[\t\n\r -~]*"
# More than there are.
_NUM_KINDS = 8
# Of strings, which no other device knows: nothing is to be copied to and fro.
_DEVICE = "/cpu:0"


class Words:
    """Normalises texts and divides them into words: punctuation marks are some, too."""

    def __init__(self, lower_case: bool):
        """Builds the table.

        Args:
            lower_case: for uncased networks, which read no accents either.
        """
        table = characters.table(lower_case)
        with tf.device(_DEVICE):
            # Code points and their kinds in one number: a look-up costs more than this.
            self._table = tf.RaggedTensor.from_row_splits(
                tf.constant(table.codes * _NUM_KINDS + table.kinds),
                tf.constant(table.splits),
                validate=False,
            )
            self._is_accent = tf.constant(table.is_accent)

    def split(self, text: Any) -> tf.RaggedTensor:
        """Finds the words.

        Args:
            text: string [N], UTF-8; what is invalid is passed over.

        Returns:
            string [N, (words)], normalised.
        """
        return self._split(tf.strings.unicode_decode(text, "UTF-8"))[0]

    def split_with_offsets(self, text: Any) -> tuple[Any, Any, Any]:
        """Finds the words and where they stand.

        Args:
            text: string [N], UTF-8; what is invalid is passed over.

        Returns:
            words: string [N, (words)], normalised.
            starts: int32 [words], where each begins, in bytes of its text.
            ends: int32 [words], where it ends, its accents included.
        """
        codes, starts = tf.strings.unicode_decode_with_offsets(text, "UTF-8")
        # Without the accents a character ends where the next one begins.
        is_kept = ~tf.gather(self._is_accent, characters.rows(codes.values, tf))
        is_kept = codes.with_values(is_kept)
        codes, starts = (
            tf.ragged.boolean_mask(each, is_kept) for each in (codes, starts)
        )
        sizes = tf.strings.length(text)[:, tf.newaxis]
        starts = tf.cast(starts, tf.int32)
        ends = tf.concat([starts, sizes], axis=1)[:, 1:]
        words, first, last = self._split(codes)
        return words, tf.gather(starts.values, first), tf.gather(ends.values, last)

    def _split(self, codes):
        """Finds the words of code points, int32 [N, (characters)].

        Returns:
            words: string [N, (words)].
            first, last: int64 [words], the places of the first and last character of
                each in `codes.values`.
        """
        found = tf.gather(self._table, characters.rows(codes.values, tf))
        kinds = found.values % _NUM_KINDS
        written = found.values // _NUM_KINDS
        row_splits = tf.gather(found.row_splits, codes.row_splits)
        is_single, is_space = kinds == characters.SINGLE, kinds == characters.SPACE
        ends_word = tf.concat([[True], is_single | is_space], axis=0)[:-1]
        is_first = (ends_word | is_single | _is_start(row_splits)) & ~is_space
        # Words follow each other without the spaces.
        first = tf.where(is_first)[:, 0]
        splits = tf.gather(_count_before(~is_space), first)
        kept = tf.boolean_mask(written, ~is_space)
        splits = tf.concat([splits, [tf.size(kept, tf.int64)]], axis=0)
        words = tf.RaggedTensor.from_row_splits(kept, splits, validate=False)
        words = tf.RaggedTensor.from_row_splits(
            tf.strings.unicode_encode(words, "UTF-8"),
            tf.gather(_count_before(is_first), row_splits),
            validate=False,
        )
        of_kept = tf.boolean_mask(found.value_rowids(), ~is_space)
        return (
            words,
            tf.gather(of_kept, splits[:-1]),
            tf.gather(of_kept, splits[1:] - 1),
        )


class Tokenizer:
    """Word pieces of texts; the same in an input pipeline and in a SavedModel.

    Attributes:
        vocabulary: the pieces, each at the place of its id.
        size: how many they are.
        lower_case: whether text is read in lower case and without accents.
        pad_id: id of [PAD].
        unknown_id: id of [UNK].
        cls_id: id of [CLS].
        sep_id: id of [SEP].
        mask_id: id of [MASK].
        resources: what a SavedModel has to track.
    """

    def __init__(self, vocabulary: Sequence[str], lower_case: bool = True):
        """Builds the tables.

        Args:
            vocabulary: all different, the special pieces among them.
            lower_case: as the network was trained.

        Raises:
            UserError: tensorflow-text is missing.
        """
        try:
            import tensorflow_text
        except ImportError:
            raise UserError(
                "reading text needs tensorflow-text: "
                "pip install 'official-models[text]'"
            ) from None
        self.vocabulary = tuple(vocabulary)
        self.size = len(self.vocabulary)
        self.lower_case = lower_case
        ids = {piece: number for number, piece in enumerate(self.vocabulary)}
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[piece] for piece in SPECIAL
        )
        # The operation keeps its automaton in a constant.
        self.resources: list[Any] = []
        self._words = Words(lower_case)
        settings = dict(
            vocab=self.vocabulary,
            suffix_indicator=CONTINUATION,
            token_out_type=tf.int32,
            unknown_token=SPECIAL[1],
        )
        wordpiece = tensorflow_text.FastWordpieceTokenizer
        with tf.device(_DEVICE):
            self._pieces_of_words = wordpiece(
                max_bytes_per_word=_MAX_BYTES, no_pretokenization=True, **settings
            )
            self._pieces_of_plain_text = wordpiece(
                max_bytes_per_word=MAX_CHARACTERS, no_pretokenization=False, **settings
            )
            self._is_continuation = tf.constant(
                [piece.startswith(CONTINUATION) for piece in self.vocabulary]
            )

    def tokenize(self, text: Any) -> tf.RaggedTensor:
        """Finds the pieces. What looks like a special piece is text as any other.

        Args:
            text: string [N], UTF-8; what is invalid is passed over.

        Returns:
            int32 [N, (pieces)].
        """
        with tf.device(_DEVICE):
            return _by_plainness(text, self._tokenize_plain, self._tokenize_any)

    def tokenize_with_offsets(self, text: Any) -> tuple[Any, Any, Any]:
        """Finds the pieces, and where their words stand.

        Args:
            text: string [N], UTF-8; what is invalid is passed over.

        Returns:
            ids: int32 [N, (pieces)].
            starts: int32 [N, (pieces)]; where the word of each piece begins, in bytes
                of the text. Words are what is divided into pieces: a punctuation mark
                or a Chinese character is one, too.
            ends: int32 [N, (pieces)]; where it ends, its accents included.
        """
        with tf.device(_DEVICE):
            found = _by_plainness(text, self._locate_plain, self._locate_any)
            ids, starts, ends = tf.unstack(found.values, axis=1)
            return tuple(map(found.with_values, (ids, starts, ends)))

    def _tokenize_plain(self, text):
        return self._pieces_of_plain_text.tokenize(self._in_case(text))

    def _tokenize_any(self, text):
        words = self._words.split(text)
        pieces = self._pieces(words.values)
        return words.with_values(pieces).merge_dims(1, 2)

    def _locate_plain(self, text):
        """Ids, starts and ends, int32 [N, (pieces), 3]."""
        pieces, starts, ends = self._pieces_of_plain_text.tokenize_with_offsets(
            self._in_case(text)
        )
        ids = pieces.values
        is_first = ~tf.gather(self._is_continuation, ids)
        word = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
        first = tf.where(is_first)[:, 0]
        last = tf.concat([first[1:], [tf.size(ids, tf.int64)]], axis=0) - 1
        starts = tf.gather(tf.gather(starts.values, first), word)
        # Of no pieces there is a last one, too.
        ends = tf.gather(tf.gather(ends.values, last[: tf.size(first)]), word)
        fields = (ids, *(tf.cast(each, tf.int32) for each in (starts, ends)))
        return pieces.with_values(tf.stack(fields, axis=1))

    def _locate_any(self, text):
        """Ids, starts and ends, int32 [N, (pieces), 3]."""
        words, starts, ends = self._words.split_with_offsets(text)
        pieces = self._pieces(words.values)
        word = pieces.value_rowids()
        fields = (pieces.values, tf.gather(starts, word), tf.gather(ends, word))
        pieces = pieces.with_values(tf.stack(fields, axis=1))
        return words.with_values(pieces).merge_dims(1, 2)

    def _pieces(self, words):
        """Pieces of words, int32 [words, (pieces)]."""
        is_long = tf.strings.length(words, unit="UTF8_CHAR") > MAX_CHARACTERS
        # The operation's limit is in bytes.
        words = tf.where(is_long, "a" * (_MAX_BYTES + 1), words)
        return self._pieces_of_words.tokenize(words)

    def _in_case(self, text):
        return tf.strings.lower(text) if self.lower_case else text


def _by_plainness(text, of_plain, of_any):
    """Applies one function to texts of plain ASCII, and another to the others.

    Args:
        text: string [N].
        of_plain: from string [N] to ragged [N, (pieces), ...].
        of_any: the same, for every text.

    Returns:
        Ragged [N, (pieces), ...].
    """
    text = tf.convert_to_tensor(text, tf.string)
    is_plain = tf.strings.regex_full_match(text, _PLAIN)

    def of_both():
        parts = (
            of_plain(tf.boolean_mask(text, is_plain)),
            of_any(tf.boolean_mask(text, ~is_plain)),
        )
        places = [tf.where(each)[:, 0] for each in (is_plain, ~is_plain)]
        order = tf.math.invert_permutation(tf.concat(places, axis=0))
        return tf.gather(tf.concat(parts, axis=0), order)

    return tf.cond(tf.reduce_all(is_plain), lambda: of_plain(text), of_both)


def _is_start(row_splits):
    """Where rows begin, bool [values]."""
    ones = tf.ones_like(row_splits)
    starts = tf.scatter_nd(row_splits[:, tf.newaxis], ones, row_splits[-1:] + 1)
    return starts[:-1] > 0


def _count_before(mask):
    """How many are true before each of [N] and in all, int64 [N + 1]."""
    return tf.concat([[0], tf.cumsum(tf.cast(mask, tf.int64))], axis=0)
