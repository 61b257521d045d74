"""What the micro-benchmarks share: the recipe, turns, and the results file.

A micro-benchmark measures a part of the training of one recipe (`--target`) on one
device, prints a table and, with `--model_dir`, writes `results.json` as a run of a main
does, so that the nightly records and judges it the same way.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping

import psutil
import tensorflow as tf
from absl import flags

from official.benchmark import steps, suites
from official.utils.data.streams import Share, TrainingStream
from official.utils.flags.settings import Settings
from official.utils.logs import results
from official.utils.recipes import Recipe
from official.utils.training import precision
from official.utils.training.loop import Loop

# Batches in memory: at most so many, and so many bytes; at least one.
_BYTES_IN_MEMORY = 256 << 20


@dataclasses.dataclass
class Benchmark:
    """A recipe that is ready to be measured.

    Attributes:
        flags_obj: the flags of the benchmark.
        recipe: what is measured.
        settings: the resolved flags of its main.
        training: its data and its loop.
        dtype: the precision, resolved.
        startup_seconds: from the start of the process to the end of the first turn.
    """

    flags_obj: flags.FlagValues
    recipe: Recipe
    settings: Settings
    training: steps.Training
    dtype: str
    startup_seconds: float | None = None

    def started(self) -> None:
        """Notes that the first turn has ended."""
        self.startup_seconds = _seconds_of_process()

    def finish(
        self, metrics: Mapping[str, float], examples_per_second: float
    ) -> dict[str, float]:
        """Writes `results.json` if there is a `--model_dir`.

        Args:
            metrics: numbers by name, the most telling ones first.
            examples_per_second: what the nightly compares from night to night.

        Returns:
            `metrics`.

        Raises:
            UserError: the file cannot be written.
        """
        if self.flags_obj.model_dir is None:
            return dict(metrics)
        folder = os.path.expanduser(self.flags_obj.model_dir)
        own = {name: self.flags_obj[name].value for name in self.flags_obj}
        found = {
            "model": self.training.task.name,
            "dataset": self.settings.dataset,
            "metrics": dict(metrics),
            "steps": int(self.training.loop.optimizer.iterations),
            "resumed_from_steps": [],
            "examples_per_second": examples_per_second,
            "startup_seconds": self.startup_seconds,
            "wall_seconds": _seconds_of_process(),
            "peak_memory_bytes": results.peak_memory_bytes(),
            "seed": self.settings.seed,
            "num_replicas": 1,
            "dtype": self.dtype,
            "flags": dict(sorted((dict(self.settings) | own).items())),
            "versions": results.versions(),
        }
        path = os.path.join(folder, "results.json")
        results.write_results(path, found)
        print(f"results: {path}", flush=True)
        return dict(metrics)


@contextlib.contextmanager
def open_benchmark(flags_obj: flags.FlagValues) -> Iterator[Benchmark]:
    """Loads the recipe of `--target`, builds its loop, and prints what is measured.

    Args:
        flags_obj: the parsed flags of a micro-benchmark.

    Raises:
        UserError: a flag or the data are wrong, or the recipe has no steps.
    """
    recipe = suites.find_with_steps(flags_obj.target)
    settings = steps.settings_of(
        recipe,
        seed=flags_obj.seed,
        data_dir=flags_obj.data_dir,
        dtype=flags_obj.dtype,
        # One device: a step of several measures how they are joined, too.
        distribution_strategy="off",
    )
    training = steps.prepare(recipe, settings)
    dtype = precision.resolve_dtype(settings.dtype)
    print(
        f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs, "
        f"{len(tf.config.list_physical_devices('GPU'))} GPUs, {dtype}, "
        f"{flags_obj.rounds} rounds\n{flags_obj.target}: {training.description}",
        flush=True,
    )
    try:
        yield Benchmark(flags_obj, recipe, settings, training, dtype)
    except tf.errors.OpError as error:
        # Whatever a file holds comes to light only when the stream gets there.
        reason = training.task.explain(error)
        if reason is None:
            raise
        raise reason from None


@dataclasses.dataclass(frozen=True)
class InMemory:
    """The first batches of a stream again and again, so that the input costs nothing.

    Attributes:
        stream: the task's stream.
        num_batches: how many batches are kept, if they are not too large.
    """

    stream: TrainingStream
    num_batches: int

    def dataset(self, start_step: int, share: Share) -> tf.data.Dataset:
        """Endless batches; see `TrainingStream.dataset`."""
        dataset = self.stream.dataset(start_step, share)
        (first,) = dataset.take(1)
        tensors = tf.nest.flatten(first, expand_composites=True)
        size = sum(tensor.dtype.size * int(tf.size(tensor)) for tensor in tensors)
        number = max(1, min(self.num_batches, _BYTES_IN_MEMORY // max(1, size)))
        return dataset.take(number).cache().repeat()


@dataclasses.dataclass(frozen=True)
class Contender:
    """What is timed.

    Attributes:
        train: runs a number of steps and returns the seconds they took.
        multiple: what this number has to be a multiple of.
    """

    train: Callable[[int], float]
    multiple: int = 1


def loop_contender(loop: Loop, stream: TrainingStream) -> Contender:
    """Training steps of our loop over the batches of `stream`."""
    batches = loop.batches(stream, 0)

    def train(count):
        step = int(loop.optimizer.iterations)
        begun = time.perf_counter()
        loop.train(batches, step, count)
        return time.perf_counter() - begun

    return Contender(train)


def take_turns(
    contenders: Mapping[str, Contender], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Steps a second of each contender, round by round.

    Args:
        contenders: by name.
        rounds: how often each has its turn, after a warm-up.
        seconds: about how long a turn lasts.

    Returns:
        As many rates as rounds, by name.
    """
    counts = {
        name: steps_within(contender, seconds) for name, contender in contenders.items()
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds):
        # A B C, C B A, ...: what grows or fades over a round falls out.
        order = list(contenders)[:: -1 if round_number % 2 else 1]
        for name in order:
            rates[name].append(counts[name] / contenders[name].train(counts[name]))
    return rates


def steps_within(contender: Contender, seconds: float) -> int:
    """About how many steps take `seconds`, after a warm-up; at least `multiple`."""
    count = contender.multiple
    contender.train(count)  # Traces.
    took = contender.train(count)
    while took < seconds / 4:
        count *= 4
        took = contender.train(count)
    whole = round(count * seconds / took / contender.multiple)
    return max(1, whole) * contender.multiple


def ratios(rates: Mapping[str, list[float]], name: str, other: str) -> list[float]:
    """How many times faster `name` was than `other`, round by round."""
    return [a / b for a, b in zip(rates[name], rates[other], strict=True)]


def cache_folder() -> str:
    """Where measured peaks and environments of peers are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "official-models")


def _seconds_of_process() -> float:
    return time.time() - psutil.Process().create_time()
