"""What a run ran on: machine, TensorFlow build, and the state of the project."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
from collections.abc import Sequence

import psutil

from official.utils.errors import UserError
from official.utils.logs import console, run_record

# official/benchmark/machines.py: the second parent above the file's own folder.
PROJECT_ROOT = pathlib.Path(__file__).resolve().parents[2]

# Asked of the interpreter under test. Package metadata answers in a fraction of a
# second, where importing TensorFlow takes several.
_PROBE = """
import importlib.metadata as metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in ("tensorflow", "tf-nightly", "tensorflow-cpu", "tf-nightly-cpu", "keras",
             "keras-nightly", "numpy"):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
# The part of all cores in use above which a measurement is disturbed.
BUSY = 0.15
_TENSORFLOWS = ("tensorflow", "tf-nightly", "tensorflow-cpu", "tf-nightly-cpu")


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of machine; speeds are compared only between runs of one kind.

    Attributes:
        id: short name, equal exactly where `text` is.
        text: processor, cores, memory, GPUs, operating system.
    """

    id: str
    text: str


@dataclasses.dataclass(frozen=True)
class Build:
    """An interpreter with its TensorFlow.

    Attributes:
        python: path of the interpreter.
        versions: of Python and packages, by name.
    """

    python: str
    versions: dict[str, str]

    def record(self) -> dict:
        """The build as records have it, without the path."""
        return {"text": self.text, "versions": self.versions}

    @property
    def text(self) -> str:
        """Such as `tensorflow 2.21.0, keras 3.15.1, Python 3.11.7`."""
        named = {name: v for name, v in self.versions.items() if name != "python"}
        packages = [f"{name} {version}" for name, version in named.items()]
        return ", ".join([*packages, f"Python {self.versions['python']}"])


@functools.cache
def machine() -> Machine:
    """The machine this process runs on; asks no network and imports no TensorFlow."""
    cpu = run_record.cpu_info()
    details = run_record.cpu_details()
    model = ", ".join(
        f"{name} {details[name]}"
        for name in ("family", "model", "stepping")
        if details.get(name) is not None
    )
    memory = round(psutil.virtual_memory().total / 2**30)
    text = "; ".join(
        [
            f"{cpu.get('num_cores', 1)} x {cpu.get('cpu_info', 'unknown processor')}"
            + (f" ({model})" if model else ""),
            f"{memory} GiB",
            ", ".join(_gpus()) or "no GPU",
            f"{platform.system()} {platform.machine()}",
        ]
    )
    return Machine(hashlib.sha256(text.encode()).hexdigest()[:10], text)


def _gpus() -> list[str]:
    """Names of NVIDIA's GPUs, as the driver gives them.

    TensorFlow is not asked: a build that does not see the GPU any more must not count
    as another machine.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    found = subprocess.run(
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return (
        [line.strip() for line in found.stdout.splitlines()]
        if not (found.returncode)
        else []
    )


def probe(python: str, flag: str) -> Build:
    """Sees that an interpreter can run the garden.

    Args:
        python: path or name of the interpreter.
        flag: the flag that named it, for the message.

    Raises:
        UserError: it cannot be started, or has no TensorFlow.
    """
    path = shutil.which(os.path.expanduser(python))
    if path is None:
        raise UserError(f"{flag}={python} is no program; give the path of a python")
    path = os.path.abspath(path)  # Not realpath: a virtual environment is a link.
    try:
        found = subprocess.run(
            [path, "-c", _PROBE], capture_output=True, text=True, timeout=60
        )
        versions = json.loads(found.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{flag}={python} is no working Python ({reason})") from None
    if not any(name in versions for name in _TENSORFLOWS):
        raise UserError(
            f"{flag}={python} has no TensorFlow; install the build to be measured there"
        )
    return Build(path, versions)


def environment() -> dict[str, str]:
    """The environment of a run: this one, with this project in front of the path."""
    paths = [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # A run that hangs is ended with SIGABRT, and shows where it stood.
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }


def commit() -> str | None:
    """The project's commit, with `+` behind it where files differ; None if unknown."""
    head = _git("rev-parse", "--short=10", "HEAD")
    if head is None:
        return None
    return head + ("+" if _git("status", "--porcelain", "--", "official") else "")


def _git(*arguments: str) -> str | None:
    command: Sequence[str] = ("git", "-C", str(PROJECT_ROOT), *arguments)
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def warn_if_busy() -> None:
    """Warns where other work runs on this machine, which spoils every speed."""
    found = busy()
    if found > BUSY:
        console.warn(
            f"other work takes {found:.0%} of this machine's cores: speeds will be too "
            "low; end it, or run later"
        )


def busy() -> float:
    """The part of all cores in use, seen over a fifth of a second while this one waits.

    The system's load average is no answer: for minutes it still has the run before.
    """
    return psutil.cpu_percent(interval=0.2) / 100
