"""Trains, evaluates and exports a wide and deep model of ratings of movies.

    python -m official.r1.wide_deep.movielens_main
    python -m official.r1.wide_deep.movielens_main --dataset=ml-100k --data_dir=DIR

README.md beside this file is the model's card.
"""

from absl import flags

from official.r1.wide_deep import recipes
from official.r1.wide_deep.wide_deep_flags import define_wide_deep
from official.utils import app
from official.utils.flags import core as flags_core
from official.utils.flags.training_set import UNSET

DATASETS = ("movielens_like", "ml-100k", "ml-1m", "ml-20m")
RECIPES = recipes.MOVIELENS


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, default_dataset="movielens_like")
    define = define_wide_deep(flag_values)
    define.integer(
        "user_embedding_size", 16, f"Width of a user's vector {UNSET}.", low=1
    )
    define.integer(
        "item_embedding_size", 64, f"Width of a movie's vector {UNSET}.", low=1
    )
    define.number(
        "embedding_dropout", 0.0, f"Dropout on these vectors {UNSET}.", low=0, high=0.99
    )
    define.integer(
        "min_count",
        1,
        f"Users and movies with fewer ratings are as unseen ones {UNSET}.",
        low=1,
    )
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.r1.wide_deep.movielens_task import MovielensTask

    return MovielensTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `rmse`, `mae` and `loss` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
