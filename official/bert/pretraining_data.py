"""Sequences for pre-training, made of documents that are read one after the other.

As in the original (Devlin et al. 2018, https://arxiv.org/abs/1810.04805, appendix A.2),
a sequence is a pair of segments, runs of whole sentences. For half of them the second
segment is the text that follows the first one; for the others it comes from elsewhere,
and so it does where the first one is the last sentence of its document.

The original holds all documents in memory, and takes a random second segment from any
of them. Here documents are read in windows of some megabytes, and it comes from another
document of the same window. Texts that stand beside each other in a corpus may be
alike, which makes it harder to tell that one does not follow the other; shuffle the
documents of a corpus if that is not wanted. Very long documents are cut into several;
sentences that are longer than a sequence are cut too, where the original drops their
rest.
"""

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from official.bert import documents as texts
from official.bert.text import Tokenizer
from official.utils.data import splits

SHORT_PROBABILITY = 0.1
# Of the sequences, for validation and for the test each.
_HELD_OUT_SHARE, MOST_HELD_OUT = 0.025, 2000
# Pieces of a window, 4 bytes each.
WINDOW_PIECES = 1 << 20
# Characters that are tokenised at a time; more are not faster.
_GROUP_CHARACTERS = 1 << 18
# [CLS] and the [SEP] behind each of two segments, or of one.
_SPECIAL_OF_PAIR, _SPECIAL_OF_ONE = 3, 2

Document = list[np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Instance:
    """A sequence, of which nothing is masked.

    Attributes:
        ids: int32 [pieces], with [CLS] and [SEP].
        segment_start: where the second segment begins; the length of the sequence where
            there is none.
        is_random_next: whether the second segment does not follow the first one.
    """

    ids: np.ndarray
    segment_start: int
    is_random_next: bool


def divide(number: int, seed: int, most: int = MOST_HELD_OUT) -> dict[str, np.ndarray]:
    """Divides sequences into parts, by their numbers.

    Args:
        number: of sequences.
        seed: draws those that are held out.
        most: sequences for validation, and as many for the test.

    Returns:
        `train`, `validation` and `test`, int64 each; the last two are empty where there
        are too few.
    """
    held_out = min(most, int(_HELD_OUT_SHARE * number))
    kept, out = splits.split_indices(number, 2 * held_out, seed)
    return {"train": kept, "validation": out[::2], "test": out[1::2]}


# ---- Documents ----


def read_documents(
    paths: Sequence[str],
    tokenizer: Tokenizer,
    text_column: str | None = None,
    one_line_is_a_document: bool = False,
) -> Iterator[Document]:
    """Reads and tokenises documents; see `documents.read` for the forms of the files.

    Args:
        paths: the files.
        tokenizer: of the network.
        text_column: the column to read, where the files are tab-separated tables.
        one_line_is_a_document: otherwise, empty lines end documents.

    Yields:
        The sentences of a document, int32 [pieces] each, none empty; at least one.

    Raises:
        UserError: a file cannot be read, or is wrong.
    """
    to_ids = tokenize_function(tokenizer)
    yield from to_ids(texts.read(paths, text_column, one_line_is_a_document))


def tokenize_function(
    tokenizer: Tokenizer,
) -> Callable[[Iterable[list[str]]], Iterator[Document]]:
    """A function that tokenises documents, a few thousand sentences at a time.

    Args:
        tokenizer: of the network.

    Returns:
        Maps documents to documents, without those of no pieces.
    """
    tokenize = tf.function(
        tokenizer.tokenize,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )

    def to_ids(documents):
        for group in texts.windows(documents, _GROUP_CHARACTERS):
            sentences = [sentence for document in group for sentence in document]
            pieces = tokenize(tf.constant(sentences))
            values, splits = pieces.values.numpy(), pieces.row_splits.numpy().tolist()
            row = 0
            for document in group:
                rows = range(row, row + len(document))
                row = rows.stop
                # A line of control characters has no pieces.
                ids = [
                    values[splits[at] : splits[at + 1]]
                    for at in rows
                    if splits[at] < splits[at + 1]
                ]
                if ids:
                    yield ids

    return to_ids


# ---- Instances ----


def make_instances(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    max_length: int,
    short_probability: float = SHORT_PROBABILITY,
    seed: int = 0,
    use_next_sentence: bool = True,
    window_pieces: int = WINDOW_PIECES,
) -> Iterator[Instance]:
    """Makes sequences, in the order of the documents; a pure function of its arguments.

    Args:
        documents: see `read_documents`; no more than two windows are held.
        tokenizer: its special ids count.
        max_length: most pieces of a sequence.
        short_probability: part of the pairs that are made shorter than they could be;
            of no effect without pairs.
        seed: draws the lengths and the second segments.
        use_next_sentence: make pairs. Otherwise a sequence is a document, or a part of
            it if it is too long.
        window_pieces: about how many pieces of documents a random second segment may
            come from.

    Yields:
        The sequences.
    """
    for number, window in enumerate(texts.windows(documents, window_pieces)):
        if use_next_sentence:
            draws = random.Random(f"{seed} {number}")
            yield from pairs(window, tokenizer, max_length, short_probability, draws)
        else:
            yield from singles(window, tokenizer, max_length)


def singles(
    documents: Iterable[Document], tokenizer: Tokenizer, max_length: int
) -> Iterator[Instance]:
    """Sequences of one segment; a document that is too long becomes several.

    Args:
        documents: none empty.
        tokenizer: its special ids count.
        max_length: most pieces of a sequence.

    Yields:
        The sequences; those of a document differ by at most one piece in length.
    """
    room = max_length - _SPECIAL_OF_ONE
    for document in documents:
        ids = np.concatenate(document)
        for part in np.array_split(ids, -(-len(ids) // room)):
            ids = _joined(tokenizer, part)
            yield Instance(ids, len(ids), False)


def pairs(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    max_length: int,
    short_probability: float,
    draws: random.Random,
) -> Iterator[Instance]:
    """Sequences of two segments.

    Args:
        documents: none empty.
        tokenizer: its special ids count.
        max_length: most pieces of a sequence.
        short_probability: part of the pairs that are made shorter than they could be.
        draws: gives random numbers. Only `random()` is called: that Python's releases
            agree on its numbers is promised for no other method.

    Yields:
        The sequences.
    """
    room = max_length - _SPECIAL_OF_PAIR
    documents = [
        [part for sentence in document for part in _cut(sentence, room)]
        for document in documents
    ]
    for number, document in enumerate(documents):
        first = 0
        while first < len(document):
            target = room
            if draws.random() < short_probability:
                target = 2 + _below(draws, room - 1)
            end = _reach(document, first, target)
            count = end - first
            split = first + 1 + (_below(draws, count - 1) if count > 1 else 0)
            segment = np.concatenate(document[first:split])
            is_random = count == 1 or draws.random() < 0.5
            if is_random:
                other = _other(documents, number, draws)
                start = _below(draws, len(other))
                stop = _reach(other, start, target - len(segment))
                following = np.concatenate(other[start:stop])
                # What was meant to follow comes in the next pair.
                end = split
            else:
                following = np.concatenate(document[split:end])
            first = end
            fitted = _fit(segment, following, room, draws)
            ids = _joined(tokenizer, *fitted)
            yield Instance(ids, len(fitted[0]) + 2, is_random)


def _below(draws: random.Random, number: int) -> int:
    """A whole number from 0 up to, without, `number`."""
    return int(draws.random() * number)


def _cut(sentence: np.ndarray, room: int) -> list[np.ndarray]:
    """Parts of a sentence that is too long, of which two are a pair of full length."""
    if len(sentence) <= room:
        return [sentence]
    half = (room + 1) // 2
    return np.split(sentence, range(half, len(sentence), half))


def _reach(document: Document, first: int, target: int) -> int:
    """The end of the sentences from `first` on, at least one, that reach `target`."""
    end, size = first + 1, len(document[first])
    while end < len(document) and size < target:
        size += len(document[end])
        end += 1
    return end


def _other(
    documents: Sequence[Document], number: int, draws: random.Random
) -> Document:
    """Any document but that of `number`; that one if there is no other."""
    if len(documents) == 1:
        return documents[0]
    other = _below(draws, len(documents) - 1)
    return documents[other + (other >= number)]


def _fit(
    first: np.ndarray, second: np.ndarray, room: int, draws: random.Random
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a pair that is too long: the longer segment, until both are equally long.

    Each piece is taken from the beginning or the end, which is drawn.
    """
    limits = (
        max(room - len(second), (room + 1) // 2),
        max(room - len(first), room // 2),
    )
    fitted = []
    for ids, limit in zip((first, second), limits, strict=True):
        excess = max(0, len(ids) - limit)
        start = sum(draws.random() < 0.5 for _ in range(excess))
        fitted.append(ids[start : start + len(ids) - excess])
    return fitted[0], fitted[1]


def _joined(tokenizer: Tokenizer, *segments: np.ndarray) -> np.ndarray:
    """[CLS], and segments with [SEP] behind each, int32."""
    separator = np.array([tokenizer.sep_id], np.int32)
    parts = [np.array([tokenizer.cls_id], np.int32)]
    for segment in segments:
        parts += [segment, separator]
    return np.concatenate(parts)
