"""Items that users did not take: training negatives, and rivals in evaluations.

Nothing is drawn and thrown away. The n-th item that a user did not take is found from
n by a binary search over those taken, so a uniform n gives a uniform item.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from official.recommendation.interactions import HeldOut, Interactions, ItemSets
from official.utils.data import seeded
from official.utils.data.streams import Share, keep_order
from official.utils.errors import UserError

# Draws and order of an epoch come from different seeds.
_DRAWS = 1 << 40
_RIVALS = 7


class Untaken:
    """Items that users did not take, by their rank among those."""

    def __init__(self, taken: ItemSets, num_items: int):
        """Takes what each user took, out of `num_items` items."""
        sizes = taken.sizes
        # The k-th item taken, minus k, is how many untaken ones lie below it.
        places = np.arange(len(taken.items)) - np.repeat(taken.starts[:-1], sizes)
        below = (taken.items - places).astype(np.int32)
        most = int(sizes.max())
        self._steps = [1 << i for i in reversed(range(most.bit_length()))]
        # There is something to read also where the last user took nothing.
        self._below = tf.constant(np.append(below, np.int32(0)))
        # The one before the first item, from which a search counts.
        self._before = tf.constant(taken.starts[:-1].astype(np.int32) - 1)
        self._sizes = tf.constant(sizes.astype(np.int32))
        self._num_items = num_items

    def number(self, users: tf.Tensor) -> tf.Tensor:
        """How many items users [...] did not take, int32 [...]."""
        return self._num_items - tf.gather(self._sizes, users)

    def items(self, users: tf.Tensor, ranks: tf.Tensor) -> tf.Tensor:
        """The untaken items of some ranks.

        Args:
            users: integer [batch].
            ranks: int32 [batch, count], below `number(users)`.

        Returns:
            int32 [batch, count]: ascending with the rank.
        """
        before = tf.gather(self._before, users)[:, tf.newaxis]
        sizes = tf.gather(self._sizes, users)[:, tf.newaxis]
        return ranks + _taken_below(self._below, before, sizes, ranks, self._steps)


# One loop over the ranks, where each operation outside of XLA would be a pass of its
# own: with its input a step on 99,000 examples takes 27 ms, not 38.
@tf.function(jit_compile=True, autograph=False)
def _taken_below(below, before, sizes, ranks, steps):
    """How many taken items lie below the untaken ones of some ranks.

    Those are the first ones, which have at most so many untaken items below them.

    Args:
        below: int32, of each taken item, how many untaken ones lie below it.
        before: int32 [batch, 1], the place before the first one of each user.
        sizes: int32 [batch, 1], how many each user took.
        ranks: int32 [batch, count].
        steps: the powers of 2 up to the largest size, descending, no tensor.

    Returns:
        int32 [batch, count].
    """
    found = tf.zeros_like(ranks)
    for step in steps:
        longer = found + step
        # Far behind the user's last item each read would miss the cache: most users
        # took few items, and the first steps are those of the ones who took many.
        place = before + tf.minimum(longer, tf.maximum(sizes, 1))
        is_below = tf.gather(below, place) <= ranks
        found = tf.where(is_below & (longer <= sizes), longer, found)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class NegativesStream:
    """Shuffled training pairs, each with fresh items that its user did not take.

    Pairs are shuffled anew in every epoch, and negatives are drawn anew in every step;
    both are functions of (seed, step). See `TrainingStream`.

    Attributes:
        interactions: whose training pairs are given.
        batch_size: pairs and negatives of a step together, over all replicas; rounded
            down to whole groups of a pair and its negatives.
        num_negatives: items drawn for each pair.
        seed: of order and draws.
        parallel_calls: batches that are prepared at a time.
    """

    interactions: Interactions
    batch_size: int
    num_negatives: int
    seed: int
    parallel_calls: int = 2

    def __post_init__(self):
        group, number = 1 + self.num_negatives, len(self.interactions.users)
        if self.batch_size < group:
            raise UserError(
                f"--batch_size={self.batch_size} has no room for a pair and its "
                f"--num_neg={self.num_negatives} negatives; give {group} or more"
            )
        if self.pairs_per_step > number:
            raise UserError(
                f"--batch_size={self.batch_size} takes {self.pairs_per_step} pairs a "
                f"step, and there are {number} to train on; give {number * group} or "
                "less"
            )

    @property
    def pairs_per_step(self) -> int:
        """Training pairs of a step."""
        return self.batch_size // (1 + self.num_negatives)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches of an epoch."""
        return len(self.interactions.users) // self.pairs_per_step

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """See `TrainingStream.dataset`; `user` [rows], `item` [rows, 1 + negatives].

        The first item of a row is the one that was taken.

        Raises:
            UserError: the pairs cannot be divided among the replicas.
        """
        pairs = self.pairs_per_step
        if pairs % share.replicas:
            group = 1 + self.num_negatives
            size = pairs - pairs % share.replicas or share.replicas
            raise UserError(
                f"--batch_size={self.batch_size} makes {pairs} pairs with "
                f"{self.num_negatives} negatives each, which {share.replicas} replicas "
                f"cannot share; {size * group} can be"
            )
        rows = pairs // share.replicas
        users = tf.constant(self.interactions.users)
        items = tf.constant(self.interactions.items)
        untaken = Untaken(self.interactions.seen, self.interactions.num_items)
        seed = tf.constant(self.seed, tf.int64)
        last = tf.constant(len(self.interactions.users) - 1, tf.int64)

        def batch(element):
            step = start_step + element // share.local
            first = (share.first + element % share.local) * rows
            epoch = step // self.steps_per_epoch
            positions = step % self.steps_per_epoch * pairs + first
            positions += tf.range(rows, dtype=tf.int64)
            key = _bits([2], tf.stack([seed, epoch]))
            ids = tf.random.experimental.index_shuffle(positions, key, last)
            user = tf.gather(users, ids)
            draws = _bits([pairs, self.num_negatives], tf.stack([seed + _DRAWS, step]))
            draws = draws[first : first + rows]
            number = untaken.number(user)[:, tf.newaxis]
            negatives = untaken.items(user, _below(draws, number))
            taken = tf.gather(items, ids)[:, tf.newaxis]
            item = tf.concat([taken, negatives], axis=1)
            # XLA wants to know the number of rows.
            item = tf.ensure_shape(item, [rows, 1 + self.num_negatives])
            return {"user": user, "item": item}

        dataset = tf.data.Dataset.range(np.iinfo(np.int64).max).map(
            batch, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(2 * share.local))


def _bits(shape, seed):
    """Random bits, int32."""
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )


def _below(bits, number):
    """Uniform whole numbers from 0 up to, without, `number`, from 32 random bits.

    No two of them differ in probability by more than `number` / 2^32.
    """
    bits = tf.cast(tf.bitcast(bits, tf.uint32), tf.int64)
    product = bits * tf.cast(number, tf.int64)
    return tf.cast(product // 2**32, tf.int32)


def rivals(
    untaken: Untaken, users: tf.Tensor, count: int, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Different items that users did not take, drawn for each user by the seed.

    Args:
        untaken: the items to draw from.
        users: int32 [batch].
        count: how many.
        seed: of the draw; a user's items depend on it and on the user alone.

    Returns:
        int32 [batch, count], and bool [batch, count]: False where a user has fewer
        untaken items than `count`, and the place is empty.
    """
    seeds = tf.stack([tf.fill(tf.shape(users), seed), users], axis=-1)
    key = seeded.uniform(tf.cast(seeds, tf.int64), 3, _RIVALS) * 2.0**24
    key = tf.repeat(tf.cast(key, tf.int32), count, axis=0)
    number = untaken.number(users)[:, tf.newaxis]
    places = tf.tile(tf.range(count)[tf.newaxis], [tf.size(users), 1])
    is_there = places < number
    # A permutation of the user's untaken items, of which the first ones are taken.
    # tf.random.experimental.index_shuffle fails where each index has a key of its own.
    ranks = tf.raw_ops.RandomIndexShuffle(
        index=tf.reshape(tf.minimum(places, number - 1), [-1]),
        seed=key,
        max_index=tf.repeat(number[:, 0] - 1, count),
        rounds=4,
    )
    return untaken.items(users, tf.reshape(ranks, tf.shape(places))), is_there


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutStream:
    """Each held-out item once, with the items that it is ranked among.

    See `EvaluationStream`.

    Attributes:
        held_out: users with their items.
        num_items: of the data set.
        num_rivals: how many other items; -1 for all, which are not listed then.
        batch_size: users of a step, over all replicas.
        seed: of the draw of the others.
        parallel_calls: batches that are prepared at a time.
    """

    held_out: HeldOut
    num_items: int
    num_rivals: int
    batch_size: int
    seed: int
    parallel_calls: int = 2

    def _rows(self, replicas: int) -> int:
        return -(-min(self.batch_size, len(self.held_out.users)) // replicas)

    def num_batches(self, replicas: int) -> int:
        """See `EvaluationStream.num_batches`."""
        return -(-len(self.held_out.users) // (self._rows(replicas) * replicas))

    def dataset(self, share: Share) -> tf.data.Dataset:
        """See `EvaluationStream.dataset`.

        `user` [rows], `item` [rows, 1 + num_rivals] with the held-out one first, and
        `counts`, bool of the same shape. With all items `item` is [rows, 1], and
        `known_item`, [n], is what the users took, in the rows `known_row`, [n].
        """
        users = tf.constant(self.held_out.users)
        items = tf.constant(self.held_out.items)
        number = len(self.held_out.users)
        rows = self._rows(share.replicas)
        known = self.held_out.known
        if self.num_rivals < 0:
            all_known = tf.RaggedTensor.from_row_splits(
                known.items, known.starts, validate=False
            )
        else:
            untaken = Untaken(known, self.num_items)

        def batch(element):
            step = element // share.local
            replica = share.first + element % share.local
            first = (step * share.replicas + replica) * rows
            ids = first + tf.range(rows, dtype=tf.int64)
            is_real = ids < number
            # Padding repeats the first row, with weight 0.
            ids = tf.where(is_real, ids, 0)
            user, item = tf.gather(users, ids), tf.gather(items, ids)[:, tf.newaxis]
            found = {
                "user": user,
                "item": item,
                "example_weight": tf.cast(is_real, tf.float32),
            }
            if self.num_rivals < 0:
                taken = tf.gather(all_known, user)
                return found | {
                    "known_item": taken.values,
                    "known_row": tf.cast(taken.value_rowids(), tf.int32),
                }
            others, is_there = rivals(untaken, user, self.num_rivals, self.seed)
            return found | {
                "item": tf.concat([item, others], axis=1),
                "counts": tf.pad(is_there, [[0, 0], [1, 0]], constant_values=True),
            }

        elements = self.num_batches(share.replicas) * share.local
        dataset = tf.data.Dataset.range(elements).map(
            batch, num_parallel_calls=self.parallel_calls, deterministic=True
        )
        return keep_order(dataset.prefetch(2 * share.local))
