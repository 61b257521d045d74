"""Signatures of tables of raw columns, and answers for the rows of a CSV file."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.r1.wide_deep import tables
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.flags.settings import Settings
from official.utils.logs import files

_BATCH_ROWS = 4096


def signatures(
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    categories: Sequence[str],
    numbers: Sequence[str],
    resources: Sequence[Any],
) -> dict[str, Signature]:
    """One signature for serialized examples, and one for named columns.

    Args:
        answer: takes string and float32 tensors [N] by name.
        categories: names of columns of text.
        numbers: names of columns of numbers.
        resources: tables that `answer` reads.

    Returns:
        `serving_default(examples)` and `columns(...)`. A feature that an example lacks
        is a missing value, as `?` or NaN is.
    """
    features = {
        name: tf.io.FixedLenFeature([], tf.string, default_value="")
        for name in categories
    } | {
        name: tf.io.FixedLenFeature([], tf.float32, default_value=np.nan)
        for name in numbers
    }
    specs = [tf.TensorSpec([None], tf.string, name=name) for name in categories]
    specs += [tf.TensorSpec([None], tf.float32, name=name) for name in numbers]

    def from_examples(examples):
        return answer(tf.io.parse_example(examples, features))

    def from_columns(*values):
        return answer(dict(zip([spec.name for spec in specs], values, strict=True)))

    examples = tf.TensorSpec([None], tf.string, name="examples")
    return {
        "serving_default": Signature(from_examples, [examples], resources),
        "columns": Signature(from_columns, specs, resources),
    }


def read_columns(
    path: str, categories: Sequence[str], numbers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Columns of a CSV file with a header, in any order; others are left out.

    Raises:
        UserError: the file is missing or empty, or a column is missing.
    """
    header, *lines = tables.read_lines(os.path.expanduser(path))
    for name in (*categories, *numbers):
        if header.cells.count(name) != 1:
            number = "no" if name not in header.cells else "more than one"
            raise UserError(
                f"{path}: line {header.number}, the header, has {number} column "
                f"{name!r}; the model takes {', '.join((*categories, *numbers))}"
            )
    if not lines:
        raise UserError(f"{path} has a header and no row; give rows to predict for")
    tables.check_width(path, lines, header.cells)
    positions = {name: place for place, name in enumerate(header.cells)}
    return tables.make_columns(path, lines, positions, categories, numbers)


def in_batches(
    function: Callable[..., Mapping[str, Any]],
    columns: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> dict[str, np.ndarray]:
    """What a signature answers for all rows.

    Args:
        function: of the signature `columns`.
        columns: by name.
        names: in the order of the function's arguments.
    """
    rows = len(columns[names[0]])
    found = [
        function(*(tf.constant(columns[n][i : i + _BATCH_ROWS]) for n in names))
        for i in range(0, rows, _BATCH_ROWS)
    ]
    return {
        name: np.concatenate([part[name].numpy() for part in found])
        for name in found[0]
    }


def _answers(function, settings: Settings, categories, numbers):
    if not settings.input:
        raise UserError("--mode=predict needs --input=FILE: a CSV file with a header")
    columns = read_columns(settings.input, categories, numbers)
    return in_batches(function, columns, [*categories, *numbers])


def predict_classes(
    function: Callable[..., Mapping[str, Any]],
    settings: Settings,
    facts: Mapping[str, Any],
) -> None:
    """Writes a row for each row of `--input`: its number, class and probability.

    Args:
        function: of the signature `columns`.
        settings: with `input` and `output`.
        facts: with `categories`, `numbers` and `label_names`.

    Raises:
        UserError: the input is wrong, or the output exists.
    """
    found = _answers(function, settings, facts["categories"], facts["numbers"])
    header = ["class", f"probability of {facts['label_names'][1]}"]
    pairs = zip(found["classes"][:, 0], found["logistic"][:, 0], strict=True)
    files.write_predictions(
        settings.output, header, ([word.decode(), f"{p:.6f}"] for word, p in pairs)
    )


def predict_ratings(
    function: Callable[..., Mapping[str, Any]],
    settings: Settings,
    categories: Sequence[str],
    numbers: Sequence[str],
) -> None:
    """Writes a row for each row of `--input`: its number and rating.

    Args:
        function: of the signature `columns`.
        settings: with `input` and `output`.
        categories: names of columns of text.
        numbers: names of columns of numbers.

    Raises:
        UserError: the input is wrong, or the output exists.
    """
    found = _answers(function, settings, categories, numbers)
    files.write_predictions(
        settings.output, ["rating"], ([f"{stars:.4f}"] for stars in found["rating"])
    )
