"""The tasks of GLUE: their files, columns, labels and metrics.

Wang et al., 2018, https://arxiv.org/abs/1804.07461. The published files have labels for
training and development only; those of the test sets stay with the authors.
"""

import dataclasses

from official.bert import tables
from official.utils.data import files


@dataclasses.dataclass(frozen=True)
class Layout:
    """The files of a task in one of the forms in which it is published.

    Attributes:
        train: name of the file to train on.
        test: name of the file with labels to report on.
        texts: columns of the texts.
        label: column of the labels.
        column_names: those of files without a first line that names them.
    """

    train: str
    test: str
    texts: tuple[str, ...]
    label: str
    column_names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Glue:
    """A task.

    Attributes:
        layouts: the forms of its files; the first one that is there is read.
        labels: from a label as the files have it to its name, in the order of the
            classes; None where labels are scores from 0 to `MAX_SCORE`.
        metrics: of `metrics.METRICS`, the one that chooses first.
        skips_incomplete: whether rows with missing fields are passed over.
    """

    layouts: tuple[Layout, ...]
    labels: dict[str, str] | None
    metrics: tuple[str, ...]
    skips_incomplete: bool = False


MAX_SCORE = 5.0


def read(task: str, data_dir: str | None) -> tuple[tables.Table, tables.Table]:
    """Reads the files of a task.

    Args:
        task: a name of `TASKS`.
        data_dir: the folder that holds the files, maybe gzipped.

    Returns:
        The tables to train on and to report on.

    Raises:
        UserError: a file is missing or wrong; see `tables.read`.
    """
    layouts = TASKS[task].layouts
    names = [name for layout in layouts for name in _names(layout.train)]
    train = files.find(data_dir, names, task)
    layout = next(layout for layout in layouts if train.endswith(_names(layout.train)))
    test = files.find(data_dir, _names(layout.test), task)
    return _read(train, task, layout), _read(test, task, layout)


def _names(name: str) -> tuple[str, str]:
    return name, f"{name}.gz"


def _read(path: str, task: str, layout: Layout) -> tables.Table:
    wanted = tables.Wanted(
        layout.texts,
        layout.label,
        f"check that it is the file of GLUE's {task}",
        layout.column_names,
        TASKS[task].skips_incomplete,
        allows_more=True,
    )
    return tables.read(path, wanted)


def _layout(
    *texts: str,
    label: str = "label",
    train: str = "train.tsv",
    test: str = "dev.tsv",
    column_names: tuple[str, ...] | None = None,
) -> Layout:
    return Layout(train, test, texts, label, column_names)


def _mnli(development: str) -> Glue:
    layout = _layout("sentence1", "sentence2", label="gold_label", test=development)
    names = ("contradiction", "entailment", "neutral")
    return Glue((layout,), {name: name for name in names}, ("accuracy",))


_ENTAILMENT = {name: name for name in ("entailment", "not_entailment")}

TASKS = {
    "CoLA": Glue(
        (
            _layout(
                "sentence",
                column_names=("source", "label", "original_label", "sentence"),
            ),
        ),
        {"0": "unacceptable", "1": "acceptable"},
        ("matthews", "accuracy"),
    ),
    "SST-2": Glue(
        (_layout("sentence"),), {"0": "negative", "1": "positive"}, ("accuracy",)
    ),
    "MRPC": Glue(
        (
            _layout("#1 String", "#2 String", label="Quality"),
            # As Microsoft published it, with a test set.
            _layout(
                "#1 String",
                "#2 String",
                label="Quality",
                train="msr_paraphrase_train.txt",
                test="msr_paraphrase_test.txt",
            ),
        ),
        {"0": "not_equivalent", "1": "equivalent"},
        ("accuracy", "f1"),
    ),
    "MNLI": _mnli("dev_matched.tsv"),
    "MNLI-mm": _mnli("dev_mismatched.tsv"),
    "QNLI": Glue((_layout("question", "sentence"),), _ENTAILMENT, ("accuracy",)),
    "QQP": Glue(
        (_layout("question1", "question2", label="is_duplicate"),),
        {"0": "not_duplicate", "1": "duplicate"},
        ("accuracy", "f1"),
        # Some questions have line ends in them, and some are empty.
        skips_incomplete=True,
    ),
    "RTE": Glue((_layout("sentence1", "sentence2"),), _ENTAILMENT, ("accuracy",)),
    "STS-B": Glue(
        (_layout("sentence1", "sentence2", label="score"),),
        None,
        ("pearson", "spearman"),
    ),
}
