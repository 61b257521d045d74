"""The flags that micro-benchmarks share."""

from absl import flags

from official.utils.flags.sets import DTYPES

_MODEL_DIR_HELP = (
    "Folder for results.json. Default: the table is printed, no file written."
)


def define_shared_flags(
    name: str,
    *,
    data_dir_help: str = "Folder of the recipe's data set.",
    model_dir_help: str = _MODEL_DIR_HELP,
    seed_help: str = "Seed of the training.",
    seconds: float = 2.0,
) -> flags.FlagValues:
    """The flags of all that take turns: data, results, seed and turns.

    Args:
        name: of the benchmark.
        data_dir_help: what `--data_dir` is.
        model_dir_help: what `--model_dir` is.
        seed_help: what `--seed` is.
        seconds: the default of `--seconds`.
    """
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name=name)
    flags.DEFINE_integer("seed", 0, seed_help, **own)
    flags.DEFINE_string("data_dir", None, data_dir_help, **own)
    flags.DEFINE_string("model_dir", None, model_dir_help, **own)
    flags.DEFINE_integer("rounds", 5, "Rounds after the warm-up.", lower_bound=1, **own)
    flags.DEFINE_float(
        "seconds", seconds, "About how long a turn lasts.", lower_bound=0.001, **own
    )
    return flag_values


def define_flags(name: str) -> flags.FlagValues:
    """The flags of a micro-benchmark of one recipe.

    Args:
        name: of the benchmark.
    """
    flag_values = define_shared_flags(name)
    own = dict(flag_values=flag_values, module_name=name)
    flags.DEFINE_string("target", "mnist/digits", "The recipe: model/name.", **own)
    flags.DEFINE_enum("dtype", None, DTYPES, "Precision. Default: the recipe's.", **own)
    return flag_values
