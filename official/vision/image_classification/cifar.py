"""CIFAR-10 in the forms in which people have it.

    binary  batches of bytes, `data_batch_1.bin`, ...: see cifar_batches.py
    python  batches as pickles, `data_batch_1`, ...: see there
    TFDS    what TensorFlow Datasets prepared, `cifar10/VERSION/`

Of several forms the first is read. Where there is none, the publisher's archive is
unpacked, and fetched before, if that is allowed.
"""

import dataclasses
import os
import shutil
import tempfile

import tensorflow as tf

from official.utils.data import archives, download, files, record_files, splits, tfds
from official.utils.data.download import RemoteFile
from official.utils.errors import UserError, writing
from official.vision.image_classification import cifar_batches
from official.vision.image_classification.cifar_batches import Found
from official.vision.image_classification.cifar_pickles import MAX_FILE_BYTES
from official.vision.image_classification.parts import Arrays, Dataset

# One in ten of the training pictures: 5,000 of 50,000.
VALIDATION_DIVISOR = 10

_WANTED = (
    "data_batch_1.bin to data_batch_5.bin and test_batch.bin (binary version), "
    "data_batch_1 to data_batch_5 and test_batch (python version), or cifar10/ of TFDS"
)
_DOWNLOAD = "; --download fetches it there"


def load(data_dir: str | None, seed: int, may_download: bool = False) -> Dataset:
    """Reads the data set.

    Args:
        data_dir: the folder that holds it in one of the forms.
        seed: draws the validation part; the test part does not depend on it.
        may_download: where the folder has none of the forms, unpack the archive that
            lies there, or fetch one and unpack it.

    Returns:
        The data set; its parts are `Arrays` of pictures uint8 [N, 32, 32, 3].

    Raises:
        UserError: the folder holds none of the forms, a file is missing or is not what
            it should be, or the archive cannot be fetched or unpacked.
    """
    if not data_dir:
        raise UserError(
            f"the data set cifar10 needs --data_dir: give the folder that holds "
            f"{_WANTED}{_DOWNLOAD}"
        )
    with files.reading(f"--data_dir={data_dir}"):
        found = _read(data_dir)
        if found is None and may_download:
            _unpack_archive(data_dir)
            found = _read(data_dir)
        if found is None:
            raise _nothing_found(data_dir)
    training = found.training
    if len(training) < 2:
        raise UserError(
            f"--data_dir={data_dir} has 1 training image, too few to hold some out for "
            "validation; give at least 2"
        )
    num_validation = max(1, len(training) // VALIDATION_DIVISOR)
    kept, held_out = splits.split_indices(len(training), num_validation, seed)
    return Dataset(
        name="cifar10",
        source=found.source,
        train=Arrays(training.images[kept], training.labels[kept]),
        validation=Arrays(training.images[held_out], training.labels[held_out]),
        test=found.test,
        class_names=cifar_batches.CLASS_NAMES,
    )


def _nothing_found(data_dir: str) -> UserError:
    wanted = f"give the folder that holds {_WANTED}"
    if not tf.io.gfile.exists(data_dir):
        return UserError(
            f"--data_dir={data_dir} does not exist; {wanted} of the data set "
            f"cifar10{_DOWNLOAD}"
        )
    if not tf.io.gfile.isdir(data_dir):
        return UserError(
            f"--data_dir={data_dir} is no folder; {wanted} of the data set cifar10"
        )
    for archive in ARCHIVES:
        path = tf.io.gfile.join(data_dir, archive.remote.name)
        if tf.io.gfile.exists(path):
            return UserError(
                f"{path} is still packed; unpack it there, or let --download do it"
            )
    return UserError(
        f"--data_dir={data_dir} holds no form of the data set cifar10; {wanted}"
        f"{_DOWNLOAD}"
    )


def _read(data_dir: str) -> Found | None:
    """Reads the first form that the folder has; None if it has none."""
    if (found := cifar_batches.read(data_dir)) is not None:
        return found
    folder = tfds.find(data_dir, "cifar10")
    return None if folder is None else _read_tfds(folder)


# ---- TFDS ----


def _read_tfds(folder: str) -> Found:
    train, test = (tfds.open_split(folder, name) for name in ("train", "test"))
    if train.name.split()[0] != "cifar10":
        raise UserError(
            f"{folder} holds the set {train.name} where cifar10 is expected; give the "
            "folder of that"
        )
    spec = train.features.get_tensor_spec()
    size = cifar_batches.IMAGE_SIZE
    image_spec = tf.TensorSpec([size, size, 3], tf.uint8)
    if spec.get("image") != image_spec or "label" not in spec:
        raise UserError(
            f"{folder} does not hold an image, uint8 {image_spec.shape.as_list()}, and "
            "a label in each record; prepare the set again"
        )
    names = getattr(train.features["label"], "names", ())
    cifar_batches.check_class_names(folder, names)
    parts = [_read_split(folder, split) for split in (train, test)]
    return Found(f"records of TFDS ({train.name}) in {folder}", *parts)


def _read_split(folder: str, split: tfds.TfdsSplit) -> Arrays:
    records = record_files.read(list(split.files.paths), split.files.compression)
    batches = []
    try:
        for batch in records.batch(1000).map(split.parse).as_numpy_iterator():
            batches.append(Arrays(batch["image"], batch["label"]))
    except tf.errors.OpError as error:
        raise split.files.explain(error, split.parse) or error from None
    part = cifar_batches.join(batches)
    where = f"{folder} ({os.path.basename(split.files.paths[0])} ...)"
    return Arrays(part.images, cifar_batches.checked_labels(where, part.labels))


# ---- Archives ----


@dataclasses.dataclass(frozen=True)
class Archive:
    """An archive of the publisher.

    Attributes:
        remote: where it is.
        folder: the one folder that it holds.
    """

    remote: RemoteFile
    folder: str


def _archive(version: str, sha256: str, size_bytes: int, folder: str) -> Archive:
    name = f"cifar-10-{version}.tar.gz"
    url = f"https://www.cs.toronto.edu/~kriz/{name}"
    return Archive(RemoteFile(name, (url,), sha256, size_bytes), folder)


# The first is the one that is fetched.
ARCHIVES = (
    _archive(
        "python",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        170_498_071,
        "cifar-10-batches-py",
    ),
    _archive(
        "binary",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        170_052_171,
        "cifar-10-batches-bin",
    ),
)
# Eight files of 186 MB together.
MAX_ARCHIVE_FILES = 32


def _unpack_archive(data_dir: str) -> None:
    """Unpacks the archive that lies in the folder, or is fetched into it."""
    download.require_local(data_dir)
    present = [
        archive
        for archive in ARCHIVES
        if os.path.exists(os.path.join(data_dir, archive.remote.name))
    ]
    archive = (present or ARCHIVES)[0]
    target = os.path.join(data_dir, archive.folder)
    if os.path.lexists(target):
        raise UserError(
            f"{target} exists but has no batches, so that {archive.remote.name} cannot "
            "be unpacked there; delete or rename it"
        )
    path = download.fetch(archive.remote, data_dir)
    with writing(data_dir):
        scratch = tempfile.mkdtemp(
            prefix=f".{archive.folder}.", suffix=".unpacking", dir=data_dir
        )
    try:
        unpacked = os.path.join(scratch, "archive")
        archives.unpack(path, unpacked, MAX_FILE_BYTES, MAX_ARCHIVE_FILES)
        with writing(target):
            try:
                os.rename(os.path.join(unpacked, archive.folder), target)
            except OSError:
                # Another worker may have unpacked it meanwhile.
                if not os.path.isdir(target):
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
