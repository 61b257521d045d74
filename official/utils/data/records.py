"""Input streams over TFRecord files: pure functions of (seed, step), in flat memory.

How a training epoch is ordered:

1. The shards stand in an order drawn from (seed, epoch), and reading begins at a drawn
   record of the first one, whose head comes last. So the neighbours of a record change
   from epoch to epoch even where all records are in one shard.
2. The records, in that order, are cut into windows of W, a whole number of batches.
3. Each window is shuffled by a keyed permutation of (seed, epoch, window), of which
   any position is computed by itself.

The batch of a step is therefore known from the counts of the shards alone. To resume
is to go to the window of the step: earlier shards are not opened; in the first one the
records before are passed by their headers (a compressed shard is unpacked up to
there); at most one window is read again.

The bytes of a file are checked against the checksums of its records while they are
read. `RecordFiles.explain` turns what TensorFlow then says into one line.
"""

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
from official.utils.data.streams import Share
from official.utils.errors import UserError, one_line

Parse = Callable[[tf.Tensor], dict[str, Any]]

# The most of a window. Larger ones are slower: they fall out of the processor's caches,
# and the first batch waits for the first window. In memory there may be three at a
# time: one that is used, one that waits and one that is read.
WINDOW_RECORDS = 16_384
WINDOW_BYTES = 128 << 20
# What TensorFlow keeps for a string beside its bytes.
STRING_BYTES = 40
# Batches are taken out of a window in groups of about so many records, or so many
# bytes if that is less: the calls cost as much as the copies in small batches.
GROUP_RECORDS = 2048
GROUP_BYTES = 8 << 20
# Records from which those of a subset are picked at a time.
BLOCK_RECORDS = 1024

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
            for record in _read([path], self.compression):
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
        for batch in _read([path], self.compression).batch(256):
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


def _read(paths, compression: str) -> tf.data.Dataset:
    """The records of files one after the other."""
    # `tf.data.TFRecordDataset` makes a dataset of each file and goes through them,
    # which costs a tenth of the time; its operation takes several files by itself.
    variant = tf.raw_ops.TFRecordDataset(
        filenames=paths, compression_type=compression, buffer_size=_READ_BYTES
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))


def _counted(records: tf.data.Dataset, number) -> tf.data.Dataset:
    """Refuses files that hold more or fewer records than they were counted with."""
    return records.apply(tf.data.experimental.assert_cardinality(number))


def _pick(records: tf.data.Dataset, mask: tf.Tensor) -> tf.data.Dataset:
    """Blocks of those records whose entry in `mask` is set; of any size, maybe 0."""

    @tf.autograph.experimental.do_not_convert
    def pick(block, found):
        first = block * BLOCK_RECORDS
        return tf.boolean_mask(found, mask[first : first + tf.size(found, tf.int64)])

    return records.batch(BLOCK_RECORDS).enumerate().map(pick)


def _options(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps the order, and leaves out tf.data's tuning, which these never need."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return dataset.with_options(options)


# ---- Streams ----


@dataclasses.dataclass(frozen=True, eq=False)
class RecordTrainingStream:
    """Shuffled batches of records; see the head of the module, and `TrainingStream`.

    Each replica gets its rows of the global batch, so that a step holds the same
    examples however many replicas and workers share it. Each worker therefore reads
    every record of a window, and parses its own.

    Attributes:
        files: where the records are.
        batch_size: rows of a step, over all replicas and micro-batches.
        seed: seed of the order.
        parse: maps a batch of records, string [rows], to a dict of tensors.
        keep: which records belong to the stream, bool [files.num_records]; None for
            all. The others are read and passed over.
        transform: maps what `parse` gives; None leaves it. Random transforms take their
            seed from the `seed` entry, int64 [rows, 2], which is there only with a
            transform.
        window: about how many records are shuffled with each other; it is rounded to
            whole batches. By default `WINDOW_RECORDS`, or as many as `WINDOW_BYTES`
            hold.
        parallel_calls: batches that are prepared at a time.
    """

    files: RecordFiles
    batch_size: int
    seed: int
    parse: Parse
    keep: np.ndarray | None = None
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    window: int | None = None
    parallel_calls: int = 2

    def __post_init__(self):
        if self.batch_size > self.num_examples:
            raise UserError(
                f"--batch_size={self.batch_size} is larger than the training set of "
                f"{self.num_examples} examples; lower it"
            )

    @property
    def num_examples(self) -> int:
        """Records that belong to the stream."""
        return _num_kept(self.files, self.keep)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches of an epoch."""
        return self.num_examples // self.batch_size

    @property
    def batches_per_window(self) -> int:
        """Steps that are drawn from one window."""
        most = min(WINDOW_RECORDS, WINDOW_BYTES // self._record_bytes)
        window = self.window or most
        return max(1, min(window // self.batch_size, self.steps_per_epoch))

    @property
    def _record_bytes(self) -> int:
        return self.files.num_bytes // self.files.num_records + STRING_BYTES

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """See `TrainingStream.dataset`."""
        first_epoch, step = divmod(start_step, self.steps_per_epoch)
        first_window, first_batch = divmod(step, self.batches_per_window)
        rows = self.batch_size // share.replicas
        most = min(GROUP_RECORDS, GROUP_BYTES // self._record_bytes)
        group_size = max(1, most // self.batch_size)

        @tf.autograph.experimental.do_not_convert
        def windows(epoch):
            first = tf.where(epoch == first_epoch, tf.cast(first_window, tf.int64), 0)
            return self._windows(epoch, first)

        @tf.autograph.experimental.do_not_convert
        def groups(epoch, window, records):
            is_first = (epoch == first_epoch) & (window == first_window)
            first = tf.where(is_first, tf.cast(first_batch, tf.int64), 0)
            stop = tf.minimum(
                tf.size(records, tf.int64) // self.batch_size,
                self.steps_per_epoch - window * self.batches_per_window,
            )
            # Every element refers to the same records; none is copied here.
            same = tf.data.Dataset.from_tensors((epoch, window, stop, records))
            return tf.data.Dataset.zip(
                tf.data.Dataset.range(first, stop, group_size), same.repeat()
            )

        @tf.autograph.experimental.do_not_convert
        def take_out(first, same):
            epoch, window, stop, records = same
            batches = tf.range(first, tf.minimum(first + group_size, stop))
            replicas = share.first + tf.range(share.local, dtype=tf.int64)
            # [batches, local replicas]: the first row of each element in the window.
            firsts = batches[:, tf.newaxis] * self.batch_size + replicas * rows
            firsts = tf.reshape(firsts, [-1, 1])
            positions = firsts + tf.range(rows, dtype=tf.int64)
            last = tf.size(records, tf.int64) - 1
            ids = tf.random.experimental.index_shuffle(
                tf.reshape(positions, [-1]), self._key(epoch, 2 + window), last
            )
            ids = tf.reshape(ids, [-1, rows])
            # Row r of step s has a number of its own, whichever replica it falls to.
            before = epoch * self.steps_per_epoch + window * self.batches_per_window
            numbers = before * self.batch_size + positions
            return tf.gather(records, ids), numbers

        dataset = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
        dataset = dataset.flat_map(windows).prefetch(1).flat_map(groups)
        dataset = dataset.map(
            take_out, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        dataset = dataset.unbatch().map(
            self._finish, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return _options(dataset.prefetch(4 * share.local))

    def _finish(self, serialized, numbers):
        result = self.parse(serialized)
        if self.transform is None:
            return result
        seeds = tf.fill(tf.shape(numbers), tf.constant(self.seed, tf.int64))
        return self.transform(result | {"seed": tf.stack([seeds, numbers], axis=1)})

    def _key(self, epoch, number):
        """Two random numbers: 0 orders the shards, 1 turns them, 2 + w is window w's.

        `index_shuffle` is even only under keys that look random.
        """
        seed = tf.stack([tf.constant(self.seed, tf.int64), epoch])
        return tf.random.stateless_uniform(
            [2],
            tf.random.fold_in(seed, number, alg="philox"),
            minval=None,
            maxval=None,
            dtype=tf.int32,
            alg="philox",
        )

    def _windows(self, epoch, first_window) -> tf.data.Dataset:
        """(epoch, number, records) of the windows of an epoch from one on."""
        files = self.files
        num_shards = len(files.paths)
        shards = tf.range(num_shards, dtype=tf.int64)
        if num_shards > 1:
            shards = tf.random.experimental.index_shuffle(
                shards, self._key(epoch, 0), tf.constant(num_shards - 1, tf.int64)
            )
        counts = tf.constant(files.counts, tf.int64)
        # Reading begins at this record of the first shard, and ends before it.
        turn = tf.random.experimental.index_shuffle(
            tf.constant(0, tf.int64), self._key(epoch, 1), counts[shards[0]] - 1
        )
        window_size = self.batches_per_window * self.batch_size
        first = first_window * window_size
        mask = None
        if self.keep is not None:
            mask = self._mask(shards, turn)
            first = tf.where(mask)[first, 0]
        # The place of the first record among all shards in their order.
        ends = tf.cumsum(tf.gather(counts, shards))
        place = first + turn
        at = tf.searchsorted(ends, [place], side="right")[0]
        passed = tf.concat([[tf.constant(0, tf.int64)], ends], axis=0)[at]
        records = self._skip(shards[at:], place - passed)
        records = _counted(records, tf.maximum(files.num_records - place, 0))
        # What was before the beginning, in the end.
        head = tf.maximum(place - files.num_records, 0)
        rest = self._skip(shards[:1], head).take(turn - head)
        records = records.concatenate(_counted(rest, turn - head))
        if mask is None:
            windows = records.batch(window_size)
        else:
            windows = _pick(records, mask[first:]).rebatch(window_size)
        numbers = tf.data.Dataset.range(first_window, np.iinfo(np.int64).max)
        epochs = tf.data.Dataset.from_tensors(epoch).repeat()
        return tf.data.Dataset.zip(epochs, numbers, windows)

    def _skip(self, shards, number) -> tf.data.Dataset:
        """The records of shards without the first ones."""
        paths = tf.gather(tf.constant(self.files.paths), shards)
        return _read(paths, self.files.compression).skip(number)

    def _mask(self, shards, turn):
        """`keep`, bool [num_records], in the order in which an epoch reads."""
        counts = np.array(self.files.counts, np.int64)
        starts = tf.gather(tf.constant(np.cumsum(counts) - counts), shards)
        ends = starts + tf.gather(tf.constant(counts), shards)
        ids = tf.ragged.range(starts, ends).values
        return tf.gather(tf.constant(self.keep), tf.roll(ids, -turn, axis=0))


@dataclasses.dataclass(frozen=True, eq=False)
class RecordEvaluationStream:
    """The records of files in their order, each once; see `EvaluationStream`.

    Every worker reads all records, and parses its own. A part that is held out of
    large files costs reading them all: give such a set files of its own.

    Attributes:
        files: where the records are.
        batch_size: rows of a step over all replicas; rounded up to a multiple of them.
        parse: maps a batch of records, string [rows], to a dict of tensors.
        keep: which records belong to the stream, bool [files.num_records]; None for
            all.
        parallel_calls: batches that are prepared at a time.
    """

    files: RecordFiles
    batch_size: int
    parse: Parse
    keep: np.ndarray | None = None
    parallel_calls: int = 2

    @property
    def num_examples(self) -> int:
        """Records that belong to the stream."""
        return _num_kept(self.files, self.keep)

    def _rows(self, replicas: int) -> int:
        return -(-min(self.batch_size, self.num_examples) // replicas)

    def num_batches(self, replicas: int) -> int:
        """See `EvaluationStream.num_batches`."""
        return -(-self.num_examples // (self._rows(replicas) * replicas))

    def dataset(self, share: Share) -> tf.data.Dataset:
        """See `EvaluationStream.dataset`."""
        rows = self._rows(share.replicas)
        batch_size = rows * share.replicas

        @tf.autograph.experimental.do_not_convert
        def pad(records):
            """[local, rows], of which the last batch may have too few."""
            number = tf.size(records)
            # Padding repeats the first row, a valid one, with weight 0.
            padding = tf.repeat(records[:1], batch_size - number)
            weights = tf.cast(tf.range(batch_size) < number, tf.float32)
            own = slice(share.first, share.first + share.local)
            shape = [share.replicas, rows]
            padded = tf.reshape(tf.concat([records, padding], axis=0), shape)
            return padded[own], tf.reshape(weights, shape)[own]

        def finish(records, weights):
            return self.parse(records) | {"example_weight": weights}

        files = self.files
        records = _read(list(files.paths), files.compression)
        records = _counted(records, files.num_records)
        if self.keep is None:
            batches = records.batch(batch_size)
        else:
            batches = _pick(records, tf.constant(self.keep)).rebatch(batch_size)
        dataset = batches.map(pad).unbatch()
        dataset = dataset.map(
            finish, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return _options(dataset.prefetch(2 * share.local))


def _num_kept(files: RecordFiles, keep: np.ndarray | None) -> int:
    return files.num_records if keep is None else int(keep.sum())
