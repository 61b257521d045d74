"""TFRecord files: finding, counting, checking and reading them."""

import dataclasses
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data import splits
from official.utils.data.record_counts import DAMAGED, compression_of, count_records
from official.utils.errors import UserError, one_line

Parse = Callable[[tf.Tensor], dict[str, Any]]

_READ_BYTES = 1 << 18
COUNTS_FILE = "record_counts.json"
# Counting that is quicker than this leaves no file behind.
CACHE_AFTER_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class RecordFiles:
    """TFRecord files whose numbers of records are known.

    A record has a number: its place in the first file, or after all of the files before
    its own.

    Attributes:
        paths: the files in their order.
        counts: records of each, none of them 0.
        num_bytes: size of all records, unpacked.
        compression: "", "GZIP" or "ZLIB", the same for all.
    """

    paths: tuple[str, ...]
    counts: tuple[int, ...]
    num_bytes: int
    compression: str = ""

    @property
    def num_records(self) -> int:
        """Records of all files."""
        return sum(self.counts)

    def explain(
        self, error: tf.errors.OpError, parse: Parse | None = None
    ) -> UserError | None:
        """Looks for the record behind an error of TensorFlow's; reads all files.

        Args:
            error: what was raised while a stream over these files was read.
            parse: the stream's, to find a record that it does not take.

        Returns:
            An error that names file and record (counted from 0), or None if every
            record can be read and parsed.
        """
        kinds = (
            tf.errors.DataLossError,
            tf.errors.FailedPreconditionError,
            tf.errors.InvalidArgumentError,
            tf.errors.NotFoundError,
            tf.errors.OutOfRangeError,
            tf.errors.PermissionDeniedError,
        )
        if not isinstance(error, kinds):
            return None
        for path, count in zip(self.paths, self.counts, strict=True):
            try:
                self._check(path, count, parse)
            except UserError as found:
                return found
        return None

    def _check(self, path: str, count: int, parse: Parse | None) -> None:
        seen = 0
        try:
            for record in read([path], self.compression):
                del record
                seen += 1
        except tf.errors.OpError as error:
            raise UserError(
                f"{path}: record {seen} is damaged ({one_line(error)}; records count "
                f"from 0); {DAMAGED}"
            ) from None
        if seen != count:
            raise UserError(
                f"{path} has {seen} records where {count} are expected; {DAMAGED}"
            )
        if parse is None:
            return
        first = 0
        for batch in read([path], self.compression).batch(256):
            if _parse_error(parse, batch) is not None:
                for row in range(len(batch)):
                    reason = _parse_error(parse, batch[row : row + 1])
                    if reason is not None:
                        raise UserError(
                            f"{path}: record {first + row} does not have the expected "
                            f"form ({one_line(reason)}; records count from 0); "
                            "write it in the documented one"
                        )
            first += len(batch)


def _parse_error(parse: Parse, serialized: tf.Tensor) -> tf.errors.OpError | None:
    try:
        parse(serialized)
    except tf.errors.OpError as error:
        return error
    return None


# ---- Finding and counting ----


def find(pattern: str | Sequence[str]) -> list[str]:
    """Finds the shards of a set.

    Args:
        pattern: a glob pattern, or paths.

    Returns:
        The paths, sorted.

    Raises:
        UserError: there is none, or by their names (`...-00002-of-00005`) some are
            missing.
    """
    if isinstance(pattern, str):
        paths = sorted(tf.io.gfile.glob(pattern))
        if not paths:
            raise UserError(f"{pattern} matches no file; check the path")
    else:
        paths = sorted(pattern)
        missing = [path for path in paths if not tf.io.gfile.exists(path)]
        if missing or not paths:
            what = missing[0] if missing else "the list of TFRecord files"
            raise UserError(
                f"{what} {'does not exist' if missing else 'is empty'}; check the path"
            )
    numbers: dict[str, set[int]] = {}
    for path in paths:
        match = re.search(r"-(\d+)-of-(\d+)", path.rpartition("/")[2])
        if match:
            numbers.setdefault(match[2], set()).add(int(match[1]))
    folder = paths[0].rpartition("/")[0]
    if len(numbers) > 1:
        raise UserError(
            f"{folder} holds shards of several sets (of {', of '.join(numbers)}); "
            "leave one of them there"
        )
    for total, found in numbers.items():
        absent = sorted(set(range(int(total))) - found)
        if absent:
            raise UserError(
                f"{folder} lacks {len(absent)} of {int(total)} shards, the first of "
                f"them number {absent[0]} (they count from 0); fetch them too"
            )
    return paths


def open_files(pattern: str | Sequence[str]) -> RecordFiles:
    """Finds TFRecord files and counts their records.

    Counting walks over the headers of the records, and checks them. Where that takes
    more than a second, the counts are kept in `record_counts.json` beside the files if
    that can be written; they are used again for files of the same size and time.

    Args:
        pattern: a glob pattern, or paths; not compressed, or all GZIP, or all ZLIB.

    Returns:
        The files.

    Raises:
        UserError: there is no file, or one is missing, empty, truncated, damaged or no
            TFRecord file; the line names file and record.
    """
    paths = find(pattern)
    kinds = {path: compression_of(path) for path in paths}
    if len(set(kinds.values())) > 1:
        other = next(path for path in paths if kinds[path] != kinds[paths[0]])
        raise UserError(
            f"{paths[0]} is {_name(kinds[paths[0]])} but {other} is "
            f"{_name(kinds[other])}; give files of one kind"
        )
    compression = kinds[paths[0]]
    cache_path = f"{paths[0].rpartition('/')[0] or '.'}/{COUNTS_FILE}"
    cache = _read_cache(cache_path)
    begun = time.monotonic()
    found = {}
    for path in paths:
        stat = tf.io.gfile.stat(path)
        state = [stat.length, stat.mtime_nsec]
        known = cache.get(path.rpartition("/")[2])
        if not known or known[:2] != state:
            known = [*state, *count_records(path, compression)]
        if not known[2]:
            raise UserError(f"{path} holds no records; {DAMAGED}")
        found[path.rpartition("/")[2]] = known
    if time.monotonic() - begun > CACHE_AFTER_SECONDS:
        _write_cache(cache_path, cache | found)
    return RecordFiles(
        tuple(paths),
        tuple(count for _, _, count, _ in found.values()),
        sum(num_bytes for _, _, _, num_bytes in found.values()),
        compression,
    )


def _name(compression: str) -> str:
    return f"compressed ({compression})" if compression else "not compressed"


def _read_cache(path: str) -> dict[str, list[int]]:
    try:
        with tf.io.gfile.GFile(path) as stream:
            cache = json.load(stream)
        return {
            name: [int(number) for number in numbers]
            for name, numbers in cache.items()
            if len(numbers) == 4
        }
    except (tf.errors.OpError, ValueError, TypeError, AttributeError):
        return {}


def _write_cache(path: str, counts: Mapping[str, list[int]]) -> None:
    """Writes the counts; a folder that is read-only goes without."""
    # Several workers may do so at once.
    temporary = f"{path}.{time.time_ns()}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "w") as stream:
            json.dump(dict(sorted(counts.items())), stream)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError:
        pass


# ---- Parts ----


def split(
    files: RecordFiles, num_held_out: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the records at random into two parts, for `keep` of two streams.

    Args:
        files: the files of both parts.
        num_held_out: size of the second part.
        seed: draws it; see `splits.split_indices`.

    Returns:
        Two masks, bool [num_records], of which each is the opposite of the other.
    """
    _, held_out = splits.split_indices(files.num_records, num_held_out, seed)
    mask = np.zeros(files.num_records, bool)
    mask[held_out] = True
    return ~mask, mask


def read(paths, compression: str) -> tf.data.Dataset:
    """The records of files one after the other.

    Args:
        paths: the files, strings or a tensor of strings.
        compression: of all of them; "", "GZIP" or "ZLIB".
    """
    # `tf.data.TFRecordDataset` makes a dataset of each file and goes through them,
    # which costs a tenth of the time; its operation takes several files by itself.
    variant = tf.raw_ops.TFRecordDataset(
        filenames=paths, compression_type=compression, buffer_size=_READ_BYTES
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
