"""From windows of documents to TFRecords with the features of 2019, all lengths fixed.

    input_ids             int64 [max_length], [CLS] a [SEP] b [SEP], masked
    input_mask            int64 [max_length], 1, and 0 for padding
    segment_ids           int64 [max_length], 1 for b and its [SEP]
    masked_lm_positions   int64 [max_predictions], places of what was masked, then 0
    masked_lm_ids         int64 [max_predictions], what stood there, then 0
    masked_lm_weights     float [max_predictions], 1, then 0
    next_sentence_labels  int64 [1], 1 where b does not follow a; 0 without pairs

A window is turned into records by itself, in whichever process, so that the records
depend on text and settings alone.
"""

import contextlib
import dataclasses
import functools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from official.bert import documents, masking, pretraining_data, vocabulary
from official.bert.text import Tokenizer
from official.utils.errors import UserError, writing

# Of a window; with all that is made of them they take about 50 MB.
WINDOW_CHARACTERS = 1 << 22
# Sequences that are masked at a time.
_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Settings:
    """How records are made.

    Attributes:
        vocab_file: the word pieces.
        lower_case: whether text is read in lower case and without accents.
        max_length: pieces of a sequence, with padding.
        max_predictions: most pieces of a sequence that are masked.
        masked_probability: part of the pieces that is masked.
        short_probability: part of the pairs that are made shorter than they could be.
        whole_words: whether all pieces of a word are masked together.
        use_next_sentence: whether sequences are pairs.
        seed: draws everything.
    """

    vocab_file: str
    lower_case: bool = True
    max_length: int = 128
    max_predictions: int = masking.MAX_PREDICTIONS
    masked_probability: float = masking.PROBABILITY
    short_probability: float = pretraining_data.SHORT_PROBABILITY
    whole_words: bool = False
    use_next_sentence: bool = True
    seed: int = 12345


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """Documents that follow each other.

    Attributes:
        pass_number: how many times all documents were read before.
        number: of the window in this pass.
        documents: texts of sentences.
    """

    pass_number: int
    number: int
    documents: list[list[str]]


def read_windows(
    paths: Sequence[str], settings: Settings, passes: int
) -> Iterator[Window]:
    """Reads all documents several times.

    Args:
        paths: files of text; see `documents.read`.
        settings: without pairs, a line is a document.
        passes: how many times.

    Yields:
        The windows; no more than two of them are held.

    Raises:
        UserError: a file cannot be read, or is wrong.
    """
    one_line_is_a_document = not settings.use_next_sentence
    for pass_number in range(passes):
        found = documents.read(paths, None, one_line_is_a_document)
        for number, window in enumerate(documents.windows(found, WINDOW_CHARACTERS)):
            yield Window(pass_number, number, window)


# ---- Records of a window ----


def make_records(settings: Settings, window: Window) -> list[bytes]:
    """Makes the records of a window.

    Args:
        settings: see there.
        window: see there.

    Returns:
        Serialised `tf.train.Example`s in an order that is drawn.

    Raises:
        UserError: the vocabulary is wrong, or tensorflow-text is missing.
    """
    # What is small is slow on an accelerator.
    with tf.device("CPU:0"):
        tokenizer, to_ids, mask = _functions(settings)
        ids = list(to_ids(window.documents))
        instances = list(_instances(settings, window, ids, tokenizer))
        # Raw output, which NumPy promises never to change (NEP 19).
        generator = np.random.PCG64([settings.seed, window.pass_number, window.number])
        order = np.argsort(generator.random_raw(len(instances)), kind="stable")
        seeds = generator.random_raw(2 * len(instances)).astype(np.int64).reshape(-1, 2)
        records = []
        for first in range(0, len(instances), _ROWS):
            chunk = [instances[place] for place in order[first : first + _ROWS]]
            rows = _rows(chunk, settings, mask, seeds[first : first + _ROWS])
            records += _serialized(rows)
        return records


@functools.cache
def _functions(settings: Settings) -> tuple[Tokenizer, Callable, Callable]:
    """What takes long to build: once in a process."""
    pieces = vocabulary.read(settings.vocab_file)
    tokenizer = Tokenizer(pieces, settings.lower_case)
    is_continuation = masking.continuations(pieces) if settings.whole_words else None
    mask = tf.function(
        lambda ids, lengths, seeds: masking.mask(
            ids,
            lengths,
            seeds,
            tokenizer,
            settings.masked_probability,
            settings.max_predictions,
            is_continuation,
        ),
        input_signature=[
            tf.TensorSpec([None, settings.max_length], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int64),
        ],
        autograph=False,
    )
    return tokenizer, pretraining_data.tokenize_function(tokenizer), mask


def _instances(
    settings: Settings,
    window: Window,
    ids: list[pretraining_data.Document],
    tokenizer: Tokenizer,
) -> Iterator[pretraining_data.Instance]:
    if not settings.use_next_sentence:
        return pretraining_data.singles(ids, tokenizer, settings.max_length)
    draws = random.Random(f"{settings.seed} {window.pass_number} {window.number}")
    return pretraining_data.pairs(
        ids, tokenizer, settings.max_length, settings.short_probability, draws
    )


def _rows(
    instances: list[pretraining_data.Instance],
    settings: Settings,
    mask: Callable,
    seeds: np.ndarray,
) -> dict[str, np.ndarray]:
    """The features of some sequences, [rows, ...]."""
    lengths = np.array([len(instance.ids) for instance in instances], np.int32)
    starts = np.array([instance.segment_start for instance in instances], np.int32)
    labels = np.array([[instance.is_random_next] for instance in instances])
    places = np.arange(settings.max_length)
    is_there = places < lengths[:, np.newaxis]
    ids = np.zeros(is_there.shape, np.int32)
    ids[is_there] = np.concatenate([instance.ids for instance in instances])
    masked = {name: value.numpy() for name, value in mask(ids, lengths, seeds).items()}
    features = {
        "input_ids": masked.pop("input_word_ids"),
        "input_mask": is_there.astype(np.int32),
        "segment_ids": (is_there & (places >= starts[:, np.newaxis])).astype(np.int32),
        "next_sentence_labels": labels.astype(np.int32),
    }
    for name, values in masked.items():
        missing = settings.max_predictions - values.shape[1]
        features[name] = np.pad(values, ((0, 0), (0, missing)))
    return features


def _serialized(rows: dict[str, np.ndarray]) -> Iterator[bytes]:
    lists = {name: values.tolist() for name, values in rows.items()}
    for row in zip(*lists.values(), strict=True):
        example = tf.train.Example()
        feature = example.features.feature
        for name, values in zip(lists, row, strict=True):
            if name == "masked_lm_weights":
                feature[name].float_list.value.extend(values)
            else:
                feature[name].int64_list.value.extend(values)
        # Deterministic: the features are in the order of their names.
        yield example.SerializeToString(deterministic=True)


# ---- Files ----


def write(
    windows: Iterable[list[bytes]], paths: Sequence[str], compression: str
) -> int:
    """Writes records to files in turn.

    They have temporary names until all of them are complete.

    Args:
        windows: the records, a list for each window.
        paths: files that are not there yet.
        compression: "" or "GZIP".

    Returns:
        How many records there are.

    Raises:
        UserError: a file is there or cannot be written, or there are no records, or
            fewer than files.
    """
    for path in paths:
        if tf.io.gfile.exists(path):
            raise UserError(f"{path} exists and is not overwritten; name another file")
    temporary = [f"{path}.tmp" for path in paths]
    number = 0
    try:
        with contextlib.ExitStack() as stack:
            writers = []
            for path, name in zip(paths, temporary, strict=True):
                with writing(path):
                    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
                    writer = tf.io.TFRecordWriter(name, compression or None)
                writers.append(stack.enter_context(writer))
            for records in windows:
                with writing(paths[0]):
                    for record in records:
                        writers[number % len(writers)].write(record)
                        number += 1
            if not number:
                raise UserError("the text has no word pieces; check what it holds")
            if number < len(paths):
                raise UserError(
                    f"the text gives {number} sequences for {len(paths)} files; name "
                    "fewer files"
                )
            with writing(paths[0]):
                stack.close()
        for path, name in zip(paths, temporary, strict=True):
            with writing(path):
                tf.io.gfile.rename(name, path)
    finally:
        for name in temporary:
            if tf.io.gfile.exists(name):
                tf.io.gfile.remove(name)
    return number
