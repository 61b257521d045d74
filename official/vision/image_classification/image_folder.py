"""The user's own pictures, in a sub-folder a class.

    DATA_DIR/CLASS/...         one folder of classes: a tenth of each class becomes the
                               test part, a share of the rest the validation part
    DATA_DIR/train/CLASS/...   with `test/`, with `val/`, `valid/` or `validation/`, or
                               with both, of the same classes

A class is called like its folder; the labels follow the names' order. Pictures are
known by the endings `picture_tree.EXTENSIONS`, in capitals too, and may lie in folders
within the class's. Other files are passed over and counted, hidden ones are not seen.

Every picture is decoded once before the training. One that cannot be is named and left
out, as long as few are: see picture_check.py.
"""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from official.utils.data import files
from official.utils.errors import UserError
from official.vision.image_classification import picture_check, picture_tree
from official.vision.image_classification.parts import Arrays, Dataset, Files
from official.vision.image_classification.picture_tree import Tree

_TEST_FRACTION = 0.1
# Whatever the seed of a run, it is tested on the same pictures.
_TEST_DRAW = "test"


def load(
    data_dir: str | None,
    seed: int,
    max_skipped_fraction: float = 0.01,
    num_parallel_calls: int | None = None,
    validation_fraction: float = 0.1,
) -> Dataset:
    """Finds, checks and divides the pictures of a folder.

    Pictures of one size that take up to `picture_check.MEMORY_BYTES` are decoded into
    `Arrays`; others stay `Files`. For the latter a check of more than a second leaves
    `image_check.json` in the folder, if that can be written, and is not repeated for
    files of the same size and time.

    Args:
        data_dir: the folder, in one of the layouts above.
        seed: draws the validation part where the folder has none; the test part does
            not depend on it.
        max_skipped_fraction: of all pictures, how many may be left out because they
            cannot be decoded: this share, rounded down, but one of 20 or more. With 0
            none may.
        num_parallel_calls: pictures that are decoded at a time; None for the number of
            CPU cores.
        validation_fraction: share of the training pictures of each class that becomes
            the validation part where the folder has none, at least one of each.

    Returns:
        The data set. Its parts are all `Arrays` or all `Files`, ordered by class and
        path.

    Raises:
        UserError: the folder has none of the layouts, fewer than two classes, a class
            with too few pictures or one that only a held-out part has, or too many
            pictures that cannot be decoded.
    """
    calls = num_parallel_calls or os.cpu_count() or 1
    with files.reading(f"--data_dir={data_dir}"):
        tree = picture_tree.find_tree(data_dir)
        checked = picture_check.check(tree, max_skipped_fraction, calls)
    divided = _divide(tree, checked.is_good, seed, validation_fraction)

    def part(name: str) -> Arrays | Files:
        rows = np.flatnonzero(divided == name)
        if checked.images is not None:
            return Arrays(checked.images[rows], tree.labels[rows])
        return Files(tree.paths[rows], tree.labels[rows])

    source = tree.source
    if "validation" not in tree.parts:
        source += f"; validation: {validation_fraction:g} of the training pictures"
    if num_skipped := int((~checked.is_good).sum()):
        source += f"; {picture_tree.count(num_skipped, 'damaged picture')} left out"
    return Dataset(
        name="folder",
        source=source,
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        class_names=tree.class_names,
    )


# ---- Dividing ----


def _divide(
    tree: Tree, is_good: np.ndarray, seed: int, validation_fraction: float
) -> np.ndarray:
    """The part of each picture, strings [N], "" for one that is left out."""
    parts = np.where(is_good, tree.parts, "").astype("<U10")
    given = set(tree.parts)
    drawn = {
        part: how
        for part, how in {
            "test": (_TEST_DRAW, _TEST_FRACTION),
            "validation": (str(seed), validation_fraction),
        }.items()
        if part not in given
    }
    counts = np.bincount(tree.labels[parts == "train"], minlength=len(tree.class_names))
    for name, number in zip(tree.class_names, counts, strict=True):
        if number <= len(drawn):
            needed = picture_tree.joined(["train", *sorted(drawn)])
            pictures = picture_tree.count(number, "picture")
            raise UserError(
                f"--data_dir={tree.data_dir}: the class {name} has {pictures} that can "
                f"be decoded, too few for the parts that are made of them, {needed}; "
                f"add some, at least {len(drawn) + 1} in all, or remove its folder"
            )
    for part in sorted(given):
        if not (parts == part).any():
            raise UserError(
                f"--data_dir={tree.data_dir}: no picture of the {part} part can be "
                "decoded; replace them"
            )
    for part, (draw, fraction) in drawn.items():
        rows = np.flatnonzero(parts == "train")
        keys = _keys([tree.names[row] for row in rows], draw)
        rows = rows[np.lexsort((keys, tree.labels[rows]))]
        for of_class in np.split(rows, np.cumsum(np.bincount(tree.labels[rows]))[:-1]):
            number = max(1, round(len(of_class) * fraction))
            parts[of_class[:number]] = part
    return parts


def _keys(names: Sequence[str], draw: str) -> np.ndarray:
    """A number for each name that looks random, uint64 [N].

    It depends on the name alone: where pictures are added or removed, most of the
    others stay in their part.
    """
    digests = b"".join(
        hashlib.sha256(f"{draw}/{name}".encode()).digest()[:8] for name in names
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)
