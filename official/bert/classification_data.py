"""Labelled texts and pairs of texts: GLUE's tasks, and tables of the user's own.

Nothing may be chosen on what is reported. Where files give two parts only, as GLUE's
do, the second one is the test part, and validation is drawn from training by the seed.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from official.bert import glue, tables
from official.utils.data import files, splits
from official.utils.errors import UserError

# Of the training part: one in 20, and no more than settle a choice well.
VALIDATION_FRACTION = 0.05
MAX_VALIDATION = 2_000
# Of a table without a second part, whatever the seed.
TEST_FRACTION = 0.1

# Under which names the parts of a table are known; the first one is preferred.
_PART_NAMES = {
    "train": ("train",),
    "validation": ("dev", "validation"),
    "test": ("test",),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Texts or pairs with their labels.

    Attributes:
        text_a: N texts, none empty.
        text_b: the second ones of pairs; None for single texts.
        labels: [N], int32 classes or float32 scores.
    """

    text_a: list[str]
    text_b: list[str] | None
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Classification:
    """A data set.

    Attributes:
        name: for the first line of a run.
        source: where it comes from, in words.
        label_names: of the classes; empty where labels are scores.
        metrics: of `metrics.METRICS`; the first one chooses the best checkpoint.
        train: what is learned from.
        validation: what choices are made on.
        test: what is reported on.
        notes: what was passed over, counted, in words.
    """

    name: str
    source: str
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of a table are read.

    Attributes:
        text_a: that of the texts.
        text_b: that of the second texts of pairs; None for single texts.
        label: that of the labels.
        label_names: the labels in the order of the classes; None for those that occur
            in training, sorted.
    """

    text_a: str = "sentence"
    text_b: str | None = None
    label: str = "label"
    label_names: tuple[str, ...] | None = None


def load(
    task: str, data_dir: str | None, seed: int, columns: Columns | None = None
) -> Classification:
    """Reads a data set.

    Args:
        task: a name of `glue.TASKS`, or `table`: tsv, csv or jsonl files `train`,
            `dev` or `validation`, and `test`, maybe gzipped. See `tables` for the
            forms. Without `test`, it is `dev` that is reported on; without both, a
            fixed tenth of `train`.
        data_dir: the folder with the files.
        seed: draws the validation part where there is no file of it.
        columns: those of a `table`; of no effect for other tasks.

    Returns:
        The data set; no part is empty.

    Raises:
        UserError: a file or column is missing, or a row is wrong, or there are too few.
    """
    if task == "table":
        return _load_table(data_dir, seed, columns or Columns())
    spec = glue.TASKS[task]
    train, test = glue.read(task, data_dir)
    to_part = _scores if spec.labels is None else _Classes(tuple(spec.labels))
    train_part, validation = _held_out(to_part(train), train.path, seed)
    return Classification(
        name=task,
        source=_describe(data_dir, {"train": train, "test": test}),
        label_names=() if spec.labels is None else tuple(spec.labels.values()),
        metrics=spec.metrics,
        train=train_part,
        validation=validation,
        test=to_part(test),
        notes=tuple(filter(None, map(_note, (train, test)))),
    )


# ---- Tables of the user's own ----


def _load_table(data_dir: str | None, seed: int, columns: Columns) -> Classification:
    found = {
        part: tables.read(path, _wanted(part, columns))
        for part, path in _find_parts(data_dir).items()
    }
    to_part = _Classes(columns.label_names or _label_names(found["train"]))
    parts = {part: to_part(table) for part, table in found.items()}
    path = found["train"].path
    if "test" not in parts:
        parts["train"], parts["test"] = _held_out(
            parts["train"], path, seed=0, fraction=TEST_FRACTION
        )
    if "validation" not in parts:
        parts["train"], parts["validation"] = _held_out(parts["train"], path, seed)
    return Classification(
        name="table",
        source=_describe(data_dir, found),
        label_names=to_part.names,
        metrics=("accuracy",),
        notes=(),
        **parts,
    )


def _find_parts(data_dir: str | None) -> dict[str, str]:
    """The file of each part that is there."""
    endings = [f".{kind}{gz}" for gz in ("", ".gz") for kind in tables.EXTENSIONS]
    files.find(data_dir, [f"train{ending}" for ending in endings], "table")
    with files.reading(f"--data_dir={data_dir}"):
        present = set(tf.io.gfile.listdir(data_dir))
    found = {}
    for part, names in _PART_NAMES.items():
        known = [f"{name}{ending}" for name in names for ending in endings]
        there = [name for name in known if name in present]
        if len(there) > 1:
            raise UserError(
                f"--data_dir={data_dir} has both {there[0]} and {there[1]}, which mean "
                "the same part; join them, or remove one"
            )
        if there:
            found[part] = tf.io.gfile.join(data_dir, there[0])
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    return found


def _wanted(part: str, columns: Columns) -> tables.Wanted:
    texts = (columns.text_a, columns.text_b)
    remedy = "name the columns with --text_a, --text_b and --label"
    if part != "train":
        remedy += ", or remove the file if its rows have no labels"
    return tables.Wanted(
        tuple(name for name in texts if name is not None), columns.label, remedy
    )


def _label_names(table: tables.Table) -> tuple[str, ...]:
    names = tuple(sorted(set(table.labels)))
    if len(names) < 2:
        raise UserError(
            f"{table.path} has one label only, {tables.short(names[0])}, where at "
            "least 2 are needed; add rows of other labels"
        )
    return names


# ---- From tables to parts ----


@dataclasses.dataclass(frozen=True)
class _Classes:
    """Makes a part of a table whose labels are classes.

    Attributes:
        names: the labels as they are written, in the order of the classes.
    """

    names: tuple[str, ...]

    def __call__(self, table: tables.Table) -> Part:
        number_of = {label: number for number, label in enumerate(self.names)}
        labels = [number_of.get(label, -1) for label in table.labels]
        if -1 in labels:
            row = labels.index(-1)
            raise UserError(
                f"{table.path}: line {table.lines[row]} has the label "
                f"{tables.short(table.labels[row])} where one of "
                f"{tables.shown(self.names)} is expected; correct it"
            )
        return _part(table, np.array(labels, np.int32))


def _scores(table: tables.Table) -> Part:
    """Makes a part of a table whose labels are scores from 0 to `glue.MAX_SCORE`."""
    scores = []
    for line, label in zip(table.lines, table.labels, strict=True):
        try:
            score = float(label)
        except ValueError:
            score = float("nan")
        # False also for what is not a number.
        if not 0 <= score <= glue.MAX_SCORE:
            raise UserError(
                f"{table.path}: line {line} has the score {tables.short(label)} where "
                f"a number from 0 to {glue.MAX_SCORE:g} is expected; correct it"
            )
        scores.append(score)
    return _part(table, np.array(scores, np.float32))


def _part(table: tables.Table, labels: np.ndarray) -> Part:
    text_a, *rest = table.texts
    return Part(text_a, rest[0] if rest else None, labels)


def _held_out(
    part: Part, path: str, seed: int, fraction: float = VALIDATION_FRACTION
) -> tuple[Part, Part]:
    """Divides a part at random; the second one has a fraction, and at least one row."""
    number = min(max(1, round(fraction * len(part))), MAX_VALIDATION)
    if number >= len(part):
        raise UserError(
            f"{path} has too few rows to hold some out: {len(part)}; add rows"
        )
    kept, held_out = splits.split_indices(len(part), number, seed)
    return _taken(part, kept), _taken(part, held_out)


def _taken(part: Part, rows: np.ndarray) -> Part:
    text_a, text_b = (
        texts and [texts[row] for row in rows.tolist()]
        for texts in (part.text_a, part.text_b)
    )
    return Part(text_a, text_b, part.labels[rows])


# ---- In words ----


def _describe(data_dir: str, found: Mapping[str, tables.Table]) -> str:
    """Says from which file of a folder each part comes."""
    names = {part: _name(table) for part, table in found.items()}
    sources = [
        f"{part} from {names.get(part, 'a part of ' + names['train'])}"
        for part in _PART_NAMES
    ]
    return f"{data_dir}: {', '.join(sources)}"


def _name(table: tables.Table) -> str:
    return table.path.rsplit("/", 1)[-1]


def _note(table: tables.Table) -> str:
    if not table.num_skipped:
        return ""
    rows = "row" if table.num_skipped == 1 else "rows"
    return f"{table.num_skipped:,} {rows} of {_name(table)} lacked fields: passed over"
