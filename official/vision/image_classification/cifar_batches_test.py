import gzip
import pickle
import pickletools

import numpy as np
import pytest
import tensorflow as tf

from official.utils.errors import UserError
from official.utils.testing import errors
from official.vision.image_classification import cifar_batches
from official.vision.image_classification.cifar_pickles_test import (
    ARRAY,
    binary,
    entries_of,
    op,
    python2_pickle,
    python3_pickle,
    random_batch,
)
from official.vision.image_classification.parts import Arrays

CLASS_NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


# ---- Making files ----

# By number; 0 is the test batch.
BATCHES = {number: random_batch(3 + number, number) for number in range(6)}


def base_name(number):
    return f"data_batch_{number}" if number else "test_batch"


def write_binary(folder, batches=BATCHES, suffix=".bin"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in batches.items():
        (folder / f"{base_name(number)}{suffix}").write_bytes(binary(*batch))


def write_python(folder, batches=BATCHES, packer=python2_pickle):
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in batches.items():
        (folder / base_name(number)).write_bytes(packer(entries_of(*batch)))
    meta = {
        b"num_cases_per_batch": 10000,
        b"label_names": [name.encode() for name in CLASS_NAMES],
        b"num_vis": 3072,
    }
    (folder / "batches.meta").write_bytes(packer(meta))


# ---- Checking what is read ----


def check_pictures(part: Arrays, pixels, labels):
    assert part.images.dtype == np.uint8 and part.labels.dtype == np.int32
    assert part.images.shape == (len(labels), 32, 32, 3)
    assert part.labels.tolist() == list(labels)
    for row in range(len(labels)):
        for channel in range(3):
            plane = pixels[row, 1024 * channel : 1024 * (channel + 1)]
            found = part.images[row, :, :, channel]
            np.testing.assert_array_equal(found.reshape(-1), plane)


def check_found(found: cifar_batches.Found, batches=BATCHES):
    """Every picture of the batches is there, in their order."""
    check_pictures(found.test, *batches[0])
    training = [batches[number] for number in sorted(batches) if number]
    pixels = np.concatenate([pixels for pixels, _ in training])
    labels = np.concatenate([labels for _, labels in training])
    check_pictures(found.training, pixels, labels)


def message_of(folder):
    message = errors.message_of(cifar_batches.read, str(folder))
    assert len(message) < 700
    return message


# ---- Names and places ----


@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-bin"])
def test_binary_batches(tmp_path, subfolder):
    write_binary(tmp_path / subfolder)
    found = cifar_batches.read(str(tmp_path))
    check_found(found)
    assert found.source == (
        f"binary version, 5 training and 1 test file in {tmp_path / subfolder}"
    ).rstrip("/")


@pytest.mark.parametrize("packer", [python2_pickle, *map(python3_pickle, range(6))])
@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-py"])
def test_python_batches(tmp_path, subfolder, packer):
    write_python(tmp_path / subfolder, packer=packer)
    found = cifar_batches.read(str(tmp_path))
    check_found(found)
    assert found.source.startswith("python version, 5 training and 1 test file in ")


def test_batches_are_taken_in_the_order_of_their_numbers(tmp_path):
    batches = {number: random_batch(2, number) for number in range(12)}
    write_binary(tmp_path / "binary", batches)
    write_python(tmp_path / "python", batches)
    for folder in ("binary", "python"):
        check_found(cifar_batches.read(str(tmp_path / folder)), batches)


@pytest.mark.parametrize("writer", [write_binary, write_python])
def test_gzipped_batches(tmp_path, writer):
    writer(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        # Where both are there, the plain one is read.
        if path.name.startswith("data_batch_2"):
            path.with_name(f"{path.name}.gz").write_bytes(b"no gzip")
        else:
            path.unlink()
    check_found(cifar_batches.read(str(tmp_path)))


def test_names_with_a_middle_part(tmp_path):
    write_binary(tmp_path, suffix=".part-1.bin")
    (tmp_path / "data_batch_2.part-1.bin").rename(tmp_path / "data_batch_2_small.bin")
    for name in ("._data_batch_1.bin", "data_batch_7.bin.md5", "data_batch_.bin"):
        (tmp_path / name).write_bytes(b"of no account")
    (tmp_path / "data_batch_6.bin").mkdir()
    check_found(cifar_batches.read(str(tmp_path)))


def test_files_in_another_file_system():
    folder = "ram://cifar"
    for number in (0, 1):
        path = f"{folder}/cifar-10-batches-bin/{base_name(number)}.bin"
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(binary(*BATCHES[number]))
    found = cifar_batches.read(folder)
    check_found(found, {number: BATCHES[number] for number in (0, 1)})


@pytest.mark.parametrize(
    "missing, lacking, there",
    [
        ([3], "data_batch_3", "data_batch_5"),
        ([1], "data_batch_1", "data_batch_5"),
        ([2, 4], "data_batch_2", "data_batch_5"),
        ([0], "test_batch", "data_batch_5"),
        ([0, 2, 3, 4, 5], "test_batch", "data_batch_1"),
        ([1, 2, 3, 4, 5], "data_batch_1", "test_batch"),
    ],
)
@pytest.mark.parametrize("writer, suffix", [(write_binary, ".bin"), (write_python, "")])
def test_missing_batches(tmp_path, writer, suffix, missing, lacking, there):
    writer(tmp_path)
    for number in missing:
        (tmp_path / f"{base_name(number)}{suffix}").unlink()
    expected = f"{tmp_path} lacks {lacking}{suffix} of the data set cifar10, though "
    assert message_of(tmp_path).startswith(f"{expected}{there}{suffix} is there")


def test_no_batches(tmp_path):
    (tmp_path / "data_batch_1.bin.md5").write_bytes(b"of no account")
    assert cifar_batches.read(str(tmp_path)) is None
    assert cifar_batches.read(str(tmp_path / "missing")) is None


def test_two_files_of_one_batch(tmp_path):
    write_binary(tmp_path)
    (tmp_path / "data_batch_2.first2.bin").write_bytes(binary(*BATCHES[2]))
    message = message_of(tmp_path)
    assert f"{tmp_path}/data_batch_2.bin and {tmp_path}/data_batch_2.first2.bin" in (
        message
    )


# ---- Damaged binary batches ----


def label_of_record_2(content):
    return content[: 2 * 3073] + b"\x0a" + content[2 * 3073 + 1 :]


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch"])
@pytest.mark.parametrize(
    "damage, fragments",
    [
        (lambda content: content[:-1], ["no multiple of the 3073", "3072 are there"]),
        (lambda content: content + b"xy", ["no multiple", "2 are there of record"]),
        (lambda content: b"", ["is empty"]),
        (label_of_record_2, ["record 2 has the label 10 where 0 to 9", "1 of "]),
        (lambda content: gzip.compress(content)[:-9], ["gzip", "ends too early"]),
        (lambda content: gzip.compress(content)[:-8] + bytes(8), ["is a damaged gzip"]),
    ],
    ids=["truncated", "too-long", "empty", "label", "cut-gzip", "damaged-gzip"],
)
def test_damaged_binary_batch(tmp_path, name, damage, fragments):
    write_binary(tmp_path)
    path = tmp_path / f"{name}.bin"
    path.write_bytes(damage(path.read_bytes()))
    message = message_of(tmp_path)
    assert str(path) in message
    assert all(fragment in message for fragment in fragments), message


def test_a_gzip_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_batches, "MAX_FILE_BYTES", 1 << 20)
    write_binary(tmp_path)
    packed = gzip.compress(bytes(3073 * 1000))
    (tmp_path / "data_batch_3.bin").write_bytes(packed)
    assert "data_batch_3.bin unpacks to more than" in message_of(tmp_path)


# ---- Names of classes ----


def test_names_of_classes_of_the_binary_version(tmp_path):
    write_binary(tmp_path)
    path = tmp_path / "batches.meta.txt"
    path.write_text("\n".join(CLASS_NAMES) + "\n\n")
    check_found(cifar_batches.read(str(tmp_path)))
    path.write_text("\n".join(reversed(CLASS_NAMES)))
    message = message_of(tmp_path)
    assert f"{path} names the classes truck, ship, horse, frog" in message


def test_names_of_classes_of_the_python_version(tmp_path):
    write_python(tmp_path)
    path = tmp_path / "batches.meta"
    for names, fragment in (
        (["cat", "dog"], "names the classes cat, dog where airplane, "),
        (tuple(CLASS_NAMES), "has no list as its entry label_names"),
        ([1, 2], "int in place of text as a class's name"),
    ):
        path.write_bytes(pickle.dumps({"label_names": names}))
        assert f"{path}" in message_of(tmp_path) and fragment in message_of(tmp_path)
    path.unlink()
    check_found(cifar_batches.read(str(tmp_path)))


# ---- Python batches ----


def test_damaged_pickles_end_in_an_error_or_in_pictures(tmp_path):
    batch = random_batch(2, 0)
    packers = [python2_pickle, *map(python3_pickle, (0, 2, 4, 5))]
    generator = np.random.default_rng(0)
    path = str(tmp_path / "data_batch_1")
    errors = 0
    for packer in packers:
        content = packer(entries_of(*batch))
        positions = [position for _, _, position in pickletools.genops(content)]
        damaged = [content[:position] for position in positions[1:]]
        damaged += [content[: position + 1] for position in positions[:-1]]
        num_cut = len(damaged)
        for _ in range(200):
            changed = bytearray(content)
            # Near instructions, not among the pixels.
            place = min(generator.choice(positions) + generator.integers(4), 10**9)
            changed[min(place, len(content) - 1)] = generator.integers(256)
            damaged.append(bytes(changed))
        for number, changed in enumerate(damaged):
            with open(path, "wb") as file:
                file.write(changed)
            try:
                found = cifar_batches._read_python(path)
            except UserError as error:
                errors += 1
                assert path in str(error) and "\n" not in str(error)
            else:
                assert number >= num_cut
                assert found.images.shape == (2, 32, 32, 3)
                assert ((found.labels >= 0) & (found.labels < 10)).all()
    assert errors > 500


PIXELS = np.zeros([3, 3072], np.uint8)


def message_of_batch(tmp_path, content):
    """The error where the second training batch is that."""
    write_python(tmp_path, {number: BATCHES[number] for number in (0, 1)})
    path = tmp_path / "data_batch_2"
    path.write_bytes(content)
    message = message_of(tmp_path)
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize(
    "entries, fragment",
    [
        ({b"labels": [1, 2, 3]}, "lacks the entry data of a batch of CIFAR-10; it has"),
        ({b"data": PIXELS, b"fine_labels": [1, 2, 3]}, "it has data, fine_labels"),
        ({"a\nb": 1}, r"lacks the entry data of a batch of CIFAR-10; it has a\nb;"),
        ({}, "lacks the entry data of a batch of CIFAR-10; it has none"),
        ({b"data": [1, 2], b"labels": [1, 2, 3]}, "no array as its entry data"),
        ({b"data": PIXELS[:, :-1], b"labels": [1, 2, 3]}, "of shape [3, 3071] where"),
        ({b"data": PIXELS[:0], b"labels": []}, "of shape [0, 3072] where"),
        ({b"data": PIXELS, b"labels": (1, 2, 3)}, "no list as its entry labels"),
        ({b"data": PIXELS, b"labels": [1, 2]}, "has 3 images but 2 labels"),
        ({b"data": PIXELS, b"labels": [1, 10, 3]}, "record 1 has the label 10 where"),
        ({b"data": PIXELS, b"labels": [1, 2, -1]}, "record 2 has the label -1 where"),
        ({b"data": PIXELS, b"labels": [1, 2, 2**70]}, "record 2 has the label 118"),
        ({b"data": PIXELS, b"labels": [True, 2, 3]}, "record 0 has the label bool"),
        ({b"data": PIXELS, b"labels": [b"1", 2, 3]}, "record 0 has the label bytes"),
    ],
)
def test_other_contents(tmp_path, entries, fragment):
    message = message_of_batch(tmp_path, pickle.dumps(entries, 2))
    assert fragment in message and "data_batch_2" in message


def test_an_array_without_values(tmp_path):
    content = op(b"}(U\x04data", ARRAY, b"U\x06labels]K\x01au.")
    assert "no array as its entry data" in message_of_batch(tmp_path, content)
