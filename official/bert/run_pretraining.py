"""Pre-trains BERT on masked words and next sentences.

    python -m official.bert.run_pretraining
    python -m official.bert.run_pretraining --dataset=text --input_files=FILES ...

README.md beside this file is the model's card.
"""

from absl import flags

from official.bert import recipes
from official.bert.bert_flags import define_bert
from official.utils import app
from official.utils.flags import core as flags_core

DATASETS = ("english", "text", "records")
RECIPES = recipes.PRETRAINING


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, "english")
    define = define_bert(flag_values)
    define.string(
        "input_files",
        None,
        "Files or patterns between commas. --dataset=text: a sentence a line, an empty "
        "line between documents; records: TFRecords of create_pretraining_data.",
    )
    define.string(
        "text_column",
        None,
        "The files of --dataset=text are tab-separated tables: read this column.",
    )
    define.boolean(
        "use_next_sentence",
        True,
        "Make pairs, and learn whether the second text follows the first. Without it "
        "one line of --dataset=text is one document.",
    )
    define.number(
        "masked_lm_prob",
        0.15,
        "Part of the pieces that are to be found.",
        low=0,
        high=1,
    )
    define.integer("max_predictions_per_seq", 20, "Most of them in a sequence.", low=1)
    define.boolean("do_whole_word_mask", False, "Hide all pieces of a word together.")
    define.number(
        "short_seq_prob",
        0.1,
        "Part of the pairs that are made shorter than they could be.",
        low=0,
        high=1,
    )
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.bert.pretraining_task import PretrainingTask

    return PretrainingTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `masked_lm_accuracy` and `loss` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
