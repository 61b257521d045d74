import gzip

import pytest
import tensorflow as tf

from official.bert import tables
from official.utils.data.text_lines import MAX_LINE_BYTES
from official.utils.testing import errors

REMEDY = "name the columns"
WANTED = tables.Wanted(("text",), "label", REMEDY)
PAIRS = tables.Wanted(("a", "b"), "label", REMEDY)


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(folder, name, content, wanted=WANTED):
    return tables.read(write(folder, name, content), wanted)


def message_of(folder, name, content, wanted=WANTED):
    path = write(folder, name, content)
    message = errors.message_of(tables.read, path, wanted)
    assert message.startswith(path) and len(message) < len(path) + 400
    return message.removeprefix(path)


# ---- What is read ----

TEXTS = ['she said "no", twice', '"open', "a\vb\u2028c\x85d\x1ce", "e\u0301 \U0001f600"]


def test_tabs_hold_every_character_but_their_own(tmp_path):
    rows = "".join(f"{text}\t{row}\n" for row, text in enumerate(TEXTS))
    found = read(tmp_path, "a.tsv", f"text\tlabel\n{rows}")
    assert found.texts == (TEXTS,)
    assert found.labels == ["0", "1", "2", "3"] and found.lines == [2, 3, 4, 5]
    assert found.num_skipped == 0 and len(found) == 4


def test_csv_has_quotes(tmp_path):
    content = 'label,text\nx,"she said ""no"", twice"\n\ny,"two\nlines"\nz,a "b" c\n'
    found = read(tmp_path, "a.csv", content)
    assert found.texts == (['she said "no", twice', "two\nlines", 'a "b" c'],)
    assert found.labels == ["x", "y", "z"] and found.lines == [2, 4, 6]


def test_json_lines(tmp_path):
    content = (
        '{"text": "\\u00e9\\ud83d\\ude00\\n", "label": "x", "more": [1]}\n\n'
        '{"label": 3, "text": "b"}\n{"text": "c", "label": true}\n'
        '{"text": "d", "label": 2.5}'
    )
    found = read(tmp_path, "a.jsonl", content)
    assert found.texts == (["é😀\n", "b", "c", "d"],)
    assert found.labels == ["x", "3", "true", "2.5"] and found.lines == [1, 3, 4, 5]


@pytest.mark.parametrize("name", ["a.tsv", "a.TXT", "a.csv", "a.tsv.gz", "a.CSV.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_names_ends_and_byte_order_mark(tmp_path, name, end, mark):
    separator = "," if "csv" in name.lower() else "\t"
    rows = [
        ["b ", "more", "label", "a"],
        ["2", "", " x ", " 1"],
        [],
        ["4", "-", "y", "3"],
    ]
    content = (mark + end.join(map(separator.join, rows))).encode()
    if name.endswith(".gz"):
        content = gzip.compress(content)
    found = read(tmp_path, name, content, PAIRS)
    # Spaces stay in texts, and go from labels and from names of columns.
    assert found.texts == ([" 1", "3"], ["2", "4"])
    assert found.labels == ["x", "y"] and found.lines == [2, 4]


def test_columns_that_the_file_does_not_name(tmp_path):
    wanted = tables.Wanted(("text",), "label", REMEDY, ("id", "label", "text"))
    found = read(tmp_path, "a.tsv", "1\tx\ta\n2\ty\tb\n", wanted)
    assert found.texts == (["a", "b"],) and found.labels == ["x", "y"]
    assert found.lines == [1, 2]


@pytest.mark.parametrize("extension", tables.EXTENSIONS)
def test_long_lines(tmp_path, extension):
    form = {
        "tsv": "text\tlabel\n%s\tx\n",
        "csv": 'text,label\n"%s",x\n',
        "jsonl": '{"text": "%s", "label": "x"}\n',
    }[extension]
    text = "long " * 40_000
    assert read(tmp_path, f"a.{extension}", form % text).texts == ([text],)
    # The line with the text, without its end.
    others = len((form % "").strip().splitlines()[-1])
    longest = "y" * (MAX_LINE_BYTES - others)
    assert read(tmp_path, f"a.{extension}", form % longest).texts == ([longest],)
    message = message_of(tmp_path, f"a.{extension}", form % f"{longest}y")
    line = 1 if extension == "jsonl" else 2
    assert message.startswith(
        f": line {line} has 1,000,001 bytes where at most 1,000,0"
    )


def test_file_in_another_file_system():
    path = "ram://tables/a.tsv"
    with tf.io.gfile.GFile(path, "w") as file:
        file.write("text\tlabel\na\tx\n")
    assert tables.read(path, WANTED).labels == ["x"]


# ---- What is passed over ----


def test_incomplete_rows_are_counted(tmp_path):
    wanted = tables.Wanted(("a", "b"), "label", REMEDY, skips_incomplete=True)
    rows = ["1\t2\tx", "1\t2", "", " \t2\tx", "1\t\tx", "1\t2\t ", "3\t4\ty"]
    found = read(tmp_path, "a.tsv", "a\tb\tlabel\n" + "\n".join(rows), wanted)
    assert found.texts == (["1", "3"], ["2", "4"]) and found.lines == [2, 8]
    # The empty line is no row.
    assert found.num_skipped == 4


def test_more_fields_than_columns(tmp_path):
    allowing = tables.Wanted(("text",), "label", REMEDY, allows_more=True)
    found = read(tmp_path, "a.tsv", "text\tlabel\na\tx\tmore\n", allowing)
    assert found.texts == (["a"],) and found.labels == ["x"]
    expected = ": line 3 has 3 fields where 2 are expected; "
    for wanted, header in [(allowing, "label\ttext"), (WANTED, "text\tlabel")]:
        content = f"{header}\nx\ty\nx\ta\tb\n"
        assert message_of(tmp_path, "a.tsv", content, wanted).startswith(expected)
    assert message_of(tmp_path, "a.csv", "text,label\na,x\na,b,x\n").startswith(
        expected
    )


# ---- What is wrong ----


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("a.tsv", "", " is empty; "),
        ("a.tsv", "text\tlabel\n", " has no rows to read; "),
        ("a.csv", "\n\n", ": line 1 has no column text; it has none; name the columns"),
        ("a.jsonl", "\n", " has no rows to read; "),
        (
            "a.tsv",
            "sentence\tlabel\na\tx",
            ": line 1 has no column text; it has sentenc",
        ),
        (
            "a.csv",
            "text\tlabel\na\tx",
            ": line 1 has no column text; it has 'text\\tlab",
        ),
        ("a.csv", "text,label,text\na,b,c", ": line 1 names the column text 2 times; "),
        ("a.tsv", "text\tlabel\na\tx\nb\n", ": line 3 has too few fields; "),
        ("a.csv", "text,label\n\na,x\nb\n", ": line 4 has too few fields; "),
        (
            "a.tsv",
            "text\tlabel\n \t1\n",
            ": line 2 has an empty text in the column text",
        ),
        (
            "a.csv",
            "text,label\n\u3000,1\n",
            ": line 2 has an empty text in the column te",
        ),
        (
            "a.tsv",
            "text\tlabel\na\t\n",
            ": line 2 has an empty label in the column label",
        ),
        (
            "a.csv",
            'text,label\na,x\n"b,y\nc,z\n',
            ": the row that begins at line 3 is no",
        ),
        (
            "a.csv",
            'text,label\n"b" c,y\n',
            ": the row that begins at line 2 is no CSV (",
        ),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": ', ": line 2 is no JSON ("),
        ("a.jsonl", "[" * 100_000, ": line 1 is no JSON ("),
        ("a.jsonl", "9" * 5_000, ": line 1 is no JSON ("),
        ("a.jsonl", "[1]", ": line 1 is a JSON array where an object is expected; "),
        (
            "a.jsonl",
            '{"label": "x"}',
            ": line 1 has no column text; it has label; name ",
        ),
        ("a.jsonl", "{}", ": line 1 has no column text; it has none; name the columns"),
        (
            "a.jsonl",
            '{"text": 1, "label": "x"}',
            ": line 1 has the JSON number in the c",
        ),
        (
            "a.jsonl",
            '{"text": "a", "label": null}',
            ": line 1 has the JSON null in the ",
        ),
        (
            "a.jsonl",
            '{"text": "\\ud800", "label": 1}',
            ": line 1 has half of a surrogat",
        ),
        (
            "a.jsonl",
            '{"text": "", "label": 1}',
            ": line 1 has an empty text in the colu",
        ),
    ],
)
def test_wrong_content(tmp_path, name, content, expected):
    assert message_of(tmp_path, name, content).startswith(expected)


@pytest.mark.parametrize(
    "name, first",
    [
        ("a.tsv", b"text\tlabel"),
        ("a.csv", b"text,label"),
        ("a.jsonl", b'{"text": "a", "label": "x"}'),
    ],
)
def test_wrong_bytes(tmp_path, name, first):
    message = message_of(tmp_path, name, first + b"\ncaf\xe9 au lait\n")
    assert message.startswith(
        ": line 2 is not UTF-8 (invalid continuation byte at byte 4 of the line); "
    )


def test_missing_file_and_damaged_gzip(tmp_path):
    path = str(tmp_path / "a.tsv")
    assert "does not exist" in errors.message_of(tables.read, path, WANTED)
    content = gzip.compress(b"text\tlabel\na\tx\n")[:-9]
    assert "ends too early" in message_of(tmp_path, "a.tsv.gz", content)


def test_names_in_messages():
    assert tables.shown(["a", "b c", "", "d\n", "e" * 60]) == (
        f"a, b c, '', 'd\\n', '{'e' * 50}'..."
    )
    assert tables.shown([str(n) for n in range(12)]).endswith("8, 9 and 2 more")
