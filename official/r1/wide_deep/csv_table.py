"""Any table of comma-separated values, with a schema that says what its columns are."""

import numpy as np

from official.r1.wide_deep import tables
from official.r1.wide_deep.columns import Columns
from official.r1.wide_deep.tables import Line, Table
from official.utils.errors import UserError
from official.utils.flags.settings import Settings

KINDS = ("category", "number", "label", "ignore")


def read_schema(path: str) -> dict[str, str]:
    """Reads kinds of columns: `column,kind` a line, in the order of the cells.

    Args:
        path: the file; a header `column,kind` may stand above. Kinds are `category`,
            `number`, `label` (one of them) and `ignore`.

    Returns:
        Kinds by column.

    Raises:
        UserError: the file is missing or is no schema.
    """
    kinds: dict[str, str] = {}
    for line in tables.read_lines(path):
        if [cell.lower() for cell in line.cells] == ["column", "kind"]:
            continue
        where = f"{path}: line {line.number}"
        if len(line.cells) != 2:
            raise UserError(f"{where} has {len(line.cells)} cells; write column,kind")
        name, kind = line.cells
        if kind not in KINDS:
            raise UserError(
                f"{where} has the kind {kind!r}; it should be one of {', '.join(KINDS)}"
            )
        if not name.isidentifier():
            raise UserError(
                f"{where}: {name!r} is no name for an input of the SavedModel; write "
                "letters, digits and _ alone, in the table's header too"
            )
        if name in kinds:
            raise UserError(f"{where} names the column {name} again; remove one")
        kinds[name] = kind
    labels = [name for name, kind in kinds.items() if kind == "label"]
    if len(labels) != 1:
        raise UserError(
            f"{path} has {len(labels)} columns of the kind label; exactly one is needed"
        )
    if not set(kinds.values()) & {"category", "number"}:
        raise UserError(f"{path} has no column of the kind category or number; add one")
    return kinds


def columns_of(kinds: dict[str, str]) -> Columns:
    """What the model makes of the columns of a schema: all of each."""
    categories = tuple(name for name, kind in kinds.items() if kind == "category")
    numbers = tuple(name for name, kind in kinds.items() if kind == "number")
    return Columns(
        categories=categories,
        numbers=numbers,
        wide=categories + numbers,
        crosses=(),
        indicators=(),
        embedded=categories + numbers,
        plain=numbers,
    )


def load(settings: Settings) -> tuple[Columns, Table, Table]:
    """Loads the files that the flags name.

    Returns:
        Columns, training part and test part.

    Raises:
        UserError: a flag is missing, or a file is not what it should be.
    """
    for flag in ("train_file", "eval_file", "schema"):
        if not settings[flag]:
            raise UserError(f"--dataset=csv needs --{flag}=FILE")
    kinds = read_schema(settings.schema)
    train, test = (
        read(path, kinds) for path in (settings.train_file, settings.eval_file)
    )
    return columns_of(kinds), train, test


def read(path: str, kinds: dict[str, str]) -> Table:
    """Reads a table with a header.

    Raises:
        UserError: the file is missing or empty, its columns are not those of the
            schema, or a cell is not of its column's kind.
    """
    header, *lines = tables.read_lines(path)
    check_header(path, header, kinds)
    if not lines:
        raise UserError(f"{path} has a header and no row; give a table")
    tables.check_width(path, lines, header.cells)
    positions = {name: place for place, name in enumerate(header.cells)}
    names = {
        kind: [name for name, each in kinds.items() if each == kind] for kind in KINDS
    }
    columns = tables.make_columns(
        path, lines, positions, names["category"], names["number"]
    )
    (label,) = names["label"]
    labels = [_label(path, line, label, line.cells[positions[label]]) for line in lines]
    return Table(columns, np.array(labels, np.float32))


def check_header(path: str, header: Line, kinds: dict[str, str]) -> None:
    """Checks that a header names the columns of a schema, in any order.

    Raises:
        UserError: a column is missing, unknown or there twice.
    """
    where = f"{path}: line {header.number}, the header,"
    for name in header.cells:
        if name not in kinds:
            raise UserError(
                f"{where} names the column {name!r}, which the schema does not know; "
                "add it there, maybe with the kind ignore"
            )
        if header.cells.count(name) > 1:
            raise UserError(f"{where} names the column {name!r} twice; rename one")
    missing = [name for name in kinds if name not in header.cells]
    if missing:
        raise UserError(
            f"{where} lacks the column {missing[0]!r} of the schema; add it, or take "
            "it out of --schema"
        )


def _label(path: str, line: Line, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = None
    if value not in (0.0, 1.0):
        raise UserError(
            f"{path}: line {line.number} has the label {text!r} in the column {column} "
            "where 0 or 1 is expected; mend it"
        )
    return value
