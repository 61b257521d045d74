"""Tables in memory: columns of text and of numbers, and a label of 0 or 1."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from official.r1.wide_deep.columns import MISSING
from official.utils.data import files, splits
from official.utils.errors import UserError

# One in ten rows of the training part is for validation.
_VALIDATION_DIVISOR = 10
MIN_ROWS = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Rows of a table.

    Attributes:
        columns: by name; text is str [N], numbers are float32 [N], NaN where one is
            missing.
        labels: float32 [N], 0 or 1.
        probabilities: float32 [N], of label 1, where they are known.
    """

    columns: Mapping[str, np.ndarray]
    labels: np.ndarray
    probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, indices: np.ndarray) -> "Table":
        """Some of the rows."""
        known = self.probabilities
        return Table(
            {name: values[indices] for name, values in self.columns.items()},
            self.labels[indices],
            None if known is None else known[indices],
        )


def hold_out(table: Table, seed: int, source: str) -> tuple[Table, Table]:
    """Splits a training part at random.

    Args:
        table: the training part.
        seed: of the split.
        source: where it is from, for messages.

    Returns:
        What is trained on, and what choices are made on.

    Raises:
        UserError: there are too few rows, or all of them have one label.
    """
    if len(table) < MIN_ROWS:
        raise UserError(
            f"{source} has {len(table)} rows, too few to train on and to hold some out "
            f"for validation; give at least {MIN_ROWS}"
        )
    if table.labels.min() == table.labels.max():
        raise UserError(
            f"{source}: all {len(table)} rows have the label {table.labels[0]:.0f}; "
            "give rows of both"
        )
    indices = splits.split_indices(len(table), len(table) // _VALIDATION_DIVISOR, seed)
    kept, held_out = (table.rows(part) for part in indices)
    return kept, held_out


@dataclasses.dataclass(frozen=True)
class Line:
    """One record of a file of comma-separated values.

    Attributes:
        number: of its line in the file, counted from 1.
        cells: without the spaces around them.
    """

    number: int
    cells: list[str]


def read_lines(path: str) -> list[Line]:
    """Records of a text file with commas, plain or gzipped; blank lines are left out.

    Raises:
        UserError: the file is missing, empty, no text, or a quote does not end.
    """
    content = files.read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line} is not UTF-8 ({error.reason} at byte {error.start}); "
            "convert the file"
        ) from None
    lines = list(_records(path, text))
    if not lines:
        raise UserError(f"{path} has no row; give a table")
    return lines


def _records(path: str, text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    number = 1
    try:
        for cells in reader:
            # A row of empty cells is one of missing values; a blank line is no row.
            if len(cells) > 1 or any(cells):
                yield Line(number, [cell.strip() for cell in cells])
            number = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}: line {number}: {error}; mend the line") from None


def make_columns(
    path: str,
    lines: Sequence[Line],
    positions: Mapping[str, int],
    categories: Sequence[str],
    numbers: Sequence[str],
) -> dict[str, np.ndarray]:
    """Columns of records, all of which have as many cells.

    Args:
        path: of the file, for messages.
        lines: records.
        positions: place of each column among the cells.
        categories: names of columns of text.
        numbers: names of columns of numbers.

    Returns:
        See `Table.columns`.

    Raises:
        UserError: a number is none, or infinite.
    """
    columns = {
        name: np.array([line.cells[positions[name]] for line in lines], object)
        for name in categories
    }
    for name in numbers:
        position = positions[name]
        try:
            values = [_number(line.cells[position]) for line in lines]
        except ValueError:
            line = next(line for line in lines if _is_no_number(line.cells[position]))
            raise UserError(
                f"{path}: line {line.number} has {line.cells[position]!r} in the "
                f"column {name}, which holds finite numbers; mend the cell, or leave "
                "it empty where the number is missing"
            ) from None
        columns[name] = np.array(values, np.float32)
    return columns


def _number(text: str) -> float:
    if text in MISSING:
        return math.nan
    # Beyond the range of float32 lies what is as good as infinite.
    value = float(text)
    if not (math.isnan(value) or abs(value) < 3.4e38):
        raise ValueError(text)
    return value


def _is_no_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return True
    return False


def check_width(path: str, lines: Sequence[Line], names: Sequence[str]) -> None:
    """Checks that each record has a cell for each name.

    Raises:
        UserError: a line has more or fewer.
    """
    for line in lines:
        if len(line.cells) != len(names):
            raise UserError(
                f"{path}: line {line.number} has {len(line.cells)} cells where "
                f"{len(names)} are expected ({', '.join(names)}); mend the line"
            )
