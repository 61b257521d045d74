"""Decodes each picture of a folder once, before the training.

One that cannot be decoded is named and left out, as long as few are.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.logs import console
from official.vision.image_classification import picture_tree, preprocessing
from official.vision.image_classification.picture_tree import CHECK_FILE, Tree

# Pictures of one size stay in memory up to here, decoded. While the parts are cut out
# of them, twice as much is taken.
MEMORY_BYTES = 1 << 30
# A file of some kilobytes may unpack to gigabytes. The decoders of JPEG and PNG refuse
# 2^29 bytes, 179 million pixels of three, as Pillow does; this holds for every format.
MAX_PIXELS = (1 << 29) // 3
# A check that is quicker than this leaves no file behind.
CACHE_AFTER_SECONDS = 1.0
# Of so many pictures one may be damaged, however small the share that is allowed.
MIN_PICTURES_TO_SKIP = 20

_NUM_NAMED = 5
_NUM_PROBED = 32
_BATCH_BYTES = 16 << 20
_MAX_BATCH = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Checked:
    """What decoding found.

    Attributes:
        is_good: which pictures can be decoded, bool [N].
        images: uint8 [N, height, width, 3], undefined where a picture is not good; None
            if the pictures differ in size or take too much memory.
    """

    is_good: np.ndarray
    images: np.ndarray | None


def check(tree: Tree, max_skipped_fraction: float, calls: int) -> Checked:
    """Decodes every picture, or those that `image_check.json` does not vouch for.

    Args:
        tree: the pictures.
        max_skipped_fraction: see `image_folder.load`.
        calls: pictures that are decoded at a time.

    Returns:
        Which of them are good, and their pixels, if they are to stay in memory.

    Raises:
        UserError: too many cannot be decoded.
    """
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
    return Checked(is_good, images)


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
    tree: Tree, skipped: np.ndarray, max_skipped_fraction: float
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
            f"{first} cannot be decoded ({_reason_then(first)}){more}; of {total} "
            f"pictures --max_skipped_fraction={max_skipped_fraction:g} leaves out "
            f"{allowed} at most: repair or remove what is damaged, or raise the flag"
        )
    for row in skipped[:_NUM_NAMED]:
        path = tree.path(row)
        console.warn(f"{path} is left out: {_reason_then(path)}")
    if len(skipped):
        console.warn(
            f"{len(skipped)} of {picture_tree.count(total, 'picture')} of "
            f"--data_dir={tree.data_dir} cannot be decoded and "
            f"{'is' if len(skipped) == 1 else 'are'} left out"
        )


def _reason_then(path: str) -> str:
    """Why a picture could not be decoded when all were."""
    return reason(path) or "it could be read only at the second time"


def reason(path: str) -> str | None:
    """Why a picture cannot be decoded.

    Args:
        path: the file.

    Returns:
        The reason in words, one line; None if it can.
    """
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
        height, width = _size_of_header(content, head)
        if height * width <= MAX_PIXELS:
            height, width, _ = preprocessing.decode(content).shape
    except tf.errors.OpError as error:
        return f"it is damaged or cut: {one_line(error)}"
    if height * width > MAX_PIXELS:
        return f"it has {width}x{height} pixels, more than {MAX_PIXELS:,}"
    return None


def _is_known(head: bytes) -> bool:
    """Whether bytes begin as one of the formats."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    )


def _size_of_header(content: tf.Tensor, head: bytes) -> Sequence[int]:
    """Height and width of a format whose decoder refuses by size, 0 of others."""
    if head.startswith(b"\x89PNG"):
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
    if head.startswith(b"\xff\xd8"):
        return tf.image.extract_jpeg_shape(content).numpy().tolist()[:2]
    return 0, 0


# ---- What an earlier check found ----


def _read_cache(tree: Tree) -> np.ndarray:
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


def _write_cache(tree: Tree, sizes: np.ndarray) -> None:
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
