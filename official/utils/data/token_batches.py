"""Batches of pairs of sequences that hold about as many tokens, not as many rows.

How a training epoch is ordered:

1. All rows stand in an order drawn from (seed, epoch).
2. They are cut into windows of some thousand rows.
3. The rows of a window are sorted, by the length of the second feature into groups, and
   within a group by the first, one group up and the next one down; so neighbours are
   alike in both lengths. Then they are cut into batches whose rows, times their longest
   sequence, come to about `batch_tokens`. A window of n rows always gives as many
   batches, so that a step is found without those before it.
4. The batches of a window follow each other in a drawn order.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data.buckets import Rows
from official.utils.data.streams import Share, keep_order
from official.utils.errors import UserError

# Rows that are sorted together, at least; planning them takes some milliseconds.
WINDOW_ROWS = 16_384
# At least so many batches, for the fewer there are, the less alike are their rows: of
# Multi30k 64 batches are 9 % padding, 22 would be 22 %.
WINDOW_BATCHES = 64
# Windows that are drawn to see how many batches one of them needs.
_TRIALS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class TokenTrainingStream:
    """Shuffled batches of about as many tokens; see the head of the module.

    Attributes:
        rows: the examples, with two ragged features; a batch holds each as [rows,
            longest], padded with 0.
        batch_tokens: rows times longest sequence, as padded, of a batch, at most, but
            for an unlucky window and the rows that `multiple` adds.
        seed: of the order.
        multiple: rows of a batch are a multiple of this times the replicas; those that
            are missing are empty.
        transform: maps a batch; None leaves it.
    """

    rows: Rows
    batch_tokens: int
    seed: int
    multiple: int = 1
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    def __post_init__(self):
        longest = int(self._costs().max(initial=0))
        if longest > self.batch_tokens:
            raise UserError(
                f"--batch_size={self.batch_tokens} tokens is less than the longest "
                f"sequence, {longest}; raise it, or lower --max_length"
            )
        # Frozen: the plans of some windows, and the order of an epoch.
        for name, function, size in (
            ("_plan", self._make_plan, 4),
            ("_order", self._make_order, 2),
        ):
            object.__setattr__(self, name, functools.lru_cache(size)(function))

    # ---- How many ----

    def _sides(self, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Lengths of both features of rows; not kept, for there may be millions."""
        first, second = (
            ragged.offsets[1:][rows] - ragged.offsets[:-1][rows]
            for ragged in self.rows.ragged.values()
        )
        return first, second

    def _costs(self, rows: Any = slice(None)) -> np.ndarray:
        """Tokens of each of some rows, of its longer side, as padded."""
        return self.rows.padded(np.maximum(*self._sides(rows)))

    @functools.cached_property
    def _window_rows(self) -> int:
        of_batches = WINDOW_BATCHES * self.batch_tokens / self._costs().mean()
        return max(WINDOW_ROWS, int(of_batches))

    @functools.cached_property
    def _batches_of_windows(self) -> np.ndarray:
        """Batches of each window of an epoch."""
        window = self._window_rows
        sizes = [window] * (len(self.rows) // window)
        rest = len(self.rows) % window
        # A small rest is sorted with the last full window.
        if sizes and rest < window // 2:
            sizes[-1] += rest
        else:
            sizes.append(rest)
        generator = np.random.default_rng(0)
        numbers = {}
        for size in set(sizes):
            trials = [
                generator.choice(len(self.rows), size, replace=False)
                for _ in range(_TRIALS)
            ]
            numbers[size] = max(
                len(_cut(self._costs(rows[self._sorted(rows)]), self.batch_tokens)) - 1
                for rows in trials
            )
        return np.array([numbers[size] for size in sizes])

    @functools.cached_property
    def _first_steps(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self._batches_of_windows)])

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return int(self._first_steps[-1])

    @property
    def tokens_per_step(self) -> float:
        """Tokens of both features that are no padding, the mean of an epoch."""
        total = sum(int(side.sum()) for side in self._sides())
        return total / self.steps_per_epoch

    # ---- Which rows ----

    def _make_order(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.rows))
        return order.astype(np.min_scalar_type(len(self.rows)))

    def _make_plan(self, epoch: int, window: int) -> list[np.ndarray]:
        """Rows of the batches of a window, in their order."""
        first = window * self._window_rows
        is_last = window == len(self._batches_of_windows) - 1
        end = len(self.rows) if is_last else first + self._window_rows
        rows = self._order(epoch)[first:end].astype(np.int64)
        rows = rows[self._sorted(rows)]
        number = int(self._batches_of_windows[window])
        batches = np.split(rows, self._cut_into(rows, number)[1:-1])
        generator = np.random.default_rng((self.seed, epoch, window))
        return [batches[i] for i in generator.permutation(number)]

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        """The order of `rows` in which neighbours are alike."""
        first, second = self._sides(rows)
        by_second = np.argsort(second, kind="stable")
        tokens = int(self._costs(rows).sum())
        groups = max(1, round((tokens / self.batch_tokens) ** 0.5))
        order = []
        for number, group in enumerate(np.array_split(by_second, groups)):
            by_first = group[np.argsort(first[group], kind="stable")]
            order.append(by_first[:: -1 if number % 2 else 1])
        return np.concatenate(order)

    def _cut_into(self, rows: np.ndarray, number: int) -> list[int]:
        """Where exactly `number` batches begin, and the end."""
        costs = self._costs(rows)
        low, high = 1.0, float(self.batch_tokens)
        while len(_cut(costs, high)) - 1 > number:  # An unlucky window.
            high *= 1.02
        # The least limit, so that batches are of like size.
        for _ in range(12):
            middle = (low + high) / 2
            if len(_cut(costs, middle)) - 1 <= number:
                high = middle
            else:
                low = middle
        cuts = _cut(costs, high)
        while len(cuts) - 1 < number:
            sizes = np.diff(cuts)
            largest = int(np.argmax(sizes))
            cuts.insert(largest + 1, cuts[largest] + int(sizes[largest]) // 2)
        return cuts

    def rows_of(self, step: int) -> np.ndarray:
        """The rows of a step, over all replicas, int64 [rows]."""
        epoch, place = divmod(step, self.steps_per_epoch)
        window = int(np.searchsorted(self._first_steps, place, "right")) - 1
        return self._plan(epoch, window)[place - int(self._first_steps[window])]

    def padding_share(self) -> float:
        """Part of the tokens of the first epoch that is padding."""
        real = padded = 0
        for step in range(self.steps_per_epoch):
            rows = self.rows_of(step)
            number = len(rows) + -len(rows) % self.multiple
            for side in self._sides(rows):
                real += int(side.sum())
                padded += number * self.rows.padded(int(side.max()))
        return 1 - real / padded

    # ---- As a dataset ----

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """See `TrainingStream.dataset`; an epoch has no remainder."""
        ragged, arrays = self.rows.ragged, self.rows.arrays
        length = self.rows.fixed_length
        # The shape and type of all features but for the number of rows.
        signature = {
            name: (array.shape[1:], array.dtype) for name, array in arrays.items()
        }
        for name, rows in ragged.items():
            signature[name] = ([length], rows.values.dtype)
            signature[f"{name}_length"] = ([], np.int32)

        def load(step, replica):
            rows = self.rows_of(int(step))
            own = rows[int(replica) :: share.replicas]
            found = self.rows.take(own, rows)
            group = self.multiple * share.replicas
            number = (len(rows) + -len(rows) % group) // share.replicas
            for name, value in found.items():
                missing = np.zeros((number - len(own), *value.shape[1:]), value.dtype)
                found[name] = np.concatenate([value, missing])
            return [found[name] for name in signature]

        def batch(element):
            step = start_step + element // share.local
            replica = share.first + element % share.local
            types = [tf.as_dtype(dtype) for _, dtype in signature.values()]
            loaded = tf.numpy_function(load, [step, replica], types, stateful=False)
            found = {
                name: tf.ensure_shape(value, [None, *shape])
                for value, (name, (shape, _)) in zip(
                    loaded, signature.items(), strict=True
                )
            }
            return found if self.transform is None else self.transform(found)

        dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
        # One after the other: a window is planned once, and the rest is quick.
        dataset = dataset.map(batch, num_parallel_calls=1, deterministic=True)
        return keep_order(dataset.prefetch(4 * share.local))


def _cut(costs: np.ndarray, limit: float) -> list[int]:
    """Where batches of at most `limit` tokens begin, and the end."""
    cuts = [0]
    while cuts[-1] < len(costs):
        start = cuts[-1]
        longest = np.maximum.accumulate(costs[start : start + int(limit)])
        tokens = longest * np.arange(1, len(longest) + 1)
        cuts.append(start + max(1, int(np.searchsorted(tokens, limit, "right"))))
    return cuts
