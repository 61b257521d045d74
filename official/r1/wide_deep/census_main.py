"""Trains, evaluates and exports wide and deep models of tables with two classes.

    python -m official.r1.wide_deep.census_main
    python -m official.r1.wide_deep.census_main --dataset=census --data_dir=DIR

README.md beside this file is the model's card.
"""

from absl import flags

from official.r1.wide_deep import recipes
from official.r1.wide_deep.wide_deep_flags import define_wide_deep
from official.utils import app
from official.utils.flags import core as flags_core
from official.utils.flags.training_set import UNSET

DATASETS = ("census_like", "census", "csv")
RECIPES = recipes.CENSUS


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, default_dataset="census_like")
    define = define_wide_deep(flag_values)
    define.integer(
        "embedding_size", 8, f"Width of the vector of a category {UNSET}.", low=1
    )
    define.choice(
        "columns",
        "default",
        ("default", "2019"),
        "What is made of the census columns: as in 2019, or with more buckets.",
    )
    define.string(
        "crosses",
        None,
        "Crosses of the wide part, as education*occupation,age*education; `pairs` for "
        "all pairs, `none` for none. Default: those of the data set; none for csv.",
    )
    define.integer(
        "min_count",
        1,
        "Categories that stand in the training part less often are as unseen ones "
        f"{UNSET}.",
        low=1,
    )
    define.integer(
        "num_buckets", 32, f"Most buckets of a column of numbers {UNSET}.", low=2
    )
    define.integer(
        "cross_buckets",
        1000,
        f"Most weights of a cross; what has more is hashed {UNSET}.",
        low=2,
    )
    define.string("schema", None, "For --dataset=csv: a file of lines column,kind.")
    define.string("train_file", None, "For --dataset=csv: the training part.")
    define.string("eval_file", None, "For --dataset=csv: the test part.")
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.r1.wide_deep.census_task import CensusTask

    return CensusTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `accuracy`, `auc` and `loss` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
