"""Reads the text of a LightGBM model.

The text, unlike the JSON that LightGBM dumps, holds every number with all its digits.
Its form is that of LightGBM's `src/io/tree.cpp` and `gbdt_model_text.cpp`, version v4
(v3 differs in nothing that is read here).
"""

from collections.abc import Mapping

import numpy as np

from official.r1.boosted_trees.trees import Ensemble, Tree
from official.utils.errors import UserError

_VERSIONS = ("v3", "v4")
# `kZeroThreshold` of meta.h, a float there. Rows lose smaller numbers before any tree
# sees them.
_LARGEST_ZERO = float(np.float32(1e-35))
# Objectives by what turns their scores into predictions.
_LINKS = {
    "identity": "regression regression_l2 regression_l1 huber fair quantile mape "
    "lambdarank rank_xendcg custom",
    "sigmoid": "binary cross_entropy",
    "softmax": "multiclass",
    "sigmoid_each": "multiclassova",
    "exp": "poisson gamma tweedie",
}


def read(text: str, source: str = "the LightGBM model") -> Ensemble:
    """Reads a model.

    Args:
        text: what `Booster.model_to_string` gives and `Booster.save_model` writes.
        source: its name, for the message.

    Returns:
        Its trees.

    Raises:
        UserError: this is no such text, or the model has linear leaves or an objective
            whose scores cannot be turned into predictions here.
    """
    head, *blocks = text.split("\nTree=")
    header = _fields(head)
    if not head.startswith("tree\n") or header.get("version") not in _VERSIONS:
        raise UserError(
            f"{source} is no text of LightGBM (version {' or '.join(_VERSIONS)}); give "
            "what Booster.save_model writes"
        )
    if "end of trees" not in text:
        raise UserError(f"{source} is cut: it has no line 'end of trees'; save it anew")
    trees = []
    for number, block in enumerate(blocks):
        try:
            fields = _fields(block.partition("end of trees")[0])
            if fields.get("is_linear", "0") != "0":
                raise UserError(
                    f"{source} has linear leaves, which the forest does not know; "
                    "train without linear_tree"
                )
            trees.append(_tree(fields))
        except (KeyError, IndexError, OverflowError) as error:
            raise _damaged(source, number, error) from None
        except UserError:
            raise
        except ValueError as error:
            raise _damaged(source, number, error) from None
    per_iteration = int(header.get("num_tree_per_iteration", 1))
    link, factor = _link(header.get("objective", "custom"), source)
    return Ensemble(
        trees=trees,
        outputs=[number % per_iteration for number in range(len(trees))],
        num_features=int(header["max_feature_idx"]) + 1,
        num_outputs=per_iteration,
        base_score=np.zeros(per_iteration),
        link=link,
        link_factor=factor,
        largest_zero=_LARGEST_ZERO,
        # A line of its own, without a value.
        is_average="average_output" in head.splitlines(),
    )


def _damaged(source: str, number: int, error: Exception) -> UserError:
    return UserError(f"{source} is damaged in tree {number} ({error}); save it anew")


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _link(objective: str, source: str) -> tuple[str, float]:
    """Link and factor of an objective such as "binary sigmoid:1"."""
    name, *settings = objective.split()
    values = dict(setting.partition(":")[::2] for setting in settings)
    link = next((link for link in _LINKS if name in _LINKS[link].split()), None)
    if link is None or "sqrt" in values:
        raise UserError(
            f"{source} has the objective {objective!r}, which the forest does not "
            "know; it knows " + ", ".join(" ".join(_LINKS.values()).split())
        )
    return link, float(values.get("sigmoid", 1))


def _tree(fields: Mapping[str, str]) -> Tree:
    num_splits = int(fields["num_leaves"]) - 1

    def numbers(name, dtype):
        found = np.array(fields[name].split() if num_splits else [], dtype)
        if len(found) != num_splits:
            raise ValueError(f"{name} has {len(found)} entries, not {num_splits}")
        return found

    value = np.array(fields["leaf_value"].split(), np.float64)
    if len(value) != num_splits + 1:
        raise ValueError(f"leaf_value has {len(value)} entries, not {num_splits + 1}")
    # Bit 0: categorical. Bit 1: missing values go left. Bits 2 and 3: what is missing.
    kind = numbers("decision_type", np.int64)
    threshold = numbers("threshold", np.float64)
    categorical = np.flatnonzero(kind & 1)
    default_left = (kind & 2) != 0
    # At a categorical split a missing value goes right, whatever the bit says.
    default_left[categorical] = False
    return Tree(
        feature=numbers("split_feature", np.int32),
        threshold=threshold,
        missing=((kind >> 2) & 3).astype(np.int8),
        default_left=default_left,
        left=numbers("left_child", np.int32),
        right=numbers("right_child", np.int32),
        value=value,
        categories=_categories(fields, categorical, threshold),
    )


def _categories(fields, categorical, threshold) -> dict[int, np.ndarray]:
    """The categories of each categorical split; its threshold is their position."""
    if not len(categorical):
        return {}
    bounds = [int(text) for text in fields["cat_boundaries"].split()]
    words = np.array(fields["cat_threshold"].split(), np.uint32)
    found = {}
    for split in categorical:
        position = int(threshold[split])
        part = words[bounds[position] : bounds[position + 1]]
        bits = np.unpackbits(part.astype("<u4").view(np.uint8), bitorder="little")
        found[int(split)] = np.flatnonzero(bits)
    return found
