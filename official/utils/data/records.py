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
read. `record_files.RecordFiles.explain` turns what TensorFlow then says into one line.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data.record_files import Parse, RecordFiles, read
from official.utils.data.streams import Share, keep_order
from official.utils.errors import UserError

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
        return keep_order(dataset.prefetch(4 * share.local))

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
        return read(paths, self.files.compression).skip(number)

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
        records = read(list(files.paths), files.compression)
        records = _counted(records, files.num_records)
        if self.keep is None:
            batches = records.batch(batch_size)
        else:
            batches = _pick(records, tf.constant(self.keep)).rebatch(batch_size)
        dataset = batches.map(pad).unbatch()
        dataset = dataset.map(
            finish, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(2 * share.local))


def _num_kept(files: RecordFiles, keep: np.ndarray | None) -> int:
    return files.num_records if keep is None else int(keep.sum())
