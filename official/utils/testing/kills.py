"""Kills a main with SIGKILL, starts it again, and compares what it ends with."""

import dataclasses
import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from official.utils.testing import mains
from official.utils.training import checkpoints

# What is there only while a checkpoint is written.
_UNFINISHED = re.compile(r"ckpt-\d+\.(tmp\.|.*\.tempstate).*")


@dataclasses.dataclass(frozen=True)
class Kill:
    """One death of a run.

    Attributes:
        step: the newest whole checkpoint that it left.
        unfinished: names of the files of a checkpoint that was being written.
    """

    step: int
    unfinished: tuple[str, ...]


def run_with_kills(
    module: str,
    arguments: Sequence[str],
    model_dir: str,
    last_step: int,
    kills: int = 3,
    kills_while_writing: int = 1,
    seed: int = 0,
    timeout: float = 300,
) -> list[Kill]:
    """Runs a main to its end, through deaths at random moments.

    The moments spread over the run: each comes after a checkpoint of a random step, the
    first after the first one at least.

    Args:
        module: the main, such as `official.mnist.mnist`.
        arguments: its flags, without `--model_dir`; they ask for several checkpoints.
        model_dir: the folder of the run.
        last_step: the step at which the run ends.
        kills: how often it dies.
        kills_while_writing: how many of these deaths fall into the writing of a
            checkpoint.
        seed: of the moments.
        timeout: seconds for each start.

    Returns:
        The deaths in their order.

    Raises:
        AssertionError: a run ended before it was killed, or the last did not end well.
    """
    draw = random.Random(seed)
    while_writing = [i < kills_while_writing for i in range(kills)]
    draw.shuffle(while_writing)
    # One target in each of equal parts of the run, and none in the last quarter.
    part = 0.75 * last_step / kills
    targets = [(i + draw.random()) * part for i in range(kills)]
    arguments = [*arguments, f"--model_dir={model_dir}"]
    folder = os.path.join(model_dir, "checkpoints")
    deaths = []
    for target, is_while_writing in zip(targets, while_writing, strict=True):
        delay = None if is_while_writing else draw.uniform(0, 0.3)
        for _ in range(5):  # A checkpoint may be done sooner than the kill arrives.
            death = _run_and_kill(module, arguments, folder, target, delay, timeout)
            if death.unfinished or not is_while_writing:
                break
        else:
            raise AssertionError(f"no kill fell into the writing of {folder}")
        deaths.append(death)
    outcome = mains.run_process(module, arguments, timeout=timeout)
    assert outcome.exit_code == 0, outcome
    return deaths


def _run_and_kill(module, arguments, folder, target, delay, timeout) -> Kill:
    """Kills a run `delay` seconds after a step, or while it writes a checkpoint."""
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryFile("w+") as errors:
        process = mains.start_main(
            module, arguments, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            seen = set(_names(folder))  # What the run before left half written.
            while True:
                names = _names(folder)
                is_late = max(_steps(names), default=-1) >= target
                is_writing = any(
                    _UNFINISHED.fullmatch(name) and name not in seen for name in names
                )
                if is_late and (delay is not None or is_writing):
                    time.sleep(delay or 0)
                    break
                errors.seek(0)
                assert process.poll() is None, f"ended early: {errors.read()}"
                assert time.monotonic() < deadline, f"no checkpoint {target} in time"
                time.sleep(0.0005)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == -9, f"ended with {process.returncode}, not killed"
    names = _names(folder)
    unfinished = (n for n in names if _UNFINISHED.fullmatch(n) and n not in seen)
    return Kill(max(_steps(names)), tuple(sorted(unfinished)))


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _steps(names: Sequence[str]) -> list[int]:
    matches = (re.fullmatch(r"ckpt-(\d+)\.index", name) for name in names)
    return [int(match[1]) for match in matches if match]


def assert_same_checkpoint(model_dir: str, other_model_dir: str) -> None:
    """Asserts that two runs ended in the same checkpoint, to the last bit.

    Args:
        model_dir: folder of a run.
        other_model_dir: folder of another.
    """
    prefixes = [
        tf.train.latest_checkpoint(os.path.join(folder, "checkpoints"))
        for folder in (model_dir, other_model_dir)
    ]
    assert None not in prefixes, prefixes
    steps = [os.path.basename(prefix) for prefix in prefixes]
    assert steps[0] == steps[1], steps
    one, other = (checkpoints.read(prefix) for prefix in prefixes)
    assert sorted(one) == sorted(other)
    differing = [name for name in one if not _is_same(one[name], other[name])]
    assert not differing, f"{len(differing)} of {len(one)} differ: {differing[:5]}"
    for suffix in (".index", ".data-00000-of-00001"):
        contents = []
        for prefix in prefixes:
            with open(prefix + suffix, "rb") as file:
                contents.append(file.read())
        assert contents[0] == contents[1], f"the bytes of *{suffix} differ"


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether type, shape and bytes are equal: unlike for ==, -0 is not 0."""
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.tobytes() == other.tobytes()
    )
