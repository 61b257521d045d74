"""The command line of the nightly's commands, whose exit code 1 means a regression."""

import sys
import traceback
from collections.abc import Callable

from absl import flags

from official.utils import app

COULD_NOT_RUN = 2


def main(
    define_flags: Callable[[], flags.FlagValues],
    run: Callable[[flags.FlagValues], dict[str, float]],
    summary: str,
) -> None:
    """Runs a command and exits the process; see `app.main`.

    Whatever goes wrong in the command itself ends with exit code 2, a mistake in its
    own code too: nobody may take that for a build that has become worse.

    Args:
        define_flags: makes the flags.
        run: raises SystemExit with 1 for a regression.
        summary: what the command does, the first line of its help.
    """
    try:
        app.main(define_flags, run, (), summary, user_error_code=COULD_NOT_RUN)
    except Exception:
        traceback.print_exc()
        sys.exit(COULD_NOT_RUN)
