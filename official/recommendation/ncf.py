"""Trains, evaluates and exports neural collaborative filtering (NeuMF).

    python -m official.recommendation.ncf
    python -m official.recommendation.ncf --dataset=ml-100k --data_dir=DIR

README.md beside this file is the model's card.
"""

from absl import flags

from official.recommendation import recipes
from official.utils import app
from official.utils.flags import core as flags_core
from official.utils.flags.definer import Definer

DATASETS = ("clusters", "ml-100k", "ml-1m", "ml-20m", "ml-25m", "ml-32m", "csv")
MODEL_TYPES = ("neumf", "gmf", "mlp")


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, default_dataset="clusters")
    define = Definer(flag_values, "ncf")
    _define_network(define)
    _define_data(define)
    define.integer(
        "num_neg", 4, "Negatives drawn for each training pair, anew each time.", low=1
    )
    define.integer(
        "num_eval_negatives",
        99,
        "Items that a held-out one is ranked among; -1 for all that its user did not "
        "take.",
        low=-1,
    )
    define_recommendations(define)
    flags.DEFINE_alias(
        "hr_threshold", "stop_threshold", flag_values=flag_values, module_name="ncf"
    )
    _register_validators(flag_values)
    return flag_values


def _register_validators(flag_values: flags.FlagValues) -> None:
    def is_even_list(text):
        sizes = _numbers(text, int)
        return sizes is not None and (
            len(sizes) > 1 and min(sizes) > 0 and sizes[0] % 2 == 0
        )

    def are_strengths(text):
        strengths = _numbers(text, float)
        return strengths is not None and min(strengths) >= 0

    for name, is_good, should in (
        (
            "layers",
            is_even_list,
            "should be two sizes or more between commas, the first one even, as in "
            "64,32,16,8",
        ),
        (
            "mlp_regularization",
            are_strengths,
            "should be numbers from 0 on between commas, as in 0,0,0,0",
        ),
        (
            "num_eval_negatives",
            lambda number: number != 0,
            "should be a number of items, or -1 for all",
        ),
    ):
        flags.register_validator(name, is_good, should, flag_values=flag_values)


def _numbers(text: str, kind: type) -> list | None:
    """The numbers between commas, None where one is none."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        return None


def define_recommendations(define: Definer) -> None:
    """Flags of recommendations; `recommend` has them too."""
    define.integer("top_k", 10, "Items that a recommendation lists.", low=1)
    define.string("users", None, "Ids of users between commas, to recommend items to.")
    define.string("users_file", None, "The same, an id a line.")
    define.string(
        "output_file", None, "File for the recommendations. Default: the terminal."
    )


def _define_network(define: Definer) -> None:
    define.choice("model_type", "neumf", MODEL_TYPES, "Both parts, or one alone.")
    define.integer("num_factors", 8, "Factors of the product.", low=1)
    define.string(
        "layers",
        "64,32,16,8",
        "Sizes of the perceptron: what user and item bring together, half each, then "
        "its layers.",
    )
    define.boolean(
        "separate_tables",
        False,
        "Tables of their own for product and perceptron; else one a side.",
    )
    define.number("mf_regularization", 0.0, "L2 of the product's rows.", low=0)
    define.string(
        "mlp_regularization",
        "0,0,0,0",
        "L2 of the perceptron: of its rows, then of each layer.",
    )
    define.boolean(
        "lazy_tables",
        True,
        "Adam moves the rows alone that a batch reads (lazy); else all rows, with the "
        "cost of it.",
    )


def _define_data(define: Definer) -> None:
    define.number(
        "validation_users",
        1.0,
        "Share of the users whose rating before the last is kept from training, to "
        "validate on.",
        low=0,
        high=1,
    )
    define.number(
        "min_rating", None, "Ratings below do not count. Default: all ratings count."
    )
    define.string("ratings_file", None, "For --dataset=csv: a table with a header.")
    define.string("user_column", "user", "Its column of users.")
    define.string("item_column", "item", "Its column of items.")
    define.string("rating_column", None, "Its column of ratings; for --min_rating.")
    define.string(
        "time_column",
        None,
        "Its column of times, numbers. Default: later lines are later.",
    )


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.recommendation.task import NcfTask

    return NcfTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `hr_at_10` and `ndcg_at_10` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, recipes.RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, recipes.RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
