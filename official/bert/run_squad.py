"""Trains, evaluates and exports BERT for answers to questions about a text.

    python -m official.bert.run_squad
    python -m official.bert.run_squad --dataset=squad --train_file=FILE ...

README.md beside this file is the model's card.
"""

from absl import flags

from official.bert import recipes
from official.bert.bert_flags import define_bert
from official.utils import app
from official.utils.flags import core as flags_core

DATASETS = ("english", "squad")
RECIPES = recipes.SQUAD


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, "english")
    define = define_bert(flag_values, max_seq_length=384)
    define.string("train_file", None, "JSON file of SQuAD 1.1 or 2.0, to train on.")
    define.string("predict_file", None, "JSON file whose questions are the test.")
    define.integer(
        "doc_stride", 128, "Pieces between two windows of a long text.", low=1
    )
    define.integer("max_query_length", 64, "Most pieces of a question.", low=1)
    define.integer("n_best_size", 20, "Answers that are listed for a question.", low=1)
    define.integer("max_answer_length", 30, "Most pieces of an answer.", low=1)
    define.number(
        "null_score_diff_threshold",
        0.0,
        "How much better no answer must score than the best one to be given, where the "
        "training file has questions without answers.",
    )
    define.string("input", None, "JSON file to answer with --mode=predict.")
    define.string("output", None, "Folder for the answers of --mode=predict.")
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.bert.squad_task import SquadTask

    return SquadTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `exact_match`, `f1` and `loss` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
