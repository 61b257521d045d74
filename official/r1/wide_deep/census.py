"""The census income data set ("Adult") as its publisher gives it.

Becker and Kohavi, 1996, https://doi.org/10.24432/C5XW20, CC BY 4.0.
"""

import os

import numpy as np
import tensorflow as tf

from official.r1.wide_deep import tables
from official.r1.wide_deep.columns import Columns
from official.r1.wide_deep.tables import Line, Table
from official.utils.data import download, files
from official.utils.data.download import RemoteFile
from official.utils.errors import UserError

# The names of 2019.
NAMES = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status"),
    *("occupation", "relationship", "race", "gender", "capital_gain", "capital_loss"),
    *("hours_per_week", "native_area", "income_bracket"),
)
LABEL = "income_bracket"
LABEL_NAMES = ("<=50K", ">50K")
# Race, gender and origin are not looked at, as in 2019; fnlwgt is no fact of a person.
CATEGORIES = (
    *("education", "marital_status", "relationship", "workclass", "occupation"),
)
NUMBERS = (*("age", "education_num", "capital_gain", "capital_loss", "hours_per_week"),)
AGE_BOUNDARIES = (18.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0)
_CROSSES = (
    ("education", "occupation"),
    ("age", "education", "occupation"),
)

COLUMNS_2019 = Columns(
    categories=CATEGORIES,
    numbers=NUMBERS,
    wide=(*CATEGORIES, "age"),
    crosses=_CROSSES,
    indicators=("workclass", "education", "marital_status", "relationship"),
    embedded=("occupation",),
    plain=NUMBERS,
    hashed={"occupation": 1000},
    boundaries={"age": AGE_BOUNDARIES},
    is_scaled=False,
)
COLUMNS = Columns(
    categories=CATEGORIES,
    numbers=NUMBERS,
    wide=(*CATEGORIES, "age", "capital_gain", "capital_loss", "hours_per_week"),
    crosses=_CROSSES,
    indicators=(),
    embedded=(*CATEGORIES, *NUMBERS),
    plain=NUMBERS,
    boundaries={"age": AGE_BOUNDARIES},
)

_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
REMOTE_FILES = tuple(
    RemoteFile(name, (_URL + name,), sha256, size)
    for name, sha256, size in (
        (
            "adult.data",
            "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
            3_974_305,
        ),
        (
            "adult.test",
            "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            2_003_153,
        ),
    )
)


def load(data_dir: str | None, may_download: bool) -> tuple[Table, Table]:
    """Loads `adult.data` and `adult.test`.

    Args:
        data_dir: their folder.
        may_download: fetch those that are missing.

    Returns:
        The training and the test part.

    Raises:
        UserError: a file is missing, cannot be fetched or is not what it should be.
    """
    for remote in REMOTE_FILES:
        missing = data_dir and not tf.io.gfile.exists(
            os.path.join(data_dir, remote.name)
        )
        if may_download and missing:
            download.fetch(remote, data_dir)
    paths = [
        files.find(data_dir, [remote.name], "census", can_download=True)
        for remote in REMOTE_FILES
    ]
    train, test = (read(path) for path in paths)
    return train, test


def read(path: str) -> Table:
    """Reads one of the two files.

    A line that begins with `|` is a comment, and the full stop after the labels of
    `adult.test` is none of theirs.

    Raises:
        UserError: the file is missing or empty, or a record is no census record.
    """
    lines = records(path)
    tables.check_width(path, lines, NAMES)
    labels = np.array([_label(path, line) for line in lines], np.float32)
    return Table(columns_of(path, lines), labels)


def records(path: str) -> list[Line]:
    """The lines of a file of the set, without comments."""
    lines = [
        line for line in tables.read_lines(path) if not line.cells[0].startswith("|")
    ]
    if not lines:
        raise UserError(f"{path} holds comments and no record; fetch it again")
    return lines


def columns_of(path: str, lines: list[Line]) -> dict[str, np.ndarray]:
    """The columns that the model looks at."""
    positions = {name: place for place, name in enumerate(NAMES)}
    return tables.make_columns(path, lines, positions, CATEGORIES, NUMBERS)


def _label(path: str, line: Line) -> int:
    text = line.cells[-1].removesuffix(".")
    if text not in LABEL_NAMES:
        raise UserError(
            f"{path}: line {line.number} has the label {line.cells[-1]!r} where "
            f"{' or '.join(LABEL_NAMES)} is expected; fetch the file again"
        )
    return LABEL_NAMES.index(text)
