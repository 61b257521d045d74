"""The rows that a run trains on, chooses by, and is tested on."""

import dataclasses
import os

import numpy as np

from official.r1.boosted_trees import data_download, decay, higgs, tables
from official.r1.boosted_trees.higgs_columns import COLUMNS
from official.utils.data.splits import split_indices
from official.utils.errors import UserError
from official.utils.flags.settings import Settings

DATASETS = ("decay", "higgs", "csv")


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows.

    Attributes:
        features: float [N, features], column-major, NaN for missing values.
        labels: float32 [N], 0 or 1.
        best_chances: float64 [N], the true chances of 1; None where nobody knows.
    """

    features: np.ndarray
    labels: np.ndarray
    best_chances: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Part":
        """Some of the rows."""
        best = None if self.best_chances is None else self.best_chances[rows]
        # By columns, which keeps the order in memory, and half of the memory.
        features = np.empty(
            [len(rows), self.features.shape[1]], self.features.dtype, "F"
        )
        for position in range(self.features.shape[1]):
            features[:, position] = self.features[rows, position]
        return Part(features, self.labels[rows], best)


class Dataset:
    """The parts of a data set, read when they are asked for.

    Attributes:
        names: of the features, in their order.
        description: which set this is.
    """

    def __init__(self, settings: Settings):
        """Looks at the files.

        Args:
            settings: resolved flags.

        Raises:
            UserError: a file is missing, or flags contradict each other.
        """
        self._settings = settings
        self.names = COLUMNS
        if settings.dataset == "csv":
            self._form = self._first_form()
            self._label = self._form.position(settings.label_column, "--label_column")
            names = list(self._form.names)
            del names[self._label]
            self.names = tuple(names)
            if not names:
                raise UserError(
                    f"{self._form.path} has one column; give a label and features"
                )
        else:
            _check_ranges(settings)
        if settings.dataset == "higgs":
            if settings.download and settings.data_dir:
                data_download.prepare(settings.data_dir)
            higgs.find(settings.data_dir)
        self.description = {
            "decay": "the embedded set of made-up events in the columns of HIGGS",
            "higgs": f"read from {settings.data_dir}",
            "csv": f"read from {settings.train_file}, {settings.eval_file}",
        }[settings.dataset]

    def _first_form(self) -> tables.Form:
        settings = self._settings
        is_training = settings.mode.startswith("train")
        flag = "train_file" if is_training else "eval_file"
        for name in (flag, "eval_file"):
            if not settings[name] and (name != "eval_file" or settings.mode != "train"):
                raise UserError(
                    f"--dataset=csv needs --{name}=FILE, a table of numbers"
                )
        return tables.form_of(self._path(flag))

    def _path(self, flag: str) -> str:
        """The file that a flag names, in --data_dir where that is given."""
        path = os.path.expanduser(self._settings[flag])
        return os.path.join(self._settings.data_dir or "", path)

    def training(self) -> tuple[Part, Part | None]:
        """Training rows, and those held out of them for validation, or None.

        Raises:
            UserError: there are too few, or all labels are equal.
        """
        whole = self._read("train")
        fraction = validation_fraction(self._settings)
        held_out = None
        if fraction:
            number = max(1, round(fraction * len(whole)))
            if number >= len(whole):
                raise UserError(
                    f"{len(whole)} training rows cannot be divided by "
                    f"--validation_fraction={fraction}; give more rows"
                )
            kept, rows = split_indices(len(whole), number, self._settings.seed)
            whole, held_out = whole.take(kept), whole.take(rows)
            _check_labels(held_out, "the rows held out for validation")
        _check_labels(whole, "the training rows")
        return whole, held_out

    def test(self) -> Part:
        """The rows of the test."""
        return self._read("eval")

    def _read(self, part: str) -> Part:
        settings = self._settings
        start, count = settings[f"{part}_start"], settings[f"{part}_count"]
        if settings.dataset == "decay":
            return Part(*decay.make(start, count))
        if settings.dataset == "higgs":
            rows = higgs.read(settings.data_dir, start, count, part)
            return Part(np.asfortranarray(rows[:, 1:]), rows[:, 0].copy())
        return self._read_csv(part, start or 0, count)

    def _read_csv(self, part: str, start: int, count: int | None) -> Part:
        flag = f"{part}_file"
        path = self._path(flag)
        form = tables.form_of(path)
        if len(form.names) != len(self._form.names) or (
            form.has_header and self._form.has_header and form.names != self._form.names
        ):
            raise UserError(
                f"--{flag}={path} has the columns {_some(form.names)} where "
                f"{self._form.path} has {_some(self._form.names)}; both need the same"
            )
        rows = tables.read(form)
        labels = rows[:, self._label]
        is_wrong = ~np.isin(labels, (0, 1))
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise UserError(
                f"{path}: line {tables.row_line(form, row)} has the label "
                f"{labels[row]:g} in column {form.names[self._label]}; labels are 0 or "
                "1 (--label_column names another column)"
            )
        if start >= len(rows) or (count and start + count > len(rows)):
            raise UserError(
                f"--{part}_start={start} --{part}_count={count} reach beyond the "
                f"{len(rows)} rows of {path}; lower them"
            )
        labels = labels[start:][:count].astype(np.float32)
        rows = rows[start:][:count]
        return Part(_without(rows, self._label), labels)


def validation_fraction(settings: Settings) -> float:
    """The share of the training rows that is held out."""
    if settings.validation_fraction is not None:
        return settings.validation_fraction
    is_needed = (
        settings.early_stopping_rounds
        or settings.export_best
        or settings.stop_threshold is not None
    )
    return 0.1 if is_needed else 0.0


def _without(rows: np.ndarray, column: int) -> np.ndarray:
    """All columns but one, without a copy where it stands at an edge."""
    if column == 0:
        return rows[:, 1:]
    if column == rows.shape[1] - 1:
        return rows[:, :-1]
    return np.asfortranarray(np.delete(rows, column, axis=1))


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return f"{len(names)} ({shown}{', ...' if len(names) > 4 else ''})"


def _check_labels(part: Part, what: str) -> None:
    if part.labels.min() == part.labels.max():
        raise UserError(
            f"{what} ({len(part)}) all have the label {part.labels[0]:g}; give rows "
            "with both"
        )


def _check_ranges(settings: Settings) -> None:
    """Refuses test rows that are trained on."""
    train = settings.train_start, settings.train_start + settings.train_count
    test = settings.eval_start, settings.eval_start + settings.eval_count
    if settings.mode == "train_and_eval" and train[0] < test[1] and test[0] < train[1]:
        raise UserError(
            f"training rows {train[0]:,} to {train[1]:,} and test rows {test[0]:,} to "
            f"{test[1]:,} overlap; change --train_start, --train_count, "
            "--eval_start or --eval_count"
        )
