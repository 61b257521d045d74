"""A race of training processes: they take turns, and who fails falls out.

Each is warmed up alone; then all stay alive, and who waits computes nothing.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from official.utils.errors import UserError


@dataclasses.dataclass
class Result:
    """What a contender did in one precision.

    Attributes:
        name: of the peer; `official` for ours.
        difference: in what its network differs from ours; empty if in nothing.
        versions: of its libraries, by name.
        rates: examples a second, round by round.
        peak_memory_bytes: the most resident memory of the process, start-up and
            compilation included; None where the system does not say.
        idle_cpu: processor time out of its turn, in parts of a core.
        failure: why it did not run; empty if it did.
    """

    name: str
    difference: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    rates: list[float] = dataclasses.field(default_factory=list)
    peak_memory_bytes: int | None = None
    idle_cpu: float = 0.0
    failure: str = ""

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates)


@dataclasses.dataclass(frozen=True)
class Entrant:
    """Who wants to run.

    Attributes:
        name: of the peer; `official` for ours.
        start: starts its process, a `turns.Worker`.
        accepts: whether the first line of the process is that of the right network.
        difference: in what its network differs from ours; empty if in nothing.
    """

    name: str
    start: Callable[[], Any]
    accepts: Callable[[dict], bool]
    difference: str = ""


class _Runner:
    """A process that takes its turns, until it fails."""

    def __init__(self, entrant: Entrant, batch_size: int):
        self.result = Result(entrant.name, entrant.difference)
        self._entrant = entrant
        self._examples_per_step = batch_size
        self._worker = None
        self._count = 0
        # Of this machine and of the process, at the end of its last turn.
        self._time = self._cpu_time = 0.0
        self._waited = self._worked = 0.0

    @property
    def runs(self) -> bool:
        return not self.result.failure

    def warm_up(self, seconds: float) -> None:
        """Starts the process, and finds out how many steps take `seconds`."""
        from official.benchmark import micro

        print(f"{self.result.name} starts", flush=True)
        with self._noting_failure():
            self._worker = self._entrant.start()
            said = self._worker.wait()
            if not self._entrant.accepts(said):
                raise RuntimeError(f"it trains another network: {said}")
            self.result.versions = said.get("versions", {})
            # Where steps have different numbers of examples: their mean.
            if "examples_per_step" in said:
                self._examples_per_step = said["examples_per_step"]
            contender = micro.Contender(self._train)
            self._count = micro.steps_within(contender, seconds)

    def take_turn(self) -> None:
        """Trains, and notes the speed."""
        with self._noting_failure():
            self.look()
            seconds = self._train(self._count)
            examples = self._examples_per_step * self._count
            self.result.rates.append(examples / seconds)

    def look(self) -> None:
        """Notes memory, and what the process did since its last turn."""
        process = psutil.Process(self._worker.pid)
        self._waited += time.perf_counter() - self._time
        self._worked += _cpu_seconds(process) - self._cpu_time
        self.result.idle_cpu = self._worked / self._waited
        self.result.peak_memory_bytes = _peak_memory_bytes(process)

    def _train(self, count: int) -> float:
        seconds = self._worker.train(count)["seconds"]
        self._cpu_time = _cpu_seconds(psutil.Process(self._worker.pid))
        self._time = time.perf_counter()
        return seconds

    def finish(self) -> None:
        """Looks once more."""
        with self._noting_failure():
            self.look()

    def close(self) -> None:
        """Ends the process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    @contextlib.contextmanager
    def _noting_failure(self):
        try:
            yield
        # What a process that has ended, hangs or says something else leads to.
        except (RuntimeError, ValueError, KeyError, psutil.Error) as error:
            self.result.failure = str(error) or type(error).__name__
            self.result.rates = []
            print(f"{self.result.name} did not run: {self.result.failure}", flush=True)
            self.close()


def race(
    entrants: Sequence[Entrant], batch_size: int, rounds: int, seconds: float
) -> list[Result]:
    """Lets processes take turns, and ends them.

    Args:
        entrants: ours first.
        batch_size: examples of a step, of those that do not say it themselves.
        rounds: how often each has its turn, after the warm-up.
        seconds: about how long a turn lasts.

    Returns:
        A result each; of one that failed, the reason.

    Raises:
        UserError: ours failed.
    """
    runners = [_Runner(entrant, batch_size) for entrant in entrants]
    try:
        # One after another: they would disturb each other's compilation.
        for runner in runners:
            runner.warm_up(seconds)
            _check_ours(runners[0].result)
        for number in range(rounds):
            # A B C, C B A, ...: what grows or fades over a round falls out.
            for runner in runners[:: -1 if number % 2 else 1]:
                if runner.runs:
                    runner.take_turn()
        for runner in runners:
            if runner.runs:
                runner.finish()
        _check_ours(runners[0].result)
    finally:
        for runner in runners:
            runner.close()
    return [runner.result for runner in runners]


def _check_ours(ours: Result) -> None:
    if ours.failure:
        raise UserError(
            f"{ours.name} does not run: {ours.failure}; --model_dir keeps what it said"
        )


def _cpu_seconds(process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _peak_memory_bytes(process) -> int | None:
    """The most resident memory of another process, which only Linux tells."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024  # "VmHWM:  5120 kB"
    return None
