"""Files of pairs: reading, encoding once, and what can be wrong with them."""

import gzip
import os

import numpy as np
import pytest

from official.transformer import parallel_text, prepared
from official.utils.testing.errors import message_of


class Letters:
    """A vocabulary of letters, for tests."""

    vocab_size = 200

    def encode_many(self, sentences):
        return [np.array([*map(ord, s), 1], np.int32) for s in sentences]

    def to_facts(self):
        return {"letters": 1}


@pytest.fixture
def write(tmp_path):
    def write(name, *lines, ending="\n"):
        content = "".join(f"{line}{ending}" for line in lines).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        return str(path)

    return write


def rows_of(ragged):
    return [
        "".join(map(chr, ragged.values[a : b - 1]))
        for a, b in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    ]


def test_pairs_of_several_files(write, tmp_path):
    write("a.en.gz", "one", " two ")
    write("b.en", "three", ending="\r\n")
    write("a.de", "eins", "zwei")
    write("b.de.gz", "drei")
    found = parallel_text.find("?.en*", "a.de,b.de*", str(tmp_path), "train")
    assert list(parallel_text.pairs(*found)) == [
        ("one", "eins"),
        ("two", "zwei"),
        ("three", "drei"),
    ]


def test_what_is_wrong_with_files(write, tmp_path):
    path, other = write("a", "1", "2", "3"), write("b", "1", "2")

    def read(*paths):
        return list(parallel_text.pairs(*([each] for each in paths)))

    for first, second, numbers in ((path, other, (3, 2)), (other, path, (2, 3))):
        assert message_of(read, first, second) == (
            f"{first} has {numbers[0]} lines and {second} {numbers[1]}; line n of "
            "one has to be the translation of line n of the other"
        )
    (tmp_path / "c").write_bytes(b"1\n\xff\n3\n")
    message = message_of(read, path, str(tmp_path / "c"))
    assert f"{tmp_path / 'c'}: line 2 is not UTF-8" in message
    long = write("d", "1", "x" * 1_000_001, "3")
    assert f"{long}: line 2 has more than the 1,000,000 bytes" in message_of(
        read, path, long
    )
    find = parallel_text.find
    message = message_of(find, None, "b", None, "eval")
    assert message == "--eval_source is missing: files or patterns between commas"
    assert "matches no file" in message_of(find, "a", "none", str(tmp_path), "eval")
    assert "--train_source has 2 files and --train_target 1; give them in pairs" in (
        message_of(find, "a,b", "a", str(tmp_path), "train")
    )


def prepare(tmp_path, sources, targets, max_length=6, num_processes=1):
    return prepared.of_files(
        [sources],
        [targets],
        Letters(),
        max_length,
        str(tmp_path / "ids"),
        num_processes,
    )


def test_encodes_once(write, tmp_path, monkeypatch):
    sources = write("s", "one", "", "far too long", "two", "x" * 900_000, "abcde")
    targets = write("t", "eins", "leer", "lang", "zwei", "x", "")
    found = prepare(tmp_path, sources, targets)
    assert (found.num_empty, found.num_long, len(found)) == (2, 2, 2)
    assert rows_of(found.inputs) == ["one", "two"]
    assert rows_of(found.targets) == ["eins", "zwei"]
    assert found.inputs.values.dtype == np.uint16
    (folder,) = os.listdir(tmp_path / "ids")

    with monkeypatch.context() as patched:
        patched.setattr(prepared, "_prepare", None)  # Nothing is encoded again.
        again = prepare(tmp_path, sources, targets)
    assert rows_of(again.targets) == rows_of(found.targets)
    assert (again.num_empty, again.num_long) == (2, 2)

    prepare(tmp_path, sources, targets, max_length=20)
    write("s", "one", "", "far too long", "two", "x", "abcdef")
    assert rows_of(prepare(tmp_path, sources, targets).inputs) == ["one", "two", "x"]
    assert len(os.listdir(tmp_path / "ids")) == 3
    assert folder in os.listdir(tmp_path / "ids")


def test_processes_give_what_one_gives(write, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "_CHUNK", 7)
    monkeypatch.setattr(prepared, "_SMALL_BYTES", 0)
    lines = [f"{number:x}" for number in range(40)]
    sources, targets = write("s", *lines), write("t", *lines[::-1])
    found = prepare(tmp_path, sources, targets, num_processes=2)
    assert rows_of(found.inputs) == lines
    assert rows_of(found.targets) == lines[::-1]


def test_files_without_a_pair(write, tmp_path):
    sources, targets = write("s", "", "a"), write("t", "a", "much too long")
    message = message_of(prepare, tmp_path, sources, targets)
    assert "hold no pair of which both sides are there and have at most" in message
    # Nothing is left half made.
    assert os.listdir(tmp_path / "ids") == []


def test_in_memory_equals_files(write, tmp_path):
    lines = ["one", "", "two", "far too long"]
    found = prepared.of_sentences(lines, lines, Letters(), 6)
    other = prepare(tmp_path, write("s", *lines), write("t", *lines))
    assert rows_of(found.inputs) == rows_of(other.inputs) == ["one", "two"]
    assert (found.num_empty, found.num_long) == (1, 1)
