"""Flags that the mains of wide and deep share."""

from absl import flags

from official.r1.wide_deep.sizes import MODEL_TYPES, hidden_units
from official.utils.flags.definer import Definer
from official.utils.flags.training_set import UNSET


def define_wide_deep(flag_values: flags.FlagValues) -> Definer:
    """Defines the network and how its wide part is trained.

    Args:
        flag_values: what the flags are added to.

    Returns:
        What a main adds its own flags with, under the same heading.
    """
    define = Definer(flag_values, "wide_deep")
    define.choice("model_type", "wide_deep", MODEL_TYPES, "Which parts there are.")
    define.string(
        "hidden_units", "100,75,50,25", f"Widths of the deep part's layers {UNSET}."
    )
    define.number(
        "dropout", 0.0, f"Dropout after each of them {UNSET}.", low=0, high=0.99
    )
    define.number(
        "wide_learning_rate",
        0.1,
        "Learning rate of FTRL in the wide part, the same over the run; the deep part "
        f"has --optimizer and --learning_rate {UNSET}.",
        low=0,
    )
    define.number("wide_l1", 0.0, f"L1 penalty of the wide part {UNSET}.", low=0)
    define.number("wide_l2", 0.0, f"L2 penalty of the wide part {UNSET}.", low=0)
    define.string(
        "input", None, "CSV file with a header to predict for with --mode=predict."
    )
    define.string("output", None, "CSV file for --mode=predict. Default: the terminal.")
    flags.register_validator(
        "hidden_units",
        lambda text: hidden_units(text) is not None,
        "should be positive numbers with commas, as in 100,75,50,25",
        flag_values=flag_values,
    )
    return define
