"""Pairs of sentences as ids, encoded once and kept in files.

A folder holds for each side the ids of all sentences, one behind the other, and their
lengths, and says in `prepared.json` what they were made from. It is written under
another name and renamed, so it is complete or not there.
"""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from official.transformer import parallel_text
from official.utils.data import processes
from official.utils.data.buckets import Ragged
from official.utils.errors import UserError, writing
from official.utils.logs import console, files

_SIDES = ("inputs", "targets")
# Pairs that are encoded at a time, by one process.
_CHUNK = 20_000
# Smaller texts are encoded before other processes have started.
_SMALL_BYTES = 20_000_000
_FORM = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """Pairs as ids.

    Attributes:
        inputs: the sentences.
        targets: their translations.
        num_empty: pairs that were left out because a side was empty.
        num_long: pairs that were left out because a side was too long.
    """

    inputs: Ragged
    targets: Ragged
    num_empty: int
    num_long: int

    def __len__(self) -> int:
        return len(self.inputs)


def of_sentences(
    sources: Sequence[str], targets: Sequence[str], text: Any, max_length: int
) -> Prepared:
    """Encodes pairs in memory.

    Args:
        sources: sentences.
        targets: their translations.
        text: the vocabulary.
        max_length: most pieces of a side, its end included.
    """
    pairs = list(zip(sources, targets, strict=True))
    sides, num_empty, num_long = _encode(pairs, text, max_length)
    return Prepared(*(Ragged.of(side) for side in sides), num_empty, num_long)


def of_files(
    sources: Sequence[str],
    targets: Sequence[str],
    text: Any,
    max_length: int,
    folder: str,
    num_processes: int,
) -> Prepared:
    """Encodes the pairs of files, or opens what an earlier run made of them.

    Args:
        sources: files of sentences; see `parallel_text.pairs`.
        targets: files of their translations.
        text: the vocabulary.
        max_length: most pieces of a side, its end included.
        folder: where the ids are kept; it may hold those of other files, too.
        num_processes: that encode.

    Raises:
        UserError: a file is wrong, there is no pair, or the folder cannot be written.
    """
    made_of = _made_of(sources, targets, text, max_length)
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    path = os.path.join(folder, digest)
    facts_path = os.path.join(path, "prepared.json")
    if not os.path.exists(facts_path):
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            _prepare(sources, targets, text, max_length, temporary, num_processes)
            with writing(path, "free space there, or name another --model_dir"):
                os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    with open(facts_path) as file:
        facts = json.load(file)
    return Prepared(
        *(_opened(path, side, facts["dtype"]) for side in _SIDES),
        facts["num_empty"],
        facts["num_long"],
    )


def _opened(path: str, side: str, dtype: str) -> Ragged:
    # Mapped: the ids of a large corpus need not all be in memory.
    values = np.memmap(os.path.join(path, f"{side}.ids"), dtype, "r")
    lengths = np.fromfile(os.path.join(path, f"{side}.lengths"), np.int32)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Ragged(values, offsets)


def _made_of(sources, targets, text, max_length) -> list:
    vocabulary = json.dumps(text.to_facts(), sort_keys=True)
    stats = [os.stat(path) for path in (*sources, *targets)]
    return [
        _FORM,
        hashlib.sha256(vocabulary.encode()).hexdigest(),
        max_length,
        [*map(os.path.abspath, (*sources, *targets))],
        [[stat.st_size, stat.st_mtime_ns] for stat in stats],
    ]


def _prepare(sources, targets, text, max_length, folder, num_processes) -> None:
    dtype = "uint16" if text.vocab_size <= 1 << 16 else "int32"
    encode = functools.partial(_encode, text=text, max_length=max_length)
    chunks = _chunks(parallel_text.pairs(sources, targets))
    is_small = sum(os.path.getsize(path) for path in sources) < _SMALL_BYTES
    number = num_empty = num_long = 0
    remedy = "free space there, or name another --model_dir"
    bar = console.progress_bar(None, description="encoding", unit="pair", scale=True)
    with writing(folder, remedy), bar:
        os.makedirs(folder)
        with (
            open(os.path.join(folder, "inputs.ids"), "wb") as inputs,
            open(os.path.join(folder, "targets.ids"), "wb") as outputs,
            open(os.path.join(folder, "inputs.lengths"), "wb") as input_lengths,
            open(os.path.join(folder, "targets.lengths"), "wb") as output_lengths,
        ):
            written = ((inputs, input_lengths), (outputs, output_lengths))
            for sides, empty, long in processes.in_order(
                encode, chunks, 1 if is_small else num_processes
            ):
                for (ids, lengths), side in zip(written, sides, strict=True):
                    if side:
                        np.concatenate(side).astype(dtype).tofile(ids)
                    np.array([len(row) for row in side], np.int32).tofile(lengths)
                number += len(sides[0])
                num_empty += empty
                num_long += long
                bar.update(len(sides[0]) + empty + long)
        if not number:
            raise UserError(
                f"{sources[0]} and {targets[0]} hold no pair of which both sides are "
                f"there and have at most --max_length={max_length} pieces"
            )
        facts = dict(dtype=dtype, num_empty=num_empty, num_long=num_long)
        path = os.path.join(folder, "prepared.json")
        files.write_whole(path, files.json_text(facts))


def _chunks(pairs: Iterator) -> Iterator[list]:
    chunk = []
    for pair in pairs:
        chunk.append(pair)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _encode(
    pairs: Sequence[tuple[str, str]], text: Any, max_length: int
) -> tuple[tuple[list[np.ndarray], list[np.ndarray]], int, int]:
    """The ids of both sides, and how many pairs are empty and too long."""
    full = [pair for pair in pairs if pair[0] and pair[1]]
    if not full:
        return ([], []), len(pairs), 0
    sides = [text.encode_many(side) for side in zip(*full, strict=True)]
    kept = [
        (source, target)
        for source, target in zip(*sides, strict=True)
        if len(source) <= max_length and len(target) <= max_length
    ]
    sides = [[pair[side] for pair in kept] for side in range(2)]
    return tuple(sides), len(pairs) - len(full), len(full) - len(kept)
