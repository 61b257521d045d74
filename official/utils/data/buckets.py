"""Input streams of rows of different lengths, whose batches hold rows of like lengths.

How a training epoch is ordered:

1. All rows stand in an order drawn from (seed, epoch).
2. They are cut into windows of some thousand rows, a whole number of batches.
3. The rows of a window are sorted by length and cut into batches, so that a batch holds
   rows of like lengths; the batches of the window follow each other in a drawn order.

A batch is padded to its own longest row. Where rows are padded to a fixed length,
batches are drawn at random instead. Each step computes its window by itself, so
that the streams are pure functions of (seed, step), like those of `streams`.
"""

import dataclasses
import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data.streams import Share, keep_order
from official.utils.errors import UserError

# Rows that are sorted together: enough for batches without much padding; sorting them
# takes about half a millisecond.
WINDOW_ROWS = 4096
# At least so many batches, for else the rows of a batch would hardly change company.
WINDOW_BATCHES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths, one behind the other.

    Attributes:
        values: [sum of lengths], of one dtype; padding is 0.
        offsets: int64 [rows + 1]; row r is values[offsets[r] : offsets[r + 1]].
        mapped: the file that holds the values, where they are not in memory.
    """

    values: np.ndarray
    offsets: np.ndarray
    mapped: mmap.mmap | None = None

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], dtype: Any = np.int32) -> "Ragged":
        """Puts rows together."""
        lengths = np.array([len(row) for row in rows], np.int64)
        values = np.concatenate(rows) if len(rows) else np.zeros(0)
        return cls(values.astype(dtype), np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Length of each row, int64 [rows]."""
        return np.diff(self.offsets)

    def release(self) -> None:
        """Lets go of the pages of a mapped file; they come back when they are read.

        Rows are read in random order: the whole file would soon count as memory of this
        process.
        """
        # Windows has no such call.
        if self.mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Examples with features of fixed shape and others of different lengths.

    Attributes:
        ragged: features by name; a batch holds each as [rows, longest], padded with 0,
            and `<name>_length`, int32 [rows].
        arrays: features by name, [rows, ...].
        multiple: padded lengths are multiples of this.
        fixed_length: what all batches are padded to, for hardware that wants one shape.
    """

    ragged: Mapping[str, Ragged]
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    multiple: int = 8
    fixed_length: int | None = None

    def __post_init__(self):
        sizes = {len(rows) for rows in (*self.ragged.values(), *self.arrays.values())}
        assert len(sizes) == 1, f"features of {sorted(sizes)} rows"

    def __len__(self) -> int:
        return len(next(iter(self.ragged.values())))

    @property
    def lengths(self) -> np.ndarray:
        """The longest feature of each row, int64 [rows]."""
        return np.max([feature.lengths for feature in self.ragged.values()], axis=0)

    def gatherer(self) -> Callable[[Any, Any], dict[str, Any]]:
        """A function that takes rows out, in TensorFlow.

        Returns:
            Maps int64 [picked] and int64 [whole batch], the rows that lengths are
            padded for, to features by name.
        """
        ragged = {
            name: (tf.constant(rows.values), tf.constant(rows.offsets))
            for name, rows in self.ragged.items()
        }
        arrays = {name: tf.constant(array) for name, array in self.arrays.items()}

        def gather(picked, batch):
            found = {name: tf.gather(array, picked) for name, array in arrays.items()}
            for name, (values, offsets) in ragged.items():
                first, end = tf.gather(offsets, picked), tf.gather(offsets, picked + 1)
                length = self._padded_length(offsets, batch)
                place = tf.range(length)
                is_there = place < (end - first)[:, tf.newaxis]
                index = tf.where(is_there, first[:, tf.newaxis] + place, 0)
                found[name] = tf.where(is_there, tf.gather(values, index), 0)
                found[f"{name}_length"] = tf.cast(end - first, tf.int32)
            return found

        return gather

    def take(self, picked: np.ndarray, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Takes rows out, in NumPy: values that are mapped from a file stay there.

        Args:
            picked: int64 [picked].
            batch: int64 [whole batch], the rows that lengths are padded for.

        Returns:
            Features by name, as those of `gatherer`.
        """
        found = {name: array[picked] for name, array in self.arrays.items()}
        for name, rows in self.ragged.items():
            first, end = rows.offsets[picked], rows.offsets[picked + 1]
            lengths = rows.offsets[batch + 1] - rows.offsets[batch]
            place = np.arange(self.padded(max(int(lengths.max()), 1)))
            is_there = place < (end - first)[:, np.newaxis]
            index = (first[:, np.newaxis] + place)[is_there]
            found[name] = np.zeros(is_there.shape, rows.values.dtype)
            found[name][is_there] = rows.values[index]
            rows.release()
            found[f"{name}_length"] = (end - first).astype(np.int32)
        return found

    def padded(self, longest: Any) -> Any:
        """What rows are padded to whose longest one is `longest`, number or array."""
        if self.fixed_length:
            return longest * 0 + self.fixed_length
        return (longest + self.multiple - 1) // self.multiple * self.multiple

    def _padded_length(self, offsets, batch):
        if self.fixed_length:
            return tf.constant(self.fixed_length, tf.int64)
        lengths = tf.gather(offsets, batch + 1) - tf.gather(offsets, batch)
        return self.padded(tf.maximum(tf.reduce_max(lengths), 1))


@dataclasses.dataclass(frozen=True, eq=False)
class BucketedTrainingStream:
    """Shuffled batches of rows of like lengths; see the head of the module.

    Attributes:
        rows: the examples.
        batch_size: rows of a step, over all replicas and micro-batches.
        seed: seed of the order.
        transform: maps a batch; None leaves it. Random transforms take their seed from
            the `seed` entry, int64 [batch, 2], which is there only with a transform.
        parallel_calls: batches that are prepared at a time.
    """

    rows: Rows
    batch_size: int
    seed: int
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    parallel_calls: int = 2

    def __post_init__(self):
        if self.batch_size > len(self.rows):
            raise UserError(
                f"--batch_size={self.batch_size} is larger than the training set of "
                f"{len(self.rows)} examples; lower it"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches of an epoch."""
        return len(self.rows) // self.batch_size

    @property
    def batches_per_window(self) -> int:
        """Batches whose rows are sorted together."""
        if self.rows.fixed_length:
            return 1  # All are as long: batches are drawn from the whole set.
        most = max(WINDOW_BATCHES, WINDOW_ROWS // self.batch_size)
        return min(most, self.steps_per_epoch)

    def padding_share(self) -> float:
        """Part of the tokens of the first epoch that is padding."""
        real = padded = 0
        dataset = self.dataset(0, Share(1, 0, 1)).take(self.steps_per_epoch)
        for batch in dataset:
            for name in self.rows.ragged:
                real += int(tf.reduce_sum(batch[f"{name}_length"]))
                padded += int(tf.size(batch[name]))
        return 1 - real / padded

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """See `TrainingStream.dataset`."""
        gather = self.rows.gatherer()
        lengths = tf.constant(self.rows.lengths)
        window = self.batches_per_window
        last = tf.constant(len(self.rows) - 1, tf.int64)
        rows = self.batch_size // share.replicas

        def batch(element):
            step = start_step + element // share.local
            replica = share.first + element % share.local
            epoch, number = step // self.steps_per_epoch, step % self.steps_per_epoch
            first = number // window * window
            batches = tf.minimum(
                tf.cast(window, tf.int64), self.steps_per_epoch - first
            )
            places = tf.range(batches * self.batch_size, dtype=tf.int64)
            ids = tf.random.experimental.index_shuffle(
                first * self.batch_size + places, self._key(epoch, 0), last
            )
            order = tf.argsort(tf.gather(lengths, ids), stable=True)
            which = tf.random.experimental.index_shuffle(
                number - first, self._key(epoch, 1 + first), batches - 1
            )
            whole = tf.reshape(tf.gather(ids, order), [-1, self.batch_size])[which]
            # Every replica gets short and long ones alike.
            found = gather(whole[replica :: share.replicas], whole)
            if self.transform is None:
                return found
            row = step * self.batch_size + replica
            row += share.replicas * tf.range(rows, dtype=tf.int64)
            seeds = tf.fill([rows], tf.constant(self.seed, tf.int64))
            return self.transform(found | {"seed": tf.stack([seeds, row], axis=1)})

        dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
        dataset = dataset.map(
            batch, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(4 * share.local))

    def _key(self, epoch, number):
        """Two random numbers: `index_shuffle` is even only under keys that look so."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), epoch])
        return tf.random.stateless_uniform(
            [2],
            tf.random.fold_in(seed, number, alg="philox"),
            minval=None,
            maxval=None,
            dtype=tf.int32,
            alg="philox",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class BucketedEvaluationStream:
    """All rows once, sorted by length, the longest first.

    Attributes:
        rows: the examples.
        batch_size: rows of a step over all replicas; rounded up to a multiple of them.
        transform: maps a batch; None leaves it. Random transforms take their seed from
            the `seed` entry, int64 [batch, 2], which is there only with a transform:
            (0, number of the row).
        parallel_calls: batches that are prepared at a time.
    """

    rows: Rows
    batch_size: int
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    parallel_calls: int = 2

    @property
    def order(self) -> np.ndarray:
        """Numbers of the rows in the order of the stream, int64 [rows]."""
        return np.argsort(-self.rows.lengths, kind="stable")

    def _rows(self, replicas: int) -> int:
        return -(-min(self.batch_size, len(self.rows)) // replicas)

    def num_batches(self, replicas: int) -> int:
        """See `EvaluationStream.num_batches`."""
        return -(-len(self.rows) // (self._rows(replicas) * replicas))

    def dataset(self, share: Share) -> tf.data.Dataset:
        """See `EvaluationStream.dataset`."""
        gather = self.rows.gatherer()
        order = tf.constant(self.order)
        rows = self._rows(share.replicas)
        batch_size = rows * share.replicas

        def batch(element):
            step = element // share.local
            replica = share.first + element % share.local
            places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
            # Padding repeats a row, with weight 0.
            whole = tf.gather(order, tf.minimum(places, len(self.rows) - 1))
            own = slice(replica * rows, (replica + 1) * rows)
            found = gather(whole[own], whole)
            is_real = places[own] < len(self.rows)
            found["example_weight"] = tf.cast(is_real, tf.float32)
            if self.transform is None:
                return found
            numbers = whole[own]
            seeds = tf.stack([tf.zeros_like(numbers), numbers], axis=1)
            return self.transform(found | {"seed": seeds})

        elements = self.num_batches(share.replicas) * share.local
        dataset = tf.data.Dataset.range(elements).map(
            batch, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(2 * share.local))
