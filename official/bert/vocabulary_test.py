import gzip

import pytest

from official.bert import vocabulary
from official.bert.vocabulary import SPECIAL
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of


def text_of(pieces):
    return "".join(f"{piece}\n" for piece in pieces).encode()


def test_published_vocabulary():
    pieces = vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))
    assert len(pieces) == 30_522
    assert pieces[:2] == ["[PAD]", "[unused0]"]
    assert pieces[100:104] == ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_only_line_ends_are_stripped(tmp_path, end, is_ended):
    pieces = [*SPECIAL, " a", "b\u3000", "##c", "\u2028", "\x0b", ""]
    path = tmp_path / "vocab.txt"
    content = end.join(piece.encode() for piece in (*pieces, "z"))
    path.write_bytes(content + end * is_ended)
    assert vocabulary.read(str(path)) == [*pieces, "z"]


def test_gzipped_file(tmp_path):
    path = tmp_path / "vocab.txt.gz"
    path.write_bytes(gzip.compress(text_of([*SPECIAL, "a"])))
    assert vocabulary.read(str(path)) == [*SPECIAL, "a"]


def test_writes_once(tmp_path):
    path = str(tmp_path / "new" / "vocab.txt")
    pieces = [*SPECIAL, "é"]
    vocabulary.write(path, pieces)
    vocabulary.write(path, pieces)
    assert vocabulary.read(path) == pieces
    message = message_of(vocabulary.write, path, [*SPECIAL, "e"])
    assert message == f"{path} exists and is not overwritten; name another file"
    assert vocabulary.read(path) == pieces
    assert "cannot be" in message_of(vocabulary.write, str(tmp_path / "new"), pieces)


@pytest.mark.parametrize(
    "content, fragment",
    [
        (b"", "is empty"),
        (b"\n", "lacks [PAD], [UNK], [CLS], [SEP], [MASK];"),
        (text_of(SPECIAL[:4]), "lacks [MASK];"),
        (text_of([*SPECIAL, "a", "b", "a"]), "line 8 repeats 'a' of line 6"),
        (text_of([*SPECIAL, "", ""]), "line 7 repeats '' of line 6"),
        (text_of(SPECIAL) + b"\xff\n", "line 6 is not UTF-8"),
        (text_of([*SPECIAL, "é" * 129]), "line 6 has 258 bytes where at most 256"),
    ],
    ids=["empty", "one", "mask", "twice", "twice-empty", "bytes", "long"],
)
def test_damaged_files(tmp_path, content, fragment):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    message = message_of(vocabulary.read, str(path))
    assert message.startswith(str(path)) and fragment in message


def test_missing_file(tmp_path):
    path = str(tmp_path / "no")
    assert f"{path} does not exist" in message_of(vocabulary.read, path)
    assert "cannot be read" in message_of(vocabulary.read, str(tmp_path))
