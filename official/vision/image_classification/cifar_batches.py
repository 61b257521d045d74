"""CIFAR-10 in batches, the files of its two archives: finding and reading them.

    binary  `data_batch_1.bin`, ... and `test_batch.bin`; a name may have a part before
            `.bin`, as in `data_batch_1.first4000.bin.gz`. A record is a byte for the
            label and 3072 for the pixels.
    python  `data_batch_1`, ... and `test_batch`: pickles of a dict with `data`, uint8
            [N, 3072], and `labels`, a list of N numbers.

The files may be gzipped, and lie in the folder itself or in the one that their archive
holds. Pixels are stored plane by plane: red, green, blue
(https://www.cs.toronto.edu/~kriz/cifar.html; Krizhevsky, "Learning Multiple Layers of
Features from Tiny Images", 2009).
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data import files
from official.utils.errors import UserError
from official.vision.image_classification import cifar_pickles
from official.vision.image_classification.cifar_pickles import FETCH, MAX_FILE_BYTES
from official.vision.image_classification.parts import Arrays

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE_SIZE = 32
NUM_PIXELS = 3 * IMAGE_SIZE**2


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a folder holds.

    Attributes:
        source: the form and where it lies, in words.
        training: the pictures that are published for training.
        test: those for the test.
    """

    source: str
    training: Arrays
    test: Arrays


def read(data_dir: str) -> Found | None:
    """Reads the first form that a folder has.

    Args:
        data_dir: the folder with the batches, or with the folder of their archive.

    Returns:
        The pictures, uint8 [N, 32, 32, 3], in the order of the batches; None if there
        is no batch.

    Raises:
        UserError: a batch is missing, is there twice or is not what it should be.
        tf.errors.OpError: the folder cannot be read.
    """
    for form in _FORMS:
        for folder in (data_dir, tf.io.gfile.join(data_dir, form.folder)):
            if batches := _find_batches(folder, form):
                return _read_batches(folder, batches, form)
    return None


def join(batches: Sequence[Arrays]) -> Arrays:
    """Puts batches, at least one, behind each other."""
    return Arrays(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )


def _images(pixels: np.ndarray) -> np.ndarray:
    """Turns planes, uint8 [N, 3072], into pictures, uint8 [N, 32, 32, 3]."""
    planes = pixels.reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def checked_labels(where: str, labels: np.ndarray) -> np.ndarray:
    """Labels as int32, if all of them are numbers of classes.

    Args:
        where: the file or folder, for the message.
        labels: whole numbers [N].

    Returns:
        int32 [N].

    Raises:
        UserError: one of them is the number of no class.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASS_NAMES)))
    if wrong.size:
        raise UserError(
            f"{where}: record {wrong[0]} has the label {labels[wrong[0]]} where 0 to "
            f"{len(CLASS_NAMES) - 1} are expected (records count from 0; {wrong.size} "
            f"of {labels.size} are wrong); {FETCH}"
        )
    return labels.astype(np.int32)


def _listed(names: Iterable[str]) -> str:
    """Names out of a file, which may be long and have line breaks, for a message."""
    return repr(", ".join(names)[:200])[1:-1]


def check_class_names(where: str, names: Sequence[str]) -> None:
    """Checks that classes are named as they are here, in the same order.

    Args:
        where: the file or folder, for the message.
        names: the name of each label, as found there.

    Raises:
        UserError: they are others.
    """
    if tuple(names) != CLASS_NAMES:
        raise UserError(
            f"{where} names the classes {_listed(names)} where "
            f"{', '.join(CLASS_NAMES)} are expected; {FETCH}"
        )


# ---- Finding ----


@dataclasses.dataclass(frozen=True)
class _Form:
    """A form whose pictures come in several files.

    Attributes:
        name: of the form, as its publisher calls it.
        folder: what its archive holds.
        pattern: matches the names of batches; the group is the number of a training
            batch.
        suffix: of the usual names, for messages.
        class_names: the file with the names of the classes, which may be absent.
        read: reads a batch.
        read_class_names: reads that file.
    """

    name: str
    folder: str
    pattern: str
    suffix: str
    class_names: str
    read: Callable[[str], Arrays]
    read_class_names: Callable[[str], Sequence[str]]


# The number of the test batch; those of training begin with 1.
_TEST = 0


def _find_batches(folder: str, form: _Form) -> dict[int, str]:
    """Finds the batches of a folder, by number, in their order."""
    if not tf.io.gfile.isdir(folder):
        return {}
    found: dict[int, str] = {}
    # A plain file comes before the same one gzipped, and is taken.
    for name in sorted(tf.io.gfile.listdir(folder)):
        match = re.fullmatch(form.pattern, name)
        path = tf.io.gfile.join(folder, name)
        # Some archives unpack each file into a folder called like the file.
        if not match or tf.io.gfile.isdir(path):
            continue
        number = int(match[1] or _TEST)
        first = found.setdefault(number, path)
        if path not in (first, f"{first}.gz"):
            raise UserError(
                f"{first} and {path} are both the same batch of the data set cifar10; "
                "leave one of them there"
            )
    return dict(sorted(found.items()))


def _read_batches(folder: str, batches: dict[int, str], form: _Form) -> Found:
    missing = next(number for number in itertools.count() if number not in batches)
    if missing < max(len(batches), 2):
        name = "test_batch" if missing == _TEST else f"data_batch_{missing}"
        raise UserError(
            f"{folder} lacks {name}{form.suffix} of the data set cifar10, though "
            f"{os.path.basename(batches[max(batches)])} is there; put it there too"
        )
    for suffix in ("", ".gz"):
        path = tf.io.gfile.join(folder, form.class_names + suffix)
        if tf.io.gfile.exists(path):
            check_class_names(path, form.read_class_names(path))
    test, *training = map(form.read, batches.values())
    source = f"{form.name} version, {len(training)} training and 1 test file"
    return Found(f"{source} in {folder}", join(training), test)


# ---- The binary version ----

RECORD_BYTES = 1 + NUM_PIXELS


def _read_binary(path: str) -> Arrays:
    content = files.read_bytes(path, MAX_FILE_BYTES)
    num_records, rest = divmod(len(content), RECORD_BYTES)
    if rest:
        raise UserError(
            f"{path} has {len(content)} bytes, no multiple of the {RECORD_BYTES} of a "
            f"record: {rest} are there of record {num_records} (records count from "
            f"0); it is cut or too long; {FETCH}"
        )
    records = np.frombuffer(content, np.uint8).reshape(num_records, RECORD_BYTES)
    return Arrays(_images(records[:, 1:]), checked_labels(path, records[:, 0]))


def _read_binary_class_names(path: str) -> list[str]:
    return files.read_bytes(path, MAX_FILE_BYTES).decode(errors="replace").split()


# ---- The python version ----


def _read_python(path: str) -> Arrays:
    batch = cifar_pickles.read(path)
    pixels, labels = _entry(path, batch, "data"), _entry(path, batch, "labels")
    if not isinstance(pixels, cifar_pickles.PickledArray) or pixels.values is None:
        raise UserError(f"{path} has no array as its entry data; {FETCH}")
    values = pixels.values
    if values.shape[1] != NUM_PIXELS or not len(values):
        raise UserError(
            f"{path} has an entry data of shape {list(values.shape)} where "
            f"[N, {NUM_PIXELS}] is expected; {FETCH}"
        )
    if not isinstance(labels, list):
        raise UserError(f"{path} has no list as its entry labels; {FETCH}")
    for record, label in enumerate(labels):
        # Also what an int64 cannot hold; True is no label.
        if type(label) is not int or not 0 <= label < len(CLASS_NAMES):
            what = repr(label)[:20] if type(label) is int else type(label).__name__
            raise UserError(
                f"{path}: record {record} has the label {what} where 0 to "
                f"{len(CLASS_NAMES) - 1} are expected (records count from 0); {FETCH}"
            )
    if len(labels) != len(values):
        raise UserError(
            f"{path} has {len(values)} images but {len(labels)} labels; {FETCH}"
        )
    return Arrays(_images(values), np.array(labels, np.int32))


def _read_python_class_names(path: str) -> list[str]:
    names = _entry(path, cifar_pickles.read(path), "label_names")
    if not isinstance(names, list):
        raise UserError(f"{path} has no list as its entry label_names; {FETCH}")
    try:
        return [cifar_pickles.as_text(name) for name in names]
    except ValueError as error:
        raise UserError(f"{path}: {error} as a class's name; {FETCH}") from None


def _entry(path: str, batch: dict[str, Any], name: str) -> Any:
    if name not in batch:
        raise UserError(
            f"{path} lacks the entry {name} of a batch of CIFAR-10; it has "
            f"{_listed(batch) or 'none'}; {FETCH}"
        )
    return batch[name]


# In the order in which they are looked for.
_FORMS = (
    _Form(
        name="binary",
        folder="cifar-10-batches-bin",
        pattern=r"(?:data_batch_([1-9]\d*)|test_batch)(?:\D.*)?\.bin(?:\.gz)?",
        suffix=".bin",
        class_names="batches.meta.txt",
        read=_read_binary,
        read_class_names=_read_binary_class_names,
    ),
    _Form(
        name="python",
        folder="cifar-10-batches-py",
        pattern=r"(?:data_batch_([1-9]\d*)|test_batch)(?:\.gz)?",
        suffix="",
        class_names="batches.meta",
        read=_read_python,
        read_class_names=_read_python_class_names,
    ),
)
