import gzip

import pytest

from official.utils.data import json_fields
from official.utils.testing.errors import message_of


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_read(tmp_path, mark, pack):
    path = tmp_path / "some.json"
    path.write_bytes(pack(mark + '{"a": "é"}\n'.encode()))
    assert json_fields.read(str(path), "look") == {"a": "é"}


@pytest.mark.parametrize(
    "content, expected",
    [
        (b'{"a":\n 1 2}', "no JSON (Expecting ',' delimiter: line 2 column 4 (char 9)"),
        (b"{}\n{}", "no JSON (Extra data: line 2 column 1 (char 3))"),
        (b"[" * 100_000, "no JSON ("),
        (b"9" * 5_000, "no JSON ("),
    ],
)
def test_no_json(tmp_path, content, expected):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    message = message_of(json_fields.read, str(path), "look")
    assert message.startswith(f"{path} is {expected}")
    assert message.endswith("; look")


def test_no_utf8(tmp_path):
    path = tmp_path / "some.json"
    path.write_bytes(b'{"a": "x",\n"b": "\xff"}')
    assert message_of(json_fields.read, str(path), "look") == (
        f"{path}: line 2 is not UTF-8 (invalid start byte); convert the file"
    )


def test_missing_and_empty_files(tmp_path):
    path = tmp_path / "some.json"
    assert "does not exist" in message_of(json_fields.read, str(path), "look")
    path.write_bytes(b"")
    assert "is empty" in message_of(json_fields.read, str(path), "look")


def test_field():
    entry = {"text": "x", "items": [], "number": 0, "flag": False}
    for name, kind in zip(entry, (str, list, int, bool), strict=True):
        assert json_fields.field("it", entry, name, kind, "look") is entry[name]
    assert json_fields.field("it", entry, "more", bool, "look", default=False) is False


@pytest.mark.parametrize(
    "entry, name, kind, expected",
    [
        ([], "a", str, "it is no JSON object; look"),
        (None, "a", str, "it is no JSON object; look"),
        ({"b": 1}, "a", str, "it lacks the field a; look"),
        ({"a": None}, "a", str, "it lacks the field a; look"),
        ({"a": 1}, "a", str, "it has a field a that is not a string; look"),
        ({"a": {}}, "a", list, "it has a field a that is not an array; look"),
        ({"a": True}, "a", int, "it has a field a that is not a whole number; look"),
        ({"a": 1.0}, "a", int, "it has a field a that is not a whole number; look"),
        ({"a": 1}, "a", bool, "it has a field a that is not true or false; look"),
        (
            {"a": "x\ud83d"},
            "a",
            str,
            "it has half of a surrogate pair, which is no character, in the field a; "
            "remove it",
        ),
    ],
)
def test_wrong_fields(entry, name, kind, expected):
    assert message_of(json_fields.field, "it", entry, name, kind, "look") == expected
