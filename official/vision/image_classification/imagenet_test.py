import functools
import io
import shutil
import tarfile
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.utils.data.records import RecordEvaluationStream, RecordTrainingStream
from official.utils.data.streams import Share
from official.utils.errors import UserError
from official.utils.testing.data import real_data
from official.vision.image_classification import imagenet, preprocessing

SIZES = [(341, 260), (150, 211), (97, 61), (260, 341)]


@functools.cache
def real_jpegs():
    """40 real pictures, enlarged to several sizes."""
    path = f"{real_data('cifar10')}/cifar10-images-jpg-q75.tar.xz"
    contents = []
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.name.endswith(".jpg"):
                continue
            picture = Image.open(io.BytesIO(archive.extractfile(member).read()))
            stream = io.BytesIO()
            size = SIZES[len(contents) % len(SIZES)]
            picture.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG")
            contents.append(stream.getvalue())
            if len(contents) == 40:
                return contents
    raise AssertionError("too few pictures")


def example(image_bytes, label):
    """A record as the scripts of 2019 wrote it."""
    features = {
        "image/encoded": tf.train.BytesList(value=[image_bytes]),
        "image/class/label": tf.train.Int64List(value=[label]),
        "image/class/synset": tf.train.BytesList(value=[b"n01440764"]),
        "image/class/text": tf.train.BytesList(value=[b"tench, Tinca tinca"]),
        "image/height": tf.train.Int64List(value=[260]),
    }
    kinds = {tf.train.BytesList: "bytes_list", tf.train.Int64List: "int64_list"}
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(**{kinds[type(value)]: value})
                for name, value in features.items()
            }
        )
    ).SerializeToString()


def write_shards(folder, part, labels, number):
    """Writes the first pictures with these labels into shards."""
    folder.mkdir(exist_ok=True)
    rows = list(zip(real_jpegs(), labels, strict=False))
    assert len(rows) == len(labels)
    for shard in range(number):
        path = folder / f"{part}-{shard:05}-of-{number:05}"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for image_bytes, label in rows[shard::number]:
                writer.write(example(image_bytes, label))


TRAIN_LABELS = [1 + 27 * number for number in range(36)] + [1000, 1, 2, 3]
TEST_LABELS = [1000, 1, 500, 7, 7, 8]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    write_shards(folder, "train", TRAIN_LABELS, 8)
    write_shards(folder, "validation", TEST_LABELS, 2)
    return folder


def read(part):
    """The pictures and labels of a part, in the order of its files."""
    stream = RecordEvaluationStream(part.files, 4, part.parse, part.keep)
    images, labels = [], []
    for batch in stream.dataset(Share(1, 0, 1)):
        is_real = batch["example_weight"] > 0
        images += list(batch["image_bytes"][is_real].numpy())
        labels += list(batch["label"][is_real].numpy())
    assert stream.num_examples == len(labels) == len(part)
    return images, labels


def test_every_picture_is_counted_once(shards):
    data = imagenet.load(str(shards), 0)
    assert data.name == "imagenet"
    assert "8 + 2 TFRecord files" in data.source
    assert [len(part) for part in (data.train, data.validation, data.test)] == [
        35,
        5,
        6,
    ]
    train_images, train_labels = read(data.train)
    held_out_images, held_out_labels = read(data.validation)
    images, labels = train_images + held_out_images, train_labels + held_out_labels
    found = dict(zip(images, labels, strict=True))
    expected = [label - 1 for label in TRAIN_LABELS]
    assert found == dict(zip(real_jpegs(), expected, strict=True))
    assert not set(train_images) & set(held_out_images)
    images, labels = read(data.test)
    assert sorted(images) == sorted(real_jpegs()[:6])
    assert sorted(labels) == [0, 6, 6, 7, 499, 999]


def test_training_goes_over_the_kept_records(shards):
    data = imagenet.load(str(shards), 0)

    def crop(batch):
        images = tf.map_fn(
            lambda row: preprocessing.random_crop(*row, 32),
            (batch["image_bytes"], batch["seed"]),
            fn_output_signature=tf.TensorSpec([32, 32, 3], tf.uint8),
        )
        return {"image": images, "label": batch["label"]}

    part = data.train
    stream = RecordTrainingStream(
        part.files, 5, 0, part.parse, part.keep, transform=crop
    )
    assert stream.steps_per_epoch == 7
    batches = list(stream.dataset(0, Share(1, 0, 1)).take(7))
    labels = np.concatenate([batch["label"] for batch in batches])
    assert sorted(labels) == sorted(read(part)[1])
    assert labels.dtype == np.int32
    assert batches[0]["image"].shape == (5, 32, 32, 3)
    # Resuming gives the crops of an uninterrupted run.
    (again,) = stream.dataset(6, Share(1, 0, 1)).take(1)
    np.testing.assert_array_equal(again["image"], batches[6]["image"])


def test_the_seed_draws_whole_shards(shards):
    drawn = set()
    for seed in range(12):
        data = imagenet.load(str(shards), seed)
        (path,) = data.validation.files.paths
        drawn.add(path)
        assert path not in data.train.files.paths
        assert len(data.train.files.paths) == 7
        assert data.train.keep is None
        assert data.test.files.paths == imagenet.load(str(shards), 0).test.files.paths
    assert len(drawn) > 3
    num_bytes = sum(map(len, read(data.train)[0]))
    assert data.train.files.num_bytes == pytest.approx(num_bytes, rel=0.2)


def test_of_many_shards_one_in_128_is_held_out(tmp_path):
    write_shards(tmp_path, "train", [1] * 2, 1)
    write_shards(tmp_path, "validation", [1], 1)
    single = tmp_path / "train-00000-of-00001"
    for shard in range(256):
        shutil.copy(single, tmp_path / f"train-{shard:05}-of-00256")
    single.unlink()
    data = imagenet.load(str(tmp_path), 3)
    assert len(data.train.files.paths) == 254
    assert len(data.validation.files.paths) == 2
    assert (len(data.train), len(data.validation)) == (508, 4)


def test_one_shard_is_divided_by_records(tmp_path):
    write_shards(tmp_path, "train", TRAIN_LABELS, 1)
    write_shards(tmp_path, "validation", TEST_LABELS, 1)
    data = imagenet.load(str(tmp_path), 0)
    assert (len(data.train), len(data.validation)) == (36, 4)
    train, held_out = read(data.train)[0], read(data.validation)[0]
    assert sorted(train + held_out) == sorted(real_jpegs())


def test_sub_folders(tmp_path):
    write_shards(tmp_path / "train", "train", TRAIN_LABELS, 2)
    write_shards(tmp_path / "validation", "validation", TEST_LABELS, 2)
    data = imagenet.load(str(tmp_path), 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 20, 6)


# ---- Names ----


def test_classes_without_names(shards):
    data = imagenet.load(str(shards), 0)
    assert len(data.class_names) == 1000
    assert data.class_names[0] == "class 1"
    assert data.class_names[999] == "class 1000"
    assert "synset_words.txt there would give them" in data.source


@pytest.fixture
def folder(tmp_path):
    write_shards(tmp_path, "train", TRAIN_LABELS[:4], 2)
    write_shards(tmp_path, "validation", TEST_LABELS, 1)
    return tmp_path


SYNSETS = [f"n{number:08}" for number in range(1000)]


def write_lines(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_names_of_words(folder):
    lines = [f"{synset} bird, avis {synset[-3:]}" for synset in SYNSETS]
    write_lines(folder / "synset_words.txt", lines)
    data = imagenet.load(str(folder), 0)
    assert data.class_names[7] == "bird, avis 007"
    assert len(data.class_names) == 1000
    assert "names of synset_words.txt" in data.source


def test_names_of_synsets(folder):
    write_lines(folder / "imagenet_lsvrc_2015_synsets.txt", SYNSETS)
    assert imagenet.load(str(folder), 0).class_names == tuple(SYNSETS)
    # More classes than there are, in another order; one has no words.
    lines = [f"{synset}\tfish {synset[-3:]}" for synset in reversed(SYNSETS[1:])]
    write_lines(folder / "imagenet_metadata.txt", ["n99999999\tother", *lines])
    data = imagenet.load(str(folder), 0)
    assert data.class_names[:2] == ("n00000000", "fish 001")
    assert "names of imagenet_metadata.txt" in data.source


def test_own_classes(tmp_path):
    write_shards(tmp_path / "train", "train", [1, 2, 3, 3], 2)
    write_shards(tmp_path / "validation", "validation", [2, 3], 1)
    write_lines(tmp_path / "train" / "labels.txt", ["cat", "dog", "hot dog"])
    data = imagenet.load(str(tmp_path), 0)
    assert data.class_names == ("cat", "dog", "hot dog")
    assert sorted(read(data.test)[1]) == [1, 2]
    write_lines(tmp_path / "labels.txt", ["cat", "dog"])
    data = imagenet.load(str(tmp_path), 0)
    assert data.class_names == ("cat", "dog")
    error = error_of(data.test)
    assert "labels from 1 to 2 are expected, found [3]" in str(error)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("synset_words.txt", b"n01440764 tench\n", "has 1 lines where 1000 are"),
        ("imagenet_lsvrc_2015_synsets.txt", b"a\n" * 1001, "has 1001 lines"),
        ("labels.txt", b"cat\n\ndog\n", "line 2 is empty"),
        ("labels.txt", b"\n\n", "is empty; write the name"),
        ("labels.txt", b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_wrong_files_of_names(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        imagenet.load(str(folder), 0)
    assert str(folder / name) in str(raised.value)


# ---- What may be wrong ----


def error_of(part):
    """What is said about a record that is not taken."""
    with pytest.raises(tf.errors.OpError) as raised:
        read(part)
    error = part.files.explain(raised.value, part.parse)
    assert isinstance(error, UserError)
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize("label", [0, -1, 1001])
def test_labels_out_of_range(folder, label):
    write_shards(folder, "validation", [5, 6, label, 7], 1)
    error = error_of(imagenet.load(str(folder), 0).test)
    assert f"{folder}/validation-00000-of-00001: record 2 " in str(error)
    assert f"labels from 1 to 1000 are expected, found [{label}]" in str(error)


def test_records_of_another_form(folder):
    path = folder / "validation-00000-of-00001"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example(real_jpegs()[0], 1))
        writer.write(tf.train.Example().SerializeToString())
    error = error_of(imagenet.load(str(folder), 0).test)
    assert f"{path}: record 1 does not have the expected form" in str(error)
    assert "image/" in str(error)


def test_missing_shards(folder):
    (folder / "train-00001-of-00002").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of 2 shards, the first .* number 1"):
        imagenet.load(str(folder), 0)


def test_truncated_shards(folder):
    path = folder / "train-00001-of-00002"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=f"{path} is truncated.* record 1"):
        imagenet.load(str(folder), 0)


def test_a_missing_part(folder):
    (folder / "validation-00000-of-00001").unlink()
    with pytest.raises(UserError, match="holds no validation-00000-of-"):
        imagenet.load(str(folder), 0)


def test_too_few_records(folder):
    for path in folder.glob("train-*"):
        path.unlink()
    write_shards(folder, "train", [1], 1)
    with pytest.raises(UserError, match="holds one training image, too few"):
        imagenet.load(str(folder), 0)


@pytest.mark.parametrize(
    ("data_dir", "message"),
    [
        (None, "the data set imagenet needs --data_dir"),
        ("/no/such/folder", "--data_dir=/no/such/folder is no folder"),
    ],
)
def test_no_folder(data_dir, message):
    with pytest.raises(UserError, match=message):
        imagenet.load(data_dir, 0)


# ---- TFDS ----


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """`imagenet2012` as TFDS's own writer stores it, with a few real pictures."""
    import tensorflow_datasets
    from tensorflow_datasets.datasets.imagenet2012 import (
        imagenet2012_dataset_builder as original,
    )

    def examples(labels, names):
        for number, (image_bytes, label) in enumerate(
            zip(real_jpegs(), labels, strict=False)
        ):
            yield (
                f"{number}",
                {
                    "image": io.BytesIO(image_bytes),
                    "label": names[label],
                    "file_name": f"{number}.JPEG",
                },
            )

    def split_generators(builder, dl_manager):
        names = builder.info.features["label"].names
        return {
            "train": examples([7 * row for row in range(40)], names),
            "validation": examples([0, 999, 5], names),
        }

    folder = tmp_path_factory.mktemp("tfds")
    # In place of the archives of 144 GB.
    with mock.patch.object(original.Builder, "_split_generators", split_generators):
        builder = original.Builder(data_dir=str(folder))
        config = tensorflow_datasets.download.DownloadConfig(try_download_gcs=False)
        builder.download_and_prepare(download_config=config)
    return folder


def test_tfds(tfds_folder):
    data = imagenet.load(str(tfds_folder), 0)
    assert "records of TFDS (imagenet2012 5.1.0)" in data.source
    assert len(data.class_names) == 1000
    assert data.class_names[0] == "n01440764"
    images, labels = read(data.test)
    assert dict(zip(images, labels, strict=True)) == dict(
        zip(real_jpegs(), [0, 999, 5], strict=False)
    )
    kept, held_out = (read(part) for part in (data.train, data.validation))
    found = dict(zip(kept[0] + held_out[0], kept[1] + held_out[1], strict=True))
    expected = [7 * row for row in range(40)]
    assert found == dict(zip(real_jpegs(), expected, strict=True))
    assert len(data.train) + len(data.validation) == 40
    assert len(data.validation) > 0
    # The bytes are those of the files: they are decoded where they are cropped.
    assert preprocessing.center_crop(images[0], 32).shape == (32, 32, 3)


def test_another_set_of_tfds(tfds_folder, tmp_path):
    import tensorflow_datasets

    features = tensorflow_datasets.features.FeaturesDict({"text": tf.string})
    split_infos = [
        tensorflow_datasets.core.SplitInfo(
            name=name,
            shard_lengths=[1],
            num_bytes=0,
            filename_template=tensorflow_datasets.core.ShardedFileTemplate(
                data_dir=tmp_path,
                dataset_name="texts",
                split=name,
                filetype_suffix="tfrecord",
            ),
        )
        for name in ("train", "validation")
    ]
    record = tf.train.Example(
        features=tf.train.Features(
            feature={
                "text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))
            }
        )
    ).SerializeToString()
    for info in split_infos:
        with tf.io.TFRecordWriter(str(info.filepaths[0])) as writer:
            writer.write(record)
    tensorflow_datasets.folder_dataset.write_metadata(
        data_dir=str(tmp_path), features=features, split_infos=split_infos
    )
    with pytest.raises(UserError, match="examples have no image; give a TFDS folder"):
        imagenet.load(str(tmp_path), 0)
