"""Pictures of hand-written digits: MNIST, and a small set that needs no download.

    name    training  validation    test  source
    digits      1295         143     359  ships with scikit-learn
    mnist      55000        5000   10000  four idx files in `--data_dir`

Every picture is uint8 [28, 28], light ink (255) on a dark ground (0).
"""

import dataclasses
import importlib.util
import math
import os

import numpy as np
import tensorflow as tf

from official.utils.data import download, files, splits
from official.utils.data.download import RemoteFile
from official.utils.errors import UserError

NAMES = ("digits", "mnist")
DEFAULT = "digits"
NUM_CLASSES = 10
IMAGE_SIZE = 28


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
      images: uint8 [N, 28, 28].
      labels: int32 [N], from 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in its three parts, which share no picture.

    Attributes:
      name: one of `NAMES`.
      train: what the weights are fitted to.
      validation: what choices are made on; drawn from the training part by the seed.
      test: what is reported; the same pictures whatever the seed.
      num_classes: number of labels.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int = NUM_CLASSES


def load(
    name: str, data_dir: str | None, seed: int, may_download: bool = False
) -> Dataset:
    """Loads a data set.

    Args:
      name: one of `NAMES`.
      data_dir: the folder with MNIST's four files; `digits` does not look at it.
      seed: draws the validation part; the test part does not depend on it.
      may_download: fetch those of MNIST's files that are missing.

    Returns:
      The data set.

    Raises:
      UserError: the name is unknown, or a file is missing, cannot be fetched or is not
        what it should be.
    """
    if name == "digits":
        return _load_digits(seed)
    if name == "mnist":
        return _load_mnist(data_dir, seed, may_download)
    raise UserError(
        f"--dataset={name} is unknown; the data sets are {', '.join(NAMES)}"
    )


def _select(split: Split, indices: np.ndarray) -> Split:
    return Split(split.images[indices], split.labels[indices])


# ---- MNIST: where it is ----

# The original address asks for a password; these two are copies of it.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)


def _remote_file(name: str, sha256: str, size_bytes: int) -> RemoteFile:
    return RemoteFile(name, tuple(url + name for url in MIRRORS), sha256, size_bytes)


REMOTE_FILES = (
    _remote_file(
        "train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
    ),
    _remote_file(
        "train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
    ),
    _remote_file(
        "t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
    ),
    _remote_file(
        "t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
    ),
)


def _possible_names(packed_name: str) -> list[str]:
    """Names under which a file of MNIST is known, the preferred one first."""
    plain = packed_name.removesuffix(".gz")
    # Some archives write a dot in place of the second hyphen.
    stems = (plain, plain.replace("-idx", ".idx"))
    return [stem + suffix for stem in stems for suffix in (".gz", "")]


def _fetch_missing(data_dir: str) -> None:
    """Fetches the files that `data_dir` has under none of their names."""
    for remote in REMOTE_FILES:
        paths = [os.path.join(data_dir, name) for name in _possible_names(remote.name)]
        if not any(map(tf.io.gfile.exists, paths)):
            download.fetch(remote, data_dir)


# ---- MNIST: the idx format ----

# Two zero bytes, 8 for unsigned bytes, and the number of dimensions, which follow as
# big-endian uint32: http://yann.lecun.com/exdb/mnist/
IMAGES_MAGIC = 0x00000803
LABELS_MAGIC = 0x00000801
CONTENTS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
# One in twelve: 5,000 of MNIST's 60,000.
MNIST_VALIDATION_DIVISOR = 12
FETCH = "fetch the original file again"


def read_idx_images(path: str) -> np.ndarray:
    """Reads pictures from an idx file, plain or gzipped.

    Args:
      path: the file.

    Returns:
      uint8 [N, 28, 28], read-only.

    Raises:
      UserError: the file is missing, empty, truncated, too long, no idx file of images,
        or its images have another size.
    """
    shape, pixels = _read_idx(path, IMAGES_MAGIC)
    return pixels.reshape(shape)


def read_idx_labels(path: str) -> np.ndarray:
    """Reads labels from an idx file, plain or gzipped.

    Args:
      path: the file.

    Returns:
      int32 [N], from 0 to 9.

    Raises:
      UserError: the file is missing, empty, truncated, too long, no idx file of labels,
        or a label is above 9.
    """
    _, labels = _read_idx(path, LABELS_MAGIC)
    wrong = np.flatnonzero(labels >= NUM_CLASSES)
    if wrong.size:
        raise UserError(
            f"{path}: record {wrong[0]} has the label {labels[wrong[0]]} where 0 to "
            f"{NUM_CLASSES - 1} are expected (records count from 0; {wrong.size} of "
            f"{labels.size} are wrong); {FETCH}"
        )
    return labels.astype(np.int32)


def _read_idx(path: str, magic: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Reads the dimensions and the flat uint8 payload of an idx file."""
    content = files.read_bytes(path)
    found = int.from_bytes(content[:4], "big")
    if len(content) >= 4 and found != magic:
        if found in CONTENTS:
            raise UserError(
                f"{path} holds {CONTENTS[found]} (magic number 0x{found:08x}) where "
                f"{CONTENTS[magic]} (0x{magic:08x}) are expected; check that the files "
                "are not exchanged"
            )
        raise UserError(
            f"{path} is no idx file of {CONTENTS[magic]}: it starts with 0x{found:08x} "
            f"where 0x{magic:08x} is expected; {FETCH}"
        )
    num_dimensions = magic & 0xFF
    header_bytes = 4 + 4 * num_dimensions
    if len(content) < header_bytes:
        raise UserError(
            f"{path} is truncated: {len(content)} bytes are there where its header "
            f"alone takes {header_bytes}; {FETCH}"
        )
    header = np.frombuffer(content, ">u4", count=num_dimensions, offset=4)
    # Python's integers: three dimensions of a damaged header may overflow int64.
    shape = tuple(int(size) for size in header)
    if magic == IMAGES_MAGIC and shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise UserError(
            f"{path} has images of {shape[1]}x{shape[2]} pixels where "
            f"{IMAGE_SIZE}x{IMAGE_SIZE} are expected; {FETCH}"
        )
    if shape[0] == 0:
        raise UserError(f"{path} holds no {CONTENTS[magic]}: its count is 0; {FETCH}")
    expected_bytes = header_bytes + math.prod(shape)
    if len(content) < expected_bytes:
        raise UserError(
            f"{path} is truncated: {len(content)} bytes are there where its header "
            f"asks for {expected_bytes} ({shape[0]} {CONTENTS[magic]}); {FETCH}"
        )
    if len(content) > expected_bytes:
        raise UserError(
            f"{path} is too long by {len(content) - expected_bytes} bytes: "
            f"{len(content)} bytes are there where its header asks for "
            f"{expected_bytes} ({shape[0]} {CONTENTS[magic]}); {FETCH}"
        )
    return shape, np.frombuffer(content, np.uint8, offset=header_bytes)


def _read_idx_split(data_dir: str | None, part: str) -> Split:
    """Reads the part `train` or `t10k`."""
    paths = []
    for content in ("images-idx3", "labels-idx1"):
        names = _possible_names(f"{part}-{content}-ubyte.gz")
        paths.append(files.find(data_dir, names, "mnist", can_download=True))
    images, labels = read_idx_images(paths[0]), read_idx_labels(paths[1])
    if len(images) != len(labels):
        raise UserError(
            f"{paths[0]} has {len(images)} images but {paths[1]} has {len(labels)} "
            "labels; fetch both original files again"
        )
    return Split(images, labels)


def _load_mnist(data_dir: str | None, seed: int, may_download: bool) -> Dataset:
    if may_download and data_dir:
        _fetch_missing(data_dir)
    training = _read_idx_split(data_dir, "train")
    test = _read_idx_split(data_dir, "t10k")
    num_examples = len(training.labels)
    num_validation = num_examples // MNIST_VALIDATION_DIVISOR
    if num_validation == 0:
        raise UserError(
            f"--data_dir={data_dir} has {num_examples} training images, too few to "
            f"hold some out for validation; give at least {MNIST_VALIDATION_DIVISOR}"
        )
    kept, held_out = splits.split_indices(num_examples, num_validation, seed)
    return Dataset(
        "mnist",
        train=_select(training, kept),
        validation=_select(training, held_out),
        test=test,
    )


# ---- digits: 8x8 pictures that come with scikit-learn ----

DIGITS_FILE = os.path.join("datasets", "data", "digits.csv.gz")
DIGITS_SIZE = 8
DIGITS_MAX = 16
# Whatever the seed of a run, it is tested on the same fifth.
DIGITS_TEST_SEED = 0
DIGITS_TEST_DIVISOR = 5
DIGITS_VALIDATION_DIVISOR = 10
# MNIST's digits fill a box of 20x20 within the 28x28.
BOX_SIZE = 20


def _load_digits(seed: int) -> Dataset:
    """Loads the 1797 digits of scikit-learn.

    They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and
    Kaynak, 1998, https://doi.org/10.24432/C50P49), written by 13 people. The parts made
    here share those writers: accuracy on strangers' digits is lower.
    """
    pixels, labels = _read_digits()
    everything = Split(_upscale_digits(pixels), labels.astype(np.int32))
    num_test = len(labels) // DIGITS_TEST_DIVISOR
    training_indices, test_indices = splits.split_indices(
        len(labels), num_test, DIGITS_TEST_SEED
    )
    training = _select(everything, training_indices)
    num_validation = len(training.labels) // DIGITS_VALIDATION_DIVISOR
    kept, held_out = splits.split_indices(len(training.labels), num_validation, seed)
    return Dataset(
        "digits",
        train=_select(training, kept),
        validation=_select(training, held_out),
        test=_select(everything, test_indices),
    )


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Reads scikit-learn's digits: uint8 [1797, 8, 8] from 0 to 16, uint8 [1797]."""
    # sklearn.datasets imports SciPy, which takes seconds where nothing else has done
    # so; to find the folder imports nothing.
    package = importlib.util.find_spec("sklearn")
    if package is None:
        raise UserError(
            "the data set digits comes with scikit-learn, which is not installed; "
            "run `pip install scikit-learn`"
        )
    path = os.path.join(package.submodule_search_locations[0], DIGITS_FILE)
    if not os.path.exists(path):
        return _read_digits_with_sklearn()
    lines = files.read_bytes(path).decode("ascii").splitlines()
    # 64 pixels and the label a row.
    table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, DIGITS_SIZE, DIGITS_SIZE), table[:, -1]


def _read_digits_with_sklearn() -> tuple[np.ndarray, np.ndarray]:
    """Reads what `_read_digits` reads through scikit-learn's own function."""
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)


def _upscale_digits(pixels: np.ndarray) -> np.ndarray:
    """Brings 8x8 digits to MNIST's size and range.

    Args:
      pixels: uint8 [N, 8, 8], from 0 to 16.

    Returns:
      uint8 [N, 28, 28], from 0 to 255: the digit, linearly interpolated to 20x20,
      within a dark margin of 4.
    """
    # The centre of target pixel i lies at (i + 1/2) * 8/20 - 1/2 = (4i - 3) / 10 of the
    # source. So all weights are tenths, and whole numbers give the same picture on
    # every machine.
    position = np.clip(4 * np.arange(BOX_SIZE) - 3, 0, 10 * (DIGITS_SIZE - 1))
    distance = np.abs(position[:, None] - 10 * np.arange(DIGITS_SIZE))
    weights = np.maximum(10 - distance, 0).astype(np.int32)  # [20, 8], rows sum to 10.
    digits = weights @ pixels.astype(np.int32) @ weights.T  # [N, 20, 20], up to 1600.
    highest = 100 * DIGITS_MAX
    digits = (digits * 255 + highest // 2) // highest  # Rounds half up.
    margin = (IMAGE_SIZE - BOX_SIZE) // 2
    border = (margin, margin)
    return np.pad(digits.astype(np.uint8), ((0, 0), border, border))
