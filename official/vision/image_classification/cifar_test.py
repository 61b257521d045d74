import dataclasses
import gzip
import hashlib
import io
import os
import shutil
import tarfile
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from official.utils.data import download
from official.utils.testing import errors, http_server
from official.utils.testing.data import real_data
from official.utils.testing.http_server import Answer
from official.vision.image_classification import cifar
from official.vision.image_classification.cifar_batches_test import (
    BATCHES,
    CLASS_NAMES,
    check_pictures,
    random_batch,
    write_binary,
    write_python,
)

# ---- Checking what is read ----


def message_of(data_dir, **arguments):
    message = errors.message_of(
        cifar.load, str(data_dir) if data_dir else data_dir, seed=0, **arguments
    )
    assert len(message) < 700
    return message


def check_dataset(data, batches=BATCHES):
    """Every picture of the batches is there once, and in order within each part."""
    check_pictures(data.test, *batches[0])
    training = [batches[number] for number in sorted(batches) if number]
    pixels = np.concatenate([pixels for pixels, _ in training])
    labels = np.concatenate([labels for _, labels in training])
    first_pixels = {row.tobytes(): index for index, row in enumerate(pixels[:, :32])}
    indices = []
    for part in (data.train, data.validation):
        found = [first_pixels[image[0, :, 0].tobytes()] for image in part.images]
        assert found == sorted(found)
        check_pictures(part, pixels[found], labels[found])
        indices += found
    assert sorted(indices) == list(range(len(labels)))
    assert len(data.validation) == max(1, len(labels) // 10)
    assert data.name == "cifar10" and list(data.class_names) == CLASS_NAMES


# ---- The real bytes ----


def test_real_pictures():
    folder = real_data("cifar10")
    data = cifar.load(folder, seed=0)
    source = f"binary version, 1 training and 1 test file in {folder}"
    assert data.source == source
    assert [len(data.train), len(data.validation), len(data.test)] == [3600, 400, 1000]
    labels = np.concatenate([data.train.labels, data.validation.labels])
    assert np.bincount(labels).tolist() == [
        *[396, 366, 420, 384, 422],
        *[393, 414, 385, 407, 413],
    ]
    assert np.bincount(data.test.labels).tolist() == [
        *[103, 89, 100, 103, 90],
        *[86, 112, 102, 106, 109],
    ]
    assert data.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    total = data.train.images.sum(dtype=int) + data.validation.images.sum(dtype=int)
    assert total == 1_481_085_868
    means = data.test.images.mean((0, 1, 2))
    np.testing.assert_allclose(means, [126.6699, 124.0994, 115.0123], atol=1e-4)
    assert data.test.images[0, 0, :2].tolist() == [[158, 112, 49], [159, 111, 47]]
    assert data.test.images[0, 1, 0].tolist() == [152, 112, 51]
    assert data.test.images[-1, -1, -1].tolist() == [93, 110, 131]


def test_first_training_picture_is_the_well_known_frog():
    # Found by its first pixel: where the seed puts it does not matter.
    data = cifar.load(real_data("cifar10"), seed=1)
    images = np.concatenate([data.train.images, data.validation.images])
    labels = np.concatenate([data.train.labels, data.validation.labels])
    (index,) = np.flatnonzero((images[:, 0, :2].reshape(-1, 6) == FROG).all(1))
    assert data.class_names[labels[index]] == "frog"
    assert images[index, 1, 0].tolist() == [16, 20, 20]


FROG = [59, 62, 63, 43, 46, 45]


def test_real_pictures_as_pickles_are_the_same(tmp_path):
    folder = real_data("cifar10")
    for number, name in ((1, "data_batch_1.first4000"), (0, "test_batch.first1000")):
        content = gzip.decompress(open(f"{folder}/{name}.bin.gz", "rb").read())
        records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        batch = records[:, 1:], records[:, 0].tolist()
        write_python(tmp_path, {number: batch})
    found, expected = cifar.load(str(tmp_path), seed=3), cifar.load(folder, seed=3)
    assert found.source == (f"python version, 1 training and 1 test file in {tmp_path}")
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_validation_follows_from_the_seed():
    folder = real_data("cifar10")
    first, again, other = (cifar.load(folder, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.validation.images, again.validation.images)
    assert first.validation.labels[:8].tolist() != other.validation.labels[:8].tolist()
    np.testing.assert_array_equal(first.test.images, other.test.images)
    assert first.validation.labels[:6].tolist() == FIRST_LABELS


FIRST_LABELS = [9, 4, 7, 2, 4, 2]


# ---- Forms ----


def test_the_first_form_is_read(tmp_path):
    write_python(tmp_path)
    write_binary(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    (tmp_path / "cifar10" / "3.0.2" / "dataset_info.json").write_text("{}")
    assert cifar.load(str(tmp_path), 0).source.startswith("binary version")
    shutil.rmtree(tmp_path / "cifar-10-batches-bin")
    assert cifar.load(str(tmp_path), 0).source.startswith("python version")
    for path in tmp_path.glob("*batch*"):
        path.unlink()
    assert f"{tmp_path}/cifar10/3.0.2 " in message_of(tmp_path)


def test_few_pictures(tmp_path):
    write_binary(tmp_path, {0: BATCHES[0], 1: random_batch(2, 1)})
    data = cifar.load(str(tmp_path), seed=0)
    assert [len(data.train), len(data.validation)] == [1, 1]
    write_binary(tmp_path, {1: random_batch(1, 1)})
    assert "has 1 training image, too few" in message_of(tmp_path)


# ---- Folders ----

FORMS = ("data_batch_1.bin", "python version", "TFDS")


def test_a_folder_is_needed(tmp_path):
    for data_dir in (None, ""):
        message = message_of(data_dir, may_download=True)
        assert "cifar10 needs --data_dir: give the folder" in message
    missing = message_of(tmp_path / "missing")
    assert f"--data_dir={tmp_path}/missing does not exist" in missing
    empty = message_of(tmp_path)
    assert f"--data_dir={tmp_path} holds no form of the data set cifar10" in empty
    for text in (message, missing, empty):
        assert all(form in text for form in FORMS)
        assert text.endswith("--download fetches it there")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert f"--data_dir={tmp_path}/file is no folder" in message_of(tmp_path / "file")


def test_a_folder_that_cannot_be_read():
    message = message_of("nosuch://bucket")
    assert message.startswith("--data_dir=nosuch://bucket cannot be read (File system")


# ---- Archives ----


def packed(folder, writer):
    """The archive of a folder, written elsewhere."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return stream.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves small archives in place of the original ones."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    patience = download.Patience(timeout_seconds=5, backoff_seconds=0.001)
    monkeypatch.setattr(download.fetch, "__defaults__", (patience,))
    with http_server.serve() as running:
        running.contents, local = {}, []
        for archive, writer in zip(
            cifar.ARCHIVES, (write_python, write_binary), strict=True
        ):
            source = tmp_path / "made" / archive.folder
            writer(source)
            name, content = archive.remote.name, packed(source, writer)
            running.contents[name] = content
            remote = dataclasses.replace(
                archive.remote,
                urls=(running.answer(name, Answer(content)),),
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=len(content),
            )
            local.append(dataclasses.replace(archive, remote=remote))
        shutil.rmtree(tmp_path / "made")
        monkeypatch.setattr(cifar, "ARCHIVES", tuple(local))
        yield running


PYTHON_ARCHIVE, BINARY_ARCHIVE = "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"


def test_addresses():
    python, binary_ = cifar.ARCHIVES
    assert [python.remote.name, binary_.remote.name] == [PYTHON_ARCHIVE, BINARY_ARCHIVE]
    assert python.remote.size_bytes == 170_498_071
    assert python.remote.sha256.startswith("6d958be074577803d12ecdefd02955f3")
    assert all(archive.remote.urls[0].startswith("https") for archive in cifar.ARCHIVES)


def test_the_digest_of_the_binary_archive_is_that_of_tfds():
    import tensorflow_datasets

    (info,) = tensorflow_datasets.builder_cls("cifar10").url_infos.values()
    remote = cifar.ARCHIVES[1].remote
    assert (info.checksum, info.size) == (remote.sha256, remote.size_bytes)


def test_download(server, tmp_path):
    folder = tmp_path / "new" / "data"
    assert "--download fetches it there" in message_of(folder)
    assert not server.requests and not folder.exists()
    data = cifar.load(str(folder), seed=0, may_download=True)
    check_dataset(data)
    assert data.source.endswith(f" in {folder}/cifar-10-batches-py")
    assert sorted(os.listdir(folder)) == ["cifar-10-batches-py", PYTHON_ARCHIVE]
    assert len(os.listdir(folder / "cifar-10-batches-py")) == 7
    # What is there is not fetched again.
    check_dataset(cifar.load(str(folder), seed=0, may_download=True))
    assert [request.path for request in server.requests] == [f"/{PYTHON_ARCHIVE}"]


@pytest.mark.parametrize(
    "name, folder",
    [
        (PYTHON_ARCHIVE, "cifar-10-batches-py"),
        (BINARY_ARCHIVE, "cifar-10-batches-bin"),
    ],
)
def test_an_archive_that_is_there(server, tmp_path, name, folder):
    (tmp_path / name).write_bytes(server.contents[name])
    message = message_of(tmp_path)
    assert message.startswith(f"{tmp_path}/{name} is still packed; unpack it there")
    assert "--download" in message
    check_dataset(cifar.load(str(tmp_path), seed=0, may_download=True))
    assert sorted(os.listdir(tmp_path)) == sorted([name, folder])
    assert not server.requests


def test_an_archive_that_is_damaged(server, tmp_path):
    (tmp_path / PYTHON_ARCHIVE).write_bytes(server.contents[PYTHON_ARCHIVE][:-5])
    message = message_of(tmp_path, may_download=True)
    assert f"{tmp_path}/{PYTHON_ARCHIVE} has " in message and "is damaged" in message
    assert os.listdir(tmp_path) == [PYTHON_ARCHIVE]


def test_an_archive_that_cannot_be_fetched(server, tmp_path):
    server.answer(PYTHON_ARCHIVE, Answer(status=404))
    message = message_of(tmp_path, may_download=True)
    assert PYTHON_ARCHIVE in message and "answers 404" in message
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_place_of_the_batches(server, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "mine").write_text("kept")
    message = message_of(tmp_path, may_download=True)
    assert f"{tmp_path}/cifar-10-batches-py exists but has no batches" in message
    assert (tmp_path / "cifar-10-batches-py" / "mine").read_text() == "kept"
    assert not server.requests


def test_another_worker_unpacks_it_first(server, tmp_path):
    (tmp_path / PYTHON_ARCHIVE).write_bytes(server.contents[PYTHON_ARCHIVE])
    unpack = cifar.archives.unpack

    def unpack_while_another_does(*arguments):
        write_python(tmp_path / "cifar-10-batches-py")
        return unpack(*arguments)

    with mock.patch.object(cifar.archives, "unpack", unpack_while_another_does):
        check_dataset(cifar.load(str(tmp_path), seed=0, may_download=True))
    assert sorted(os.listdir(tmp_path)) == ["cifar-10-batches-py", PYTHON_ARCHIVE]


def test_incomplete_batches_are_not_fetched_over(server, tmp_path):
    write_binary(tmp_path, {1: BATCHES[1]})
    assert "lacks test_batch.bin" in message_of(tmp_path, may_download=True)
    assert not server.requests


def test_a_bucket_is_not_downloaded_to(server):
    message = message_of("ram://empty", may_download=True)
    assert "ram://empty is not on this machine" in message
    assert not server.requests


# ---- TFDS ----


def prepare_tfds(folder, name="cifar10", class_names=CLASS_NAMES):
    """Lets TFDS's own builder prepare `BATCHES`, without its checks of the original."""
    import tensorflow_datasets

    raw = folder / "raw"
    write_binary(raw / "cifar-10-batches-bin")
    meta = raw / "cifar-10-batches-bin" / "batches.meta.txt"
    meta.write_text("\n".join(class_names))
    manager = tensorflow_datasets.download.DownloadManager
    tensorflow_datasets.disable_progress_bar()
    config = tensorflow_datasets.download.DownloadConfig(try_download_gcs=False)
    with mock.patch.object(manager, "download_and_extract", return_value=str(raw)):
        builder = tensorflow_datasets.builder(name, data_dir=folder)
        builder.download_and_prepare(download_config=config)
    shutil.rmtree(raw)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_tfds(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def copy(prepared, tmp_path):
    shutil.copytree(prepared / "cifar10", tmp_path / "cifar10")
    return tmp_path


def by_pixels(pixels, labels):
    return sorted(
        (row.tobytes(), int(label)) for row, label in zip(pixels, labels, strict=True)
    )


def planes(part):
    return part.images.transpose(0, 3, 1, 2).reshape(len(part), -1)


@pytest.mark.parametrize("place", ["", "cifar10", "cifar10/3.0.2"])
def test_tfds(prepared, place):
    folder = prepared / place
    data = cifar.load(str(folder), seed=0)
    version = prepared / "cifar10" / "3.0.2"
    assert data.source == f"records of TFDS (cifar10 3.0.2) in {version}"
    assert [len(data.train), len(data.validation), len(data.test)] == [27, 3, 3]
    # TFDS shuffles the pictures.
    assert by_pixels(planes(data.test), data.test.labels) == by_pixels(*BATCHES[0])
    parts = (data.train, data.validation)
    found = by_pixels(
        np.concatenate([planes(part) for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    training = [BATCHES[number] for number in range(1, 6)]
    assert found == by_pixels(
        np.concatenate([pixels for pixels, _ in training]),
        np.concatenate([labels for _, labels in training]),
    )
    for part in (*parts, data.test):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.int32


def test_tfds_with_a_damaged_record(copy):
    (path,) = (copy / "cifar10" / "3.0.2").glob("*train.tfrecord*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    message = message_of(copy)
    assert message.startswith(f"{path}: record ") and "is damaged" in message


def test_tfds_with_a_missing_file(copy):
    (path,) = (copy / "cifar10" / "3.0.2").glob("*test.tfrecord*")
    path.unlink()
    assert f"{path} is missing" in message_of(copy)


def test_tfds_with_other_names_of_classes(copy):
    path = copy / "cifar10" / "3.0.2" / "label.labels.txt"
    path.write_text("\n".join(reversed(CLASS_NAMES)))
    message = message_of(copy)
    assert "cifar10/3.0.2 names the classes truck, ship, horse" in message


def store(folder, name, features, **record):
    import tensorflow_datasets

    record = tf.data.Dataset.from_tensors(record)
    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tensorflow_datasets.features.FeaturesDict(features),
        split_datasets=dict.fromkeys(["train", "test"], record),
        data_dir=folder,
    )
    return folder / name / "1.0.0"


def test_other_sets_of_tfds(tmp_path):
    from tensorflow_datasets import features

    label = features.ClassLabel(names=CLASS_NAMES)
    picture = features.Image(shape=(32, 32, 3))
    image = np.zeros([32, 32, 3], np.uint8)
    kinds = {"image": picture, "label": label}
    folder = store(tmp_path, "pictures", kinds, image=image, label=1)
    assert "holds the set pictures 1.0.0 where cifar10 is" in message_of(folder)

    # TFDS lets it stand for a label that is not known.
    folder = store(tmp_path / "unknown", "cifar10", kinds, image=image, label=-1)
    message = message_of(folder)
    assert message.startswith(str(folder)) and "record 0 has the label -1" in message

    kinds = {"image": features.Image(shape=(28, 28, 1)), "label": label}
    store(tmp_path, "cifar10", kinds, image=image[:28, :28, :1], label=1)
    message = message_of(tmp_path)
    assert "does not hold an image, uint8 [32, 32, 3], and a label" in message
