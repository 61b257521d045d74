"""Times our training loop against Keras `fit`, and against peers of the model.

    python -m official.benchmark.loop
    python -m official.benchmark.loop --target=mnist/digits --peers=torch

All train the same network with the same optimizer, precision and batch size, and `fit`
on the same batches, which lie in memory. They take turns, round by round; the table
gives the median of each and the median, over rounds, of its ratio to `fit`. A second
network, a perceptron of 784-128-10, is so small that it shows what a loop costs itself.
A peer is another implementation, in an environment of its own that is made on first
use (peers.py).
"""

import contextlib
import math
import os
import statistics
import tempfile

from absl import flags

from official.benchmark import micro_flags
from official.utils import app
from official.utils.errors import UserError, writing

# How many batches lie in memory, if they are not too large.
_BATCHES = 16
_STEPS_PER_EXECUTION = 100


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_flags("loop")
    flags.DEFINE_list(
        "peers",
        [],
        "Other implementations of the model that take turns too, such as torch.",
        flag_values=flag_values,
        module_name="loop",
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        `ratio_to_<contender>`, how many times faster our loop is, and
        `steps_per_second_<contender>`; those of the perceptron with `perceptron_` in
        front. Contenders are `official`, `fit`, `fit_grouped` (several steps an
        execution) and peers.

    Raises:
        UserError: a flag or the data are wrong, or a peer does not run.
    """
    from official.benchmark import contenders, micro, peers, suites

    key = suites.find(flags_obj.target).model
    found = {name: peers.find(key, name) for name in flags_obj.peers}
    with contextlib.ExitStack() as stack:
        benchmark = stack.enter_context(micro.open_benchmark(flags_obj))
        training, settings = benchmark.training, benchmark.settings
        stream = micro.InMemory(training.task.training_stream(), _BATCHES)
        ours = micro.loop_contender(training.loop, stream)
        ours.train(1)
        benchmark.started()
        cache = os.path.join(micro.cache_folder(), "peers")
        others = {}
        for name, peer in found.items():
            log_path = os.path.join(folder_of_logs(flags_obj, stack), f"{name}.txt")
            python = peers.interpreter(peer, cache)
            worker = peers.start(
                peer,
                python,
                settings,
                benchmark.dtype,
                log_path,
                training.sizes(),
            )
            stack.callback(worker.close)
            weights = training.loop.model.trainable_weights
            size = sum(math.prod(weight.shape) for weight in weights)
            others[name] = _peer_contender(
                name, peer, worker, settings.batch_size, size
            )
        print(_row("network", "contender", "steps/s", "of fit", "rounds"))
        label = f"{flags_obj.target}, batch {settings.batch_size}"
        rates = _race(label, training, stream, ours, others, flags_obj)
        metrics = _metrics(rates, "")
        small = contenders.perceptron(flags_obj.seed, benchmark.dtype)
        stream = micro.InMemory(small.task.training_stream(), _BATCHES)
        ours = micro.loop_contender(small.loop, stream)
        of_small = _race("perceptron, batch 32", small, stream, ours, {}, flags_obj)
        metrics |= _metrics(of_small, "perceptron_")
        speed = metrics["steps_per_second_official"] * settings.batch_size
        return benchmark.finish(metrics, speed)


def _race(label, training, stream, ours, others, flags_obj) -> dict[str, list[float]]:
    """Lets our loop, `fit` and others take turns: steps a second, round by round."""
    from official.benchmark import contenders, micro

    # Not more steps an execution than a turn has.
    grouped = min(_STEPS_PER_EXECUTION, micro.steps_within(ours, flags_obj.seconds))
    fit = {
        name: contenders.fit_contender(
            training.task, training.total_steps, stream, steps_per_execution
        )
        for name, steps_per_execution in (("fit", 1), ("fit_grouped", grouped))
    }
    rates = micro.take_turns(
        {**fit, "official": ours, **others}, flags_obj.rounds, flags_obj.seconds
    )
    shown = {
        "fit_grouped": f"fit(steps_per_execution={grouped})",
        "official": "official loop",
    }
    for name, found in rates.items():
        of_fit = micro.ratios(rates, name, "fit")
        print(
            _row(
                label,
                shown.get(name, name),
                f"{statistics.median(found):.1f}",
                f"{statistics.median(of_fit):.2f}",
                f"{min(of_fit):.2f} to {max(of_fit):.2f}",
            ),
            flush=True,
        )
    return rates


def _row(network, contender, rate, of_fit, rounds) -> str:
    return f"{network:<26}{contender:<30}{rate:>9}{of_fit:>8}  {rounds}"


def _metrics(rates, prefix) -> dict[str, float]:
    from official.benchmark import micro

    others = [name for name in rates if name != "official"]
    ratios = {
        f"{prefix}ratio_to_{name}": statistics.median(
            micro.ratios(rates, "official", name)
        )
        for name in others
    }
    return ratios | {
        f"{prefix}steps_per_second_{name}": statistics.median(found)
        for name, found in rates.items()
    }


def folder_of_logs(flags_obj, stack) -> str:
    """`--model_dir`, or a folder that is gone in the end."""
    if flags_obj.model_dir is None:
        return stack.enter_context(tempfile.TemporaryDirectory())
    folder = os.path.abspath(os.path.expanduser(flags_obj.model_dir))
    with writing(folder):
        os.makedirs(folder, exist_ok=True)
    return folder


def _peer_contender(name, peer, worker, batch_size, num_parameters):
    """A peer as a contender, once it has said that it trains the same."""
    from official.benchmark import micro

    def asked(function, *arguments):
        try:
            return function(*arguments)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"--peers={name} does not run: {error}; leave it out, or see its "
                "program in official/benchmark/peer_programs"
            ) from None

    said = asked(worker.wait)
    assert peer.trains(said, batch_size, num_parameters), (
        f"{name} trains another network: {said}"
    )
    if peer.difference:
        print(f"{name} differs: {peer.difference}")
    return micro.Contender(lambda count: asked(worker.train, count)["seconds"])


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
