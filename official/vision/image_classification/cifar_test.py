import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import pickletools
import re
import shutil
import struct
import tarfile
import tracemalloc
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from official.utils.data import download
from official.utils.errors import UserError
from official.utils.testing import http_server
from official.utils.testing.data import real_data
from official.utils.testing.http_server import Answer
from official.vision.image_classification import cifar
from official.vision.image_classification.parts import Arrays

CLASS_NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


# ---- Making files ----


def random_batch(count, seed):
    """Pixels as they are stored, uint8 [count, 3072], and labels, a list."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    return generator.integers(0, 256, (count, 3072), np.uint8), labels.tolist()


# By number; 0 is the test batch.
BATCHES = {number: random_batch(3 + number, number) for number in range(6)}


def binary(pixels, labels):
    return np.column_stack([np.array(labels, np.uint8), pixels]).tobytes()


def base_name(number):
    return f"data_batch_{number}" if number else "test_batch"


def write_binary(folder, batches=BATCHES, suffix=".bin"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in batches.items():
        (folder / f"{base_name(number)}{suffix}").write_bytes(binary(*batch))


def python2_pickle(entries):
    """What Python 2's cPickle with protocol 2 makes of a dict.

    Text is bytes there, and NumPy's functions have their old addresses.
    """
    memo = 0

    def put():
        nonlocal memo
        memo += 1
        return b"q" + bytes([memo]) if memo < 256 else b"r" + struct.pack("<I", memo)

    def text(value):
        short = len(value) < 256
        head = b"U" + bytes([len(value)]) if short else b"T" + pack_length(value)
        return head + value + put()

    def pack_length(value):
        return struct.pack("<I", len(value))

    def number(value):
        if value < 256:
            return b"K" + bytes([value])
        return b"M" + struct.pack("<H", value)

    def array(value):
        rows, columns = value.shape
        return b"".join(
            [
                b"cnumpy.core.multiarray\n_reconstruct\n" + put(),
                b"cnumpy\nndarray\n" + put(),
                b"K\x00\x85U\x01b\x87R" + put(),
                b"(K\x01" + number(rows) + number(columns) + b"\x86",
                b"cnumpy\ndtype\n" + put(),
                b"U\x02u1K\x00K\x01\x87R" + put(),
                b"(K\x03U\x01|NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb",
                b"\x89" + text(value.tobytes()) + b"tb",
            ]
        )

    def any_value(value):
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, list):
            return b"]" + put() + b"(" + b"".join(map(any_value, value)) + b"e"
        return text(value) if isinstance(value, bytes) else number(value)

    parts = [b"\x80\x02}" + put() + b"("]
    for key, value in entries.items():
        parts += [text(key), any_value(value)]
    return b"".join(parts) + b"u."


def entries_of(pixels, labels):
    return {
        b"batch_label": b"training batch 1 of 5",
        b"labels": labels,
        b"data": pixels,
        b"filenames": [b"picture_%d.png" % index for index in range(len(labels))],
    }


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


def message_of(data_dir, **arguments):
    with pytest.raises(UserError) as caught:
        cifar.load(str(data_dir) if data_dir else data_dir, seed=0, **arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700
    return message


def check_pictures(part: Arrays, pixels, labels):
    assert part.images.dtype == np.uint8 and part.labels.dtype == np.int32
    assert part.images.shape == (len(labels), 32, 32, 3)
    assert part.labels.tolist() == list(labels)
    for row in range(len(labels)):
        for channel in range(3):
            plane = pixels[row, 1024 * channel : 1024 * (channel + 1)]
            found = part.images[row, :, :, channel]
            np.testing.assert_array_equal(found.reshape(-1), plane)


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


# ---- Names and places of batches ----


@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-bin"])
def test_binary_batches(tmp_path, subfolder):
    write_binary(tmp_path / subfolder)
    data = cifar.load(str(tmp_path), seed=0)
    check_dataset(data)
    assert data.source == (
        f"binary version, 5 training and 1 test file in {tmp_path / subfolder}"
    ).rstrip("/")


@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-py"])
def test_python_batches(tmp_path, subfolder):
    write_python(tmp_path / subfolder)
    data = cifar.load(str(tmp_path), seed=0)
    check_dataset(data)
    assert data.source.startswith("python version, 5 training and 1 test file in ")


def test_batches_are_taken_in_the_order_of_their_numbers(tmp_path):
    batches = {number: random_batch(2, number) for number in range(12)}
    write_binary(tmp_path / "binary", batches)
    write_python(tmp_path / "python", batches)
    for folder in ("binary", "python"):
        # Within a part, pictures are in the order of the files.
        check_dataset(cifar.load(str(tmp_path / folder), seed=0), batches)


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
    check_dataset(cifar.load(str(tmp_path), seed=0))


def test_names_with_a_middle_part(tmp_path):
    write_binary(tmp_path, suffix=".part-1.bin")
    (tmp_path / "data_batch_2.part-1.bin").rename(tmp_path / "data_batch_2_small.bin")
    for name in ("._data_batch_1.bin", "data_batch_7.bin.md5", "data_batch_.bin"):
        (tmp_path / name).write_bytes(b"of no account")
    (tmp_path / "data_batch_6.bin").mkdir()
    check_dataset(cifar.load(str(tmp_path), seed=0))


def test_files_in_another_file_system():
    folder = "ram://cifar"
    for number in (0, 1):
        path = f"{folder}/cifar-10-batches-bin/{base_name(number)}.bin"
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(binary(*BATCHES[number]))
    data = cifar.load(folder, seed=0)
    check_dataset(data, {number: BATCHES[number] for number in (0, 1)})


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


def test_two_files_of_one_batch(tmp_path):
    write_binary(tmp_path)
    (tmp_path / "data_batch_2.first2.bin").write_bytes(binary(*BATCHES[2]))
    message = message_of(tmp_path)
    assert f"{tmp_path}/data_batch_2.bin and {tmp_path}/data_batch_2.first2.bin" in (
        message
    )


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
    monkeypatch.setattr(cifar, "MAX_FILE_BYTES", 1 << 20)
    write_binary(tmp_path)
    packed = gzip.compress(bytes(3073 * 1000))
    (tmp_path / "data_batch_3.bin").write_bytes(packed)
    assert "data_batch_3.bin unpacks to more than" in message_of(tmp_path)


# ---- Names of classes ----


def test_names_of_classes_of_the_binary_version(tmp_path):
    write_binary(tmp_path)
    path = tmp_path / "batches.meta.txt"
    path.write_text("\n".join(CLASS_NAMES) + "\n\n")
    check_dataset(cifar.load(str(tmp_path), seed=0))
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
    check_dataset(cifar.load(str(tmp_path), seed=0))


# ---- Pickles: what is read ----


def python3_pickle(protocol):
    return lambda entries: pickle.dumps(entries, protocol)


def test_the_pickles_of_the_tests_are_like_those_of_python_2():
    entries = entries_of(*random_batch(300, 0))
    content = python2_pickle(entries)
    found = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(found.pop(b"data"), entries.pop(b"data"))
    assert found == entries
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(content)}
    assert {"BINSTRING", "SHORT_BINSTRING", "LONG_BINPUT", "BININT2"} <= opcodes
    assert not {name for name in opcodes if "UNICODE" in name or "BYTES" in name}


@pytest.mark.parametrize("is_text", [False, True], ids=["bytes", "text"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_python_3(tmp_path, protocol, is_text):
    def packer(entries):
        if is_text:
            entries = {key.decode(): value for key, value in entries.items()}
        return pickle.dumps(entries, protocol)

    write_python(tmp_path, packer=packer)
    check_dataset(cifar.load(str(tmp_path), seed=0))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_both_spellings_of_numpy(tmp_path, protocol):
    """NumPy 1 says `numpy.core` and NumPy 2 `numpy._core`; the other reads both."""
    spellings = [b"numpy.core.", b"numpy._core."]

    def packer(entries):
        content = pickle.dumps(entries, protocol)
        # An instruction that bounds a block, whose length would change.
        content = re.sub(rb"^(\x80.)\x95.{8}", rb"\1", content, flags=re.DOTALL)
        for module in (b"multiarray", b"numeric"):
            one, other = (spelling + module for spelling in spellings)
            for name in (one, other):
                # Short text has its length before it.
                content = content.replace(bytes([len(name)]) + name, b"<length>" + name)
            content = content.replace(other, one).replace(one, written + module)
            length = bytes([len(written + module)])
            content = content.replace(b"<length>", length)
        return content

    batches = {0: BATCHES[0], 1: BATCHES[1]}
    for written in spellings:
        write_python(tmp_path, batches, packer)
        assert written in (tmp_path / "test_batch").read_bytes()
        check_dataset(cifar.load(str(tmp_path), seed=0), batches)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_in_the_order_of_fortran(tmp_path, protocol):
    def packer(entries):
        if b"data" in entries:
            entries[b"data"] = np.asfortranarray(entries[b"data"])
        return pickle.dumps(entries, protocol)

    write_python(tmp_path, packer=packer)
    check_dataset(cifar.load(str(tmp_path), seed=0))


# ---- Pickles: what is refused ----


def message_of_pickle(tmp_path, content):
    """The error where the second training batch is that."""
    batches = {number: BATCHES[number] for number in (0, 1)}
    write_python(tmp_path, batches)
    path = tmp_path / "data_batch_2"
    path.write_bytes(content)
    message = message_of(tmp_path)
    assert message.startswith(str(path))
    return message


class Call:
    """Is pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["entry", "key", "batch", "label"])
def test_calls_are_refused(tmp_path, protocol, place):
    marker = tmp_path / "called"
    for call, name in (
        (Call(os.system, f"touch {marker}"), f"{os.system.__module__}.system"),
        (Call(eval, f"open({str(marker)!r}, 'w')"), "eval"),
        (Call(getattr, "", "upper"), "getattr"),
    ):
        batch = entries_of(*random_batch(2, 0))
        if place == "entry":
            batch[b"more"] = call
        elif place == "key":
            batch[call] = 1
        elif place == "label":
            batch[b"labels"].append(call)
        else:
            batch = call
        content = pickle.dumps(batch, protocol)
        assert not marker.exists()
        message = message_of_pickle(tmp_path, content)
        assert "names '" in message and f"{name}', which no batch" in message
        assert "not read, for safety" in message
        assert not marker.exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_of_other_kinds_are_refused(tmp_path, protocol):
    marker = tmp_path / "called"
    call = Call(os.system, f"touch {marker}")
    nested = np.empty(2, object)
    nested[:] = [call, [nested]]
    for array, code in (
        (nested, "O8"),
        (np.zeros(2, [("pixels", "u1", 3072), ("more", "O")]), "V3080"),
        (np.zeros([2, 3072], np.float32), "f4"),
        (np.zeros([2, 3072], bool), "b1"),
    ):
        content = pickle.dumps({b"data": array, b"labels": [0, 1]}, protocol)
        message = message_of_pickle(tmp_path, content)
        refused = "names 'posix.system'" in message
        assert refused or f"array of dtype '{code}' where 'u1' (uint8)" in message
        assert not marker.exists()


def op(*parts):
    return b"\x80\x02" + b"".join(parts)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"
UINT8 = b"cnumpy\ndtype\nU\x02u1\x85R"
ARRAY = RECONSTRUCT + NDARRAY + b"K\x00\x85U\x01b\x87R"


@pytest.mark.parametrize(
    "content, fragment",
    [
        (op(b"cnumpy\nload\n."), "names 'numpy.load'"),
        (op(b"cnumpy.core.multiarray\nscalar\n."), "multiarray.scalar'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x09dtype.str\x93.", "names 'numpy.dtype.str'"),
        (b"\x80\x04\x8c\x04a\nb\x00\x8c\x01c\x93.", r"names 'a\nb\x00.c'"),
        (b"\x80\x04K\x01K\x02\x93.", "int in place of text"),
        (op(b"(S'x'\nios\nsystem\n."), "uses the instruction INST"),
        (op(b"(cnumpy\nndarray\no."), "uses the instruction OBJ"),
        (op(NDARRAY, b")\x81."), "uses the instruction NEWOBJ"),
        (op(b"\x82\x01."), "uses the instruction EXT1"),
        (op(b"Pname\n."), "uses the instruction PERSID"),
        (b"\x80\x05\x97.", "uses the instruction NEXT_BUFFER"),
        (op(NDARRAY, b"K\x05\x85R."), "calls 'ndarray' in another way"),
        (op(RECONSTRUCT, b"cnumpy\ndtype\nK\x00\x85K\x00\x87R."), "'_reconstruct'"),
        (
            op(b"c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R."),
            "'encode'",
        ),
        (op(b"U\x04evalU\x011\x85R."), "calls 'what is no function'"),
        (op(b"}}b."), "sets the state of what is no array"),
        (op(NDARRAY, b"}b."), "sets the state of what is no array"),
        (op(ARRAY, b"(K\x01K\x01K\x01\x86", UINT8, b"\x89]tb."), "not of bytes"),
        (op(ARRAY, b"(K\x01K\x01K\x01\x86N\x89U\x01xtb."), "not of bytes"),
        (op(ARRAY, b"(K\x01K\x02\x85", UINT8, b"\x89U\x02xytb."), "two dimensions"),
        (op(ARRAY, b"(K\x01N", UINT8, b"\x89U\x02xytb."), "two dimensions"),
        (op(ARRAY, b"(K\x01K\x01K\x03\x86", UINT8, b"\x89U\x02xytb."), "its 2 bytes"),
        (
            op(ARRAY, b"(K\x01", 2 * b"J\xfe\xff\xff\xff", b"\x86", UINT8)
            + b"\x89U\x04xyzwtb.",
            "its 4 bytes",
        ),
        (op(b"N."), "holds a NoneType where a dict is expected"),
        (op(b"}]K\x01K\x02s."), "list in place of a dict"),
        (op(b"}K\x01a."), "dict in place of a list"),
        (op(b"}(K\x01u."), "damaged"),
        (op(b"}}."), "damaged"),
        (op(b"}e."), "damaged"),
        (op(b"h\x00."), "damaged"),
        (op(b"}.K"), "too long by 1 bytes"),
        (b"}", "damaged"),
        (b"no pickle", "damaged"),
        (binary(*BATCHES[1]), "damaged"),
    ],
)
def test_other_programs_are_refused(tmp_path, content, fragment):
    message = message_of_pickle(tmp_path, content)
    assert fragment in message
    assert message.endswith(("check where it comes from", "fetch the original again"))


BOMBS = {
    # 60 GB for a memo of 2^32 places.
    "memo": (op(b"}r\xff\xff\xff\xffN."), "damaged"),
    # 2^100 tuples to hash.
    "hash": (op(b"})", 100 * b"q\x00h\x00\x86", b"K\x00s."), "tuple in place of text"),
    # A deep tuple overflows C's stack when it is hashed.
    "deep": (op(b"})", 200_000 * b"\x85", b"K\x00s."), "tuple in place of text"),
    # 64 bytes of memory for one.
    "dicts": (op(2_000_000 * b"}", b"."), "has more than 1048576 instructions"),
    # Says that 2 GB follow.
    "length": (op(b"T\xff\xff\xff\x7fabc."), "damaged"),
    "length-8": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.", "damaged"),
    # 20,000 times 20,000 bytes.
    "encode": (
        op(b"](c_codecs\nencode\nq\x00", b"X\x20\x4e\x00\x00" + 20_000 * b"a")
        + b"X\x06\x00\x00\x00latin1\x86q\x01"
        + 20_000 * b"h\x00h\x01R"
        + b"e.",
        "unpacks to more than its own size",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name):
    content, fragment = BOMBS[name]
    # To count the bytes of many small objects takes long; their number is limited.
    counts_bytes = len(content) < 200_000
    if counts_bytes:
        tracemalloc.start()
    message = message_of_pickle(tmp_path, content)
    assert fragment in message
    if counts_bytes:
        _, peak_bytes = tracemalloc.get_traced_memory()
        assert peak_bytes < 16 << 20


@pytest.fixture(autouse=True)
def no_counting():
    yield
    tracemalloc.stop()


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
                found = cifar._read_python(path)
            except UserError as error:
                errors += 1
                assert path in str(error) and "\n" not in str(error)
            else:
                assert number >= num_cut
                assert found.images.shape == (2, 32, 32, 3)
                assert ((found.labels >= 0) & (found.labels < 10)).all()
    assert errors > 500


# ---- Pickles: what does not fit ----

PIXELS = np.zeros([3, 3072], np.uint8)


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
    message = message_of_pickle(tmp_path, pickle.dumps(entries, 2))
    assert fragment in message and "data_batch_2" in message


def test_an_array_without_values(tmp_path):
    content = op(b"}(U\x04data", ARRAY, b"U\x06labels]K\x01au.")
    assert "no array as its entry data" in message_of_pickle(tmp_path, content)


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
