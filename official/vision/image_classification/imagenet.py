"""ImageNet (ILSVRC 2012) as records: the TFRecord shards of 2019, or a TFDS folder.

The shards are `train-00000-of-01024` ... and `validation-00000-of-00128` ..., of any
number, in `--data_dir` or in its sub-folders `train` and `validation`. Each record is a
`tf.train.Example` with

    image/encoded      one string: a picture, as a rule a JPEG
    image/class/label  one int64: the class, from 1 to 1000

The number 0 stood for "background" and is in no record: class 1 becomes label 0. Own
pictures can be given in the same form, with a file `labels.txt` beside the shards that
has the name of a class in each line; there are as many classes as it has lines.

A TFDS folder holds `imagenet2012`, whose labels begin at 0.

The published validation set is the test part here. What choices are made on are whole
training shards, 1 in 128, drawn by the seed.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from official.utils.data import files, record_files, splits, tfds
from official.utils.data.record_files import Parse, RecordFiles
from official.utils.errors import UserError
from official.vision.image_classification.parts import Dataset, Records

NUM_CLASSES = 1000
# 1 shard in 128: 10,000 of the 1,281,167 pictures.
VALIDATION_SHARDS_DIVISOR = 128
# Where there is but one shard, 1 record in 10.
VALIDATION_RECORDS_DIVISOR = 10

# One name a line, for own pictures.
LABELS_FILE = "labels.txt"
# "n01440764 tench, Tinca tinca" in the order of the labels.
WORDS_FILE = "synset_words.txt"
# "n01440764" in the order of the labels, and "n01440764<tab>tench, Tinca tinca" of more
# classes than there are.
SYNSETS_FILE = "imagenet_lsvrc_2015_synsets.txt"
METADATA_FILE = "imagenet_metadata.txt"


def load(data_dir: str | None, seed: int) -> Dataset:
    """Opens the set.

    Args:
        data_dir: a folder of shards, or a TFDS folder.
        seed: draws the validation part; the test part does not depend on it.

    Returns:
        The data set, its parts as `Records`.

    Raises:
        UserError: no folder was given, it holds neither, a file is missing or damaged,
            or there are too few records.
    """
    if not data_dir:
        raise UserError(
            "the data set imagenet needs --data_dir: give the folder that holds "
            "train-00000-of-01024 and its like, or a TFDS folder of imagenet2012"
        )
    with files.reading(f"--data_dir={data_dir}"):
        if not tf.io.gfile.isdir(data_dir):
            raise UserError(f"--data_dir={data_dir} is no folder; check the path")
        folder = tfds.find(data_dir, "imagenet2012")
        if folder is not None:
            return _load_tfds(folder, seed)
        return _load_shards(data_dir, seed)


def _load_shards(data_dir: str, seed: int) -> Dataset:
    train, test = (
        record_files.open_files(_find_shards(data_dir, part))
        for part in ("train", "validation")
    )
    names, named_by = _class_names([data_dir, train.paths[0].rpartition("/")[0]])
    source = (
        f"{len(train.paths)} + {len(test.paths)} TFRecord files in {data_dir}, "
        f"{named_by}"
    )
    parse = _parse_with("image/encoded", "image/class/label", 1, len(names))
    return _divide(source, train, test, parse, names, seed)


def _find_shards(data_dir: str, part: str) -> str:
    """The pattern that finds the shards of a part."""
    for folder in (data_dir, tf.io.gfile.join(data_dir, part)):
        pattern = tf.io.gfile.join(folder, f"{part}-*-of-*")
        if tf.io.gfile.glob(pattern):
            return pattern
    raise UserError(
        f"--data_dir={data_dir} holds no {part}-00000-of-... of the data set imagenet, "
        f"nor does its sub-folder {part}; give the folder of the TFRecord shards, or a "
        "TFDS folder of imagenet2012"
    )


def _load_tfds(folder: str, seed: int) -> Dataset:
    train, test = (tfds.open_split(folder, name) for name in ("train", "validation"))
    missing = {"image", "label"} - set(train.features)
    if missing:
        raise UserError(
            f"{folder} holds {train.name}, whose examples have no {min(missing)}; give "
            "a TFDS folder of imagenet2012"
        )
    names = tuple(train.features["label"].names)
    # TFDS would decode the pictures, before they are cropped.
    parse = _parse_with("image", "label", 0, len(names))
    source = f"records of TFDS ({train.name}) in {folder}"
    return _divide(source, train.files, test.files, parse, names, seed)


def _parse_with(
    image_name: str, label_name: str, first_label: int, num_classes: int
) -> Parse:
    """Parses records into `image_bytes`, string [N], and `label`, int32 [N]."""
    features = {
        image_name: tf.io.FixedLenFeature([], tf.string),
        label_name: tf.io.FixedLenFeature([], tf.int64),
    }
    last_label = first_label + num_classes - 1
    expected = f"labels from {first_label} to {last_label} are expected, found {{}}"

    def parse(serialized):
        example = tf.io.parse_example(serialized, features)
        labels = example[label_name]
        is_wrong = (labels < first_label) | (labels > last_label)
        check = tf.debugging.Assert(
            tf.logical_not(tf.reduce_any(is_wrong)),
            [tf.strings.format(expected, tf.boolean_mask(labels, is_wrong))],
        )
        with tf.control_dependencies([check]):
            labels = tf.cast(labels - first_label, tf.int32)
        return {"image_bytes": example[image_name], "label": labels}

    return parse


def _divide(
    source: str,
    train: RecordFiles,
    test: RecordFiles,
    parse: Parse,
    names: tuple[str, ...],
    seed: int,
) -> Dataset:
    """Holds some of the training records out."""
    num_shards = len(train.paths)
    if num_shards > 1:
        num_held_out = max(1, num_shards // VALIDATION_SHARDS_DIVISOR)
        parts = [
            Records(_subset(train, np.sort(shards)), parse)
            for shards in splits.split_indices(num_shards, num_held_out, seed)
        ]
    else:
        if train.num_records < 2:
            raise UserError(
                f"{train.paths[0]} holds one training image, too few to hold some out "
                "for validation; give at least 2"
            )
        num_held_out = max(1, train.num_records // VALIDATION_RECORDS_DIVISOR)
        parts = [
            Records(train, parse, keep)
            for keep in record_files.split(train, num_held_out, seed)
        ]
    return Dataset("imagenet", source, *parts, Records(test, parse), names)


def _subset(whole: RecordFiles, shards: np.ndarray) -> RecordFiles:
    counts = tuple(whole.counts[shard] for shard in shards)
    return dataclasses.replace(
        whole,
        paths=tuple(whole.paths[shard] for shard in shards),
        counts=counts,
        # In proportion: it serves to see how many records fit in memory.
        num_bytes=whole.num_bytes * sum(counts) // whole.num_records,
    )


# ---- Names of the classes ----


def _class_names(folders: list[str]) -> tuple[tuple[str, ...], str]:
    """The names, and where they come from, in words."""

    def find(name):
        paths = [tf.io.gfile.join(folder, name) for folder in folders]
        return next(filter(tf.io.gfile.exists, paths), None)

    if path := find(LABELS_FILE):
        return tuple(_read_lines(path)), f"classes of {LABELS_FILE}"
    if path := find(WORDS_FILE):
        lines = _of_all_classes(path)
        return tuple(line.partition(" ")[2] or line for line in lines), (
            f"names of {WORDS_FILE}"
        )
    if path := find(SYNSETS_FILE):
        synsets = _of_all_classes(path)
        metadata = find(METADATA_FILE)
        if metadata is None:
            return tuple(synsets), f"names of {SYNSETS_FILE}"
        words = dict(line.partition("\t")[::2] for line in _read_lines(metadata))
        return tuple(words.get(synset) or synset for synset in synsets), (
            f"names of {METADATA_FILE}"
        )
    names = tuple(f"class {number}" for number in range(1, NUM_CLASSES + 1))
    return names, f"classes without names ({WORDS_FILE} there would give them)"


def _of_all_classes(path: str) -> list[str]:
    lines = _read_lines(path)
    if len(lines) != NUM_CLASSES:
        raise UserError(
            f"{path} has {len(lines)} lines where {NUM_CLASSES} are expected, one a "
            f"class; for other classes write their names into {LABELS_FILE}"
        )
    return lines


def _read_lines(path: str) -> list[str]:
    try:
        text = files.read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8; save it so") from None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    for number, line in enumerate(lines, 1):
        if not line:
            raise UserError(
                f"{path}: line {number} is empty; each has the name of a class"
            )
    if not lines:
        raise UserError(f"{path} is empty; write the name of a class in each line")
    return lines
