"""What the programs of peers share: arguments, and how they answer.

They run in environments of their own (peers.py) and import nothing of this project but
the files beside them. They speak as `official.benchmark.worker` does: one
JSON object a line, first `{"batch_size": ..., "parameters": ..., "versions": ...}`,
then for each `{"steps": N}` read from stdin `{"seconds": ..., "loss": ...}`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping


def parser(description: str, optimizer: str) -> argparse.ArgumentParser:
    """The arguments that all programs take.

    Args:
        description: one line.
        optimizer: the one that the program has.
    """
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--batch_size", type=int, default=32)
    arguments.add_argument("--optimizer", choices=(optimizer,), default=optimizer)
    arguments.add_argument("--learning_rate", type=float, default=0.01)
    arguments.add_argument("--momentum", type=float, default=0.9)
    arguments.add_argument("--dtype", choices=("bf16", "fp32"), default="fp32")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, help="Default: the library's choice.")
    return arguments


def serve(
    batch_size: int,
    parameters: int,
    versions: Mapping[str, str],
    train: Callable[[int], float],
    examples_per_step: float | None = None,
) -> None:
    """Answers until stdin ends.

    Args:
        batch_size: examples of a step.
        parameters: weights that are trained.
        versions: of the libraries, by name.
        train: runs so many steps, waits for their end, and returns the mean loss.
        examples_per_step: in the mean, where that is not the batch size.
    """
    said = dict(batch_size=batch_size, parameters=parameters, versions=dict(versions))
    if examples_per_step is not None:
        said["examples_per_step"] = examples_per_step
    _say(**said)
    for line in sys.stdin:
        count = json.loads(line)["steps"]
        begun = time.perf_counter()
        loss = train(count)
        _say(seconds=time.perf_counter() - begun, loss=loss)


def _say(**answer) -> None:
    print(json.dumps(answer), flush=True)
