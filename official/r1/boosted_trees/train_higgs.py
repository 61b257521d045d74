"""Trains, evaluates and exports boosted trees, by default for signals among events.

    python -m official.r1.boosted_trees.train_higgs
    python -m official.r1.boosted_trees.train_higgs --dataset=higgs --data_dir=DIR

README.md beside this file is the model's card.
"""

import os

from absl import flags

from official.r1.boosted_trees import recipes
from official.utils import app
from official.utils.flags import core as flags_core
from official.utils.flags.definer import Definer

DATASETS = ("decay", "higgs", "csv")
RECIPES = recipes.RECIPES


def define_flags() -> flags.FlagValues:
    """The shared flags that trees have a use for, and those of this main."""
    flag_values = flags.FlagValues()
    flags_core.define_base(flag_values, DATASETS, "decay")
    flags_core.define_checkpoints(flag_values)
    flags_core.define_performance(flag_values)
    flags_core.define_benchmark(flag_values)
    # A run may have no more than a hundred steps: a step is a tree.
    flag_values.set_default("log_steps", 10)
    define = Definer(flag_values, "train_higgs")
    _define_data(define)
    _define_trees(define)
    define.string(
        "machines",
        None,
        "host:port of all machines that train together, between commas; each has its "
        "share of the training rows, and all see --model_dir.",
    )
    define.integer(
        "machine_index", 0, "Index of this machine in --machines; 0 writes.", low=0
    )
    define.string("input", None, "Table to classify with --mode=predict.")
    define.string("output", None, "CSV file for --mode=predict. Default: the terminal.")
    return flag_values


def _define_data(define: Definer) -> None:
    recipe = "(default: that of the data set's recipe)"
    define.integer("train_start", None, f"First training row {recipe}.", low=0)
    define.integer(
        "train_count", None, f"Training rows, with those of validation {recipe}.", low=1
    )
    define.integer("eval_start", None, f"First test row {recipe}.", low=0)
    define.integer("eval_count", None, f"Test rows {recipe}.", low=1)
    define.string(
        "train_file",
        None,
        "Table to train on, for --dataset=csv; looked for in --data_dir, too.",
    )
    define.string("eval_file", None, "Table to test on, for --dataset=csv.")
    define.string(
        "label_column", "0", "Column of the label: its number from 0 on, or its name."
    )
    define.string(
        "categorical_columns",
        None,
        "Features whose whole numbers are categories, between commas: numbers among "
        "the features, or names.",
    )
    define.number(
        "validation_fraction",
        None,
        "Share of the training rows held out for validation. Default: .1 where "
        "something is chosen by it, else 0.",
        low=0,
        high=0.9,
    )


def _define_trees(define: Definer) -> None:
    define.integer("n_trees", 100, "Trees, at most.", low=1)
    define.integer(
        "max_depth", 6, "Most splits from a root to a leaf; -1: no bound.", low=-1
    )
    define.integer("num_leaves", 31, "Most leaves of a tree.", low=2, high=131_072)
    define.number("learning_rate", 0.1, "What a tree counts.", "lr", low=0, high=1)
    define.choice(
        "boosting",
        "gbdt",
        ("gbdt", "rf"),
        "gbdt: each tree mends those before it. rf: the mean of a random forest.",
    )
    define.integer("min_data_in_leaf", 20, "Fewest rows of a leaf.", low=1)
    define.number("lambda_l1", 0.0, "L1 penalty on the leaves.", low=0)
    define.number("lambda_l2", 0.0, "L2 penalty on the leaves.", low=0)
    define.integer("max_bin", 255, "Most different values of a column.", low=2)
    define.number(
        "bagging_fraction", 1.0, "Share of the rows drawn for a tree.", low=0.01, high=1
    )
    define.number(
        "feature_fraction", 1.0, "Share of the columns drawn for a tree.", low=0.01,
        high=1,
    )  # fmt: skip
    define.integer(
        "early_stopping_rounds",
        0,
        "Stop once the AUC on validation rows has not grown for so many trees, and "
        "take the best number of trees; 0 is off.",
        low=0,
    )
    define.string(
        "monotone_constraints",
        None,
        "Columns with which the chance may only rise (:1) or fall (:-1), as in "
        "m_bb:1,lepton_pt:-1.",
    )


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, n_trees=20, ...)`.

    Returns:
        The final metrics, `auc`, `accuracy` and `loss` among them.
    """
    # Read when LightGBM's library is loaded. Its threads else wait for each other in
    # busy loops, which beside other work made the training twenty times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from official.r1.boosted_trees import experiment

    return experiment.run(flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
