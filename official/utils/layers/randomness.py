"""Random numbers of a training step, as a function of where the step stands."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

_local = threading.local()


@dataclasses.dataclass(frozen=True)
class Position:
    """Where in a run a forward pass stands.

    Attributes:
        seed: the run's seed, a Python int.
        step: the optimizer step, an int64 scalar tensor.
        part: counts the micro-batches of all replicas in the step, an int64 scalar
            tensor: `replica * gradient_accumulation_steps + micro_batch`.
    """

    seed: int
    step: Any
    part: Any


@contextlib.contextmanager
def at(position: Position) -> Iterator[None]:
    """Makes `position` the one that layers of this thread draw from.

    A thread each, because a mirrored strategy traces its replicas in threads.
    """
    outer = current()
    _local.position = position
    try:
        yield
    finally:
        _local.position = outer


def current() -> Position | None:
    """The position of the enclosing `at`; None outside the garden's own loop."""
    return getattr(_local, "position", None)
