"""The user's own pictures, in a sub-folder a class.

    DATA_DIR/CLASS/...         one folder of classes: a tenth of each class becomes the
                               test part, a tenth of the rest the validation part
    DATA_DIR/train/CLASS/...   with `test/`, with `val/`, `valid/` or `validation/`, or
                               with both, of the same classes: see `_PART_NAMES`

A class is called like its folder; the labels follow the names' order. Pictures are
known by the endings `EXTENSIONS`, in capitals too, and may lie in folders within the
class's. Other files are passed over and counted, hidden ones are not seen.

Every picture is decoded once before the training. One that cannot be is named and left
out, as long as few are.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.logs import console
from official.vision.image_classification import preprocessing
from official.vision.image_classification.parts import Arrays, Dataset, Files

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp")
# Pictures of one size stay in memory up to here, decoded. While the parts are cut out
# of them, twice as much is taken.
MEMORY_BYTES = 1 << 30
# A file of some kilobytes may unpack to gigabytes. The decoders of JPEG and PNG refuse
# 2^29 bytes, 179 million pixels of three, as Pillow does; this holds for every format.
MAX_PIXELS = (1 << 29) // 3
HELD_OUT_DIVISOR = 10
CHECK_FILE = "image_check.json"
# A check that is quicker than this leaves no file behind.
CACHE_AFTER_SECONDS = 1.0
# Of so many pictures one may be damaged, however small the share that is allowed.
MIN_PICTURES_TO_SKIP = 20

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
# Whatever the seed of a run, it is tested on the same pictures.
_TEST_DRAW = "test"
_NUM_NAMED = 5
_NUM_PROBED = 32
_BATCH_BYTES = 16 << 20
_MAX_BATCH = 256


def load(
    data_dir: str | None,
    seed: int,
    max_skipped_fraction: float = 0.01,
    num_parallel_calls: int | None = None,
) -> Dataset:
    """Finds, checks and divides the pictures of a folder.

    Pictures of one size that take up to `MEMORY_BYTES` are decoded into `Arrays`;
    others stay `Files`. For the latter a check of more than a second leaves
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

    Returns:
        The data set. Its parts are all `Arrays` or all `Files`, ordered by class and
        path.

    Raises:
        UserError: the folder has none of the layouts, fewer than two classes, a class
            with too few pictures or one that only a held-out part has, or too many
            pictures that cannot be decoded.
    """
    if not data_dir:
        raise UserError(f"the data set folder needs --data_dir: {_LAYOUT}")
    calls = num_parallel_calls or os.cpu_count() or 1
    try:
        tree = _find_tree(data_dir)
        checked = _check(tree, max_skipped_fraction, calls)
    except tf.errors.OpError as error:
        raise UserError(
            f"--data_dir={data_dir} cannot be read ({one_line(error)}); check the path "
            "and that you have the right to read it"
        ) from None
    except UnicodeError:
        raise UserError(
            f"--data_dir={data_dir} holds a file or folder whose name is not UTF-8; "
            "rename it"
        ) from None
    divided = _divide(tree, checked.is_good, seed)

    def part(name: str) -> Arrays | Files:
        rows = np.flatnonzero(divided == name)
        if checked.images is not None:
            return Arrays(checked.images[rows], tree.labels[rows])
        return Files(tree.paths[rows], tree.labels[rows])

    source = tree.source
    if num_skipped := int((~checked.is_good).sum()):
        source += f"; {_count(num_skipped, 'damaged picture')} left out"
    return Dataset(
        name="folder",
        source=source,
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        class_names=tree.class_names,
    )


def find_pictures(folder: str) -> list[str]:
    """Finds the pictures of a folder and of those within it, by their endings.

    Args:
        folder: where to look.

    Returns:
        Their paths, sorted; none that is hidden or lies in a hidden folder.

    Raises:
        tf.errors.OpError: a folder cannot be read.
    """
    prefix = tf.io.gfile.join(folder, "")
    names, _ = _walk(folder, set())
    return [f"{prefix}{name}" for name in names]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# ---- Finding ----


@dataclasses.dataclass(frozen=True, eq=False)
class _Tree:
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


def _find_tree(data_dir: str) -> _Tree:
    """Finds the pictures of all parts."""
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
        source += f"; {_count(num_others, 'other file')} passed over"
    return _Tree(
        data_dir,
        names,
        np.array(labels, np.int32),
        np.array(parts),
        class_names,
        source,
    )


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
    where = f"{_joined(folders)} of {data_dir}" if folders else data_dir
    if "test" not in folder_of:
        return f"{where}; test: a fixed tenth of it, validation: a tenth of the rest"
    if "validation" in folder_of:
        return where
    held_out = f"validation: a tenth of {folders[0]}"
    if _PART_NAMES[folder_of["test"].lower()] != "test":
        held_out = f"test: {folders[1]}, {held_out}"
    return f"{where}; {held_out}"


def _joined(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _shown(names: Sequence[str]) -> str:
    """Names for a message, not too many."""
    rest = len(names) - 10
    return ", ".join(names[:10]) + (f" and {rest} more" if rest > 0 else "")


def _no_classes(root: str, files: Sequence[str]) -> UserError:
    num_pictures = sum(map(_is_picture, files))
    if not files:
        return UserError(f"{root} is empty; {_LAYOUT}")
    return UserError(
        f"{root} has no sub-folders, only {_count(len(files), 'file')}, "
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


# ---- Dividing ----


def _divide(tree: _Tree, is_good: np.ndarray, seed: int) -> np.ndarray:
    """The part of each picture, strings [N], "" for one that is left out."""
    parts = np.where(is_good, tree.parts, "").astype("<U10")
    given = set(tree.parts)
    drawn = {
        part: draw
        for part, draw in {"test": _TEST_DRAW, "validation": str(seed)}.items()
        if part not in given
    }
    counts = np.bincount(tree.labels[parts == "train"], minlength=len(tree.class_names))
    for name, number in zip(tree.class_names, counts, strict=True):
        if number <= len(drawn):
            needed = _joined(["train", *sorted(drawn)])
            raise UserError(
                f"--data_dir={tree.data_dir}: the class {name} has "
                f"{_count(number, 'picture')} that can be decoded, too few for the "
                f"parts that are made of them, {needed}; add some, at least "
                f"{len(drawn) + 1} in all, or remove its folder"
            )
    for part in sorted(given):
        if not (parts == part).any():
            raise UserError(
                f"--data_dir={tree.data_dir}: no picture of the {part} part can be "
                "decoded; replace them"
            )
    for part, draw in drawn.items():
        rows = np.flatnonzero(parts == "train")
        keys = _keys([tree.names[row] for row in rows], draw)
        rows = rows[np.lexsort((keys, tree.labels[rows]))]
        for of_class in np.split(rows, np.cumsum(np.bincount(tree.labels[rows]))[:-1]):
            number = max(1, round(len(of_class) / HELD_OUT_DIVISOR))
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


# ---- Checking ----


@dataclasses.dataclass(frozen=True, eq=False)
class _Checked:
    """What decoding found.

    Attributes:
        is_good: which pictures can be decoded, bool [N].
        images: uint8 [N, height, width, 3], undefined where a picture is not good; None
            if the pictures differ in size or take too much memory.
    """

    is_good: np.ndarray
    images: np.ndarray | None


def _check(tree: _Tree, max_skipped_fraction: float, calls: int) -> _Checked:
    """Decodes every picture, or those that `image_check.json` does not vouch for."""
    paths = tree.paths
    everything = np.arange(len(paths))
    begun = time.monotonic()
    # Height and width; 0 where they are not known.
    sizes = _read_cache(tree)
    probed = np.unique(np.linspace(0, len(paths) - 1, _NUM_PROBED).astype(int))
    _measure(paths, probed[sizes[probed, 0] == 0], sizes, calls)
    known = sizes[sizes[:, 0] > 0]
    images = None
    if len(known) and (known == known[0]).all():
        size = known[0]
        if len(paths) * _num_bytes(size) <= MEMORY_BYTES:
            images = np.empty([len(paths), *size, 3], np.uint8)
            sizes[:] = 0
    num_unknown = int((sizes[:, 0] == 0).sum())
    with console.progress_bar(num_unknown, 0, "checking", "picture") as bar:
        if images is not None:
            for rows, batch in _decode(paths, everything, calls, size):
                images[rows] = batch
                sizes[rows] = size
                bar.update(len(rows))
        # Also those of another size than `images`.
        _measure(paths, everything[sizes[:, 0] == 0], sizes, calls, bar.update)
    is_good = sizes[:, 0] > 0
    if images is not None and (sizes[is_good] != size).any():
        images = None
    if images is None and time.monotonic() - begun > CACHE_AFTER_SECONDS:
        _write_cache(tree, sizes)
    _report_skipped(tree, np.flatnonzero(~is_good), max_skipped_fraction)
    return _Checked(is_good, images)


def _num_bytes(size: np.ndarray) -> int:
    return 3 * int(size[0]) * int(size[1])


def _measure(
    paths: np.ndarray,
    rows: np.ndarray,
    sizes: np.ndarray,
    calls: int,
    advance: Callable[[int], object] = lambda number: None,
) -> None:
    """Sets `sizes` of those `rows` that can be decoded; `advance` is told how many."""
    if not len(rows):
        return
    for found, batch in _decode(paths, rows, calls):
        is_allowed = batch.astype(np.int64).prod(axis=1) <= MAX_PIXELS
        sizes[found[is_allowed]] = batch[is_allowed]
        advance(len(found))


# Traced once, for whichever folders are loaded.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode_file(path):
    return preprocessing.decode(tf.io.read_file(path))


def _decode(
    paths: np.ndarray, rows: np.ndarray, calls: int, size: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decodes some of the files; one that cannot be does not appear.

    Args:
        paths: all files, bytes [N].
        rows: which of them, int64.
        calls: files that are decoded at a time.
        size: height and width of all pictures: another one does not appear. None for
            any.

    Yields:
        Some of `rows`, and what belongs to each: the picture, uint8 [height, width, 3],
        or without `size` its height and width, int32 [2].
    """

    def decode(row, path):
        image = _decode_file(path)
        if size is None:
            return row, tf.shape(image)[:2]
        return row, tf.ensure_shape(image, [*size, 3])

    batch_size = _MAX_BATCH
    if size is not None:
        batch_size = min(max(1, _BATCH_BYTES // _num_bytes(size)), _MAX_BATCH)
    options = tf.data.Options()
    options.autotune.enabled = False
    yield from (
        tf.data.Dataset.from_tensor_slices((rows, paths[rows]))
        .map(decode, num_parallel_calls=calls, deterministic=False)
        .ignore_errors()
        .batch(batch_size)
        .prefetch(1)
        .with_options(options)
        .as_numpy_iterator()
    )


def _report_skipped(
    tree: _Tree, skipped: np.ndarray, max_skipped_fraction: float
) -> None:
    """Warns about the pictures that are left out, or refuses if they are too many."""
    total = len(tree.names)
    # The sum forgives what a product such as .07 * 100 lacks of a whole number.
    allowed = int(max_skipped_fraction * total + 1e-6)
    if max_skipped_fraction > 0 and total >= MIN_PICTURES_TO_SKIP:
        allowed = max(allowed, 1)
    if len(skipped) > allowed:
        first = tree.path(skipped[0])
        more = f", nor can {len(skipped) - 1} more" if len(skipped) > 1 else ""
        raise UserError(
            f"{first} cannot be decoded ({_reason(first)}){more}; of {total} pictures "
            f"--max_skipped_fraction={max_skipped_fraction:g} leaves out {allowed} at "
            "most: repair or remove what is damaged, or raise the flag"
        )
    for row in skipped[:_NUM_NAMED]:
        path = tree.path(row)
        console.warn(f"{path} is left out: {_reason(path)}")
    if len(skipped):
        console.warn(
            f"{len(skipped)} of {_count(total, 'picture')} of "
            f"--data_dir={tree.data_dir} cannot be decoded and "
            f"{'is' if len(skipped) == 1 else 'are'} left out"
        )


def _reason(path: str) -> str:
    """Why a picture cannot be decoded."""
    try:
        content = tf.io.read_file(path)
    except tf.errors.OpError as error:
        return f"it cannot be read: {one_line(error)}"
    head = content.numpy()[:32]
    if not head:
        return "it is empty"
    if not _is_known(head):
        return "it is no JPEG, PNG, GIF, BMP or WebP file, whatever its name"
    try:
        height, width = _size(content, head)
        if height * width > MAX_PIXELS:
            return f"it has {width}x{height} pixels, more than {MAX_PIXELS:,}"
        preprocessing.decode(content)
    except tf.errors.OpError as error:
        return f"it is damaged or cut: {one_line(error)}"
    return "it could be read only at the second time"


def _is_known(head: bytes) -> bool:
    """Whether bytes begin as one of the formats."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    )


def _size(content: tf.Tensor, head: bytes) -> Sequence[int]:
    """Height and width, where decoders refuse by size as the header has them."""
    if head.startswith(b"\x89PNG"):
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
    if head.startswith(b"\xff\xd8"):
        return tf.image.extract_jpeg_shape(content).numpy().tolist()[:2]
    return preprocessing.decode(content).shape[:2]


# ---- What an earlier check found ----


def _read_cache(tree: _Tree) -> np.ndarray:
    """Height and width of the pictures that were good, int64 [N, 2]; 0 of others."""
    sizes = np.zeros([len(tree.names), 2], np.int64)
    path = tf.io.gfile.join(tree.data_dir, CHECK_FILE)
    try:
        with tf.io.gfile.GFile(path) as stream:
            cache = json.load(stream)
        # Another release may decode other files.
        if cache["tensorflow"] != tf.__version__:
            return sizes
        known = [cache["pictures"].get(name, ()) for name in tree.names]
        is_known = [
            len(entry) == 4 and all(type(number) is int for number in entry[2:])
            for entry in known
        ]
    except (tf.errors.OpError, ValueError, TypeError, LookupError, AttributeError):
        return sizes
    if any(is_known):
        for row, state in enumerate(tree.states):
            if is_known[row] and known[row][:2] == list(state):
                sizes[row] = known[row][2:]
    return sizes


def _write_cache(tree: _Tree, sizes: np.ndarray) -> None:
    """Keeps what is good; a folder that is read-only goes without."""
    rows = zip(tree.names, tree.states, sizes.tolist(), strict=True)
    pictures = {name: [*state, *size] for name, state, size in rows if size[0]}
    path = tf.io.gfile.join(tree.data_dir, CHECK_FILE)
    # Several workers may do so at once.
    temporary = f"{path}.{time.time_ns()}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "w") as stream:
            json.dump({"tensorflow": tf.__version__, "pictures": pictures}, stream)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError:
        pass
