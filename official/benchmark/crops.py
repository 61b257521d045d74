"""Times the classifier's training crops of real JPEG files against other ways to them.

    python -m official.benchmark.crops
    python -m official.benchmark.crops --data_dir=PICTURES --image_size=224

    official      the classifier's training stream (--crop=distorted), a batch at a time
    official_all  the same, as many batches at a time as there are cores
    tf_io         tf.data that decodes a whole file, then cuts, a file at a time
    pillow        a loop over Pillow; its bilinear filter also smooths what it shrinks

All cut boxes of one distribution, mirror half of them and give the same batches; all
decode with exact arithmetic. They take turns, round by round; the table gives medians.
Batches that are prepared one at a time may still keep more than one core busy: images a
second of processor time are what a core does.
"""

import contextlib
import dataclasses
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from official.benchmark import crop_contenders, micro_flags
from official.utils import app
from official.utils.errors import UserError, writing
from official.utils.logs import console

_BATCH_SIZE = 32
# Photographs of 640x427 pixels that scikit-learn brings along.
_PHOTOGRAPHS = ("china.jpg", "flower.jpg")
_COPIES = 64
_ENDINGS = (".jpg", ".jpeg", ".jpe")
# Of so many files the sizes are looked up, for the description.
_NUM_LOOKED_AT = 256


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_shared_flags(
        "crops",
        data_dir_help="Folder of JPEG files, in folders within it too. Default: copies "
        "of the two photographs that come with scikit-learn.",
        seed_help="Seed of order and boxes.",
    )
    own = dict(flag_values=flag_values, module_name="crops")
    flags.DEFINE_integer(
        "image_size", 224, "Height and width of a crop.", lower_bound=8, **own
    )
    flags.DEFINE_float(
        "training_images_per_second",
        None,
        "What a training takes, to compare with.",
        lower_bound=0.001,
        **own,
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        `ratio_to_tf_io` and `ratio_to_pillow`, of images a second of processor time;
        for each contender `images_per_cpu_second_<contender>`,
        `images_per_second_<contender>` and `cores_<contender>`, how many it kept busy;
        with `--training_images_per_second` also `times_training_speed`, of
        `official_all`.

    Raises:
        UserError: Pillow or the photographs are missing, or a file is damaged.
    """
    if importlib.util.find_spec("PIL") is None:
        raise UserError(
            "crops compares with Pillow, which is missing: pip install pillow"
        )
    with contextlib.ExitStack() as stack:
        folder = flags_obj.data_dir
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crops-"))
            copy_photographs(folder, _COPIES)
        return _run(flags_obj, os.path.expanduser(folder))


def copy_photographs(folder: str, copies: int) -> None:
    """Writes copies of scikit-learn's photographs, a sub-folder for each of the two.

    Args:
        folder: an existing folder.
        copies: how many of each.

    Raises:
        UserError: scikit-learn or its photographs are missing, or nothing can be
            written.
    """
    spec = importlib.util.find_spec("sklearn")
    roots = spec.submodule_search_locations if spec else []
    for name in _PHOTOGRAPHS:
        candidates = [os.path.join(root, "datasets", "images", name) for root in roots]
        source = next(filter(os.path.exists, candidates), None)
        if source is None:
            raise UserError(
                f"{name}, a photograph of scikit-learn, is missing: pip install "
                "scikit-learn, or give JPEG files by --data_dir"
            )
        with open(source, "rb") as stream:
            content = stream.read()
        own = os.path.join(folder, name.removesuffix(".jpg"))
        with writing(own):
            os.mkdir(own)
            for number in range(copies):
                with open(os.path.join(own, f"{number:03}.jpg"), "wb") as stream:
                    stream.write(content)


def find_files(folder: str) -> list[str]:
    """The JPEG files of a folder and of those within it, by their endings, sorted.

    Raises:
        UserError: there is none, or the folder cannot be read.
    """
    from official.utils.data.files import reading
    from official.vision.image_classification import picture_tree

    with reading(f"--data_dir={folder}"):
        found = picture_tree.find_pictures(folder)
    paths = [path for path in found if path.lower().endswith(_ENDINGS)]
    if not paths:
        raise UserError(
            f"--data_dir={folder} holds no JPEG file ({', '.join(_ENDINGS)}); name a "
            "folder of photographs"
        )
    return paths


def _run(flags_obj, folder) -> dict[str, float]:
    import tensorflow as tf

    from official.benchmark import micro
    from official.vision.image_classification import prediction

    paths = find_files(folder)
    batch_size = min(_BATCH_SIZE, len(paths))
    copies = ", copies" if flags_obj.data_dir is None else ""
    print(
        f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs, {flags_obj.rounds} rounds"
        f"\n{_describe(paths)}{copies}; crops of {flags_obj.image_size} pixels in "
        f"batches of {batch_size}",
        flush=True,
    )
    ways = crop_contenders.contenders(
        paths, flags_obj.image_size, batch_size, flags_obj.seed
    )
    turns: dict[str, list[_Turn]] = {name: [] for name in ways}
    timed = {
        name: micro.Contender(
            _timed(open_batches, turns[name]),
            # So many come at a time: whole rounds of them are counted.
            (os.cpu_count() or 1) if name == "official_all" else 1,
        )
        for name, open_batches in ways.items()
    }
    try:
        micro.take_turns(timed, flags_obj.rounds, flags_obj.seconds)
    except tf.errors.OpError as error:
        damaged = prediction.find_damaged(paths)
        if damaged is None:
            raise
        raise damaged from error
    # The warm-up's turns came before.
    measured = {name: taken[-flags_obj.rounds :] for name, taken in turns.items()}
    metrics = _metrics(measured, batch_size)
    print("\n".join(console.table(_rows(measured, batch_size))), flush=True)
    training = flags_obj.training_images_per_second
    if training:
        times = metrics["images_per_second_official_all"] / training
        metrics["times_training_speed"] = times
        cores = training / metrics["images_per_cpu_second_official_all"]
        print(
            f"the input gives {times:.1f} times what a training of {training:g} "
            f"images/s takes, which keeps {cores:.2f} cores busy with its input",
            flush=True,
        )
    if flags_obj.model_dir is not None:
        _write(flags_obj, metrics)
    return metrics


# ---- Timing ----


@dataclasses.dataclass(frozen=True)
class _Turn:
    """What a turn took.

    Attributes:
        batches: how many came.
        seconds: on the clock.
        cpu_seconds: of the process, in all threads.
    """

    batches: int
    seconds: float
    cpu_seconds: float


def _timed(
    open_batches: crop_contenders.OpenBatches, turns: list[_Turn]
) -> Callable[[int], float]:
    """Takes batches, one turn after the other, and notes each turn in `turns`."""
    first = 0

    def train(count):
        nonlocal first
        # Anew in each turn, so that no batch lies ready when it begins, and none is
        # prepared in the turn of another. With the first batch the work is under way.
        batches = open_batches(first)
        next(batches)
        begun, cpu_begun = time.perf_counter(), time.process_time()
        for _ in range(count):
            next(batches)
        seconds = time.perf_counter() - begun
        turns.append(_Turn(count, seconds, time.process_time() - cpu_begun))
        first += count + 1
        return seconds

    return train


def _metrics(
    measured: Mapping[str, Sequence[_Turn]], batch_size: int
) -> dict[str, float]:
    efficiency = _per_cpu_second(measured, batch_size)
    metrics = {
        f"ratio_to_{name}": _median_ratio(efficiency["official"], efficiency[name])
        for name in ("tf_io", "pillow")
    }
    for name, turns in measured.items():
        rates = [turn.batches * batch_size / turn.seconds for turn in turns]
        cores = [turn.cpu_seconds / turn.seconds for turn in turns]
        metrics[f"images_per_cpu_second_{name}"] = statistics.median(efficiency[name])
        metrics[f"images_per_second_{name}"] = statistics.median(rates)
        metrics[f"cores_{name}"] = statistics.median(cores)
    return metrics


def _rows(measured, batch_size) -> list[tuple[str, ...]]:
    efficiency = _per_cpu_second(measured, batch_size)
    metrics = _metrics(measured, batch_size)
    rows = [("", "images/s", "cores", "images/CPU s", "of pillow", "rounds")]
    for name, found in efficiency.items():
        of_pillow = _median_ratio(found, efficiency["pillow"])
        rows.append(
            (
                name,
                f"{metrics[f'images_per_second_{name}']:,.0f}",
                f"{metrics[f'cores_{name}']:.2f}",
                f"{metrics[f'images_per_cpu_second_{name}']:,.0f}",
                f"{of_pillow:.2f}",
                f"{min(found):,.0f} to {max(found):,.0f}",
            )
        )
    return rows


def _per_cpu_second(measured, batch_size) -> dict[str, list[float]]:
    return {
        name: [turn.batches * batch_size / turn.cpu_seconds for turn in turns]
        for name, turns in measured.items()
    }


def _median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


# ---- Results ----


def _describe(paths: Sequence[str]) -> str:
    """How many files, and how large they are."""
    from PIL import Image

    widths, heights, lengths = [], [], []
    for path in paths[:: -(-len(paths) // _NUM_LOOKED_AT)]:
        try:
            with Image.open(path) as image:
                width, height = image.size
            length = os.stat(path).st_size
        except OSError as error:
            raise crop_contenders.damaged(path, error) from None
        widths.append(width)
        heights.append(height)
        lengths.append(length)
    return (
        f"{len(paths):,} JPEG files, medians {statistics.median(widths):.0f}x"
        f"{statistics.median(heights):.0f} pixels and "
        f"{statistics.median(lengths):,.0f} bytes"
    )


def _write(flags_obj, metrics) -> None:
    """Writes `results.json` as the other benchmarks do; nothing was trained."""
    import psutil

    from official.utils.logs import results

    path = os.path.join(os.path.expanduser(flags_obj.model_dir), "results.json")
    results.write_results(
        path,
        {
            "model": "resnet",
            "dataset": "folder",
            "metrics": metrics,
            "steps": 0,
            "resumed_from_steps": [],
            "examples_per_second": metrics["images_per_second_official_all"],
            "startup_seconds": None,
            "wall_seconds": time.time() - psutil.Process().create_time(),
            "peak_memory_bytes": results.peak_memory_bytes(),
            "seed": flags_obj.seed,
            "num_replicas": 1,
            "dtype": "uint8",
            "flags": {name: flags_obj[name].value for name in sorted(flags_obj)},
            "versions": results.versions(),
        },
    )
    print(f"results: {path}", flush=True)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
