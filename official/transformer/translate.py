"""Translates a file, or lines of the standard input, with a trained Transformer.

python -m official.transformer.translate --model_dir=DIR --input_file=FILE
"""

from absl import flags

from official.transformer import transformer
from official.utils import app
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.flags.definer import Definer


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "translate")
    define.string("model_dir", None, "The folder of a run.")
    define.string(
        "input_file", None, "Sentences, a line each. Default: the standard input."
    )
    define.string("output_file", None, "File to write. Default: the terminal.")
    define.integer("seed", 0, "Seed of draws at --sampling_temperature.")
    transformer.define_decoding(define)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Translates.

    Args:
        flags_obj: parsed flags; those of decoding that are not given are as in the run.

    Returns:
        Nothing.

    Raises:
        UserError: there is no trained model, or a file is wrong.
    """
    if not flags_obj.model_dir:
        raise UserError("--model_dir is missing: the folder of a trained model")
    names = {"input_file": "input", "output_file": "output"}
    given = {
        names.get(name, name): flags_obj[name].value
        for name in flags_obj
        if not flags_obj[name].using_default_value
    }
    return transformer.run(
        flags_core.make_flags(
            transformer.define_flags, transformer.RECIPES, mode="predict", **given
        )
    )


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
