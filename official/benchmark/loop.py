"""Times the training loop against Keras `fit`: same network, data, optimizer, dtype.

    python -m official.benchmark.loop

Contenders take turns, round by round, in one process; the table gives the median of
each and the median, over rounds, of its ratio to `fit`. Input is float32 in memory.
"""

import os
import statistics
import time
from collections.abc import Callable

from absl import flags

from official.utils import app


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="loop")
    flags.DEFINE_integer("rounds", 5, "Rounds after the warm-up.", lower_bound=1, **own)
    flags.DEFINE_float("seconds", 4.0, "About how long a turn lasts.", **own)
    flags.DEFINE_enum("dtype", "fp32", ("fp32", "bf16"), "Precision of both.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        Ratios to `fit` by `<network>/<contender>`.
    """
    import tensorflow as tf

    from official.utils.training import precision

    print(
        f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs, "
        f"{len(tf.config.list_physical_devices('GPU'))} GPUs, {flags_obj.dtype}, "
        f"{flags_obj.rounds} rounds"
    )
    print(f"{'network':<22}{'contender':<30}{'steps/s':>9}{'of fit':>8}  rounds")
    ratios = {}
    with precision.policy(flags_obj.dtype):
        for network, contenders in (
            ("mnist, batch 256", _contenders(_mnist, 256)),
            ("perceptron, batch 32", _contenders(_perceptron, 32)),
        ):
            rates = _take_turns(contenders, flags_obj.rounds, flags_obj.seconds)
            for name, found in rates.items():
                of_fit = [a / b for a, b in zip(found, rates["fit"], strict=True)]
                ratio = statistics.median(of_fit)
                ratios[f"{network}/{name}"] = ratio
                print(
                    f"{network:<22}{name:<30}{statistics.median(found):>9.1f}"
                    f"{ratio:>8.2f}  {min(of_fit):.2f} to {max(of_fit):.2f}",
                    flush=True,
                )
    return ratios


def _take_turns(
    contenders: dict[str, Callable[[int], float]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Steps a second of each contender, round by round."""
    steps = {}
    for name, train in contenders.items():
        train(20)  # Traces.
        rate = 100 / train(100)
        steps[name] = max(100, round(rate * seconds / 100) * 100)
    rates = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, train in contenders.items():
            rates[name].append(steps[name] / train(steps[name]))
    return rates


def _mnist():
    from official.mnist import model

    return model.build_model()


def _perceptron():
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, dtype="float32"),
        ]
    )


def _contenders(build, batch_size) -> dict[str, Callable[[int], float]]:
    """Functions that train for a number of steps and return the seconds it took."""
    import keras
    import numpy as np

    generator = np.random.default_rng(0)
    rows = 60_000
    images = generator.random((rows, 28, 28, 1), np.float32)
    labels = generator.integers(0, 10, rows).astype(np.int32)

    def optimizer():
        return keras.optimizers.SGD(0.01, momentum=0.9)

    def by_fit(steps_per_execution):
        network = build()
        network.compile(
            optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=steps_per_execution,
        )

        def train(steps):
            seconds = 0.0
            while steps:
                part = min(steps, rows // batch_size)
                cut = slice(part * batch_size)
                begun = time.perf_counter()
                network.fit(images[cut], labels[cut], batch_size=batch_size, verbose=0)
                seconds += time.perf_counter() - begun
                steps -= part
            return seconds

        return train

    return {
        "fit": by_fit(1),
        "fit(steps_per_execution=100)": by_fit(100),
        "official loop": _by_loop(build(), optimizer(), images, labels, batch_size),
    }


def _by_loop(network, optimizer, images, labels, batch_size):
    import tensorflow as tf

    from official.utils.data.streams import ArrayTrainingStream
    from official.utils.testing.tasks import settings
    from official.utils.training.loop import Loop
    from official.utils.training.losses import classification_loss

    class Images:
        """As much of a task as the loop asks for."""

        def __init__(self):
            self.settings = settings(batch_size=batch_size)

        def loss(self, model, batch, training):
            logits = model(batch["image"], training=training)
            return classification_loss(logits, batch)

    optimizer.build(network.trainable_variables)
    loop = Loop(Images(), network, optimizer, tf.distribute.get_strategy())
    stream = ArrayTrainingStream({"image": images, "label": labels}, batch_size, seed=0)
    batches = loop.batches(stream, 0)

    def train(steps):
        begun = time.perf_counter()
        loop.train(batches, 0, steps)
        return time.perf_counter() - begun

    return train


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
