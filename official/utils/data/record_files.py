"""TFRecord files: finding, counting, checking and reading them."""

import dataclasses
import json
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data import splits
from official.utils.errors import UserError, one_line

Parse = Callable[[tf.Tensor], dict[str, Any]]

# A record: length (8 bytes), checksum of the length (4), the bytes, checksum (4).
_HEADER = struct.Struct("<QI")
_RECORD_OVERHEAD = 16
_BLOCK_BYTES = 4 << 20
_READ_BYTES = 1 << 18
COUNTS_FILE = "record_counts.json"
# Counting that is quicker than this leaves no file behind.
CACHE_AFTER_SECONDS = 1.0
_DAMAGED = "delete it and write or fetch it again"


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
                f"from 0); {_DAMAGED}"
            ) from None
        if seen != count:
            raise UserError(
                f"{path} has {seen} records where {count} are expected; {_DAMAGED}"
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
    kinds = {path: _compression(path) for path in paths}
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
            raise UserError(f"{path} holds no records; {_DAMAGED}")
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


def _compression(path: str) -> str:
    try:
        with tf.io.gfile.GFile(path, "rb") as stream:
            head = stream.read(_HEADER.size)
    except tf.errors.OpError as error:
        raise UserError(
            f"{path} cannot be read ({one_line(error)}); check that it is a file and "
            "that you have the right to read it"
        ) from None
    if not head:
        raise UserError(f"{path} is empty; {_DAMAGED}")
    # A length may begin with the bytes of a gzip file, so its checksum is asked first.
    if len(head) == _HEADER.size and not _wrong_headers([head]).size:
        return ""
    if head[:2] == b"\x1f\x8b":
        return "GZIP"
    # Deflate with a window of up to 32 KiB; the first two bytes are a multiple of 31.
    if head[0] & 0x8F == 8 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "ZLIB"
    raise UserError(f"{path} is no TFRecord file, or record 0 is damaged; {_DAMAGED}")


def count_records(path: str, compression: str) -> tuple[int, int]:
    """Counts the records of a file by their headers.

    Args:
        path: the file.
        compression: "", "GZIP" or "ZLIB".

    Returns:
        The number of records, and the bytes that they hold.

    Raises:
        UserError: the file is truncated or a header is damaged.
    """
    blocks = _unpacked(path) if compression else _blocks(path)
    headers, num_bytes, position, end = [], 0, 0, 0
    next(blocks)
    while True:
        # The block that holds the header at `position`.
        try:
            start, block = blocks.send(position)
        except StopIteration:
            break
        except (tf.errors.OpError, zlib.error) as error:
            raise UserError(
                f"{path} is damaged at record {len(headers)} ({one_line(error)}); "
                f"{_DAMAGED}"
            ) from None
        end = max(end, start + len(block))
        at, last = position - start, len(block) - _HEADER.size
        while at <= last:
            headers.append(block[at : at + 12])
            length = _HEADER.unpack_from(block, at)[0]
            num_bytes += length
            at += length + _RECORD_OVERHEAD
        position = start + at
    wrong = _wrong_headers(headers)
    if wrong.size:
        raise UserError(
            f"{path}: record {wrong[0]} is damaged (its length does not have the "
            f"checksum that stands beside it; records count from 0); {_DAMAGED}"
        )
    if position != end:
        # The last record, or the header of one more.
        number = len(headers) - (position > end)
        raise UserError(
            f"{path} is truncated: it ends within record {number} (records count from "
            f"0), after {end} bytes{' of what it unpacks to' if compression else ''}; "
            f"{_DAMAGED}"
        )
    return len(headers), num_bytes


def _blocks(path: str) -> Iterator[Any]:
    """Gives the bytes from a position that is sent on; passes over long records."""
    with tf.io.gfile.GFile(path, "rb") as stream:
        size = stream.size()
        position = yield
        while position < size:
            stream.seek(position)
            block = stream.read(_BLOCK_BYTES)
            if len(block) < _HEADER.size:
                # No header is in there: it only says where the file ends.
                yield position, block
                return
            sent = yield position, block
            if sent >= size:
                # Past the end, or at it.
                yield size, b""
                return
            position = sent


def _unpacked(path: str) -> Iterator[Any]:
    """As `_blocks`, of a compressed file."""
    # 32: gzip or zlib, by the first bytes.
    unpack = zlib.decompressobj(32 + zlib.MAX_WBITS)
    position = yield
    start, rest = 0, b""
    with tf.io.gfile.GFile(path, "rb") as stream:
        while packed := stream.read(_BLOCK_BYTES):
            while packed:
                block = rest + unpack.decompress(packed, _BLOCK_BYTES)
                packed = unpack.unconsumed_tail
                position = yield start, block
                kept = min(max(position - start, 0), len(block))
                start, rest = start + kept, block[kept:]
    if not unpack.eof:
        raise zlib.error("the compressed bytes end too early")


def _crc_table() -> np.ndarray:
    """CRC-32C of each byte (Castagnoli; the polynomial with its bits reversed)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ (np.uint32(0x82F63B78) * (table & 1))
    return table


def _wrong_headers(headers: Sequence[bytes]) -> np.ndarray:
    """Numbers of the headers whose length does not have its checksum."""
    if not headers:
        return np.zeros([0], np.int64)
    table = _crc_table()
    rows = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, _HEADER.size)
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows[:, :8].T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    # TFRecord rotates the checksum and adds a number, modulo 2^32.
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)
    return np.flatnonzero(masked != rows[:, 8:].copy().view("<u4")[:, 0])


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
