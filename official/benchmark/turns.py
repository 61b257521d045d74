"""Two builds train one recipe in turns: their speeds side by side, a moment apart.

A machine's speed drifts within seconds, by more than what the comparison looks for.
So two processes, one of each build, stay alive and take turns of a fraction of a
second; the ratio of two turns next to each other cancels most of the drift. Worker
processes run `official.benchmark.worker`.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from official.benchmark import machines, processes
from official.benchmark.suites import Job

SIDES = ("baseline", "candidate")
# Losses compared between builds; also the warm-up.
FIRST_STEPS = 10
_WARM_UP_STEPS = 4
# 30 pairs of turns of an eighth of a second, on two noisy cores: rounds of 20 s of
# which half is start-up, and three to four rounds decide (verdicts_test.py).
_PAIRS = 30
_TURN_SECONDS = 0.125
_ROUND_SECONDS = 120.0
_MIN_PAIRS = 5


class WorkerError(Exception):
    """A worker did not answer; says which side it was, why, and where its log is."""

    def __init__(self, side: int, reason: str, log_path: str):
        super().__init__(reason)
        self.side = side
        self.log_path = log_path


class Worker:
    """A training in another process, driven step by step.

    The process speaks as `official.benchmark.worker` does.

    Attributes:
        log_path: the file that takes its stderr.
        pid: of the process.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: str,
        time_limit: float,
        environment: Mapping[str, str],
    ):
        """Starts the process; `wait` waits until it is ready.

        Args:
            command: program and arguments.
            log_path: file that takes its stderr; its folder is the working directory.
            time_limit: seconds after which an answer is not waited for any more.
            environment: the environment variables.
        """
        self.log_path = log_path
        self._time_limit = time_limit
        self._rest = b""
        with open(log_path, "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(environment),
                cwd=os.path.dirname(log_path),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait(self) -> dict:
        """What the worker says once it is built: `batch_size`, and what else it has."""
        return self._answer()

    def train(self, count: int) -> dict:
        """Trains `count` steps: `seconds`, and of a recipe's worker `losses`."""
        with contextlib.suppress(BrokenPipeError):  # It shows in the missing answer.
            self._process.stdin.write(json.dumps({"steps": count}).encode() + b"\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        """The next line; bytes are read by hand, because a pipe's file cannot wait."""
        until = time.monotonic() + self._time_limit
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise RuntimeError(f"no answer in {self._time_limit:.0f} s")
            read = os.read(descriptor, 65536)
            if not read:
                code = self._process.wait(timeout=60)
                text = processes.log_text(self.log_path, 20_000)
                said = processes.last_error(text)
                raise RuntimeError(f"exit code {code}: {said}")
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


def _start(job: Job, seed: int, build: machines.Build, log_path: str) -> Worker:
    """A worker that trains a recipe with a build."""
    command = [build.python, "-m", "official.benchmark.worker"]
    command += [f"--target={job.key}", f"--seed={seed}"]
    if job.data_dir:
        command.append(f"--data_dir={job.data_dir}")
    return Worker(command, log_path, job.time_limit(), machines.environment())


def take_turns(
    job: Job,
    seed: int,
    builds: Sequence[machines.Build],
    folder: str,
    number: int,
) -> tuple[list[float], list[list[float]]]:
    """One round: two fresh processes and their turns.

    Args:
        job: a recipe with training steps.
        seed: of both trainings.
        builds: baseline and candidate.
        folder: of the logs.
        number: of the round; odd ones begin with the candidate.

    Returns:
        Ratios of the candidate's speed to the baseline's, one a pair of turns, and the
        first losses of both sides.

    Raises:
        WorkerError: a side crashed or hung.
    """
    order = (0, 1) if number % 2 == 0 else (1, 0)
    workers: dict[int, Worker] = {}
    try:
        for side in order:
            log_path = os.path.join(folder, f"turns-{SIDES[side]}.txt")
            workers[side] = _start(job, seed, builds[side], log_path)
        for side in order:
            _ask(workers, side, Worker.wait)
        losses = [_ask(workers, side, Worker.train, FIRST_STEPS) for side in (0, 1)]
        timed = [_ask(workers, side, Worker.train, _WARM_UP_STEPS) for side in order]
        step = max(answer["seconds"] for answer in timed) / _WARM_UP_STEPS
        count = max(1, round(_TURN_SECONDS / step))
        pairs = min(_PAIRS, int(_ROUND_SECONDS / (2 * count * step)))
        ratios = []
        for pair in range(max(_MIN_PAIRS, pairs)):
            # A B, B A, A B ...: what grows or fades over a pair falls out.
            turn = order if pair % 2 == 0 else order[::-1]
            seconds = {
                side: _ask(workers, side, Worker.train, count)["seconds"]
                for side in turn
            }
            ratios.append(seconds[0] / seconds[1])
        return ratios, [answer["losses"] for answer in losses]
    finally:
        for worker in workers.values():
            worker.close()


def _ask(workers: dict[int, Worker], side: int, function, *arguments) -> dict:
    worker = workers[side]
    try:
        return function(worker, *arguments)
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        raise WorkerError(side, str(error), worker.log_path) from None
