"""Input streams that are pure functions of (seed, step).

To resume is to start a stream at a step; nothing else about the data is saved. A stream
gives each replica its rows of every global batch, so that the batch of a step holds the
same examples however many replicas share it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Share:
    """Which replicas a dataset feeds, in turn, element by element.

    Attributes:
        replicas: replicas of the whole run.
        first: number of the first that this dataset feeds.
        local: how many it feeds.
    """

    replicas: int
    first: int
    local: int


class TrainingStream(Protocol):
    """Endless shuffled batches."""

    steps_per_epoch: int

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """Per-replica batches from `start_step` on, the remainder of an epoch dropped.

        Args:
            start_step: optimizer step of the first batch.
            share: the replicas to feed.

        Returns:
            Dicts of tensors, [batch_size / share.replicas, ...].
        """


class EvaluationStream(Protocol):
    """Every example once, padded to full batches."""

    def num_batches(self, replicas: int) -> int:
        """Batches that each of `replicas` replicas gets."""

    def dataset(self, share: Share) -> tf.data.Dataset:
        """Per-replica batches with `example_weight`, float32, 0 where a row is padding.

        Args:
            share: the replicas to feed.

        Returns:
            Dicts of tensors, all with the same number of rows.
        """


@dataclasses.dataclass(frozen=True)
class ArrayTrainingStream:
    """Shuffled batches of arrays in memory; any step is found in O(1).

    The order of an epoch is `index_shuffle`, a keyed permutation that is computed
    element by element and stored nowhere.

    Attributes:
        arrays: arrays by name, all with N rows.
        batch_size: rows of a step, over all replicas and micro-batches.
        seed: seed of the order.
        transform: maps a batch; None leaves it. Random transforms take their seed from
            the `seed` entry, int64 [batch, 2], which is there only with a transform.
        parallel_calls: batches that are prepared at a time.
    """

    arrays: Mapping[str, np.ndarray]
    batch_size: int
    seed: int
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    parallel_calls: int = 2

    def __post_init__(self):
        if self.batch_size > self._num_rows:
            raise UserError(
                f"--batch_size={self.batch_size} is larger than the training set of "
                f"{self._num_rows} examples; lower it"
            )

    @property
    def _num_rows(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def steps_per_epoch(self) -> int:
        """Full batches of an epoch."""
        return self._num_rows // self.batch_size

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """See `TrainingStream.dataset`."""
        tensors = {name: tf.constant(array) for name, array in self.arrays.items()}
        rows = self.batch_size // share.replicas
        last = tf.constant(self._num_rows - 1, tf.int64)

        def batch(element):
            step = start_step + element // share.local
            replica = share.first + element % share.local
            epoch, step_in_epoch = (
                step // self.steps_per_epoch,
                (step % self.steps_per_epoch),
            )
            first = step_in_epoch * self.batch_size + replica * rows
            positions = first + tf.range(rows, dtype=tf.int64)
            # The shuffle is even only under keys that look random; (seed, epoch) as it
            # is gives epochs that resemble each other.
            key = tf.random.stateless_uniform(
                [2],
                tf.stack([tf.constant(self.seed, tf.int64), epoch]),
                minval=None,
                maxval=None,
                dtype=tf.int32,
                alg="philox",
            )
            ids = tf.random.experimental.index_shuffle(positions, key, last)
            result = {name: tf.gather(all_, ids) for name, all_ in tensors.items()}
            if self.transform is None:
                return result
            # Row r of step s has its own seed, whichever replica it falls to.
            row = step * self.batch_size + replica * rows
            row += tf.range(rows, dtype=tf.int64)
            result["seed"] = tf.stack(
                [tf.fill([rows], tf.constant(self.seed, tf.int64)), row], axis=1
            )
            return self.transform(result)

        dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
        dataset = dataset.map(
            batch, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(4 * share.local))


@dataclasses.dataclass(frozen=True)
class ArrayEvaluationStream:
    """The rows of arrays in their order.

    Attributes:
        arrays: arrays by name, all with N rows.
        batch_size: rows of a step over all replicas; rounded up to a multiple of them.
        transform: maps a batch; None leaves it.
        parallel_calls: batches that are prepared at a time.
    """

    arrays: Mapping[str, np.ndarray]
    batch_size: int
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    parallel_calls: int = 2

    @property
    def _num_rows(self) -> int:
        return len(next(iter(self.arrays.values())))

    def _rows(self, replicas: int) -> int:
        return -(-min(self.batch_size, self._num_rows) // replicas)

    def num_batches(self, replicas: int) -> int:
        """See `EvaluationStream.num_batches`."""
        return -(-self._num_rows // (self._rows(replicas) * replicas))

    def dataset(self, share: Share) -> tf.data.Dataset:
        """See `EvaluationStream.dataset`."""
        tensors = {name: tf.constant(array) for name, array in self.arrays.items()}
        rows = self._rows(share.replicas)

        def batch(element):
            step = element // share.local
            replica = share.first + element % share.local
            first = (step * share.replicas + replica) * rows
            ids = first + tf.range(rows, dtype=tf.int64)
            is_real = ids < self._num_rows
            # Padding repeats the first row, a valid one, with weight 0.
            ids = tf.where(is_real, ids, 0)
            result = {name: tf.gather(all_, ids) for name, all_ in tensors.items()}
            result["example_weight"] = tf.cast(is_real, tf.float32)
            return result if self.transform is None else self.transform(result)

        elements = self.num_batches(share.replicas) * share.local
        dataset = tf.data.Dataset.range(elements).map(
            batch, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(2 * share.local))


def keep_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps the order, and leaves out tf.data's tuning, which these never need."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return dataset.with_options(options)
