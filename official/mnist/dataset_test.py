import gzip
import importlib.util
import struct

import numpy as np
import pytest
import tensorflow as tf

from official.mnist import dataset
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

MNIST_FILES = {
    "train-images-idx3-ubyte": 30,
    "train-labels-idx1-ubyte": 30,
    "t10k-images-idx3-ubyte": 7,
    "t10k-labels-idx1-ubyte": 7,
}


def idx_images(num_images: int, height: int = 28, width: int = 28) -> bytes:
    """An idx file whose image i is filled with the value i."""
    pixels = np.repeat(np.arange(num_images, dtype=np.uint8), height * width)
    return struct.pack(">4I", 0x803, num_images, height, width) + pixels.tobytes()


def idx_labels(num_labels: int) -> bytes:
    """An idx file whose label i is i modulo 10."""
    labels = np.arange(num_labels, dtype=np.uint8) % 10
    return struct.pack(">2I", 0x801, num_labels) + labels.tobytes()


def idx_file(name: str, count: int) -> bytes:
    return idx_images(count) if "images" in name else idx_labels(count)


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def all_pixels(data: dataset.Dataset) -> list[bytes]:
    """The pictures of the three parts, in ascending order."""
    parts = (data.train, data.validation, data.test)
    return sorted(image.tobytes() for part in parts for image in part.images)


# ---- The real sets ----


def test_real_mnist():
    data = dataset.load("mnist", real_data("mnist"), seed=0)
    assert data.name == "mnist" and data.num_classes == 10
    assert data.train.images.shape == (55_000, 28, 28)
    assert data.validation.images.shape == (5_000, 28, 28)
    assert data.test.images.shape == (10_000, 28, 28)
    for part in (data.train, data.validation, data.test):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.int32
        assert len(part.images) == len(part.labels)
    both = np.bincount(data.train.labels) + np.bincount(data.validation.labels)
    assert both.tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert np.bincount(data.test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.test.images[0].sum(dtype=np.int64) == 18_454
    assert data.test.images.sum(dtype=np.int64) == 264_923_200
    # Pictures and labels are taken from the same places.
    assert data.validation.labels[:5].tolist() == [4, 1, 5, 6, 4]
    assert data.validation.images[0].sum(dtype=np.int64) == 19_443
    assert data.validation.images.sum(dtype=np.int64) == 130_843_598
    assert data.train.images.sum(dtype=np.int64) == 1_567_298_545 - 130_843_598


def test_real_mnist_training_files():
    images = dataset.read_idx_images(real_data("mnist", "train-images-idx3-ubyte.gz"))
    labels = dataset.read_idx_labels(real_data("mnist", "train-labels-idx1-ubyte.gz"))
    assert images.shape == (60_000, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (60_000,) and labels.dtype == np.int32
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert images[0].sum(dtype=np.int64) == 27_525
    assert images.sum(dtype=np.int64) == 1_567_298_545
    # A 5: the first row with ink.
    assert images[0, 5, 12:].tolist() == [
        3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127, 0, 0, 0, 0
    ]  # fmt: skip


def test_digits():
    data = dataset.load("digits", None, seed=0)
    assert data.name == "digits" and data.num_classes == 10
    assert data.train.images.shape == (1295, 28, 28)
    assert data.validation.images.shape == (143, 28, 28)
    assert data.test.images.shape == (359, 28, 28)
    for part in (data.train, data.validation, data.test):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.int32
        assert len(part.images) == len(part.labels)
    assert np.bincount(data.train.labels).tolist() == [
        134, 129, 120, 138, 138, 136, 136, 117, 125, 122
    ]  # fmt: skip
    assert np.bincount(data.test.labels).tolist() == [
        33, 35, 41, 35, 32, 33, 33, 39, 32, 46
    ]  # fmt: skip
    assert data.test.labels[:5].tolist() == [2, 3, 1, 3, 5]
    assert data.test.images[0].sum(dtype=np.int64) == 34_263
    assert data.train.images.sum(dtype=np.int64) == 40_283_219
    assert data.validation.images.sum(dtype=np.int64) == 4_472_350
    assert data.test.images.sum(dtype=np.int64) == 11_196_345


def test_digits_are_those_of_scikit_learn():
    images, labels = dataset._read_digits()
    expected_images, expected_labels = dataset._read_digits_with_sklearn()
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(labels, expected_labels)
    assert images.shape == expected_images.shape == (1797, 8, 8)
    assert images.dtype == expected_images.dtype == np.uint8
    assert labels.dtype == expected_labels.dtype == np.uint8
    assert images.max() == 16


def test_digits_without_their_file(monkeypatch):
    expected = dataset.load("digits", None, seed=0)
    monkeypatch.setattr(dataset, "DIGITS_FILE", "moved.csv.gz")
    found = dataset.load("digits", None, seed=0)
    np.testing.assert_array_equal(found.train.images, expected.train.images)
    np.testing.assert_array_equal(found.test.labels, expected.test.labels)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = message_of(dataset.load, "digits", None, seed=0)
    assert "scikit-learn, which is not installed" in message
    assert "pip install scikit-learn" in message


def test_seed_moves_validation_but_not_test():
    first, again, other = (dataset.load("digits", None, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.validation.images, again.validation.images)
    np.testing.assert_array_equal(first.train.labels, again.train.labels)
    assert not np.array_equal(first.validation.images, other.validation.images)
    np.testing.assert_array_equal(first.test.images, other.test.images)
    np.testing.assert_array_equal(first.test.labels, other.test.labels)
    # Nothing is lost and nothing is there twice.
    assert all_pixels(first) == all_pixels(other)
    assert len(all_pixels(first)) == 1797


def test_upscaled_digits():
    blank_and_full = np.stack([np.zeros([8, 8]), np.full([8, 8], 16)]).astype(np.uint8)
    images = dataset._upscale_digits(blank_and_full)
    assert images.shape == (2, 28, 28) and images.dtype == np.uint8
    assert not images[0].any()
    assert (images[1, 4:24, 4:24] == 255).all()
    assert images[1].sum(dtype=np.int64) == 20 * 20 * 255

    # One bright source pixel, in row 3 and column 2: a triangle in each direction.
    dot = np.zeros([1, 8, 8], np.uint8)
    dot[0, 3, 2] = 16
    image = dataset._upscale_digits(dot)[0]
    assert image.sum(axis=1).nonzero()[0].tolist() == [10, 11, 12, 13, 14]
    assert image.sum(axis=0).nonzero()[0].tolist() == [8, 9, 10, 11, 12]
    # 255 times the rows' weights .1 .5 .9 .7 .3 times the brightest column's .9.
    assert image[10:15, 10].tolist() == [23, 115, 207, 161, 69]


def test_upscaling_agrees_with_tensorflow():
    digits = dataset._read_digits()[0][:50]
    expected = tf.image.resize(digits[..., None] * (255 / 16), [20, 20]).numpy()
    found = dataset._upscale_digits(digits)[:, 4:24, 4:24, None]
    # Half a step of rounding.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 + 1e-3)


def test_names():
    assert dataset.NAMES == ("digits", "mnist")
    assert dataset.DEFAULT in dataset.NAMES
    message = message_of(dataset.load, "mnits", None, seed=0)
    assert "--dataset=mnits is unknown" in message
    assert "digits, mnist" in message


# ---- MNIST's files ----


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_under_its_usual_names(tmp_path, dotted, packed):
    for name, count in MNIST_FILES.items():
        content = idx_file(name, count)
        if dotted:
            name = name.replace("-idx", ".idx")
        if packed:
            name, content = name + ".gz", gzip.compress(content)
        write(tmp_path / name, content)
    data = dataset.load("mnist", str(tmp_path), seed=0)
    # A twelfth of 30, rounded down.
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [
        28, 2, 7
    ]  # fmt: skip
    for part in (data.train, data.validation):
        np.testing.assert_array_equal(part.images[:, 0, 0] % 10, part.labels)
    assert data.test.labels.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert data.test.images[:, 27, 27].tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("missing", MNIST_FILES)
def test_mnist_with_a_missing_file(tmp_path, missing):
    for name, count in MNIST_FILES.items():
        if name != missing:
            write(tmp_path / name, idx_file(name, count))
    message = message_of(dataset.load, "mnist", str(tmp_path), seed=0)
    assert str(tmp_path) in message
    assert f"{missing}.gz or {missing} or" in message


def test_mnist_without_a_folder():
    message = message_of(dataset.load, "mnist", None, seed=0)
    assert "mnist needs --data_dir" in message
    assert "train-images-idx3-ubyte.gz" in message


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_mnist_with_another_number_of_labels(tmp_path, part):
    for name, count in MNIST_FILES.items():
        write(tmp_path / name, idx_file(name, count))
    labels = write(tmp_path / f"{part}-labels-idx1-ubyte", idx_labels(29))
    message = message_of(dataset.load, "mnist", str(tmp_path), seed=0)
    images = str(tmp_path / f"{part}-images-idx3-ubyte")
    count = MNIST_FILES[f"{part}-images-idx3-ubyte"]
    assert f"{images} has {count} images but {labels} has 29 labels" in message


def test_mnist_too_small_for_validation(tmp_path):
    for name in MNIST_FILES:
        write(tmp_path / name, idx_file(name, 11))
    message = message_of(dataset.load, "mnist", str(tmp_path), seed=0)
    assert f"--data_dir={tmp_path} has 11 training images" in message


READERS = pytest.mark.parametrize(
    "read, content",
    [
        (dataset.read_idx_images, idx_images(3)),
        (dataset.read_idx_labels, idx_labels(3)),
    ],
    ids=["images", "labels"],
)


@READERS
def test_missing_idx_file(tmp_path, read, content):
    path = str(tmp_path / "missing")
    assert f"{path} does not exist" in message_of(read, path)


@READERS
def test_empty_idx_file(tmp_path, read, content):
    path = write(tmp_path / "empty", b"")
    assert f"{path} is empty" in message_of(read, path)


@READERS
def test_damaged_gzip(tmp_path, read, content):
    path = write(tmp_path / "cut.gz", gzip.compress(content)[:-9])
    message = message_of(read, path)
    assert f"{path} is a gzip file that ends too early" in message


@READERS
@pytest.mark.parametrize("kept_bytes", [1, 4, 7])
def test_truncated_header(tmp_path, read, content, kept_bytes):
    path = write(tmp_path / "cut", content[:kept_bytes])
    message = message_of(read, path)
    assert f"{path} is truncated: {kept_bytes} bytes are there" in message
    assert "fetch the original file again" in message


@READERS
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_records(tmp_path, read, content, packed):
    cut = content[:-1]
    path = write(tmp_path / "cut", gzip.compress(cut) if packed else cut)
    message = message_of(read, path)
    assert f"{path} is truncated: {len(content) - 1} bytes are there" in message
    assert f"asks for {len(content)} " in message
    assert "fetch the original file again" in message


@READERS
def test_header_beyond_64_bits(tmp_path, read, content):
    path = write(tmp_path / "huge", content[:4] + b"\xff" * 4 + content[8:])
    message = message_of(read, path)
    assert f"{path} is truncated" in message
    assert f"({2**32 - 1} " in message


@READERS
def test_bytes_too_many(tmp_path, read, content):
    path = write(tmp_path / "long", content + b"12")
    message = message_of(read, path)
    assert f"{path} is too long by 2 bytes: {len(content) + 2} bytes" in message
    assert f"asks for {len(content)} " in message


@READERS
def test_no_records(tmp_path, read, content):
    header_bytes = 16 if read is dataset.read_idx_images else 8
    header = content[:4] + bytes(4) + content[8:header_bytes]
    path = write(tmp_path / "none", header)
    assert f"{path} holds no " in message_of(read, path)


@READERS
def test_wrong_magic_number(tmp_path, read, content):
    # Type 0x0d: floats.
    path = write(tmp_path / "floats", b"\x00\x00\x0d" + content[3:])
    message = message_of(read, path)
    assert f"{path} is no idx file" in message
    assert f"0x00000d0{content[3]}" in message
    assert f"0x0000080{content[3]}" in message


def test_exchanged_files(tmp_path):
    path = write(tmp_path / "a", idx_images(3))
    message = message_of(dataset.read_idx_labels, path)
    assert f"{path} holds images (magic number 0x00000803)" in message
    assert "labels (0x00000801) are expected" in message
    path = write(tmp_path / "b", idx_labels(3))
    message = message_of(dataset.read_idx_images, path)
    assert f"{path} holds labels (magic number 0x00000801)" in message
    assert "images (0x00000803) are expected" in message


@pytest.mark.parametrize("height, width", [(28, 27), (32, 28), (0, 28)])
def test_wrong_image_size(tmp_path, height, width):
    path = write(tmp_path / "images", idx_images(3, height, width))
    message = message_of(dataset.read_idx_images, path)
    assert f"{path} has images of {height}x{width} pixels" in message
    assert "28x28 are expected" in message


def test_label_out_of_range(tmp_path):
    content = bytearray(idx_labels(10))
    content[8 + 4] = 10
    content[8 + 7] = 255
    path = write(tmp_path / "labels", bytes(content))
    message = message_of(dataset.read_idx_labels, path)
    assert f"{path}: record 4 has the label 10" in message
    assert "2 of 10 are wrong" in message
