"""Trains, evaluates and exports BERT for classes or scores of sentences and pairs.

    python -m official.bert.run_classifier
    python -m official.bert.run_classifier --task=SST-2 --data_dir=DIR ...

README.md beside this file is the model's card.
"""

from absl import flags

from official.bert import recipes
from official.bert.bert_flags import define_bert
from official.utils import app
from official.utils.flags import core as flags_core

TASKS = (
    *("english", "CoLA", "SST-2", "MRPC", "MNLI", "MNLI-mm", "QNLI", "QQP", "RTE"),
    *("STS-B", "table"),
)
RECIPES = recipes.CLASSIFIER


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(TASKS, "english", dataset_alias="task")
    define = define_bert(flag_values)
    define.string("text_a", "sentence", "Column of the text, for --task=table.")
    define.string("text_b", None, "Column of the second text of a pair.")
    define.string("label", "label", "Column of the label.")
    define.string(
        "input",
        None,
        "File to classify with --mode=predict: a text a line, or two with a tab "
        "between them.",
    )
    define.string("output", None, "CSV file for --mode=predict. Default: the terminal.")
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.bert.classifier_task import ClassifierTask

    return ClassifierTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `accuracy`, `f1`, ... and `loss`.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
