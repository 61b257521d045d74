"""Documents of plain text, one sentence a line, read without holding them all.

An empty line, or the end of a file, ends a document. Files are UTF-8, maybe with a
byte-order mark, and may be gzipped; lines end with LF or CRLF.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from official.bert import tables
from official.utils.data import text_lines
from official.utils.errors import UserError

# Longer documents are cut after the sentence that reaches this, into documents of their
# own, so that the longest one does not decide how much memory is needed.
DOCUMENT_CHARACTERS = 1 << 17

_Document = TypeVar("_Document", bound=Sequence)


def read(
    paths: Sequence[str],
    text_column: str | None = None,
    one_line_is_a_document: bool = False,
) -> Iterator[list[str]]:
    """Reads documents one after the other.

    Args:
        paths: the files.
        text_column: the files are tab-separated tables, whose first line names the
            columns: read this one.
        one_line_is_a_document: as it says; otherwise empty lines end documents.

    Yields:
        The sentences of a document, none empty, without white space around them.

    Raises:
        UserError: there is no text at all; a file cannot be read; or a line is no
            UTF-8, too long, or in a table without the column.
    """
    is_empty = True
    for path in paths:
        document: list[str] = []
        size = 0
        for line in _texts(path, text_column):
            if line:
                is_empty = False
                document.append(line)
                size += len(line)
            is_end = not line or one_line_is_a_document or size >= DOCUMENT_CHARACTERS
            if is_end and document:
                yield document
                document, size = [], 0
        if document:
            yield document
    if is_empty:
        raise UserError(
            f"there is no text in {tables.shown(paths)}; check that it is the right "
            "file"
        )


def windows(documents: Iterable[_Document], size: int) -> Iterator[list[_Document]]:
    """Puts documents that follow each other together, some at a time.

    Args:
        documents: their sentences are texts or arrays.
        size: characters or pieces of a window, and one for each sentence; the last
            document may pass it.

    Yields:
        Lists of documents, all of at least `size`, but the last one, which has at least
        half of it if it is not the only one.
    """
    waiting: list[_Document] = []
    window: list[_Document] = []
    filled = 0
    for document in documents:
        window.append(document)
        filled += sum(map(len, document)) + len(document)
        if filled >= size:
            if waiting:
                yield waiting
            waiting, window, filled = window, [], 0
    # Few documents would find no others to be compared with.
    if filled < size / 2:
        waiting, window = waiting + window, []
    if waiting:
        yield waiting
    if window:
        yield window


# ---- Lines ----


def _texts(path: str, text_column: str | None) -> Iterator[str]:
    lines = text_lines.read(path)
    if text_column is not None:
        return _cells(path, lines, text_column)
    return (line.strip() for _, line in lines)


def _cells(path: str, lines: Iterator[tuple[int, str]], column: str) -> Iterator[str]:
    number, header = next(lines, (1, ""))
    names = [name.strip() for name in header.split("\t")]
    if names.count(column) != 1:
        what = "several columns" if column in names else "no column"
        raise UserError(
            f"{path}: line {number} has {what} {tables.short(column)}; it has "
            f"{tables.shown(names)}; name one of them"
        )
    place = names.index(column)
    for number, line in lines:
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) != len(names):
            raise UserError(
                f"{path}: line {number} has {len(fields)} fields where {len(names)} "
                "are expected; mend or remove it"
            )
        yield fields[place].strip()
