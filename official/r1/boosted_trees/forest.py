"""A trained forest as a Keras model of plain TensorFlow operations.

Every row reaches the same leaf as in LightGBM or XGBoost: numbers are compared as
float64, and missing values and categories go the same ways. There is no custom
operation, so that a SavedModel loads with TensorFlow alone, and XLA compiles it.

The splits and leaves of all trees stand in one row of nodes, the two below a split
beside each other. All rows go down all trees at once, a level a step:

    node = child[node] + (columns[row, column[node]] > threshold[node])

A leaf is its own child and its threshold is infinite: who has arrived stays. What a
missing value does is settled before: each node looks at a column in which they stand
already as -inf, which goes left, as +inf, which goes right, or as 0.
"""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from official.r1.boosted_trees import trees as tree_arrays
from official.r1.boosted_trees.trees import Ensemble, Tree

_LARGEST = float(np.finfo(np.float64).max)
# Categories are moved up by one: 0 is a missing value. This one is in no split.
_NO_CATEGORY = float(2**31 - 1)

# Forms of a column. Of the first five, (what is missing, the split's default way) says
# which; NONE has one form, as a NaN is 0 there.
_FORMS = (
    (tree_arrays.NONE, None),
    (tree_arrays.NAN, True),
    (tree_arrays.NAN, False),
    (tree_arrays.ZERO, True),
    (tree_arrays.ZERO, False),
)
_CATEGORIES = len(_FORMS)


@dataclasses.dataclass
class _Nodes:
    """Splits and leaves of all trees, in one row.

    Attributes:
        form: of the column that a node looks at; an index of `_FORMS`, or
            `_CATEGORIES`.
        feature: that the column is made of.
        threshold: infinite at leaves.
        child: the left one of the two below; a leaf's is itself.
        value: of leaves; 0 at splits.
        leaf: number of the leaf in its tree; -1 at splits.
        first_word: of a categorical split's bits.
        num_words: of them.
        words: bits of all categorical splits.
        roots: the first node of each tree.
        depth: steps from a root to the farthest leaf.
    """

    form: list[int] = dataclasses.field(default_factory=list)
    feature: list[int] = dataclasses.field(default_factory=list)
    threshold: list[float] = dataclasses.field(default_factory=list)
    child: list[int] = dataclasses.field(default_factory=list)
    value: list[float] = dataclasses.field(default_factory=list)
    leaf: list[int] = dataclasses.field(default_factory=list)
    first_word: list[int] = dataclasses.field(default_factory=list)
    num_words: list[int] = dataclasses.field(default_factory=list)
    words: list[int] = dataclasses.field(default_factory=list)
    roots: list[int] = dataclasses.field(default_factory=list)
    depth: int = 0

    def add(self, tree: Tree) -> None:
        """Adds a tree, level by level."""
        self.roots.append(len(self.child))
        level = [0 if len(tree.feature) else ~0]
        depth = 0
        while True:
            splits = [node for node in level if node >= 0]
            below = len(self.child) + len(level)
            for node in level:
                if node < 0:
                    self._add_leaf(~node, tree.value[~node])
                else:
                    self._add_split(tree, node, below)
                    below += 2
            if not splits:
                break
            depth += 1
            level = [
                int(side[split]) for split in splits for side in (tree.left, tree.right)
            ]
        self.depth = max(self.depth, depth)

    def _add(self, **fields) -> None:
        for name, value in fields.items():
            getattr(self, name).append(value)

    def _add_leaf(self, leaf: int, value: float) -> None:
        self._add(
            form=-1,  # Any column will do.
            feature=-1,
            threshold=np.inf,
            child=len(self.child),
            value=value,
            leaf=leaf,
            first_word=0,
            num_words=0,
        )

    def _add_split(self, tree: Tree, split: int, child: int) -> None:
        words = np.empty(0, np.uint32)
        form = _CATEGORIES
        if split in tree.categories:
            words = _bits(tree.categories[split], tree.default_left[split])
        else:
            missing = int(tree.missing[split])
            is_left = bool(tree.default_left[split])
            form = _FORMS.index(
                (missing, None if missing == tree_arrays.NONE else is_left)
            )
        self._add(
            form=form,
            feature=int(tree.feature[split]),
            # Infinite where all numbers go left: only missing values may go right.
            threshold=min(tree.threshold[split], _LARGEST),
            child=child,
            value=0.0,
            leaf=-1,
            first_word=len(self.words),
            num_words=len(words),
        )
        self.words += words.tolist()


def _bits(categories: np.ndarray, is_missing_left: bool) -> np.ndarray:
    """The categories that go left as uint32 words; bit 0 is a missing value."""
    moved = np.append(categories + 1, [0] if is_missing_left else []).astype(np.int64)
    bits = np.zeros((int(moved.max(initial=0)) // 32 + 1) * 32, np.uint8)
    bits[moved] = 1
    return np.packbits(bits, bitorder="little").view("<u4")


class Forest(keras.Model):
    """Scores of rows under a trained forest.

    Its input is float64 [N, num_features] with NaN for missing values, its output
    float64 [N, num_outputs], scores before the link. `tf.function(forest,
    jit_compile=True)` is the fast way to call it.

    Attributes:
        ensemble: the trees that it was made of.
    """

    def __init__(self, ensemble: Ensemble, name: str = "forest"):
        super().__init__(name=name, dtype="float64", autocast=False)
        self.ensemble = ensemble
        nodes = _Nodes()
        for tree in ensemble.trees:
            nodes.add(tree)
        self._depth = nodes.depth
        self._has_categories = bool(nodes.words)
        form, feature = np.array(nodes.form), np.array(nodes.feature)
        self._groups, columns = _columns(form, feature)
        self._column = self._constant("column", columns, "int32")
        self._threshold = self._constant("threshold", nodes.threshold, "float64")
        self._child = self._constant("child", nodes.child, "int32")
        self._value = self._constant("value", nodes.value, "float64")
        self._leaf = self._constant("leaf", nodes.leaf, "int32")
        self._roots = self._constant("roots", nodes.roots, "int32")
        self._base = self._constant("base_score", ensemble.base_score, "float64")
        if self._has_categories:
            self._first_word = self._constant("first_word", nodes.first_word, "int32")
            self._num_words = self._constant("num_words", nodes.num_words, "int32")
            words = np.array(nodes.words, np.uint32).view(np.int32)
            self._words = self._constant("words", words, "int32")
        self.built = True

    def _constant(self, name: str, values: Sequence, dtype: str):
        values = np.asarray(values, dtype)
        return self.add_weight(
            name=name,
            shape=values.shape,
            dtype=dtype,
            initializer=lambda shape, dtype: tf.constant(values),
            trainable=False,
            autocast=False,
        )

    def call(self, rows):
        """Scores, float64 [N, num_outputs]."""
        values = tf.gather(self._value.value, self._arrive(rows))  # [N, trees]
        outputs = np.array(self.ensemble.outputs)
        sums = [
            tf.reduce_sum(
                values
                if self.ensemble.num_outputs == 1
                else tf.gather(values, np.flatnonzero(outputs == output), axis=1),
                axis=1,
            )
            for output in range(self.ensemble.num_outputs)
        ]
        scores = tf.stack(sums, axis=1)
        if self.ensemble.is_average:
            scores /= max(len(outputs) // self.ensemble.num_outputs, 1)
        return scores + self._base.value

    def leaves(self, rows):
        """The leaf that each row reaches in each tree, int32 [N, trees]."""
        return tf.gather(self._leaf.value, self._arrive(rows))

    def predictions(self, rows):
        """Probabilities or means, float64 [N, num_outputs]; see `link`."""
        return self.link(self(rows))

    def link(self, scores):
        """What scores mean: probabilities, or means of a regression."""
        scaled = scores * self.ensemble.link_factor
        return {
            "identity": tf.identity,
            "sigmoid": tf.sigmoid,
            "sigmoid_each": tf.sigmoid,
            "softmax": tf.nn.softmax,
            "exp": tf.exp,
        }[self.ensemble.link](scaled)

    def _arrive(self, rows):
        """The nodes at which rows end, int32 [N, trees]."""
        columns = self._prepare(rows)
        number = tf.shape(columns)[0]
        node = tf.broadcast_to(self._roots.value, [number, len(self.ensemble.trees)])
        for _ in range(self._depth):
            node = self._step(columns, node)
        return node

    def _step(self, columns, node):
        column = tf.gather(self._column.value, node)
        seen = tf.gather(columns, column, axis=1, batch_dims=1)
        is_right = seen > tf.gather(self._threshold.value, node)
        if self._has_categories:
            num_words = tf.gather(self._num_words.value, node)
            is_right = tf.where(
                num_words > 0, ~self._is_member(seen, node, num_words), is_right
            )
        return tf.gather(self._child.value, node) + tf.cast(is_right, tf.int32)

    def _is_member(self, seen, node, num_words):
        """Whether a category is among those of its split."""
        # Numbers of other columns stand here too, for splits that are none of ours.
        category = tf.cast(tf.clip_by_value(seen, 0.0, _NO_CATEGORY), tf.int32)
        word = category // 32
        is_known = word < num_words
        position = tf.gather(self._first_word.value, node) + tf.where(is_known, word, 0)
        position = tf.minimum(position, self._words.shape[0] - 1)
        bits = tf.gather(self._words.value, position)
        bit = tf.bitwise.right_shift(bits, category % 32) & 1
        return is_known & (bit == 1)

    def _prepare(self, rows):
        """Columns with missing values settled, float64 [N, columns]."""
        rows = tf.cast(rows, tf.float64)
        if self.ensemble.is_float32:
            rows = _rounded_to_float32(rows)
        if self.ensemble.largest_zero:
            is_zero = tf.abs(rows) <= self.ensemble.largest_zero
            rows = tf.where(is_zero, tf.zeros_like(rows), rows)
        # Infinity is for missing values.
        largest = tf.constant(_LARGEST, tf.float64)
        rows = tf.where(rows > largest, largest, rows)
        if not self._groups:  # No tree has a split.
            return rows
        return tf.concat(
            [
                _in_form(tf.gather(rows, features, axis=1), form)
                for form, features in self._groups
            ],
            axis=1,
        )


def _columns(
    form: np.ndarray, feature: np.ndarray
) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
    """Which columns the nodes look at.

    Args:
        form: int [nodes].
        feature: int [nodes].

    Returns:
        groups: forms with the features that are needed in them.
        columns: for each node, its column among those of all groups.
    """
    groups = []
    columns = np.zeros(len(form), np.int32)  # Leaves look at the first.
    number = 0
    for each in range(_CATEGORIES + 1):
        is_of = form == each
        features = np.unique(feature[is_of])
        if len(features):
            groups.append((each, features.astype(np.int32)))
            columns[is_of] = number + np.searchsorted(features, feature[is_of])
            number += len(features)
    return groups, columns


def _rounded_to_float32(rows):
    """Rounds float64 numbers to those that float32 has."""
    # TensorFlow takes float32 numbers below 2^-126 for 0: multiples of 2^-149.
    small = tf.round(rows * 2.0**149) * 2.0**-149
    usual = tf.cast(tf.cast(rows, tf.float32), tf.float64)
    return tf.where(tf.abs(rows) < 2.0**-126, small, usual)


def _in_form(values, form: int):
    """Columns of one form."""
    is_missing = tf.math.is_nan(values)
    zero = tf.zeros_like(values)
    if form == _CATEGORIES:
        # Truncated as LightGBM does; what is negative then is no category.
        whole = tf.where(is_missing, zero, values)
        whole = tf.where(tf.abs(whole) < _NO_CATEGORY, whole, zero - 1)
        whole = tf.cast(tf.cast(whole, tf.int64), tf.float64)
        none = tf.constant(_NO_CATEGORY, tf.float64)
        category = tf.where(whole < 0, none, whole + 1)
        return tf.where(is_missing, zero, category)
    missing, is_left = _FORMS[form]
    if missing == tree_arrays.NONE:
        return tf.where(is_missing, zero, values)
    if missing == tree_arrays.ZERO:
        is_missing |= values == 0
    fill = tf.constant(-np.inf if is_left else np.inf, tf.float64)
    return tf.where(is_missing, fill, values)
