"""Pairs of sentences as ids, encoded once and kept in files.

A folder holds for each side the ids of all sentences, one behind the other, and their
lengths, and says in `prepared.json` what kind they are. It is written under another
name and renamed, so it is complete or not there.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import mmap
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.transformer import encoding, parallel_text
from official.utils.data import processes
from official.utils.data.buckets import Ragged
from official.utils.data.files import reading
from official.utils.errors import UserError, writing
from official.utils.logs import console, files

_SIDES = ("inputs", "targets")
# What is encoded at a time, by one process: pairs, or characters of both sides.
_CHUNK_PAIRS = 20_000
_CHUNK_CHARACTERS = 4_000_000
# Smaller texts are encoded before other processes have started.
_SMALL_BYTES = 20_000_000
_FORM = 1
_REMEDY = "free space there, or name another --model_dir"


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """Pairs as ids.

    Attributes:
        inputs: the sentences.
        targets: their translations.
        num_empty: pairs that were left out because a side was empty.
        num_long: pairs that were left out because a side was too long.
        path: the folder in which the ids are kept; None for ids in memory.
    """

    inputs: Ragged
    targets: Ragged
    num_empty: int
    num_long: int
    path: str | None = None

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
    found = encoding.encode(pairs, text, max_length)
    sides = (_ragged(*side) for side in (found.inputs, found.targets))
    return Prepared(*sides, found.num_empty, found.num_long)


def of_files(
    sources: Sequence[str],
    targets: Sequence[str],
    text: Any,
    max_length: int,
    folder: str,
    num_processes: int,
) -> Prepared:
    """Encodes the pairs of files, or opens what an earlier run made of them.

    The ids stay in their files, which are mapped.

    Args:
        sources: files of sentences; see `parallel_text.pairs`.
        targets: files of their translations.
        text: the vocabulary.
        max_length: most pieces of a side, its end included.
        folder: where the ids are kept; it may hold those of other files, too.
        num_processes: that encode.

    Raises:
        UserError: a file is wrong, there is no pair, or the folder cannot be written
            or is not on this machine.
    """
    if "://" in folder:
        raise UserError(
            f"{folder} is not on this machine, and the ids of the training text are "
            "kept there to be read in any order; name a local --model_dir"
        )
    made_of = _made_of(sources, targets, text, max_length)
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    path = os.path.join(folder, digest)
    found = _open(path)
    if found is not None:
        return found
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        _prepare(sources, targets, text, max_length, temporary, num_processes)
        with writing(path, _REMEDY):
            if os.path.exists(path) and _open(path) is None:
                console.warn(f"{path} is damaged, and is made again")
                shutil.rmtree(path)
            # Another worker may have been quicker.
            with contextlib.suppress(FileExistsError):
                _rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = _open(path)
    assert found is not None, path
    return found


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError:
        # Where a folder is in the way, systems give different errors.
        if os.path.isdir(target):
            raise FileExistsError(target) from None
        raise


def _open(path: str) -> Prepared | None:
    """What a folder holds; None if it is not there or not whole."""
    try:
        with open(os.path.join(path, "prepared.json")) as file:
            facts = json.load(file)
        sides = []
        for side in _SIDES:
            # Mapped: the ids of a large corpus need not all be in memory.
            with open(os.path.join(path, f"{side}.ids"), "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            ids = np.frombuffer(mapped, facts["dtype"])
            lengths = np.fromfile(os.path.join(path, f"{side}.lengths"), np.int32)
            sides.append(_ragged(ids, lengths, mapped))
        found = Prepared(*sides, facts["num_empty"], facts["num_long"], path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = len(found.inputs) == len(found.targets) and all(
        side.offsets[-1] == len(side.values) for side in sides
    )
    return found if is_whole else None


def _ragged(
    values: np.ndarray, lengths: np.ndarray, mapped: mmap.mmap | None = None
) -> Ragged:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Ragged(values, offsets, mapped)


def _made_of(sources, targets, text, max_length) -> list:
    vocabulary = json.dumps(text.to_facts(), sort_keys=True)
    paths = [*sources, *targets]
    return [
        _FORM,
        hashlib.sha256(vocabulary.encode()).hexdigest(),
        max_length,
        [path if "://" in path else os.path.abspath(path) for path in paths],
        [_size_and_time(path) for path in paths],
    ]


def _size_and_time(path: str) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change."""
    with reading(path):
        stat = tf.io.gfile.stat(path)
    # TensorFlow knows the second alone.
    time_ = stat.mtime_nsec if "://" in path else os.stat(path).st_mtime_ns
    return stat.length, time_


def _prepare(sources, targets, text, max_length, folder, num_processes) -> None:
    dtype = "uint16" if text.vocab_size <= 1 << 16 else "int32"
    encode = functools.partial(encoding.encode, text=text, max_length=max_length)
    chunks = _chunks(parallel_text.pairs(sources, targets))
    if sum(_size_and_time(path)[0] for path in sources) < _SMALL_BYTES:
        num_processes = 1
    number = num_empty = num_long = 0
    begun = time.monotonic()
    bar = console.progress_bar(None, description="encoding", unit="pair", scale=True)
    with writing(folder, _REMEDY), bar, contextlib.ExitStack() as stack:
        os.makedirs(folder)
        written = [
            [
                stack.enter_context(open(os.path.join(folder, f"{side}.{what}"), "wb"))
                for what in ("ids", "lengths")
            ]
            for side in _SIDES
        ]
        for part in processes.in_order(encode, chunks, num_processes):
            for (ids, lengths), side in zip(
                written, (part.inputs, part.targets), strict=True
            ):
                ids.write(side[0].astype(dtype))
                lengths.write(side[1])
            number += len(part)
            num_empty += part.num_empty
            num_long += part.num_long
            bar.update(len(part) + part.num_empty + part.num_long)
        if not number:
            raise UserError(
                f"{sources[0]} and {targets[0]} hold no pair of which both sides are "
                f"there and have at most --max_length={max_length} pieces"
            )
        facts = dict(dtype=dtype, num_empty=num_empty, num_long=num_long)
        path = os.path.join(folder, "prepared.json")
        files.write_whole(path, files.json_text(facts))
    seconds = time.monotonic() - begun
    total = number + num_empty + num_long
    print(
        f"encoded {total:,} pairs in {seconds:.3g} s, {total / seconds:,.0f} a second",
        flush=True,
    )


def _chunks(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    chunk, size = [], 0
    for pair in pairs:
        chunk.append(pair)
        size += len(pair[0]) + len(pair[1])
        if len(chunk) == _CHUNK_PAIRS or size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
