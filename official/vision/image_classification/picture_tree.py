"""The pictures of a folder: finds them, with the class and the part of each.

See image_folder.py for the layouts of a folder. Links are followed, though not in
circles; what is hidden is not seen.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp")
# What a check of the pictures leaves in their folder: see picture_check.py.
CHECK_FILE = "image_check.json"

# In any case. `val` alone is the test part: what is reported must not be chosen on.
_PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
# What systems leave behind, beside names that begin with a dot.
_HIDDEN = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")
_ENDINGS = ", ".join(EXTENSIONS)
_LAYOUT = (
    "give a folder that has a sub-folder a class with its pictures in it, or train/ "
    "and test/ with such sub-folders"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """The pictures of all parts, ordered by part, class and path.

    Attributes:
        data_dir: the folder.
        names: the files, relative to it, strings [N].
        labels: int32 [N].
        parts: the part that the folder gives each picture, strings [N].
        class_names: the name of each label.
        source: where the parts come from, in words.
    """

    data_dir: str
    names: Sequence[str]
    labels: np.ndarray
    parts: np.ndarray
    class_names: tuple[str, ...]
    source: str

    def path(self, row: int) -> str:
        """The file of a row."""
        return tf.io.gfile.join(self.data_dir, self.names[row])

    @functools.cached_property
    def paths(self) -> np.ndarray:
        """The files, bytes [N]."""
        prefix = tf.io.gfile.join(self.data_dir, "")
        return np.array([f"{prefix}{name}".encode() for name in self.names])

    @functools.cached_property
    def states(self) -> Sequence[Sequence[int]]:
        """Length in bytes and time in nanoseconds of each file; -1 of a missing one."""

        def state(path: bytes) -> Sequence[int]:
            try:
                if is_local:
                    # TensorFlow cuts the time to whole seconds.
                    stat = os.stat(path)
                    return stat.st_size, stat.st_mtime_ns
                stat = tf.io.gfile.stat(path)
                return stat.length, stat.mtime_nsec
            except (OSError, tf.errors.OpError):
                return -1, -1

        is_local = "://" not in self.data_dir
        if is_local:
            return list(map(state, self.paths))
        # A bucket answers each question late, but many at a time.
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            return list(pool.map(state, self.paths))


def find_tree(data_dir: str | None) -> Tree:
    """Finds the pictures of all parts.

    Args:
        data_dir: the folder, in one of the layouts.

    Returns:
        Its pictures.

    Raises:
        UserError: there is no folder, or it has none of the layouts, fewer than two
            classes, a class without pictures or one that only a held-out part has.
        tf.errors.OpError: a folder cannot be read.
        UnicodeError: a name is not UTF-8.
    """
    if not data_dir:
        raise UserError(f"the data set folder needs --data_dir: {_LAYOUT}")
    if not tf.io.gfile.exists(data_dir):
        raise UserError(f"--data_dir={data_dir} does not exist; {_LAYOUT}")
    if not tf.io.gfile.isdir(data_dir):
        raise UserError(f"--data_dir={data_dir} is no folder; {_LAYOUT}")
    folders, files = _list(data_dir)
    num_others = sum(not name.startswith(CHECK_FILE) for name in files)
    folder_of = _find_parts(data_dir, folders)
    source = _describe(data_dir, folder_of)
    outside = [name for name in folders if name not in folder_of.values()]
    if outside and folder_of["train"]:
        source += f"; folders passed over: {_shown(outside)}"
    names, labels, parts = [], [], []
    class_names = ()
    # The training part comes first: it says which classes there are.
    for part, part_folder in folder_of.items():
        root = data_dir
        if part_folder:
            root = tf.io.gfile.join(data_dir, part_folder)
            folders, files = _list(root)
            num_others += len(files)
        if not folders:
            raise _no_classes(root, files)
        found = {}
        for name in folders:
            # A link back to the parts is not followed.
            seen = {os.path.realpath(data_dir), os.path.realpath(root)}
            found[name], num = _walk(tf.io.gfile.join(root, name), seen)
            num_others += num
        if part == "train":
            class_names = tuple(folders)
            _check_classes(root, found)
        elif not any(found.values()):
            raise UserError(
                f"{root} holds no picture ({_ENDINGS}) in the folders of its classes; "
                "put some there, or remove it"
            )
        label_of = {name: label for label, name in enumerate(class_names)}
        for name, pictures in found.items():
            if pictures and name not in label_of:
                raise UserError(
                    f"{tf.io.gfile.join(root, name)} is a class that the training part "
                    f"does not have (its classes are {_shown(class_names)}); rename "
                    "or remove it"
                )
            prefix = f"{part_folder}/{name}/" if part_folder else f"{name}/"
            names += [prefix + picture for picture in pictures]
            labels += [label_of.get(name)] * len(pictures)
            parts += [part] * len(pictures)
    if num_others:
        source += f"; {count(num_others, 'other file')} passed over"
    return Tree(
        data_dir,
        names,
        np.array(labels, np.int32),
        np.array(parts),
        class_names,
        source,
    )


def find_pictures(folder: str) -> list[str]:
    """Finds the pictures of a folder and of those within it, by their endings.

    Args:
        folder: where to look.

    Returns:
        Their paths, sorted; none that is hidden or lies in a hidden folder.

    Raises:
        tf.errors.OpError: a folder cannot be read.
        UnicodeError: a name is not UTF-8.
    """
    prefix = tf.io.gfile.join(folder, "")
    names, _ = _walk(folder, set())
    return [f"{prefix}{name}" for name in names]


def count(number: int, what: str) -> str:
    """A number of things in words: "1 file", "2 files"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def joined(names: Sequence[str]) -> str:
    """Names, at least one, in words: "a", "a and b", "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


# ---- Files ----


def _is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _list(folder: str) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files of a folder, sorted, none hidden."""
    folders, files = [], []
    for listed in sorted(tf.io.gfile.listdir(folder)):
        # A bucket marks its folders so.
        name = listed.rstrip("/")
        if name.startswith(".") or name.lower() in _HIDDEN:
            continue
        # No question of its own for each of many thousand pictures.
        is_folder = name != listed or (
            not _is_picture(name) and tf.io.gfile.isdir(tf.io.gfile.join(folder, name))
        )
        (folders if is_folder else files).append(name)
    return folders, files


def _walk(folder: str, seen: set[str]) -> tuple[list[str], int]:
    """Finds the pictures below a folder.

    Args:
        folder: where to begin.
        seen: folders that are not entered, by their real path; those entered are added,
            so that links in a circle come to an end.

    Returns:
        The pictures, relative to the folder and sorted, and the number of other files.
    """
    pictures, num_others = [], 0
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        path = tf.io.gfile.join(folder, prefix) if prefix else folder
        # Leaves the address of a bucket as unique as it was.
        real_path = os.path.realpath(path)
        if real_path in seen:
            continue
        seen.add(real_path)
        folders, files = _list(path)
        found = [f"{prefix}{name}" for name in files if _is_picture(name)]
        pictures += found
        num_others += len(files) - len(found)
        waiting += [f"{prefix}{name}/" for name in reversed(folders)]
    return sorted(pictures), num_others


# ---- Parts and classes ----


def _find_parts(data_dir: str, folders: Sequence[str]) -> dict[str, str]:
    """The folder of each part that is there, "" for `data_dir` itself."""
    found = collections.defaultdict(list)
    for name in folders:
        if name.lower() in _PART_NAMES:
            found[_PART_NAMES[name.lower()]].append(name)
    num_parts = sum(map(len, found.values()))
    if "train" not in found:
        if not found or num_parts < len(folders):
            return {"train": ""}
        raise UserError(
            f"--data_dir={data_dir} has {_shown(folders)} but no train; put the "
            "training pictures there, in a sub-folder a class"
        )
    # Without a second part, `train` may be a class beside others.
    if len(found) == 1 and num_parts < len(folders):
        return {"train": ""}
    for names in found.values():
        if len(names) > 1:
            raise UserError(
                f"--data_dir={data_dir} has both {names[0]} and {names[1]}, which mean "
                "the same part; join them, or remove one"
            )
    folder_of = {
        part: found[part][0]
        for part in ("train", "validation", "test")
        if part in found
    }
    if "test" not in folder_of and "validation" in folder_of:
        folder_of["test"] = folder_of.pop("validation")
    return folder_of


def _describe(data_dir: str, folder_of: dict[str, str]) -> str:
    """Says where each part comes from."""
    folders = [f"{folder}/" for folder in folder_of.values() if folder]
    where = f"{joined(folders)} of {data_dir}" if folders else data_dir
    if "test" not in folder_of:
        return f"{where}; test: a fixed tenth of it"
    if "validation" in folder_of or _PART_NAMES[folder_of["test"].lower()] == "test":
        return where
    return f"{where}; test: {folders[1]}"


def _shown(names: Sequence[str]) -> str:
    """Names for a message, not too many."""
    rest = len(names) - 10
    return ", ".join(names[:10]) + (f" and {rest} more" if rest > 0 else "")


def _no_classes(root: str, files: Sequence[str]) -> UserError:
    num_pictures = sum(map(_is_picture, files))
    if not files:
        return UserError(f"{root} is empty; {_LAYOUT}")
    return UserError(
        f"{root} has no sub-folders, only {count(len(files), 'file')}, "
        f"{num_pictures} of them pictures; put the pictures of each class into a "
        "sub-folder that is called like the class"
    )


def _check_classes(root: str, found: dict[str, list[str]]) -> None:
    """Checks that there are two classes, and pictures of each."""
    if not any(found.values()):
        raise UserError(
            f"{root} holds no picture ({_ENDINGS}) in its sub-folders; put the "
            "pictures of each class into a sub-folder that is called like the class"
        )
    if len(found) == 1:
        (name,) = found
        inner = tf.io.gfile.join(root, name)
        hint = f"; if the classes are within it, give --data_dir={inner}"
        has_folders = any("/" in picture for picture in found[name])
        raise UserError(
            f"{root} has one class only, {name}, where at least 2 are needed; add a "
            f"sub-folder for each other class{hint if has_folders else ''}"
        )
    for name, pictures in found.items():
        if not pictures:
            raise UserError(
                f"{tf.io.gfile.join(root, name)} holds no picture ({_ENDINGS}); put "
                "the pictures of this class there, or remove the folder"
            )
