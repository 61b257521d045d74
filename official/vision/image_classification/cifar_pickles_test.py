import gzip
import os
import pickle
import pickletools
import re
import struct
import tracemalloc

import numpy as np
import pytest

from official.utils.testing import errors
from official.vision.image_classification import cifar_pickles

# ---- Making pickles ----


def random_batch(count, seed):
    """Pixels as they are stored, uint8 [count, 3072], and labels, a list."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    return generator.integers(0, 256, (count, 3072), np.uint8), labels.tolist()


def binary(pixels, labels):
    return np.column_stack([np.array(labels, np.uint8), pixels]).tobytes()


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


def python3_pickle(protocol):
    return lambda entries: pickle.dumps(entries, protocol)


# ---- Checking what is read ----

LABEL_NAMES = {b"label_names": [b"cat", b"dog"], b"num_vis": 3072}


def read(folder, content):
    path = folder / "data_batch_2"
    path.write_bytes(content)
    return cifar_pickles.read(str(path))


def check_packer(folder, packer):
    """What is packed is read back, though the keys as text."""
    pixels, labels = random_batch(5, 0)
    found = read(folder, packer(entries_of(pixels, labels)))
    assert list(found) == ["batch_label", "labels", "data", "filenames"]
    assert found["batch_label"] == b"training batch 1 of 5"
    assert found["labels"] == labels and set(map(type, found["labels"])) == {int}
    assert found["filenames"] == [b"picture_%d.png" % index for index in range(5)]
    assert isinstance(found["data"], cifar_pickles.PickledArray)
    assert found["data"].values.dtype == np.uint8
    np.testing.assert_array_equal(found["data"].values, pixels)
    found = read(folder, packer(dict(LABEL_NAMES)))
    assert found == {"label_names": [b"cat", b"dog"], "num_vis": 3072}


def message_of(folder, content):
    message = errors.message_of(read, folder, content)
    assert message.startswith(f"{folder}/data_batch_2")
    assert len(message) < 700
    return message


# ---- What is read ----


def test_the_pickles_of_the_tests_are_like_those_of_python_2():
    entries = entries_of(*random_batch(300, 0))
    content = python2_pickle(entries)
    found = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(found.pop(b"data"), entries.pop(b"data"))
    assert found == entries
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(content)}
    assert {"BINSTRING", "SHORT_BINSTRING", "LONG_BINPUT", "BININT2"} <= opcodes
    assert not {name for name in opcodes if "UNICODE" in name or "BYTES" in name}


def test_pickles_of_python_2(tmp_path):
    check_packer(tmp_path, python2_pickle)


@pytest.mark.parametrize("is_text", [False, True], ids=["bytes", "text"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_python_3(tmp_path, protocol, is_text):
    def packer(entries):
        if is_text:
            entries = {key.decode(): value for key, value in entries.items()}
        return pickle.dumps(entries, protocol)

    check_packer(tmp_path, packer)


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

    for written in spellings:
        assert written in packer(entries_of(*random_batch(5, 0)))
        check_packer(tmp_path, packer)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_in_the_order_of_fortran(tmp_path, protocol):
    def packer(entries):
        if b"data" in entries:
            entries[b"data"] = np.asfortranarray(entries[b"data"])
        return pickle.dumps(entries, protocol)

    check_packer(tmp_path, packer)


# ---- What is refused ----


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
        message = message_of(tmp_path, content)
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
        message = message_of(tmp_path, content)
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
        (binary(*random_batch(4, 1)), "damaged"),
    ],
)
def test_other_programs_are_refused(tmp_path, content, fragment):
    message = message_of(tmp_path, content)
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
    message = message_of(tmp_path, content)
    assert fragment in message
    if counts_bytes:
        _, peak_bytes = tracemalloc.get_traced_memory()
        assert peak_bytes < 16 << 20


@pytest.fixture(autouse=True)
def no_counting():
    yield
    tracemalloc.stop()


def test_a_gzip_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_pickles, "MAX_FILE_BYTES", 1 << 20)
    message = message_of(tmp_path, gzip.compress(bytes(1 << 21)))
    assert "data_batch_2 unpacks to more than" in message


def test_text():
    assert cifar_pickles.as_text("é") == cifar_pickles.as_text(b"\xe9") == "é"
    with pytest.raises(ValueError, match="list in place of text"):
        cifar_pickles.as_text([])
