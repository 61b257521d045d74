"""Trained trees as plain arrays: what every reader gives and the forest takes."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

# What counts as missing at a split, in LightGBM's numbers. NONE: a NaN is compared
# as 0. ZERO: NaN and 0 go the split's default way. NAN: NaN does.
NONE, ZERO, NAN = 0, 1, 2

LINKS = ("identity", "sigmoid", "softmax", "sigmoid_each", "exp")


@dataclasses.dataclass(frozen=True)
class Tree:
    """One tree of S splits, or of one leaf alone, number 0.

    A row goes left at a numerical split where its number is at most the threshold, and
    at a categorical one where its category is among those of the split.

    Attributes:
        feature: int32 [S], the column that each split looks at.
        threshold: float64 [S].
        missing: int8 [S], `NONE`, `ZERO` or `NAN`.
        default_left: bool [S], the way of missing values.
        left: int32 [S], the split that follows on the left; `~leaf` where it is a leaf.
        right: int32 [S].
        value: float64, what each leaf adds to the score, by its number.
        categories: for categorical splits the categories (whole numbers from 0 on) that
            go left; there, a missing value goes left where `default_left` says so, and
            an unknown category right.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing: np.ndarray
    default_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    categories: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Trees whose values add up to scores.

    Attributes:
        trees: in the order of training.
        outputs: the score that each tree adds to, from 0 on.
        num_features: columns of a row.
        num_outputs: scores of a row: 1, or one a class.
        base_score: float64 [num_outputs], what the sums begin with.
        link: what turns scores into probabilities or means, of `LINKS`.
        link_factor: what scores are multiplied by before a sigmoid.
        is_average: whether scores are means over the trees instead of sums.
        largest_zero: the largest number that is taken for 0, whatever its sign.
        is_float32: whether rows are rounded to float32 before they are compared.
    """

    trees: Sequence[Tree]
    outputs: Sequence[int]
    num_features: int
    num_outputs: int
    base_score: np.ndarray
    link: str
    link_factor: float = 1.0
    is_average: bool = False
    largest_zero: float = 0.0
    is_float32: bool = False

    def __post_init__(self):
        assert self.link in LINKS, self.link
        assert len(self.trees) == len(self.outputs)
        assert len(self.base_score) == self.num_outputs
