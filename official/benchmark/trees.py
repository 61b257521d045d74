"""Times boosted trees against LightGBM itself, and the forest against its prediction.

    python -m official.benchmark.trees --rows=1000000

Three races on made-up events, in turns, each side with all cores; the table gives the
median of each and of their ratio. Training: both sides grow the same trees in processes
of their own, of which the peak memory is compared. Reading: a CSV file against pandas
with its pyarrow engine. Prediction: batches of `--batch_size` rows through the forest,
with and without XLA, against `Booster.predict`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import flags

from official.utils import app
from official.utils.flags.definer import Definer
from official.utils.logs import console

# A training in a process of its own: seconds and peak bytes as JSON. Both sides have
# the rows in memory when the clock starts, and neither looks at validation rows.
_TRAIN = """
import json, os, sys, time
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
side, rows, trees = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
from official.r1.boosted_trees import decay
from official.utils.logs import results
features, labels, _ = decay.make(0, rows)
parameters = dict(objective="binary", max_depth=6, learning_rate=0.1, verbosity=-1)
if side == "lightgbm":
    import lightgbm
    begun = time.perf_counter()
    lightgbm.train(parameters, lightgbm.Dataset(features, labels), trees)
else:
    import tempfile
    from official.r1.boosted_trees import machines, train_higgs, training
    from official.r1.boosted_trees.dataset import Part
    from official.utils.flags import core as flags_core
    from official.utils.logs.run_log import RunLog
    from official.utils.run_folder import RunFolder
    settings = flags_core.resolve(
        flags_core.make_flags(train_higgs.define_flags, n_trees=trees), ()
    )
    with tempfile.TemporaryDirectory() as path, RunLog(path, None, 1) as log:
        part = Part(features, labels)
        names = tuple(map(str, range(28)))
        cluster = machines.Cluster()
        trained = training.Training(settings, RunFolder(path), names, cluster)
        begun = time.perf_counter()
        trained.train(part, None, log)
seconds = time.perf_counter() - begun
print(json.dumps([seconds, results.peak_memory_bytes()]))
"""


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "trees")
    define.integer("rows", 1_000_000, "Rows to train on, and to read.", low=1000)
    define.integer("n_trees", 100, "Trees.", low=1)
    define.integer("batch_size", 10_000, "Rows of a batch of predictions.", low=1)
    define.integer("rounds", 3, "Turns of each side.", low=1)
    define.string("parts", "train,read,predict", "Races to run, between commas.")
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints a table.

    Args:
        flags_obj: parsed flags.

    Returns:
        `<race>_ratio`: of times, ours to theirs, below 1 where ours is faster; and
        `train_memory_ratio`.
    """
    found, rows = {}, [("race", "official", "other", "ours / theirs", "rounds")]
    races = {"train": _race_training, "read": _race_reading, "predict": _race_forest}
    for part in flags_obj.parts.split(","):
        for name, (ours, theirs) in races[part](flags_obj).items():
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            found[f"{name}_ratio"] = statistics.median(ratios)
            rows.append(
                (
                    name,
                    f"{statistics.median(ours):.4g}",
                    f"{statistics.median(theirs):.4g}",
                    f"{found[f'{name}_ratio']:.3f}",
                    " ".join(f"{ratio:.2f}" for ratio in ratios),
                )
            )
    print("\n".join(console.table(rows)), flush=True)
    return found


Turns = dict[str, tuple[list[float], list[float]]]


def _race_training(flags_obj) -> Turns:
    def turn(side: str) -> list[float]:
        command = [sys.executable, "-c", _TRAIN, side]
        command += [str(flags_obj.rows), str(flags_obj.n_trees)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    turns = [(turn("official"), turn("lightgbm")) for _ in range(flags_obj.rounds)]
    return {
        name: ([ours[i] for ours, _ in turns], [theirs[i] for _, theirs in turns])
        for i, name in enumerate(("train", "train_memory"))
    }


def _in_turns(ours: Callable, theirs: Callable, rounds: int) -> tuple[list, list]:
    ours(), theirs()  # Warm up.
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, call in enumerate((ours, theirs)):
            begun = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - begun)
    return seconds


def _race_reading(flags_obj) -> Turns:
    import numpy as np
    import pandas as pd

    from official.r1.boosted_trees import decay, tables

    features, labels, _ = decay.make(0, flags_obj.rows)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.csv")
        table = pd.DataFrame(np.column_stack([labels, features.astype(np.float32)]))
        table.to_csv(path, index=False, header=False, float_format="%.7g")
        del table, features
        seconds = _in_turns(
            lambda: tables.read(tables.form_of(path)),
            lambda: pd.read_csv(path, header=None, engine="pyarrow"),
            flags_obj.rounds,
        )
    return {"read": seconds}


def _race_forest(flags_obj) -> Turns:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm
    import tensorflow as tf

    from official.r1.boosted_trees import decay, lightgbm_model
    from official.r1.boosted_trees.forest import Forest

    features, labels, _ = decay.make(0, 200_000)
    parameters = dict(objective="binary", max_depth=6, num_leaves=64, verbosity=-1)
    rows = lightgbm.Dataset(features, labels)
    booster = lightgbm.train(parameters, rows, flags_obj.n_trees)
    forest = Forest(lightgbm_model.read(booster.model_to_string()))
    batches = [
        features[start : start + flags_obj.batch_size].copy()
        for start in range(0, 8 * flags_obj.batch_size, flags_obj.batch_size)
    ]
    found = {}
    for name, is_compiled in (("predict_xla", True), ("predict_plain", False)):
        function = tf.function(forest.predictions, jit_compile=is_compiled)
        found[name] = _in_turns(
            lambda function=function: [function(batch).numpy() for batch in batches],
            lambda: [booster.predict(batch) for batch in batches],
            flags_obj.rounds,
        )
    return found


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
