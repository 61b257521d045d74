"""The flags that all micro-benchmarks have."""

from absl import flags

from official.utils.flags.sets import DTYPES


def define_flags(name: str) -> flags.FlagValues:
    """The flags that all micro-benchmarks have.

    Args:
        name: of the benchmark.
    """
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name=name)
    flags.DEFINE_string("target", "mnist/digits", "The recipe: model/name.", **own)
    flags.DEFINE_integer("seed", 0, "Seed of the training.", **own)
    flags.DEFINE_string("data_dir", None, "Folder of the recipe's data set.", **own)
    flags.DEFINE_string(
        "model_dir",
        None,
        "Folder for results.json. Default: the table is printed, no file written.",
        **own,
    )
    flags.DEFINE_enum("dtype", None, DTYPES, "Precision. Default: the recipe's.", **own)
    flags.DEFINE_integer("rounds", 5, "Rounds after the warm-up.", lower_bound=1, **own)
    flags.DEFINE_float(
        "seconds", 2.0, "About how long a turn lasts.", lower_bound=0.001, **own
    )
    return flag_values
