import pytest

from official.bert import vocabulary
from official.bert.vocabulary import SPECIAL
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of


def write(path, content):
    path.write_bytes(content)
    return str(path)


def text_of(pieces):
    return "".join(f"{piece}\n" for piece in pieces).encode()


def test_published_vocabulary():
    pieces = vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))
    assert len(pieces) == 30_522
    assert pieces[:2] == ["[PAD]", "[unused0]"]
    assert pieces[100:104] == ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_only_line_ends_are_stripped(tmp_path, end):
    pieces = [*SPECIAL, " a", "b\u3000", "##c"]
    content = end.join(piece.encode() for piece in pieces)
    assert vocabulary.read(write(tmp_path / "vocab.txt", content)) == pieces


def test_writes_once(tmp_path):
    path = str(tmp_path / "new" / "vocab.txt")
    pieces = [*SPECIAL, "é"]
    vocabulary.write(path, pieces)
    vocabulary.write(path, pieces)
    assert vocabulary.read(path) == pieces
    assert "not overwritten" in message_of(vocabulary.write, path, [*SPECIAL, "e"])
    assert vocabulary.read(path) == pieces


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ["lacks [PAD], [UNK], [CLS], [SEP], [MASK]"]),
        (text_of(SPECIAL[:4]), ["lacks [MASK];"]),
        (text_of([*SPECIAL, "a", "b", "a"]), ["line 8 repeats 'a' of line 6"]),
        (text_of(SPECIAL) + b"\xff\n", ["line 6 is not UTF-8"]),
    ],
    ids=["empty", "no mask", "twice", "bytes"],
)
def test_damaged_files(tmp_path, content, words):
    path = write(tmp_path / "vocab.txt", content)
    message = message_of(vocabulary.read, path)
    assert all(word in message for word in (path, "vocab.txt of a BERT", *words))


def test_missing_file(tmp_path):
    assert "no file of word pieces" in message_of(vocabulary.read, str(tmp_path / "no"))
