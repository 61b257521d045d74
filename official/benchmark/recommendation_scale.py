"""Measures NCF on made-up ratings of the shape of MovieLens 20M.

    python -m official.benchmark.recommendation_scale --data_dir=DIR
    python -m official.benchmark.recommendation_scale --data_dir=DIR --what=items

The file is made once, in DIR: 138,493 users, 26,744 items, 20,000,263 ratings, few
users and items with most of them. Each part is a process of its own:

- `prepare`: reading and dividing the file; seconds and memory.
- `train`: examples a second, against the same network in plain Keras `fit` and in
  PyTorch. All draw their negatives anew, the others in NumPy; with `_ready` behind
  their names they get the same few batches from memory instead.
- `evaluate`: seconds to rank the held-out item of every user among 999 others.
- `items`: milliseconds a training step with 10,000, 100,000 and 1,000,000 items, and
  how many rows of the tables a step changes: the more items there are, the fewer fall
  on the same row, until each example has a row of its own.
"""

import collections
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from absl import flags

from official.benchmark import recommendation_contenders as contenders
from official.utils import app
from official.utils.errors import UserError

USERS, ITEMS, RATINGS = 138_493, 26_744, 20_000_263
PARTS = ("prepare", "train", "evaluate", "items")
_RIVALS = ("keras", "torch", "torch_sparse")
_CONTENDERS = ("official", *_RIVALS, *(f"{name}_ready" for name in _RIVALS))
_NUM_NEG = 4
_PAPER = dict(num_factors=64, layers="256,256,128,64")


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="recommendation_scale")
    flags.DEFINE_string("data_dir", None, "Folder for ml-20m/ratings.csv.", **own)
    flags.DEFINE_list("what", ["prepare", "train", "evaluate"], "Parts.", **own)
    flags.DEFINE_list("batch_sizes", ["99000", "16384"], "Of `train`.", **own)
    flags.DEFINE_list("contenders", list(_CONTENDERS), "Of `train`.", **own)
    flags.DEFINE_boolean("paper", False, "The network of 2019's recipe.", **own)
    flags.DEFINE_float("seconds", 20.0, "Of a measurement.", **own)
    flags.DEFINE_integer("rounds", 2, "Of `train`, in turns.", **own)
    flags.DEFINE_string("worker", None, "Set by the benchmark itself.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints a line for each measurement.

    Args:
        flags_obj: parsed flags.

    Returns:
        The measurements by name, medians over the rounds.

    Raises:
        UserError: a flag is wrong, or a part fails.
    """
    if not flags_obj.data_dir:
        raise UserError("--data_dir is missing: a folder for the made-up ratings")
    if flags_obj.worker:
        found = _work(flags_obj, *json.loads(flags_obj.worker))
        print(f"RESULT {json.dumps(found)}", flush=True)
        return found
    for part in flags_obj.what:
        if part not in PARTS:
            raise UserError(f"--what={part}: should be among {', '.join(PARTS)}")
    for contender in flags_obj.contenders:
        if contender not in _CONTENDERS:
            raise UserError(
                f"--contenders={contender}: should be among {', '.join(_CONTENDERS)}"
            )
    make_file(os.path.join(flags_obj.data_dir, "ml-20m"))
    results = collections.defaultdict(list)
    for arguments in _jobs(flags_obj):
        for name, value in _start(flags_obj, arguments).items():
            results[name].append(value)
            print(f"{name}: {value:,.2f}", flush=True)
    return {name: statistics.median(values) for name, values in results.items()}


def _jobs(flags_obj) -> Iterator[tuple]:
    if "prepare" in flags_obj.what:
        yield ("prepare",)
    for _ in range(flags_obj.rounds if "train" in flags_obj.what else 0):
        for size in flags_obj.batch_sizes:
            for contender in flags_obj.contenders:
                yield "train", contender, int(size)
    if "evaluate" in flags_obj.what:
        yield ("evaluate",)
    if "items" in flags_obj.what:
        for number in (10_000, 100_000, 1_000_000):
            yield "items", number


def _start(flags_obj, arguments) -> dict[str, float]:
    command = [
        *(sys.executable, "-m", "official.benchmark.recommendation_scale"),
        f"--data_dir={flags_obj.data_dir}",
        f"--worker={json.dumps(arguments)}",
        f"--seconds={flags_obj.seconds}",
        f"--paper={str(flags_obj.paper).lower()}",
    ]
    ended = subprocess.run(command, capture_output=True, text=True)
    for line in ended.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    reason = ended.stderr.strip().splitlines()[-1:] or ["no output"]
    raise UserError(f"{arguments} failed: {reason[0]}")


# ---- The file ----


def make_file(folder: str) -> None:
    """Writes `ratings.csv` unless it is there."""
    import pyarrow as pa
    from pyarrow import csv

    path = os.path.join(folder, "ratings.csv")
    if os.path.exists(path):
        return
    os.makedirs(folder, exist_ok=True)
    users, items = make_pairs(USERS, ITEMS, RATINGS, seed=0)
    generator = np.random.default_rng(1)
    table = pa.table(
        {
            "userId": users + 1,
            "movieId": items + 1,
            "rating": generator.integers(1, 11, len(users)) / 2,
            "timestamp": generator.integers(800_000_000, 1_400_000_000, len(users)),
        }
    )
    csv.write_csv(table, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def make_pairs(
    num_users: int, num_items: int, number: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Different pairs of user and item, few users and items in most of them.

    Args:
        num_users: each of them is in a pair, if there are no more of them than items.
        num_items: each of them is in a pair.
        number: of pairs.
        seed: of the draw.

    Returns:
        int64 [number] each, by user.
    """
    generator = np.random.default_rng(seed)
    activity = 0.15 + generator.lognormal(0, 1.1, num_users)
    popularity = 1 / (np.arange(num_items) + 30.0)
    sums = [np.cumsum(weights / weights.sum()) for weights in (activity, popularity)]
    sides = max(num_users, num_items)
    everyone = np.unique(
        np.arange(sides) % num_users * np.int64(num_items)
        + np.arange(sides) % num_items
    )
    keys = everyone
    while len(keys) < number:
        draws = generator.random([2, int(1.3 * (number - len(keys))) + 1000])
        users, items = (
            np.minimum(np.searchsorted(total, draw), len(total) - 1)
            for total, draw in zip(sums, draws, strict=True)
        )
        keys = np.union1d(keys, users.astype(np.int64) * num_items + items)
    spare = np.setdiff1d(keys, everyone)
    dropped = generator.choice(spare, len(keys) - number, replace=False)
    return np.divmod(np.setdiff1d(keys, dropped), num_items)


# ---- The measurements ----


def _work(flags_obj, part, *arguments) -> dict[str, float]:
    from official.utils.app import TENSORFLOW_ENVIRONMENT

    for name, value in TENSORFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return {
        "prepare": _prepare,
        "train": _train,
        "evaluate": _evaluate,
        "items": _items,
    }[part](flags_obj, *arguments)


def _task(flags_obj, **values):
    """A task on the made-up file, its data loaded."""
    from official.recommendation import ncf
    from official.utils.flags import core as flags_core

    values = (_PAPER if flags_obj.paper else {}) | dict(
        dataset="ml-20m",
        data_dir=flags_obj.data_dir,
        optimizer="adam",
        learning_rate=1e-3,
        validation_users=0.1,
        num_neg=_NUM_NEG,
        **values,
    )
    task = ncf.task_class()(
        flags_core.resolve(flags_core.make_flags(ncf.define_flags, **values), ())
    )
    task.load()
    return task


def _prepare(flags_obj) -> dict[str, float]:
    from official.utils.logs import results

    begun, processor = time.perf_counter(), time.process_time()
    _task(flags_obj)
    return {
        "prepare_seconds": time.perf_counter() - begun,
        "prepare_processor_seconds": time.process_time() - processor,
        "prepare_peak_gib": results.peak_memory_bytes() / 2**30,
    }


def _train(flags_obj, contender, batch_size) -> dict[str, float]:
    from official.utils.logs import results

    factors, layers = 8, "64,32,16,8"
    if flags_obj.paper:
        factors, layers = _PAPER["num_factors"], _PAPER["layers"]
    form = contenders.Form(
        *(USERS, ITEMS, factors, list(map(int, layers.split(",")))),
        *(batch_size, flags_obj.seconds),
    )
    if contender == "official":
        rate, processor_rate = _official_rate(flags_obj, batch_size)
    else:
        rival = contender.removesuffix("_ready")
        if rival == contender:
            divided = _task(flags_obj).data.interactions
            batches = contenders.drawn_batches(
                form, divided.users, divided.items, _NUM_NEG
            )
        else:
            batches = contenders.ready_batches(form)
        rate, processor_rate = {
            "keras": contenders.keras_rate,
            "torch": contenders.torch_rate,
            "torch_sparse": functools.partial(contenders.torch_rate, is_sparse=True),
        }[rival](form, batches)
    return {
        f"examples_per_second_{contender}_{batch_size}": rate,
        f"examples_per_processor_second_{contender}_{batch_size}": processor_rate,
        f"train_peak_gib_{contender}_{batch_size}": results.peak_memory_bytes() / 2**30,
    }


def _official_rate(flags_obj, batch_size) -> np.ndarray:
    task = _task(flags_obj, batch_size=batch_size)
    return _loop_rate(flags_obj, task) * task.training_stream().pairs_per_step * 5


def _loop_rate(flags_obj, task) -> np.ndarray:
    import tensorflow as tf

    from official.utils.training.loop import build_loop

    loop = build_loop(task, tf.distribute.get_strategy(), 10**6)
    batches = loop.batches(task.training_stream(), 0)
    return contenders.timed(
        lambda count: loop.train(batches, 0, count), flags_obj.seconds
    )


def _evaluate(flags_obj) -> dict[str, float]:
    import tensorflow as tf

    from official.utils.logs import results
    from official.utils.training.loop import build_loop

    task = _task(flags_obj, num_eval_negatives=999)
    loop = build_loop(task, tf.distribute.get_strategy(), 1)
    begun, processor = time.perf_counter(), time.process_time()
    loop.evaluate(task.evaluation_stream("test"))
    return {
        "evaluate_seconds": time.perf_counter() - begun,
        "evaluate_processor_seconds": time.process_time() - processor,
        "evaluate_peak_gib": results.peak_memory_bytes() / 2**30,
    }


def _items(flags_obj, number) -> dict[str, float]:
    from official.recommendation import dataset, interactions, ncf
    from official.utils.data import ratings_files
    from official.utils.flags import core as flags_core

    # Each of a million items is in a pair.
    users, items = make_pairs(50_000, number, 2_000_000, seed=0)
    ratings = ratings_files.Ratings(
        users.astype(np.int32),
        items.astype(np.int32),
        None,
        np.arange(50_000),
        np.arange(number),
    )
    values = dict(optimizer="adam", batch_size=16_385)
    task = ncf.task_class()(
        flags_core.resolve(flags_core.make_flags(ncf.define_flags, **values), ())
    )
    divided = interactions.divide(ratings, "made-up pairs", 0)
    # In the place of what the task would load.
    task.data = dataset.Dataset(
        divided, ratings.user_ids, ratings.item_ids, None, "made-up pairs"
    )
    task.facts = {
        "number_of_users": divided.num_users,
        "number_of_items": divided.num_items,
    }
    rate, processor_rate = _loop_rate(flags_obj, task)
    rows = _rows_a_step(task.training_stream())
    return {
        f"milliseconds_a_step_{number}_items": 1000 / rate,
        f"processor_milliseconds_a_step_{number}_items": 1000 / processor_rate,
        f"rows_a_step_{number}_items": rows,
        f"microseconds_a_row_{number}_items": 1e6 / rate / rows,
    }


def _rows_a_step(stream) -> float:
    """How many users and items there are in a batch, the mean of a few."""
    from official.utils.data.streams import Share

    batches = stream.dataset(0, Share(1, 0, 1)).take(5).as_numpy_iterator()
    return statistics.mean(
        sum(len(np.unique(batch[name])) for name in ("user", "item"))
        for batch in batches
    )


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
