"""What happens around the `run` of every main: flags, help, errors, exit codes."""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from absl import flags

from official.utils import package
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.recipes import Recipe

# What the user did not set; before the first import of TensorFlow, which reads it then.
TENSORFLOW_ENVIRONMENT = {
    # Warnings and information about the build are no concern of a run.
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # By itself TensorFlow uses oneDNN only on processors with AVX-512 VNNI or better.
    # With AVX2 alone it makes networks of convolutions 1.2 to 2 times as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}
_HELP = ("-h", "--help", "-help", "--helpshort", "-helpshort", "--helpfull")


class Interrupted(SystemExit):
    """A signal ended the run after its state was saved; carries the exit code."""

    def __init__(self, signal_number: int):
        super().__init__(128 + signal_number)


def main(
    define_flags: Callable[[], flags.FlagValues],
    run: Callable[[flags.FlagValues], dict[str, float]],
    recipes: Sequence[Recipe],
    summary: str,
    user_error_code: int = 1,
) -> None:
    """Runs a main from the command line and exits the process.

    Exit codes: 0 done; 1 something the user can mend, said in one line on stderr; 130
    and 143 ended by SIGINT and SIGTERM; others as `run` raises SystemExit.

    Args:
        define_flags: makes the flags of the main.
        run: trains, evaluates, predicts or exports; returns the final metrics.
        recipes: what `--recipe` may name.
        summary: what the main does, the first line of its help.
        user_error_code: the exit code of what the user can mend.
    """
    for name, value in TENSORFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    arguments = sys.argv[1:]
    flag_values = define_flags()
    if any(argument in _HELP for argument in arguments):
        short = "--help" not in arguments and "--helpfull" not in arguments
        print(help_text(flag_values, summary, short=short))
        sys.exit(0)
    try:
        package.check()
        parsed = flags_core.parse(flag_values, arguments, recipes)
        backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
        if backend != "tensorflow":
            # Before Keras is imported, which fails where the backend is missing.
            raise UserError(
                f"KERAS_BACKEND={backend}: the mains train on TensorFlow; unset it "
                "(the networks themselves run on any backend)"
            )
        run(parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(user_error_code)
    except OSError as error:
        # A disk or a folder that fails: nothing in the code can mend it.
        print(f"error: {error}", file=sys.stderr)
        sys.exit(user_error_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    sys.exit(0)


def help_text(flag_values: flags.FlagValues, summary: str, short: bool) -> str:
    """The flags with their help, grouped by set.

    Args:
        flag_values: the flags of a main.
        summary: the first line.
        short: whether to leave out all but the main's own flags and the base set.

    Returns:
        Text of many lines.
    """
    sets = list(flags_core.flags_by_set(flag_values))
    shared = ("training", "checkpoints", "performance", "distribution", "benchmark")
    own = [name for name in sets if name not in (*shared, "base")]
    shown = own + ["base"] + ([] if short else list(shared))
    blocks = [summary]
    for name in (name for name in shown if name in sets):
        blocks.append(flag_values.module_help(name).replace(f"\n{name}:", "", 1))
    if short:
        blocks.append(f"--help shows {', '.join(shared)} too.")
    return "\n\n".join(block.strip("\n") for block in blocks)


def _exit_on_signal(signal_number, frame):
    raise Interrupted(signal_number)
