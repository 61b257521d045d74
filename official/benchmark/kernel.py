"""Times a recipe's training step alone, against the machine's matrix-product peak.

    python -m official.benchmark.kernel --target=mnist/digits

One batch lies in memory and is trained on again and again by our loop. The operations
of the step are counted from its graph: products of matrices and convolutions, forward
and backward (flops.py says what counts). The peak is the fastest matrix product in the
same precision, measured once for each machine and TensorFlow and then kept in
`$XDG_CACHE_HOME/official-models/peaks.json` or `~/.cache/...`.
"""

import glob
import os
import statistics

from absl import flags

from official.benchmark import micro_flags
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console

_PROFILED_STEPS = 5


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_flags("kernel")
    own = dict(flag_values=flag_values, module_name="kernel")
    flags.DEFINE_string(
        "peak_cache",
        None,
        "File of measured peaks. Default: peaks.json in the cache folder.",
        **own,
    )
    flags.DEFINE_boolean(
        "measure_peak", False, "Measures the peak although it is in the cache.", **own
    )
    flags.DEFINE_boolean(
        "profile",
        False,
        f"Writes a TensorFlow profile of {_PROFILED_STEPS} steps into --model_dir.",
        **own,
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        `step_milliseconds`, `flops_per_step`, `flops_per_second`,
        `peak_flops_per_second` and `share_of_peak`.

    Raises:
        UserError: a flag, the data or the cache is wrong.
    """
    if flags_obj.profile and not flags_obj.model_dir:
        raise UserError("--profile needs --model_dir, the folder that takes the trace")

    from official.benchmark import flops, micro, peak
    from official.utils.data.streams import Share

    with micro.open_benchmark(flags_obj) as benchmark:
        training = benchmark.training
        stream = micro.InMemory(training.task.training_stream(), 1)
        step = micro.loop_contender(training.loop, stream)
        step.train(1)
        benchmark.started()
        (batch,) = stream.dataset(0, Share(1, 0, 1)).take(1)
        counted = flops.training_step(training.task, training.loop.model, batch)
        counted.warn_of_uncounted()
        rates = micro.take_turns({"step": step}, flags_obj.rounds, flags_obj.seconds)[
            "step"
        ]
        cache = flags_obj.peak_cache or os.path.join(micro.cache_folder(), "peaks.json")
        best = peak.find(
            benchmark.dtype, os.path.expanduser(cache), flags_obj.measure_peak
        )
        if flags_obj.profile:
            _profile(step, os.path.expanduser(flags_obj.model_dir))
        rate = statistics.median(rates)
        metrics = {
            "step_milliseconds": 1000 / rate,
            "flops_per_step": counted.flops,
            "flops_per_second": counted.flops * rate,
            "peak_flops_per_second": best.flops_per_second,
            "share_of_peak": counted.flops * rate / best.flops_per_second,
        }
        _print(metrics, rates, benchmark.settings.batch_size, best.size)
        if metrics["share_of_peak"] > 1:
            console.warn(
                "the step is faster than the peak: that was measured on a busy machine;"
                " --measure_peak measures it anew"
            )
        return benchmark.finish(metrics, rate * benchmark.settings.batch_size)


def _print(metrics, rates, batch_size, size) -> None:
    rows = [
        (
            f"step of {batch_size} examples",
            f"{metrics['step_milliseconds']:.2f} ms",
            f"rounds {1000 / max(rates):.2f} to {1000 / min(rates):.2f}",
        ),
        (
            "products of a step",
            f"{metrics['flops_per_step'] / 1e9:.3f} GFLOP",
            "forward and backward",
        ),
        ("speed", f"{metrics['flops_per_second'] / 1e9:.1f} GFLOP/s", ""),
        (
            "peak",
            f"{metrics['peak_flops_per_second'] / 1e9:.1f} GFLOP/s",
            f"product of {size} x {size} matrices",
        ),
        ("share of peak", f"{metrics['share_of_peak']:.1%}", ""),
    ]
    print("\n".join(console.table(rows)), flush=True)


def _profile(step, folder) -> None:
    import tensorflow as tf

    with tf.profiler.experimental.Profile(folder):
        step.train(_PROFILED_STEPS)
    written = glob.glob(f"{glob.escape(folder)}/plugins/profile/*/*.xplane.pb")
    if not written:
        raise RuntimeError(f"TensorFlow has written no profile into {folder}")
    print(f"profile of {_PROFILED_STEPS} steps: {max(written)}", flush=True)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
