"""Chances for the rows of a table."""

import os
from collections.abc import Sequence

from official.r1.boosted_trees import engine, tables
from official.utils.errors import UserError
from official.utils.flags.settings import Settings
from official.utils.logs import files


def predict(
    settings: Settings, model: str, num_trees: int, names: Sequence[str]
) -> None:
    """Writes class and chance for each row of `--input`.

    Args:
        settings: resolved flags.
        model: LightGBM's text.
        num_trees: the first so many trees are used.
        names: of the features.

    Raises:
        UserError: the table cannot be read or has other columns; or the output exists.
    """
    if not settings.input:
        raise UserError("--mode=predict needs --input=FILE, a table of the features")
    form = tables.form_of(os.path.expanduser(settings.input))
    rows = tables.read(form)
    label = _label(form, names, settings.label_column)
    if label is not None:
        rows = rows[:, [i for i in range(rows.shape[1]) if i != label]]
    threads = settings.intra_op_parallelism_threads
    chances = engine.predict(model, rows, num_trees, threads)
    files.write_predictions(
        settings.output,
        ["class", "probability"],
        ([int(chance > 0.5), f"{chance:.6f}"] for chance in chances),
    )


def _label(form: tables.Form, names: Sequence[str], column: str) -> int | None:
    """The position of a label that stands among the features; None without one.

    Raises:
        UserError: the columns are not those of the model.
    """
    found = list(form.names)
    label = None
    if len(found) == len(names) + 1:
        label = form.position(column, "--label_column")
        del found[label]
    # Without headers there are only numbers to compare.
    has_names = form.has_header and not _are_numbered(names)
    if len(found) != len(names) or (has_names and found != list(names)):
        odd = next((n for n in found if n not in names), None)
        missing = next((n for n in names if n not in found), None)
        more = f"; {odd!r} is none of them" if has_names and odd else ""
        more += f"; {missing!r} is missing" if has_names and missing else ""
        raise UserError(
            f"--input={form.path} has {len(form.names)} columns where the model has "
            f"{len(names)} features{more}; give those of the training in their order, "
            "with or without the label"
        )
    return label


def _are_numbered(names: Sequence[str]) -> bool:
    return all(name.startswith("column_") for name in names)
