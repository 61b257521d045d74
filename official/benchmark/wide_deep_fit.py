"""Times the wide and deep model's training against Keras `fit` with `FeatureSpace`.

    python -m official.benchmark.wide_deep_fit
    python -m official.benchmark.wide_deep_fit --dataset=census --data_dir=DIR

All train the same network with the same two optimizers and batch size, from the same
raw columns in memory. Ours turns columns into ids once, before the first step, and the
table says how long that takes. `fit` does so in its input, as the guide of
`FeatureSpace` has it, on whole batches; `fit_cached` keeps what came out of that in
memory, so that only training is compared. They take turns, round by round.
"""

import os
import statistics
import time

from absl import flags

from official.benchmark import micro_flags
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console

DATASETS = ("census_like", "census")


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_shared_flags("wide_deep_fit")
    own = dict(flag_values=flag_values, module_name="wide_deep_fit")
    flags.DEFINE_enum("dataset", DATASETS[0], DATASETS, "The table.", **own)
    flags.DEFINE_integer("batch_size", 128, "Rows a step.", lower_bound=1, **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        `examples_per_second_<contender>` of `official`, `fit` and `fit_cached`;
        `ratio_to_fit` and `ratio_to_fit_cached`, how many times faster ours is, the
        median over the rounds; `prepare_seconds` of ours.

    Raises:
        UserError: the data are missing.
    """
    if flags_obj.dataset == "census" and not flags_obj.data_dir:
        raise UserError("--dataset=census needs --data_dir=DIR")
    from official.benchmark import micro, wide_deep_contenders

    task = wide_deep_contenders.make_task(
        flags_obj.dataset, flags_obj.data_dir, flags_obj.seed, flags_obj.batch_size
    )
    print(
        f"{task.load()}, {os.cpu_count()} CPUs, {flags_obj.rounds} rounds", flush=True
    )
    begun = time.perf_counter()
    task.features.prepare(task.parts["train"].columns)
    seconds = time.perf_counter() - begun
    contenders = {
        "official": wide_deep_contenders.loop_contender(task),
        "fit": wide_deep_contenders.fit_contender(task, is_cached=False),
        "fit_cached": wide_deep_contenders.fit_contender(task, is_cached=True),
    }
    rates = micro.take_turns(contenders, flags_obj.rounds, flags_obj.seconds)
    metrics, rows = {}, [("contender", "examples/s", "official is", "rounds")]
    for name, found in rates.items():
        speed = statistics.median(found) * flags_obj.batch_size
        metrics[f"examples_per_second_{name}"] = speed
        ratios = micro.ratios(rates, "official", name)
        if name != "official":
            metrics[f"ratio_to_{name}"] = statistics.median(ratios)
        rows.append(
            (
                name,
                f"{speed:,.0f}",
                f"{statistics.median(ratios):.2f} times as fast",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            )
        )
    print("\n".join(console.table(rows)))
    number = len(task.parts["train"])
    print(f"ours turns {number:,} rows into ids in {seconds:.2f} s, once", flush=True)
    return metrics | {"prepare_seconds": seconds}


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
