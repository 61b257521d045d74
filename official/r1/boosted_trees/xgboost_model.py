"""Reads the JSON of an XGBoost model.

Its form is that of XGBoost's `doc/model.schema`, as versions 1.6 to 3 write it. XGBoost
compares float32 numbers, and sends those below a threshold left. So thresholds become
the next smaller float32, and rows are rounded to float32.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from official.r1.boosted_trees.trees import NAN, Ensemble, Tree
from official.utils.errors import UserError

# Objectives by what turns their scores into predictions.
_LINKS = {
    "identity": "reg:squarederror reg:squaredlogerror reg:absoluteerror "
    "reg:pseudohubererror reg:quantileerror binary:logitraw rank:ndcg rank:pairwise "
    "rank:map",
    "sigmoid": "binary:logistic reg:logistic",
    "softmax": "multi:softprob multi:softmax",
    "exp": "count:poisson reg:gamma reg:tweedie",
}
_TO_SCORE = {
    "identity": lambda mean: mean,
    "sigmoid": lambda chance: np.log(chance) - np.log1p(-chance),
    "softmax": lambda score: score,
    "exp": np.log,
}


def read(text: str, source: str = "the XGBoost model") -> Ensemble:
    """Reads a model.

    Args:
        text: what `Booster.save_model("....json")` writes.
        source: its name, for the message.

    Returns:
        Its trees; their leaves have the numbers of XGBoost's nodes.

    Raises:
        UserError: this is no such text, or the model is linear, has several numbers a
            leaf, or an objective whose scores cannot be turned into predictions here.
    """
    try:
        learner = json.loads(text)["learner"]
        return _ensemble(learner, source)
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{source} is no JSON of XGBoost ({type(error).__name__}: {error}); give "
            "what Booster.save_model writes to a name that ends in .json"
        ) from None


def _ensemble(learner: Mapping[str, Any], source: str) -> Ensemble:
    booster = learner["gradient_booster"]
    if booster["name"] not in ("gbtree", "dart"):
        raise UserError(
            f"{source} has the booster {booster['name']}; the forest takes gbtree and "
            "dart"
        )
    weights = booster.get("weight_drop")
    model = booster["gbtree"]["model"] if weights else booster["model"]
    parameters = learner["learner_model_param"]
    outputs = [int(output) for output in model["tree_info"]]
    if int(parameters.get("num_target", 1)) > 1:
        raise UserError(f"{source} has several targets, which the forest does not know")
    number = max(int(parameters["num_class"]), 1)
    link = _link(learner["objective"]["name"], source)
    # A number until version 3, then a list.
    base = np.atleast_1d(json.loads(parameters["base_score"])).astype(np.float64)
    trees = [_tree(tree, source) for tree in model["trees"]]
    if weights:
        trees = [
            _scaled(tree, weight) for tree, weight in zip(trees, weights, strict=True)
        ]
    return Ensemble(
        trees=trees,
        outputs=outputs,
        num_features=int(parameters["num_feature"]),
        num_outputs=number,
        base_score=np.broadcast_to(_TO_SCORE[link](base), [number]),
        link=link,
        is_float32=True,
    )


def _link(objective: str, source: str) -> str:
    for link, names in _LINKS.items():
        if objective in names.split():
            return link
    raise UserError(
        f"{source} has the objective {objective}, which the forest does not know; it "
        "knows " + ", ".join(" ".join(_LINKS.values()).split())
    )


def _scaled(tree: Tree, weight: float) -> Tree:
    fields = vars(tree) | {"value": tree.value * np.float32(weight)}
    return Tree(**fields)


def _tree(nodes: Mapping[str, Any], source: str) -> Tree:
    if int(nodes["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise UserError(f"{source} has several numbers a leaf; train one tree a class")
    number = int(nodes["tree_param"]["num_nodes"])
    left = np.array(nodes["left_children"], np.int32)
    right = np.array(nodes["right_children"], np.int32)
    condition = np.array(nodes["split_conditions"], np.float64).astype(np.float32)
    is_leaf = left == -1
    if len(left) != number:
        raise ValueError(f"a tree has {len(left)} nodes, not {number}")
    default_left = np.array(nodes["default_left"], bool)
    categories = _categories(nodes)
    # XGBoost sends the categories that it lists right, here they go left.
    for split in categories:
        left[split], right[split] = right[split], left[split]
        default_left[split] = not default_left[split]
    splits = slice(0 if is_leaf[0] else number)  # Of a tree with one leaf: none.
    with np.errstate(over="ignore"):
        threshold = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return Tree(
        feature=np.array(nodes["split_indices"], np.int32)[splits],
        threshold=threshold[splits],
        missing=np.full(number, NAN, np.int8)[splits],
        default_left=default_left[splits],
        left=_children(left, is_leaf)[splits],
        right=_children(right, is_leaf)[splits],
        value=np.where(is_leaf, condition.astype(np.float64), 0.0),
        categories=categories,
    )


def _children(children: np.ndarray, is_leaf: np.ndarray) -> np.ndarray:
    """Children with leaves marked: `~node`."""
    return np.where(is_leaf[children] & (children >= 0), ~children, children)


def _categories(nodes: Mapping[str, Any]) -> dict[int, np.ndarray]:
    listed = np.array(nodes.get("categories", []), np.int64)
    segments = zip(
        nodes.get("categories_nodes", []),
        nodes.get("categories_segments", []),
        nodes.get("categories_sizes", []),
        strict=True,
    )
    return {int(node): listed[first : first + size] for node, first, size in segments}
