import gzip
import itertools
import tracemalloc

import pytest

from official.bert import documents
from official.utils.data import text_lines
from official.utils.testing.errors import message_of


@pytest.fixture
def write(tmp_path):
    def write(content, name="text.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def read(*paths, **kwargs):
    return list(documents.read(paths, **kwargs))


def error(*paths, **kwargs):
    return message_of(read, *paths, **kwargs)


def test_documents(write):
    path = write("\n\none\ntwo \n\n \t \nthree\n\tfour five\n")
    assert read(path) == [["one", "two"], ["three", "four five"]]
    assert read(path, one_line_is_a_document=True) == [
        ["one"], ["two"], ["three"], ["four five"]
    ]  # fmt: skip


def test_a_file_ends_a_document(write):
    first, second = write("one\ntwo"), write("", "b")
    third = write("three", "c")
    assert read(first, second, third) == [["one", "two"], ["three"]]


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
def test_marks_and_line_ends(write, pack):
    content = b"\xef\xbb\xbf\xc3\xa4 b\r\n\xef\xbb\xbfc\r\n\r\n\xe2\x80\xa8d\re"
    path = write(pack(content), "named_as_it_likes")
    # U+2028 is white space, but ends no line; nor does a CR alone.
    assert read(path) == [["ä b", "\ufeffc"], ["d\re"]]


def test_lines_over_blocks(write):
    lines = [f"{number} {'x' * (1 + number % 977)}" for number in range(6000)]
    content = "\n".join(lines)
    assert len(content) > 2 * text_lines.BLOCK_BYTES
    expected = [[line] for line in lines]
    assert read(write(content), one_line_is_a_document=True) == expected
    packed = write(gzip.compress(content.encode(), 1), "b.gz")
    assert read(packed, one_line_is_a_document=True) == expected


def test_long_lines(write):
    most = text_lines.MAX_LINE_BYTES
    lines = ["a" * 100_000, "b" * most, "c"]
    path = write("\n".join(lines))
    assert list(itertools.chain(*read(path))) == lines
    for content in ("a\n" + "b" * (most + 1), "a\n" + "b" * 3 * most + "\nc"):
        path = write(content)
        assert error(path) == (
            f"{path}: line 2 has more than the 1,000,000 bytes that are expected; "
            "write a sentence a line, and check that lines end with LF or CRLF"
        )


def test_long_documents_are_cut(write):
    line = "a" * 50_000
    assert [len(document) for document in read(write(f"{line}\n" * 8))] == [3, 3, 2]


def test_column_of_a_table(write):
    path = write("label\tsentence \r\n0\t one two\r\n\r\n1\tthree\r\n1\t\r\n0\tfour")
    assert read(path, text_column="sentence") == [["one two", "three"], ["four"]]
    assert read(path, text_column="sentence", one_line_is_a_document=True) == [
        ["one two"], ["three"], ["four"]
    ]  # fmt: skip
    assert error(path, text_column="text") == (
        f"{path}: line 1 has no column text; it has label, sentence; name one of them"
    )
    path = write("a\ta\n1\t2\n")
    assert "line 1 has several columns a" in error(path, text_column="a")
    path = write("a\tb\n1\t2\n\n1\t2\t3\n")
    assert error(path, text_column="a") == (
        f"{path}: line 4 has 3 fields where 2 are expected; mend or remove it"
    )
    assert "has no column a" in error(write(""), text_column="a")


def test_bytes_that_are_no_text(write):
    path = write(b"one\ntwo\nthr\xffe\n")
    assert error(path) == (
        f"{path}: line 3 is not UTF-8 (invalid start byte at byte 4 of the line); "
        "convert the file"
    )
    assert "line 1 is not UTF-8" in error(write("one\n".encode("utf-16")))


def test_damaged_gzip(write):
    packed = gzip.compress(b"one\n" * 1000)
    path = write(packed[:-12])
    assert error(path) == (f"{path} is a gzip file that ends too early; fetch it again")
    path = write(packed[:-8] + b"\0" * 8)
    assert "is a damaged gzip file (CRC check failed" in error(path)
    path = write(packed[:15] + b"\xff" * 9 + packed[24:])
    assert "is a damaged gzip file" in error(path)


def test_files_without_text(write, tmp_path):
    first, second = write(" \n\n\t\n"), write("", "b")
    assert error(first, second) == (
        f"there is no text in {documents.tables.shown([first, second])}; check that "
        "it is the right file"
    )
    missing = str(tmp_path / "missing")
    assert error(missing).startswith(f"{missing} cannot be read (")
    assert error(str(tmp_path)).startswith(f"{tmp_path} cannot be read (")


def test_find(write, tmp_path):
    second, first = write("", "b.txt"), write("", "a.txt")
    (tmp_path / "folder.txt").mkdir()
    pattern = str(tmp_path / "*.txt")
    assert text_lines.find([second, pattern], "--input_file") == [second, first]
    missing = str(tmp_path / "*.text")
    assert message_of(text_lines.find, [pattern, missing], "--input_file") == (
        f"--input_file={missing} matches no file; check the path"
    )


def test_windows():
    # A size of 10 each, with 1 for the sentence.
    all_documents = [[chr(ord("a") + number) * 9] for number in range(7)]

    def sizes(size, count=7):
        found = list(documents.windows(all_documents[:count], size))
        assert list(itertools.chain(*found)) == all_documents[:count]
        return [len(window) for window in found]

    assert sizes(20) == [2, 2, 2, 1]
    # The last one would be less than half.
    assert sizes(21) == [3, 4]
    assert sizes(30) == [3, 4]
    assert sizes(40) == [4, 3]
    assert sizes(70) == [7]
    assert sizes(1000) == [7]
    assert sizes(10, 1) == [1]
    assert sizes(20, 0) == []
    # Each is read only when it is needed, and the one before it held back.
    stream = iter(all_documents)
    windows = documents.windows(stream, 20)
    assert len(next(windows)) == 2
    assert len(list(stream)) == 3


def test_memory_does_not_grow_with_the_text(write):
    line = "a" * 1000

    def peak(lines):
        path = write(f"{line}\n" * lines, f"{lines}.txt")
        tracemalloc.start()
        try:
            windows = documents.windows(documents.read([path]), 1 << 20)
            assert sum(len(document) for window in windows for document in window)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # 4 and 40 MB.
    assert peak(40_000) < 1.2 * peak(4_000)
