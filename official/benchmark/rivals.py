"""Races the training of a recipe against other implementations of its network.

    python -m official.benchmark.rivals
    python -m official.benchmark.rivals --peers=keras,torch --dtypes=fp32 --rounds=9

By default: ResNet-50 at 224 pixels in batches of 32, against Keras 3 and tf_keras with
their `applications` (`tf_keras_onednn` with oneDNN on, as our mains have it, the
others as they come), and PyTorch eager and compiled. BERT, `--target=bert/mrpc`, is
that of Hugging Face on PyTorch and of keras-hub. Each contender is a process of its
own, with as many threads as ours, that trains without weight decay, ResNet by SGD with
momentum and BERT by Adam, on one batch in memory. Start-up, tracing and compilation
come before the first round; then they take turns, and who waits computes nothing. One
precision follows the other, so that the processes of only one lie in memory. A
contender that fails is named with the reason, and the race goes on without it.

Peers live in environments of their own that are made on first use (peers.py).
"""

import contextlib
import dataclasses
import json
import math
import os
import statistics
import sys
from collections.abc import Sequence

from absl import flags

from official.benchmark import micro_flags, races
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console

_DTYPES = ("fp32", "bf16")
_OURS = "official"
# Processor time out of its turn, in parts of a core, from which a process disturbs.
_RESTLESS = 0.02


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_shared_flags(
        "rivals",
        model_dir_help="Folder for rivals.json and what each process says. Default: "
        "neither is kept.",
        seconds=10.0,
    )
    own = dict(flag_values=flag_values, module_name="rivals")
    flags.DEFINE_string("target", "resnet/imagenet", "The recipe: model/name.", **own)
    flags.DEFINE_list(
        "flags",
        ["batch_size=32", "use_synthetic_data=true"],
        "Flags of the recipe's main, in place of the recipe's. Peers follow them in "
        "batch size, image size and optimizer.",
        **own,
    )
    flags.DEFINE_list("peers", None, "Who takes part. Default: all there are.", **own)
    flags.DEFINE_list("dtypes", list(_DTYPES), "Precisions, one after another.", **own)
    flags.DEFINE_integer(
        "threads", 0, "Of each process; 0: as many as cores.", lower_bound=0, **own
    )
    flags.DEFINE_boolean(
        "own_batches",
        False,
        "Ours trains on its data set, with rows of like lengths together, and peers go "
        "on with one batch of --max_seq_length. Else ours has one batch too.",
        **own,
    )
    flags.DEFINE_float(
        "time_limit",
        1800.0,
        "Seconds after which a contender that does not answer is given up.",
        lower_bound=1,
        **own,
    )
    flags.DEFINE_boolean(
        "measure_peak", False, "Measures the peak although it is in the cache.", **own
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints a table for each precision.

    Args:
        flags_obj: parsed flags.

    Returns:
        With the precision in front: `examples_per_second_<contender>`,
        `ratio_to_<contender>`, how many times faster ours is (median over the rounds),
        and `peak_memory_bytes_<contender>`; `ratio_to_best_peer`, the peer with the
        best median; `memory_to_leanest_peer`; `share_of_peak`, of ours. Contenders are
        `official` and the peers that ran.

    Raises:
        UserError: a flag or the data are wrong, an environment cannot be made, or ours
            does not run.
    """
    for dtype in flags_obj.dtypes:
        if dtype not in _DTYPES:
            raise UserError(f"--dtypes={dtype}: should be among {', '.join(_DTYPES)}")

    from official.benchmark import loop, machines, micro, peak, peers, suites, worker

    recipe = suites.find_with_steps(flags_obj.target)
    names = flags_obj.peers or list(peers.PEERS.get(recipe.model, {}))
    found = {name: peers.find(recipe.model, name) for name in names}
    threads = flags_obj.threads or _cores()
    values = dict(
        seed=flags_obj.seed,
        data_dir=flags_obj.data_dir,
        distribution_strategy="off",
        weight_decay=0,
    ) | worker.values_of(flags_obj.flags)
    # This process computes the peak, with as many threads as the contenders have.
    step = _measure_step(recipe, values | _threads(flags_obj.threads))
    values |= _threads(threads)
    print(
        f"{machines.machine().text}\n{flags_obj.target}: {step.description}, batch "
        f"{step.batch_size}, {step.parameters:,} weights, "
        f"{step.flops / 1e9:.1f} GFLOP a step, {threads} threads",
        flush=True,
    )
    cache = micro.cache_folder()
    pythons = {
        name: peers.interpreter(peer, os.path.join(cache, "peers"))
        for name, peer in found.items()
    }
    flops = step.flops / step.examples
    peak_of, metrics, results = {}, {}, {}
    with contextlib.ExitStack() as stack:
        folder = loop.folder_of_logs(flags_obj, stack)
        given = dict(step.sizes)
        if step.lengths:
            given["lengths"] = os.path.join(folder, "lengths.json")
            with open(given["lengths"], "w") as file:
                json.dump(step.lengths, file)
        machines.warn_if_busy()
        for dtype in flags_obj.dtypes:
            best = peak.find(
                dtype, os.path.join(cache, "peaks.json"), flags_obj.measure_peak
            ).flops_per_second
            entrants = _entrants(
                flags_obj, values, step, given, found, pythons, dtype, threads, folder
            )
            ran = races.race(
                entrants, step.batch_size, flags_obj.rounds, flags_obj.seconds
            )
            print(table(dtype, ran, flops, best), flush=True)
            metrics |= metrics_of(dtype, ran, flops, best)
            peak_of[dtype], results[dtype] = best, ran
    if flags_obj.model_dir:
        _write(flags_obj, step, threads, peak_of, metrics, results)
    return metrics


@dataclasses.dataclass(frozen=True)
class _Step:
    """Our training step, as the peers have to match it."""

    description: str
    batch_size: int
    examples: float
    sizes: dict[str, int]
    parameters: int
    flops: int
    lengths: dict[str, list[int]]


def _measure_step(recipe, values) -> _Step:
    """Traces our step, in this process, which trains nothing."""
    import tensorflow as tf

    from official.benchmark import flops, steps
    from official.utils.data.streams import Share
    from official.utils.data.token_batches import TokenTrainingStream

    settings = steps.settings_of(recipe, **values)
    training = steps.prepare(recipe, settings)
    model = training.loop.model
    # A real one: that of rows of different lengths has no shape of its own.
    stream = training.task.training_stream()
    (batch,) = stream.dataset(0, Share(1, 0, 1)).take(1)
    batch = {name: tf.TensorSpec.from_tensor(value) for name, value in batch.items()}
    counted = flops.training_step(training.task, model, batch)
    counted.warn_of_uncounted()
    is_of_tokens = isinstance(stream, TokenTrainingStream)
    return _Step(
        training.description,
        settings.batch_size,
        stream.tokens_per_step if is_of_tokens else settings.batch_size,
        training.sizes(),
        sum(math.prod(weight.shape) for weight in model.trainable_weights),
        counted.flops,
        # Peers make batches of their own of sequences that ours counts in tokens.
        {name: side.lengths.tolist() for name, side in stream.rows.ragged.items()}
        if is_of_tokens
        else {},
    )


def _entrants(flags_obj, values, step, given, found, pythons, dtype, threads, folder):
    """Ours and the peers."""
    from official.benchmark import machines, peers, steps, suites, turns

    recipe = suites.find(flags_obj.target)
    settings = steps.settings_of(recipe, **values | {"dtype": dtype})
    assigned = [f"{name}={v}" for name, v in values.items() if v is not None]
    ours = [sys.executable, "-m", "official.benchmark.worker"]
    ours.append(f"--in_memory={str(not flags_obj.own_batches).lower()}")
    ours += [f"--target={flags_obj.target}", f"--dtype={dtype}"]
    ours.append(f"--flags={','.join(assigned)}")

    def log_path(name):
        return os.path.join(folder, f"{name}-{dtype}.txt")

    def start_ours():
        return turns.Worker(
            ours, log_path(_OURS), flags_obj.time_limit, machines.environment()
        )

    def starter(name, peer):
        return lambda: peers.start(
            peer,
            pythons[name],
            settings,
            dtype,
            log_path(name),
            given | {"threads": threads},
            flags_obj.time_limit,
        )

    def accepter(peer):
        return lambda said: peer.trains(said, step.batch_size, step.parameters)

    others = [
        races.Entrant(name, starter(name, peer), accepter(peer), peer.difference)
        for name, peer in found.items()
    ]
    return [races.Entrant(_OURS, start_ours, lambda said: True), *others]


def _threads(number: int) -> dict[str, int]:
    names = ("inter_op_parallelism_threads", "intra_op_parallelism_threads")
    return dict.fromkeys(names, number)


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the results of one precision come to.

    Attributes:
        ratios: how many times faster ours is, round by round, by peer.
        best: the peer with the best median; None if no peer ran.
        leanest: the peer that takes the least memory; None likewise.
        memory_ratio: our memory to that of the leanest.
    """

    ratios: dict[str, list[float]]
    best: str | None
    leanest: str | None
    memory_ratio: float | None


def judge(results: Sequence[races.Result]) -> Outcome:
    """Compares ours, the first, with the others that ran."""
    ours, *others = (result for result in results if not result.failure)
    ratios = {
        other.name: [a / b for a, b in zip(ours.rates, other.rates, strict=True)]
        for other in others
    }
    best = max(others, key=lambda other: other.rate, default=None)
    measured = [other for other in others if other.peak_memory_bytes]
    leanest = min(measured, key=lambda other: other.peak_memory_bytes, default=None)
    return Outcome(
        ratios,
        best and best.name,
        leanest and leanest.name,
        ours.peak_memory_bytes / leanest.peak_memory_bytes if leanest else None,
    )


def table(
    dtype: str, results: Sequence[races.Result], flops: float, peak: float
) -> str:
    """The results of one precision for people.

    Args:
        dtype: `fp32` or `bf16`.
        results: ours first.
        flops: products of our step for one example.
        peak: products a second of the machine.

    Returns:
        Text of several lines.
    """
    outcome = judge(results)
    rows = [(dtype, "examples/s", "rounds", "ours to it", "of peak", "peak memory")]
    notes, differing = [], {}
    for result in results:
        name = result.name
        if result.difference:
            differing.setdefault(result.difference, []).append(name)
        if result.failure:
            rows.append((name, "did not run", *[""] * 4))
            notes.append(f"{name} did not run: {result.failure}")
            continue
        ratios = outcome.ratios.get(name)
        share = f"{result.rate * flops / peak:.1%}"
        memory = result.peak_memory_bytes
        rows.append(
            (
                name,
                f"{result.rate:.3g}",
                f"{min(result.rates):.3g} to {max(result.rates):.3g}",
                f"{statistics.median(ratios):.2f}" if ratios else "",
                # Another network has other products.
                "" if result.difference else share,
                f"{memory / 2**30:.2f} GiB" if memory else "unknown",
            )
        )
        if result.idle_cpu > _RESTLESS:
            notes.append(
                f"{name} took {result.idle_cpu:.0%} of a core out of its turn, so that "
                "all others come out too low"
            )
    notes += [f"{', '.join(names)}: {what}" for what, names in differing.items()]
    if outcome.best:
        ratio = statistics.median(outcome.ratios[outcome.best])
        notes.append(f"ours is {ratio:.2f} times the best peer, {outcome.best}")
    if outcome.leanest:
        notes.append(
            f"our memory is {outcome.memory_ratio:.2f} times that of the leanest peer, "
            f"{outcome.leanest}"
        )
    notes.append(f"peak of matrix products in {dtype}: {peak / 1e9:.1f} GFLOP/s")
    return "\n".join([*console.table(rows), *notes])


def metrics_of(
    dtype: str, results: Sequence[races.Result], flops: float, peak: float
) -> dict[str, float]:
    """The results of one precision as numbers by name; see `table` and `run`."""
    outcome = judge(results)
    ran = [result for result in results if not result.failure]
    found: dict[str, float] = {"share_of_peak": ran[0].rate * flops / peak}
    if outcome.best:
        found["ratio_to_best_peer"] = statistics.median(outcome.ratios[outcome.best])
    if outcome.memory_ratio:
        found["memory_to_leanest_peer"] = outcome.memory_ratio
    for name, ratios in outcome.ratios.items():
        found[f"ratio_to_{name}"] = statistics.median(ratios)
    for result in ran:
        found[f"examples_per_second_{result.name}"] = result.rate
        if result.peak_memory_bytes:
            found[f"peak_memory_bytes_{result.name}"] = result.peak_memory_bytes
    return {f"{dtype}_{name}": value for name, value in found.items()}


def _write(flags_obj, step, threads, peaks, metrics, results) -> None:
    """Writes `rivals.json`, from which tables can be drawn."""
    from official.benchmark import machines
    from official.utils.logs import files
    from official.utils.logs import results as results_file

    folder = os.path.abspath(os.path.expanduser(flags_obj.model_dir))
    path = os.path.join(folder, "rivals.json")
    content = {
        "machine": machines.machine().text,
        "commit": machines.commit(),
        "versions": results_file.versions(),
        "flags": {name: flags_obj[name].value for name in flags_obj},
        "threads": threads,
        "step": dataclasses.asdict(step),
        "peak_flops_per_second": peaks,
        "metrics": metrics,
        "results": {
            dtype: [dataclasses.asdict(result) for result in found]
            for dtype, found in results.items()
        },
    }
    files.write_whole(path, files.json_text(content))
    print(f"results: {path}", flush=True)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
