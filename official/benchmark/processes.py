"""Runs one command to its end, whatever its end is: a result, not an exception."""

import contextlib
import ctypes
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import psutil

# How a run can end.
OK = "ok"
CRASHED = "crashed"
HUNG = "hung"
OUT_OF_MEMORY = "out of memory"
INTERRUPTED = "interrupted"
SKIPPED = "skipped"

_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MEMORY_SECONDS = 0.5
# How long a process may take to end, and to show its stacks, before SIGKILL.
_GRACE_SECONDS = 15.0
# What Python and TensorFlow say of memory that the system did not give.
_NO_MEMORY = re.compile(r"^MemoryError|OOM when allocating|std::bad_alloc", re.M)
_ERROR_LINE = re.compile(r"^(error: |[\w.]*(Error|Exception|Interrupt)\b)")


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        status: one of the words above.
        detail: one line that says why, empty if all is well.
        exit_code: that of the process; negative for a signal.
        seconds: wall time.
        cpu_seconds: user and system time of the process and its children.
        peak_memory_bytes: the most resident memory of the process tree that was seen,
            by a look every half second.
    """

    status: str
    detail: str
    exit_code: int
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


@dataclasses.dataclass(frozen=True)
class Command:
    """What is run, and within which limits.

    Attributes:
        arguments: program and arguments.
        log_path: file that takes what it prints, stdout and stderr in one; its folder
            is the working directory.
        environment: the environment variables.
        time_limit: seconds after which it is taken to hang and is killed.
        memory_limit: bytes of resident memory at which it is killed, before the
            system picks a process to kill; None for no limit.
    """

    arguments: Sequence[str]
    log_path: str
    environment: Mapping[str, str]
    time_limit: float
    memory_limit: int | None = None


def run(*commands: Command) -> list[Ending]:
    """Runs commands at the same time, each in a session of its own, to their ends.

    Raises:
        KeyboardInterrupt, SystemExit: this process was asked to end; the commands were
            ended first.
    """
    watches: list[_Watch] = []
    try:
        for command in commands:
            watches.append(_Watch(command))
        while not all([watch.has_ended() for watch in watches]):
            time.sleep(_POLL_SECONDS)
            for watch in watches:
                watch.keep_limits()
    except BaseException:
        for watch in watches:
            watch.end(signal.SIGTERM)
        raise
    finally:
        for watch in watches:
            watch.kill_group()
    return [watch.ending() for watch in watches]


class _Watch:
    """A child process with what it uses."""

    def __init__(self, command: Command):
        self._command = command
        self._oom_kills = _system_oom_kills()
        self._begun = time.monotonic()
        with open(command.log_path, "ab") as log:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(command.environment),
                cwd=os.path.dirname(os.path.abspath(command.log_path)),
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        _offer_to_oom_killer(self._process.pid)
        self._looked = 0.0
        self._peak = 0
        self._why = ""
        self._seconds = 0.0
        self._exit_code = 0
        self._cpu_seconds = 0.0

    def has_ended(self) -> bool:
        """Whether the process is gone; then its exit code and times are known."""
        if self._process.returncode is not None:
            return True
        pid, wait_status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if pid == 0:
            return False
        self._seconds = time.monotonic() - self._begun
        self._exit_code = os.waitstatus_to_exitcode(wait_status)
        self._process.returncode = self._exit_code  # It cannot be waited for again.
        self._cpu_seconds = usage.ru_utime + usage.ru_stime
        return True

    def keep_limits(self) -> None:
        """Ends the process if it is past one of its limits."""
        if self.has_ended():
            return
        if time.monotonic() - self._begun > self._command.time_limit:
            self._why = HUNG
            # Python shows on it where every thread stands.
            self.end(signal.SIGABRT)
        elif self._memory() > (self._command.memory_limit or float("inf")):
            self._why = OUT_OF_MEMORY
            self.end(signal.SIGKILL)

    def _memory(self) -> int:
        """Resident bytes of the process and its children; 0 too soon after a look.

        One look every half second, because each costs the driver a millisecond.
        """
        now = time.monotonic()
        if now - self._looked < _MEMORY_SECONDS:
            return 0
        self._looked = now
        used = 0
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self._process.pid)
            for each in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    used += each.memory_info().rss
        self._peak = max(self._peak, used)
        return used

    def end(self, number: int) -> None:
        """Ends the process: by a signal first, after a time of grace by SIGKILL."""
        for each in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, each)
            until = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < until:
                if self.has_ended():
                    return
                time.sleep(_POLL_SECONDS)

    def kill_group(self) -> None:
        """Kills what the process left running."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def ending(self) -> Ending:
        """How the process ended; it must have."""
        status, detail = self._status()
        return Ending(
            status,
            detail,
            self._exit_code,
            self._seconds,
            self._cpu_seconds,
            self._peak,
        )

    def _status(self) -> tuple[str, str]:
        if self._why == HUNG:
            return HUNG, f"still running after {self._command.time_limit:.0f} s"
        if self._why == OUT_OF_MEMORY:
            limit = (self._command.memory_limit or 0) / 2**30
            return OUT_OF_MEMORY, (
                f"used {self._peak / 2**30:.2f} GiB, the limit is {limit:.2f}"
            )
        return _judge(
            self._exit_code,
            log_text(self._command.log_path, 200_000),
            oom_killed=_system_oom_kills() > self._oom_kills,
        )


def _judge(exit_code: int, text: str, oom_killed: bool) -> tuple[str, str]:
    """Status and detail of a process that ended by itself, from its log."""
    if exit_code == 0:
        return OK, ""
    said = last_error(text)
    if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        if oom_killed:
            return OUT_OF_MEMORY, "killed by the system for want of memory"
        return CRASHED, "killed by SIGKILL, not by the nightly"
    if exit_code in (-signal.SIGINT, 128 + signal.SIGINT):
        return INTERRUPTED, "ended by SIGINT"
    if exit_code in (-signal.SIGTERM, 128 + signal.SIGTERM):
        return INTERRUPTED, "ended by SIGTERM"
    if _NO_MEMORY.search(text):
        return OUT_OF_MEMORY, said
    if exit_code < 0:
        return CRASHED, f"{signal.Signals(-exit_code).name}: {said}"
    return CRASHED, said or f"exit code {exit_code}"


def log_text(path: str, size: int) -> str:
    """The last `size` bytes of a log; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def last_error(text: str) -> str:
    """The last line of a log's text that names an error, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if _ERROR_LINE.match(line)]
    return (named or lines or [""])[-1][:300]


def _system_oom_kills() -> int:
    """How many processes the kernel has killed for memory since it started."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def _die_with_parent() -> None:
    """In the new process: a nightly that is killed must leave no run behind.

    It would disturb the runs that `--resume` starts. Only Linux knows this.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _offer_to_oom_killer(pid: int) -> None:
    """Lets the kernel kill the run rather than the nightly that records it."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write("1000")
