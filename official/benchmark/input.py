"""Times a recipe's training input alone, without the training.

    python -m official.benchmark.input --target=mnist/digits

The stream is drained batch by batch in one `tf.function`, as the training loop takes
it. In turns with that our loop trains on batches that lie in memory, which says how
many times faster the input is than the training needs it. (`records` compares the
stream over TFRecord files with TensorFlow's own.)
"""

import statistics
import time

from absl import flags

from official.benchmark import micro_flags
from official.utils import app
from official.utils.logs import console


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    return micro_flags.define_flags("input")


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        `times_training_speed`, `input_examples_per_second` and
        `training_examples_per_second`.

    Raises:
        UserError: a flag or the data are wrong.
    """
    from official.benchmark import micro

    with micro.open_benchmark(flags_obj) as benchmark:
        training = benchmark.training
        drain = _drain_contender(training.batches())
        drain.train(1)
        benchmark.started()
        in_memory = micro.InMemory(training.task.training_stream(), 1)
        contenders = {
            "input": drain,
            "training": micro.loop_contender(training.loop, in_memory),
        }
        batches = micro.take_turns(contenders, flags_obj.rounds, flags_obj.seconds)
        rates = {
            name: [rate * benchmark.settings.batch_size for rate in found]
            for name, found in batches.items()
        }
        times = micro.ratios(rates, "input", "training")
        rows = [("", "examples/s", "times training", "rounds")]
        for name, found in rates.items():
            relative = micro.ratios(rates, name, "training")
            rows.append(
                (
                    name,
                    f"{statistics.median(found):,.0f}",
                    f"{statistics.median(relative):.2f}",
                    f"{min(found):,.0f} to {max(found):,.0f}",
                )
            )
        print("\n".join(console.table(rows)), flush=True)
        rate = statistics.median(rates["input"])
        metrics = {
            "times_training_speed": statistics.median(times),
            "input_examples_per_second": rate,
            "training_examples_per_second": statistics.median(rates["training"]),
        }
        return benchmark.finish(metrics, rate)


def _drain_contender(batches):
    import tensorflow as tf

    from official.benchmark import micro

    @tf.function
    def drain(iterator, count):
        # As the training loop takes its batches.
        for _ in tf.range(count):
            next(iterator)

    def train(count):
        begun = time.perf_counter()
        drain(batches, tf.constant(count, tf.int64))
        return time.perf_counter() - begun

    return micro.Contender(train)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
