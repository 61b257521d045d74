"""Other implementations of our models, each in a virtual environment of its own.

A peer is a program that speaks as `official.benchmark.worker` does and imports nothing
of this project. Its environment is made on first use, below the cache folder, complete
or not at all.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from official.benchmark import processes, turns
from official.utils.errors import UserError, writing
from official.utils.flags.settings import Settings

_MARKER = "complete.json"
_PROGRAMS = pathlib.Path(__file__).parent / "peer_programs"
# Flags of a main that a peer's program takes too.
_HYPERPARAMETERS = (
    *("batch_size", "optimizer", "learning_rate", "momentum", "dtype", "seed"),
)
_ANSWER_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Peer:
    """An implementation to take turns with.

    Attributes:
        requirements: for pip, each with its version.
        program: path of the program.
    """

    requirements: tuple[str, ...]
    program: str


PEERS: dict[str, dict[str, Peer]] = {
    "mnist": {
        "torch": Peer(
            ("torch==2.13.0", "numpy==2.4.6"), str(_PROGRAMS / "mnist_torch.py")
        ),
    },
}


def find(model: str, name: str) -> Peer:
    """The peer `name` of a model.

    Raises:
        UserError: there is none; the message names those that there are.
    """
    known = PEERS.get(model, {})
    if name not in known:
        raise UserError(
            f"--peers={name}: {model} has "
            + (
                f"only {', '.join(sorted(known))}"
                if known
                else "no peers; leave it out"
            )
        )
    return known[name]


def start(
    peer: Peer, python: str, settings: Settings, dtype: str, log_path: str
) -> turns.Worker:
    """Starts a peer's program with the hyperparameters of a recipe.

    Args:
        peer: the peer.
        python: the interpreter of its environment.
        settings: resolved flags of the recipe's main.
        dtype: the precision, resolved.
        log_path: file that takes what it says on stderr.
    """
    values = dict(settings) | {"dtype": dtype}
    arguments = [f"--{name}={values[name]}" for name in _HYPERPARAMETERS]
    return turns.Worker(
        [python, peer.program, *arguments], log_path, _ANSWER_SECONDS, _environment()
    )


def interpreter(peer: Peer, folder: str) -> str:
    """The Python of a peer's environment, which is made if it is not there.

    Args:
        peer: the peer.
        folder: of all environments; this one's name follows from requirements and
            Python.

    Raises:
        UserError: the environment cannot be made.
    """
    made_of = [*peer.requirements, platform.python_version(), platform.machine()]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
    target = os.path.join(os.path.abspath(folder), digest)
    if not os.path.exists(os.path.join(target, _MARKER)):
        _make(peer, target, made_of)
    return os.path.join(target, "bin", "python")


def _make(peer, target, made_of) -> None:
    wanted = " ".join(peer.requirements)
    print(f"making the environment {target} once: pip install {wanted}", flush=True)
    begun = time.monotonic()
    parent, name = os.path.split(target)
    with writing(target, "free space there, or set XDG_CACHE_HOME to another folder"):
        os.makedirs(parent, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=f"{name}-", dir=parent)
    try:
        _install(peer, folder)
        with open(os.path.join(folder, _MARKER), "w") as file:
            json.dump({"made_of": made_of, "made": time.time()}, file)
        try:
            os.rename(folder, target)
        except OSError:
            # Another process was faster, or the folder there is not complete.
            if not os.path.exists(os.path.join(target, _MARKER)):
                raise UserError(
                    f"{target} is in the way of a peer's environment and is not "
                    "complete; remove it"
                ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"made in {time.monotonic() - begun:.0f} s", flush=True)


def _install(peer, folder) -> None:
    _run([sys.executable, "-m", "venv", folder], "python -m venv")
    if peer.requirements:
        # As a module: the script pip names the folder before it was renamed.
        python = os.path.join(folder, "bin", "python")
        options = ["--disable-pip-version-check", "--no-input", "--quiet"]
        _run(
            [python, "-m", "pip", "install", *options, *peer.requirements],
            f"pip install {' '.join(peer.requirements)}",
        )


def _run(command, shown) -> None:
    done = subprocess.run(
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        # Behind pip's last error there may be a hint.
        errors = re.findall(r"^ERROR: .*", done.stdout, re.MULTILINE)
        said = errors[-1] if errors else processes.last_error(done.stdout)
        raise UserError(f"{shown} failed ({said}); mend that, or leave --peers out")


def _environment() -> Mapping[str, str]:
    """This process' environment without what would lead to its own packages."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHONNOUSERSITE": "1"}
