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
from official.utils import app
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
        arguments: of the program, beside the hyperparameters.
        takes: what `start` is given, and flags of the main, that the program takes too.
        environment: variables that it runs with, beside those of this process.
        difference: in what its network differs from ours, in words; empty where both
            have equally many parameters, which is checked then.
    """

    requirements: tuple[str, ...]
    program: str
    arguments: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    difference: str = ""

    def trains(self, said: Mapping[str, int], batch_size: int, parameters: int) -> bool:
        """Whether what the program says of itself is what it should train.

        Args:
            said: its first line.
            batch_size: ours.
            parameters: weights of our network that are trained.
        """
        is_same = self.difference or said["parameters"] == parameters
        return bool(is_same) and said["batch_size"] == batch_size


_TORCH = ("torch==2.13.0", "numpy==2.4.6")
_HUGGING_FACE = (*_TORCH, "transformers==5.24.0")
_TENSORFLOW = "tensorflow==2.21.0"
_RESNET_TAKES = ("image_size", "threads")
# The products of a step as flops.py counts them, of `resnet50_v1` and `resnet50`.
_VERSION_1 = (
    "version 1 strides on a 1x1 convolution instead of the 3x3 behind it, so that one "
    "takes a quarter of the pixels: less arithmetic by 6 %, to its advantage"
)


def _resnet_keras(library: str, version: str, **environment: str) -> Peer:
    return Peer(
        (_TENSORFLOW, f"{library}=={version}"),
        str(_PROGRAMS / "resnet_keras.py"),
        (f"--library={library}",),
        _RESNET_TAKES,
        environment,
        _VERSION_1,
    )


def _resnet_torch(*arguments: str) -> Peer:
    program = str(_PROGRAMS / "resnet_torch.py")
    return Peer(_TORCH, program, arguments, _RESNET_TAKES)


_BERT_TAKES = ("sequence_length", "vocab_size", "clip_norm", "threads")


def _bert_torch(*arguments: str) -> Peer:
    program = str(_PROGRAMS / "bert_torch.py")
    return Peer(_HUGGING_FACE, program, arguments, _BERT_TAKES)


_MARIAN_TAKES = ("vocab_size", "lengths", "threads")


def _marian_torch(*arguments: str) -> Peer:
    program = str(_PROGRAMS / "marian_torch.py")
    return Peer(
        _HUGGING_FACE,
        program,
        arguments,
        _MARIAN_TAKES,
        difference="biases in attention, normalisation behind each sublayer, positions "
        "in a table; batches of as many rows, as they come, padded to their longest",
    )


PEERS: dict[str, dict[str, Peer]] = {
    "transformer": {
        "torch": _marian_torch(),
        "torch_compiled": _marian_torch("--compile"),
    },
    "bert": {
        "keras_hub": Peer(
            (_TENSORFLOW, "keras==3.15.1", "keras-hub==0.32.0"),
            str(_PROGRAMS / "bert_keras_hub.py"),
            (),
            _BERT_TAKES,
        ),
        "torch": _bert_torch(),
        "torch_compiled": _bert_torch("--compile"),
    },
    "mnist": {"torch": Peer(_TORCH, str(_PROGRAMS / "mnist_torch.py"))},
    "resnet": {
        "keras": _resnet_keras("keras", "3.15.1"),
        "tf_keras": _resnet_keras("tf_keras", "2.21.0"),
        # As our mains do; without it TensorFlow leaves oneDNN off on some processors.
        "tf_keras_onednn": _resnet_keras(
            "tf_keras", "2.21.0", TF_ENABLE_ONEDNN_OPTS="1"
        ),
        "torch": _resnet_torch(),
        "torch_compiled": _resnet_torch("--compile"),
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
    peer: Peer,
    python: str,
    settings: Settings,
    dtype: str,
    log_path: str,
    given: Mapping[str, int] | None = None,
    time_limit: float = _ANSWER_SECONDS,
) -> turns.Worker:
    """Starts a peer's program with the hyperparameters of a recipe.

    Args:
        peer: the peer.
        python: the interpreter of its environment.
        settings: resolved flags of the recipe's main.
        dtype: the precision, resolved.
        log_path: file that takes what it says on stderr.
        given: more arguments, for the programs that take them, such as `threads` and
            `steps.Training.sizes`.
        time_limit: seconds after which an answer is not waited for any more.
    """
    values = dict(settings) | {"dtype": dtype} | dict(given or {})
    arguments = [f"--{name}={values[name]}" for name in _HYPERPARAMETERS]
    arguments += [f"--{name}={values[name]}" for name in peer.takes if name in values]
    return turns.Worker(
        [python, peer.program, *peer.arguments, *arguments],
        log_path,
        time_limit,
        environment() | peer.environment,
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
        env=environment(),
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


def environment() -> dict[str, str]:
    """This process' environment without what would lead to its own packages.

    What our mains set for TensorFlow is left out too, so that a peer runs as its
    library comes; `Peer.environment` says where it does not.
    """
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", *app.TENSORFLOW_ENVIRONMENT)
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHONNOUSERSITE": "1"}
