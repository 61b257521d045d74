"""Reads texts and labels out of tables: tab-separated, CSV or JSON lines.

    .csv      fields between commas, those with commas, quotes or line ends in quotes
              (RFC 4180)
    .jsonl    a JSON object a line
    others    fields between tabs; a quote is a character like any other

All are UTF-8, maybe with a byte-order mark, and may be gzipped. Lines end with LF or
CRLF; empty ones are passed over. The first line of a table names its columns.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence

from official.utils.data import files
from official.utils.data.text_lines import MAX_LINE_BYTES
from official.utils.errors import UserError

EXTENSIONS = ("tsv", "csv", "jsonl")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The first line of a row, and its cells in the columns that are wanted; none where the
# row has too few fields.
_Row = tuple[int, list[str] | None]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which columns are read, and how strictly.

    Attributes:
        texts: columns of the texts.
        label: column of the labels.
        remedy: what the user can do about a column that is not there.
        column_names: those of a tab-separated file that does not name them itself.
        skips_incomplete: pass over rows with too few fields, or with nothing in one
            that is wanted, in place of an error.
        allows_more: pass over fields beyond the last column where the label comes after
            the texts: a label in its place shows that no field has moved. Otherwise
            they are an error.
    """

    texts: tuple[str, ...]
    label: str
    remedy: str
    column_names: tuple[str, ...] | None = None
    skips_incomplete: bool = False
    allows_more: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, that of the labels last."""
        return (*self.texts, self.label)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The columns that were wanted of a file.

    Attributes:
        path: the file.
        texts: a list for each column, of N texts, none empty.
        labels: N labels as they are written, without spaces around them.
        lines: the line where each row begins, counted from 1.
        num_skipped: rows that were passed over.
    """

    path: str
    texts: tuple[list[str], ...]
    labels: list[str]
    lines: list[int]
    num_skipped: int

    def __len__(self) -> int:
        return len(self.labels)


def read(path: str, wanted: Wanted) -> Table:
    """Reads the texts and labels of a file; its name says which form it has.

    Args:
        path: the file.
        wanted: its columns.

    Returns:
        A table with at least one row.

    Raises:
        UserError: the file cannot be read or has no rows; a column is missing; or a
            row has too few or too many fields, an empty text, no label, bytes that are
            no UTF-8, or a line of more than `MAX_LINE_BYTES`.
    """
    texts = tuple([] for _ in wanted.texts)
    labels, lines, num_skipped = [], [], 0
    for line, cells in _rows(path, wanted):
        if cells is None or not all(map(str.strip, cells)):
            if not wanted.skips_incomplete:
                raise _incomplete(path, line, cells, wanted)
            num_skipped += 1
            continue
        *row_texts, label = cells
        for column, text in zip(texts, row_texts, strict=True):
            column.append(text)
        labels.append(label.strip())
        lines.append(line)
    if not labels:
        raise UserError(f"{path} has no rows to read; check that it is the right file")
    return Table(path, texts, labels, lines, num_skipped)


def shown(names: Sequence[str]) -> str:
    """Names for a message, not too many and none too long."""
    rest = len(names) - 10
    listed = ", ".join(short(name) for name in names[:10])
    return listed + (f" and {rest} more" if rest > 0 else "")


def short(text: str) -> str:
    """A text for a message, on one line and not too long; quoted where it is odd."""
    if text.isprintable() and text == text.strip() and 0 < len(text) <= 50:
        return text
    return repr(text[:50]) + ("..." if len(text) > 50 else "")


# ---- Lines ----


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Numbers, from 1 on, and text of the lines, without their ends."""
    content = files.read_bytes(path)
    for number, line in enumerate(io.BytesIO(content), start=1):
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(line) > MAX_LINE_BYTES:
            raise UserError(
                f"{path}: line {number} has {len(line):,} bytes where at most "
                f"{MAX_LINE_BYTES:,} are expected; cut it, or check that lines end "
                "with LF or CRLF"
            )
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: line {number} is not UTF-8 ({error.reason} at byte "
                f"{error.start + 1} of the line); convert the file"
            ) from None


# ---- Rows ----


def _rows(path: str, wanted: Wanted) -> Iterator[_Row]:
    name = path.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        return _rows_of_csv(path, wanted)
    if name.endswith(".jsonl"):
        return _rows_of_json(path, wanted)
    return _rows_of_tabs(path, wanted)


def _rows_of_tabs(path: str, wanted: Wanted) -> Iterator[_Row]:
    rows = ((number, line.split("\t")) for number, line in _lines(path) if line)
    return _picked(path, wanted, rows)


def _rows_of_csv(path: str, wanted: Wanted) -> Iterator[_Row]:
    return _picked(path, wanted, _fields_of_csv(path))


def _fields_of_csv(path: str) -> Iterator[tuple[int, list[str]]]:
    # The limit is one of the whole process, and by default about 130,000 characters.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    # Strict: else a quote that is never closed takes in the rest of the file.
    reader = csv.reader((f"{line}\n" for _, line in _lines(path)), strict=True)
    first_line = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}: the row that begins at line {first_line} is no CSV "
                f"({error}); check its quotes"
            ) from None
        if fields is None:
            return
        if fields:
            yield first_line, fields
        # A row has several lines where there are line ends within quotes.
        first_line = reader.line_num + 1


def _picked(
    path: str, wanted: Wanted, rows: Iterator[tuple[int, list[str]]]
) -> Iterator[_Row]:
    """Takes the wanted columns out of rows, the first of which may name them."""
    names = wanted.column_names
    if names is None:
        line, header = next(rows, (1, []))
        names = [name.strip() for name in header]
        _check_header(path, line, names, wanted)
    positions = [names.index(column) for column in wanted.columns]
    allows_more = wanted.allows_more and positions[-1] == max(positions)
    for line, fields in rows:
        if len(fields) < len(names):
            yield line, None
        elif len(fields) > len(names) and not allows_more:
            raise UserError(
                f"{path}: line {line} has {len(fields)} fields where {len(names)} are "
                "expected; a text may hold what separates fields only within the "
                "quotes of CSV"
            )
        else:
            yield line, [fields[position] for position in positions]


def _check_header(path: str, line: int, names: list[str], wanted: Wanted) -> None:
    for column in wanted.columns:
        if names.count(column) > 1:
            raise UserError(
                f"{path}: line {line} names the column {column} "
                f"{names.count(column)} times; rename all but one"
            )
        if column not in names:
            raise _no_column(path, line, column, names, wanted)


def _rows_of_json(path: str, wanted: Wanted) -> Iterator[_Row]:
    for line, text in _lines(path):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        # ValueError: also a number of too many digits.
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}: line {line} is no JSON ({error}); write one object a line"
            ) from None
        if not isinstance(fields, dict):
            raise UserError(
                f"{path}: line {line} is a JSON {_kind(fields)} where an object is "
                "expected; write one object a line"
            )
        cells = []
        for column in wanted.columns:
            if column not in fields:
                raise _no_column(path, line, column, list(fields), wanted)
            cells.append(_cell(path, line, column, fields[column], wanted))
        yield line, cells


def _cell(path: str, line: int, column: str, value: object, wanted: Wanted) -> str:
    """What a JSON value is as a text or label."""
    is_label = column == wanted.label
    if is_label and isinstance(value, (bool, int, float)):
        # As JSON writes it: true, 3, 2.5.
        return json.dumps(value)
    if not isinstance(value, str):
        expected = "a string or number" if is_label else "a string"
        raise UserError(
            f"{path}: line {line} has the JSON {_kind(value)} in the column {column} "
            f"where {expected} is expected; write it so"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{path}: line {line} has half of a surrogate pair, which is no character, "
            f"in the column {column}; remove it"
        ) from None
    return value


def _kind(value: object) -> str:
    """What JSON calls a value."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds = {str: "string", int: "number", float: "number", list: "array"}
    return kinds.get(type(value), "object")


# ---- Errors ----


def _no_column(
    path: str, line: int, column: str, names: list[str], wanted: Wanted
) -> UserError:
    return UserError(
        f"{path}: line {line} has no column {short(column)}; it has "
        f"{shown(names) or 'none'}; {wanted.remedy}"
    )


def _incomplete(
    path: str, line: int, cells: list[str] | None, wanted: Wanted
) -> UserError:
    if cells is None:
        return UserError(
            f"{path}: line {line} has too few fields; fill its columns, or remove it"
        )
    pairs = zip(wanted.columns, cells, strict=True)
    column = next(column for column, cell in pairs if not cell.strip())
    what = "label" if column == wanted.label else "text"
    return UserError(
        f"{path}: line {line} has an empty {what} in the column {short(column)}; fill "
        "it, or remove the row"
    )
