"""From raw columns to what the network takes: one code for training and for serving.

It works on whole batches, and holds nothing but TensorFlow operations and tables.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.r1.wide_deep.columns import FIRST_ID, MISSING, MISSING_ID, UNSEEN_ID

# Odd, so that every bit of an id stays in the product: the fraction of the golden
# ratio, as in Knuth's multiplicative hashing, and a factor of MurmurHash3.
_GOLDEN = np.int64(-0x61C8864680B583EB)
_MIX = np.int64(-0x3D4D51C2D82B14B1)
_SHIFT = np.int64(32)
_BLOCK_ROWS = 8192


class Features:
    """Turns columns into ids and numbers.

    Attributes:
        resources: tables that a SavedModel has to hold.
    """

    def __init__(self, facts: Mapping[str, Any]):
        """Builds the tables.

        Args:
            facts: what `columns.learn` returned.
        """
        self._facts = facts
        self._tables = {
            name: id_table(words) for name, words in facts["vocabularies"].items()
        }
        self.resources = list(self._tables.values())

    # ---- Sizes ----

    def size(self, key: str) -> int:
        """Number of ids of a column."""
        facts = self._facts
        if key in facts["hashed"]:
            return 1 + facts["hashed"][key]
        if key in facts["vocabularies"]:
            return FIRST_ID + len(facts["vocabularies"][key])
        return len(facts["boundaries"][key]) + 2  # Missing, and one bucket more.

    def cross_size(self, keys: Sequence[str]) -> int:
        """Number of ids of a cross."""
        whole = math.prod(self.size(key) for key in keys)
        return whole if len(keys) == 1 else min(whole, self._facts["cross_buckets"])

    @property
    def wide_sizes(self) -> list[int]:
        """Of each column of `wide_ids`."""
        return [self.cross_size(keys) for keys in self._facts["wide"]]

    @property
    def indicator_sizes(self) -> list[int]:
        """Of each column of `indicator_ids`."""
        return [self.size(key) for key in self._facts["indicators"]]

    @property
    def embedded_sizes(self) -> list[int]:
        """Of each column of `embedded_ids`."""
        return [self.size(key) for key in self._facts["embedded"]]

    @property
    def num_numbers(self) -> int:
        """Columns of `numbers`."""
        return len(self._facts["plain"])

    # ---- Batches ----

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Transforms a batch.

        Args:
            columns: string [N] and float32 [N] tensors by name. Text is missing where
                it is empty or `?`, a number where it is NaN.

        Returns:
            `wide_ids`, `indicator_ids` and `embedded_ids`, int32 [N, columns], each
            column counted from 0; `numbers`, float32 [N, columns]. Those of no column
            are left out.
        """
        facts = self._facts
        ids: dict[str, Any] = {}

        def column_ids(key):
            if key not in ids:
                ids[key] = self._ids(key, columns[key])
            return ids[key]

        groups = {
            "wide_ids": [self._cross(keys, column_ids) for keys in facts["wide"]],
            "indicator_ids": [column_ids(key) for key in facts["indicators"]],
            "embedded_ids": [column_ids(key) for key in facts["embedded"]],
            "numbers": [
                scaled(columns[name], *facts["scales"][name]) for name in facts["plain"]
            ],
        }
        stacked = {
            name: tf.stack(parts, axis=1) for name, parts in groups.items() if parts
        }
        return {
            name: values if name == "numbers" else tf.cast(values, tf.int32)
            for name, values in stacked.items()
        }

    def _ids(self, key: str, values) -> Any:
        """int64 [N], from 0 up to `size(key)`."""
        facts = self._facts
        if key in facts["boundaries"]:
            edges = tf.constant(facts["boundaries"][key], tf.float32)
            buckets = tf.searchsorted(edges, values, side="right") + 1
            buckets = tf.where(tf.math.is_nan(values), MISSING_ID, buckets)
            return tf.cast(buckets, tf.int64)
        values = tf.strings.strip(values)
        if key in self._tables:
            return self._tables[key].lookup(values)
        is_missing = tf.reduce_any([tf.equal(values, word) for word in MISSING], axis=0)
        hashes = tf.strings.to_hash_bucket_fast(values, facts["hashed"][key])
        return tf.where(is_missing, tf.constant(MISSING_ID, tf.int64), hashes + 1)

    def _cross(self, keys: Sequence[str], column_ids) -> Any:
        """One id for the ids of several columns."""
        combined = column_ids(keys[0])
        for key in keys[1:]:
            combined = combined * self.size(key) + column_ids(key)
        size = self.cross_size(keys)
        if math.prod(self.size(key) for key in keys) == size:
            return combined
        mixed = combined * _GOLDEN
        mixed = tf.bitwise.bitwise_xor(mixed, tf.bitwise.right_shift(mixed, _SHIFT))
        return tf.math.floormod(mixed * _MIX, size)

    def prepare(self, table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Transforms a whole table; see `prepare`."""
        kinds = dict.fromkeys(self._facts["categories"], tf.string)
        kinds |= dict.fromkeys(self._facts["numbers"], tf.float32)
        return prepare(self, table, kinds)


def prepare(
    transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    table: Mapping[str, np.ndarray],
    kinds: Mapping[str, tf.DType],
) -> dict[str, np.ndarray]:
    """Transforms a whole table, block by block, in a tf.data pipeline.

    Args:
        transform: maps tensors of columns, as a SavedModel does.
        table: columns by name, all with N rows.
        kinds: type of each column that is needed.

    Returns:
        Arrays of N rows.
    """
    num_rows = len(next(iter(table.values())))
    dataset = tf.data.Dataset.from_generator(
        lambda: (
            {name: table[name][first : first + _BLOCK_ROWS] for name in kinds}
            for first in range(0, num_rows, _BLOCK_ROWS)
        ),
        output_signature={
            name: tf.TensorSpec([None], kind) for name, kind in kinds.items()
        },
    ).map(transform)
    blocks = list(dataset.as_numpy_iterator())
    return {name: np.concatenate([part[name] for part in blocks]) for name in blocks[0]}


def id_table(words: Sequence[str]) -> tf.lookup.StaticHashTable:
    """Ids of words: 0 for what is missing, 1 for unseen ones, then those of words."""
    keys = [*MISSING, *words]
    ids = [MISSING_ID] * len(MISSING) + list(range(FIRST_ID, FIRST_ID + len(words)))
    initializer = tf.lookup.KeyValueTensorInitializer(keys, ids, tf.string, tf.int64)
    return tf.lookup.StaticHashTable(initializer, default_value=UNSEEN_ID)


def scaled(values, lowest, highest, mean, deviation):
    """Numbers around 0; what is missing counts as the mean."""
    if lowest is not None:
        # What lies beyond all that was seen is as the last that was seen.
        values = tf.clip_by_value(values, lowest, highest)
    values = (values - mean) / deviation
    return tf.where(tf.math.is_nan(values), 0.0, values)
