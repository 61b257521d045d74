"""The one exception for what a user can mend."""

import contextlib
import re
import sys
from collections.abc import Iterator


class UserError(ValueError):
    """Something the user gave is wrong.

    The message is one line: what is wrong, where (file, flag or record), and the
    remedy. A main prints it on stderr without a traceback and exits with code 1; in a
    notebook it is raised as it is.
    """


def one_line(error: Exception) -> str:
    """What an exception says, without the place in TensorFlow's graph."""
    message = str(getattr(error, "message", None) or error).strip()
    line = (message.splitlines() or [type(error).__name__])[0]
    return re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w*\]", "", line)[:300]


@contextlib.contextmanager
def writing(
    what: str, remedy: str = "free space there, or name another folder"
) -> Iterator[None]:
    """Turns what a file system refuses to write into a `UserError`.

    Args:
        what: the file or folder, for the message.
        remedy: what the user can do.

    Raises:
        UserError: the code inside could not write.
    """
    try:
        yield
    except (OSError, *_file_system_errors()) as error:
        message = f"{what} cannot be written ({one_line(error)}); {remedy}"
        raise UserError(message) from None


def _file_system_errors() -> tuple[type[Exception], ...]:
    """What TensorFlow raises; nothing while it is not imported, which takes seconds."""
    tensorflow = sys.modules.get("tensorflow")
    return (tensorflow.errors.OpError,) if tensorflow else ()
