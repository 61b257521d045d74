"""Runs mains as a user does, in this process or in a fresh one."""

import contextlib
import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from unittest import mock

from absl import flags

from official.utils import app
from official.utils.recipes import Recipe
from official.utils.testing.data import PROJECT_ROOT

# What TensorFlow's C++ code writes on stderr: "I0000 00:00:17...", "2026-01-31 ...: W
# tensorflow/..."; some of it comes before any setting can silence it.
_NATIVE_LOG = re.compile(
    r"[IWE]\d{4} \d\d:|WARNING: All log messages"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IWE] "
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a main ended.

    Attributes:
        exit_code: that of the process; as of `subprocess`, -9 after SIGKILL.
        stdout: what it printed.
        stderr: its warnings and errors.
    """

    exit_code: int
    stdout: str
    stderr: str

    def error_lines(self) -> list[str]:
        """Lines of stderr without warnings of ours and the log of TensorFlow's C++."""
        return [
            line
            for line in self.stderr.splitlines()
            if line.strip()
            and not line.startswith("warning: ")
            and not _NATIVE_LOG.match(line)
        ]


def run_main(
    define_flags: Callable[[], flags.FlagValues],
    run: Callable[[flags.FlagValues], dict[str, float]],
    recipes: Sequence[Recipe],
    arguments: Sequence[str],
) -> Outcome:
    """Runs a main's command line in this process.

    It shares TensorFlow with the tests around it, so devices and threads stay as they
    are: what sets those goes through `run_process`.

    Args:
        define_flags: that of the main.
        run: that of the main.
        recipes: those of the main.
        arguments: the command line without the program's name.

    Returns:
        The outcome. An exception that would show a traceback to the user is raised.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with (
            mock.patch.object(sys, "argv", ["main", *arguments]),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            app.main(define_flags, run, recipes, "A main under test.")
    except SystemExit as stop:
        return Outcome(stop.code, stdout.getvalue(), stderr.getvalue())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    raise AssertionError("app.main returned instead of ending the process")


def start_main(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    **popen,
) -> subprocess.Popen:
    """Starts `python -m module` in a fresh interpreter, from the project's root.

    Args:
        module: the main, such as `official.mnist.mnist`.
        arguments: the command line after the module.
        environment: variables beside those of this process.
        **popen: further arguments of `subprocess.Popen`.

    Returns:
        The process; stdout and stderr are pipes of text.
    """
    paths = [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]
    search_path = {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    options = dict(
        cwd=PROJECT_ROOT,
        env={**os.environ, **search_path, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], **{**options, **popen}
    )


def run_process(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
    **popen,
) -> Outcome:
    """Runs a main in a fresh interpreter to its end; see `start_main`.

    Args:
        module: see `start_main`.
        arguments: see `start_main`.
        environment: see `start_main`.
        timeout: seconds after which the process is killed and the test fails.
        **popen: see `start_main`.
    """
    with start_main(module, arguments, environment, **popen) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return Outcome(process.returncode, stdout, stderr)


def assert_one_line_error(outcome: Outcome, *fragments: str) -> str:
    """Asserts that a main refused as it should: one line, exit code 1.

    Args:
        outcome: how the main ended.
        *fragments: what the line must contain: the file or flag, and the remedy.

    Returns:
        The line.
    """
    assert "Traceback" not in outcome.stderr, outcome.stderr
    lines = outcome.error_lines()
    assert len(lines) == 1 and lines[0].startswith("error: "), outcome
    assert outcome.exit_code == 1, outcome
    for fragment in fragments:
        assert fragment in lines[0], (fragment, lines[0])
    return lines[0]
