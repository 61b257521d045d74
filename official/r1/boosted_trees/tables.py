"""Reads tables of numbers: text with commas, tabs or semicolons, maybe gzipped.

Apache Arrow parses the text with all cores. What is wrong with a file is looked for
only after that failed, line by line.
"""

import csv
import dataclasses
import math

import numpy as np
import pyarrow as pa
import pyarrow.csv

from official.utils.data import arrow_files, text_lines
from official.utils.errors import UserError, one_line

DELIMITERS = ("\t", ",", ";")
# What stands for a missing value, beside nothing at all.
MISSING = ("", "NA", "nan", "NaN")
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon"}
_BLOCK_BYTES = 4 << 20
_REMEDY = "mend or remove that line"


@dataclasses.dataclass(frozen=True)
class Form:
    """How a table is written.

    Attributes:
        path: the file.
        delimiter: between two fields.
        names: of the columns; `column_0`, ... where the file has none.
        has_header: whether its first line holds the names.
    """

    path: str
    delimiter: str
    names: tuple[str, ...]
    has_header: bool

    def position(self, column: str, flag: str) -> int:
        """The position of a column.

        Args:
            column: its name, or its number from 0 on.
            flag: that names it, for the message.

        Raises:
            UserError: there is none.
        """
        if column in self.names:
            return self.names.index(column)
        if column.isdecimal() and int(column) < len(self.names):
            return int(column)
        named = f" ({', '.join(self.names[:5])}, ...)" if self.has_header else ""
        raise UserError(
            f"{flag}={column}: {self.path} has no such column; it has "
            f"{len(self.names)}{named}, counted from 0"
        )


def form_of(path: str) -> Form:
    """Looks at the first line of a table.

    Args:
        path: the file. Its first line is a header if a field of it is no number.

    Raises:
        UserError: the file cannot be read or has no line.
    """
    first = next((line for _, line in text_lines.read(path) if line.strip()), None)
    if first is None:
        raise UserError(f"{path} is empty; give a file with a line for each row")
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    fields = _split(first, delimiter)
    has_header = any(_number(field) is None for field in fields)
    names = fields if has_header else [f"column_{i}" for i in range(len(fields))]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{path}: line 1 names the column {twice!r} twice; give each its own name"
        )
    return Form(path, delimiter, tuple(names), has_header)


def read(form: Form) -> np.ndarray:
    """Reads a table of numbers.

    Args:
        form: see `form_of`.

    Returns:
        float64 [rows, columns], column-major; NaN where a field is missing. Numbers are
        rounded correctly, as Python's `float` does.

    Raises:
        UserError: the file cannot be read, has no row, a line has another number of
            fields, or a field is no number or infinite; names the line.
    """
    options = dict(
        read_options=pa.csv.ReadOptions(
            column_names=list(form.names),
            skip_rows=0,
            skip_rows_after_names=0,
            block_size=_BLOCK_BYTES,
        ),
        parse_options=pa.csv.ParseOptions(delimiter=form.delimiter),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.float64() for name in form.names},
            null_values=list(MISSING),
            strings_can_be_null=True,
        ),
    )
    try:
        with arrow_files.opened(form.path) as stream:
            if form.has_header:
                options["read_options"].skip_rows_after_names = 1
            table = pa.csv.read_csv(stream, **options)
    except (pa.ArrowInvalid, OSError) as error:
        _explain(form)
        raise UserError(
            f"{form.path} cannot be read as a table ({one_line(error)}); check the file"
        ) from None
    if not table.num_rows:
        raise UserError(f"{form.path} has no row; give a file with a line for each row")
    rows = np.empty([table.num_rows, len(form.names)], order="F")
    for position in range(len(form.names)):
        rows[:, position] = table.column(position).to_numpy()
    if np.isinf(rows).any():
        _explain(form)
    return rows


def row_line(form: Form, row: int) -> int:
    """The number of the line on which a row stands, from 1; slow."""
    rows = -1 - form.has_header
    for number, line in text_lines.read(form.path):
        rows += bool(line)
        if rows == row:
            return number
    raise AssertionError(f"{form.path} has no row {row}")


def _explain(form: Form) -> None:
    """Raises a `UserError` for the first line that is wrong."""
    is_header = form.has_header
    for number, line in text_lines.read(form.path):
        if not line:  # Arrow passes over empty lines.
            continue
        if is_header:
            is_header = False
            continue
        fields = _split(line, form.delimiter)
        if len(fields) != len(form.names):
            raise UserError(
                f"{form.path}: line {number} has {len(fields)} columns where "
                f"{len(form.names)} are expected, with a {_NAMES[form.delimiter]} "
                f"between them; {_REMEDY}"
            )
        for name, field in zip(form.names, fields, strict=True):
            value = _number(field)
            if value is None:
                what = "is no number"
            elif math.isinf(value):
                what = "is infinite; leave a missing value empty"
            else:
                continue
            raise UserError(
                f"{form.path}: line {number}: {field[:40]!r} in column {name} {what}; "
                f"{_REMEDY}"
            )


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _number(field: str) -> float | None:
    """The number of a field, NaN where it is missing; None where it is none."""
    if field in MISSING:
        return math.nan
    try:
        # Python also takes "1_000".
        return float(field) if "_" not in field else None
    except ValueError:
        return None
