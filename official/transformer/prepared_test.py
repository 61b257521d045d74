"""Files of pairs: reading, encoding once, and what can be wrong with them."""

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from official.transformer import parallel_text, prepared, subtokens
from official.utils.logs import console
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


def prepare(tmp_path, sources, targets, max_length=6, text=None, num_processes=1):
    return prepared.of_files(
        [sources],
        [targets],
        text or Letters(),
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
    # The same size, at another time.
    os.utime(sources, ns=(0, 0))
    prepare(tmp_path, sources, targets)
    assert len(os.listdir(tmp_path / "ids")) == 4


@pytest.mark.parametrize(
    "damage",
    ["inputs.ids", "targets.lengths", "prepared.json", "cut inputs.ids", "no json"],
)
def test_damaged_ids_are_made_again(write, tmp_path, damage, capsys):
    console.reset_warnings()
    files = write("s", "one", "two"), write("t", "eins", "zwei")
    prepare(tmp_path, *files)
    (folder,) = (tmp_path / "ids").iterdir()
    if damage.startswith("cut"):
        path = folder / damage.split()[1]
        path.write_bytes(path.read_bytes()[:-2])
    elif damage == "no json":
        (folder / "prepared.json").write_text("{")
    else:
        (folder / damage).unlink()
    found = prepare(tmp_path, *files)
    assert rows_of(found.inputs) == ["one", "two"]
    assert rows_of(found.targets) == ["eins", "zwei"]
    assert f"{folder} is damaged" in capsys.readouterr().err
    assert list((tmp_path / "ids").iterdir()) == [folder]


def test_another_worker_is_quicker(write, tmp_path, monkeypatch):
    files = write("s", "one"), write("t", "eins")
    made = prepared._prepare

    def prepare_twice(*arguments):
        monkeypatch.setattr(prepared, "_prepare", made)
        prepare(tmp_path, *files)
        made(*arguments)

    monkeypatch.setattr(prepared, "_prepare", prepare_twice)
    assert rows_of(prepare(tmp_path, *files).inputs) == ["one"]
    assert len(os.listdir(tmp_path / "ids")) == 1


def test_says_how_fast_it_was(write, tmp_path, capsys):
    files = write("s", "one", ""), write("t", "eins", "zwei")
    prepare(tmp_path, *files)
    said = capsys.readouterr().out
    assert said.startswith("encoded 2 pairs in ") and said.endswith(" a second\n")
    prepare(tmp_path, *files)
    assert capsys.readouterr().out == ""


def test_folders_and_files_that_do_not_do(write, tmp_path):
    files = [write("s", "one")], [write("t", "eins")]
    message = message_of(prepared.of_files, *files, Letters(), 6, "gs://a/b", 1)
    assert message.startswith("gs://a/b is not on this machine")
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "ids")
    message = message_of(prepared.of_files, *files, Letters(), 6, folder, 1)
    assert "cannot be written" in message and "--model_dir" in message
    gone = str(tmp_path / "gone")
    message = message_of(prepared.of_files, [gone], files[1], Letters(), 6, folder, 1)
    assert message.startswith(f"{gone} cannot be read")


def test_chunks_are_small(monkeypatch):
    monkeypatch.setattr(prepared, "_CHUNK_PAIRS", 3)
    monkeypatch.setattr(prepared, "_CHUNK_CHARACTERS", 10)
    pairs = [("a", "b")] * 7 + [("c" * 30, "d")] * 2 + [("e", "f")]
    found = list(prepared._chunks(pairs))
    assert [len(chunk) for chunk in found] == [3, 3, 2, 1, 1]
    assert list(itertools.chain.from_iterable(found)) == pairs


def test_processes_that_encode_need_no_tensorflow():
    script = (
        "import json, sys\n"
        "from official.transformer import encoding, subtokens, text\n"
        "from official.utils.data import processes\n"
        "print(json.dumps(sorted({'tensorflow', 'keras'} & set(sys.modules))))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert json.loads(ran.stdout) == [], ran.stderr


def test_processes_give_what_one_gives(write, tmp_path, monkeypatch):
    lines = [f"{number:x}" for number in range(40)]
    files = write("s", *lines), write("t", *lines[:-1], "much too long")
    # Other processes would have to import this module to find `Letters`.
    letters = "\\_u;0123456789abcdefghijklmnopqrstvwxyz"
    text = subtokens.SubtokenText(["<pad>", "<EOS>", *letters])
    alone = prepare(tmp_path, *files, text=text)
    monkeypatch.setattr(prepared, "_CHUNK_PAIRS", 7)
    monkeypatch.setattr(prepared, "_SMALL_BYTES", 0)
    shutil.rmtree(tmp_path / "ids")
    together = prepare(tmp_path, *files, text=text, num_processes=2)
    assert len(alone) == len(together) == 39 and together.num_long == 1
    for side in ("inputs", "targets"):
        one, two = getattr(alone, side), getattr(together, side)
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.offsets, two.offsets)


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
