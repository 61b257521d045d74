"""MNIST from files of records: a TFDS folder, or TFRecord shards.

Shards are `train*.tfrecord*` and `test*.tfrecord*` in one folder, plain, GZIP or ZLIB.
Each record is a `tf.train.Example` with

    image  one string: a grey picture of 28x28 pixels as png, or its 784 bytes row by
           row; light ink (255) on a dark ground (0)
    label  one int64, from 0 to 9
"""

import dataclasses

import numpy as np
import tensorflow as tf

from official.mnist.dataset import IMAGE_SIZE, MNIST_VALIDATION_DIVISOR, NUM_CLASSES
from official.utils.data import record_files, tfds
from official.utils.errors import UserError

_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One part of the set.

    Attributes:
        files: where its records are.
        parse: maps records, string [N], to `image`, uint8 [N, 28, 28], and `label`,
            int32 [N].
        keep: which records of the files belong to it; None for all.
    """

    files: record_files.RecordFiles
    parse: record_files.Parse
    keep: np.ndarray | None = None

    def __len__(self) -> int:
        return self.files.num_records if self.keep is None else int(self.keep.sum())


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The set in its three parts, which share no record.

    Attributes:
        source: what was found, in words.
        train: what the weights are fitted to.
        validation: drawn from the training files by the seed.
        test: the same records whatever the seed.
    """

    source: str
    train: Part
    validation: Part
    test: Part

    def explain(self, error: tf.errors.OpError) -> UserError | None:
        """See `RecordFiles.explain`."""
        return self.train.files.explain(
            error, self.train.parse
        ) or self.test.files.explain(error, self.test.parse)


def find(data_dir: str | None, seed: int) -> Parts | None:
    """Opens the set if a folder holds it as records.

    Args:
        data_dir: a TFDS folder, or one of TFRecord shards.
        seed: draws the validation part.

    Returns:
        The parts; None if the folder holds neither.

    Raises:
        UserError: a file is missing or damaged, or there are too few examples.
    """
    if not data_dir or not tf.io.gfile.isdir(data_dir):
        return None
    folder = tfds.find(data_dir, "mnist")
    if folder is not None:
        splits = {name: tfds.open_split(folder, name) for name in ("train", "test")}
        source = f"records of TFDS ({splits['train'].name}) in {folder}"
        train, test = (
            Part(split.files, _parse_tfds(split)) for split in splits.values()
        )
        return _divide(source, train, test, seed)
    patterns = [tf.io.gfile.join(data_dir, f"{part}*.tfrecord*") for part in _PARTS]
    if not any(tf.io.gfile.glob(pattern) for pattern in patterns):
        return None
    train, test = (
        Part(record_files.open_files(pattern), parse) for pattern in patterns
    )
    shards = len(train.files.paths) + len(test.files.paths)
    return _divide(f"{shards} TFRecord files in {data_dir}", train, test, seed)


_PARTS = ("train", "test")


def _divide(source: str, train: Part, test: Part, seed: int) -> Parts:
    num_validation = len(train) // MNIST_VALIDATION_DIVISOR
    if not num_validation:
        raise UserError(
            f"{train.files.paths[0]} and its like hold {len(train)} training images, "
            "too few to hold some out for validation; give at least "
            f"{MNIST_VALIDATION_DIVISOR}"
        )
    kept, held_out = record_files.split(train.files, num_validation, seed)
    return Parts(
        source,
        dataclasses.replace(train, keep=kept),
        dataclasses.replace(train, keep=held_out),
        test,
    )


def _parse_tfds(split: tfds.TfdsSplit) -> record_files.Parse:
    def parse_(serialized):
        example = split.parse(serialized)
        return _checked(example["image"][..., 0], example["label"])

    return parse_


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Decodes records of the form at the head of the module.

    Args:
        serialized: string [N].

    Returns:
        `image`, uint8 [N, 28, 28], and `label`, int32 [N].
    """
    example = tf.io.parse_example(serialized, _FEATURES)
    images = example["image"]
    shape = [IMAGE_SIZE, IMAGE_SIZE]

    def from_pixels():
        pixels = tf.io.decode_raw(images, tf.uint8)
        return tf.reshape(pixels, [-1, *shape])

    def from_png():
        return tf.map_fn(
            lambda png: tf.reshape(tf.io.decode_png(png, channels=1), shape),
            images,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )

    is_raw = tf.reduce_all(tf.strings.length(images) == IMAGE_SIZE**2)
    return _checked(tf.cond(is_raw, from_pixels, from_png), example["label"])


def _checked(images, labels):
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                tf.reduce_all((labels >= 0) & (labels < NUM_CLASSES)),
                [f"labels from 0 to {NUM_CLASSES - 1} are expected"],
            )
        ]
    ):
        return {"image": images, "label": tf.cast(labels, tf.int32)}
