"""The machine's matrix-product peak, measured once and kept."""

import dataclasses
import json
import os
import tempfile
import time

import tensorflow as tf

from official.benchmark import machines
from official.utils.errors import UserError, writing
from official.utils.logs import console

DTYPES = {"fp32": tf.float32, "bf16": tf.bfloat16, "fp16": tf.float16}
_SIZES = (512, 1024, 1536, 2048, 4096, 8192)
_REPEATS = 5
_TURN_SECONDS = 0.2
# A matrix whose product takes longer is larger than what the peak needs.
_LONGEST_SECONDS = 0.5
_MOST_PRODUCTS = 100


@dataclasses.dataclass(frozen=True)
class Peak:
    """The fastest square matrix product.

    Attributes:
        flops_per_second: two operations for each multiplication with its addition.
        size: rows of the matrices.
    """

    flops_per_second: float
    size: int


def find(dtype: str, path: str, measure_anew: bool = False) -> Peak:
    """The peak of this machine, TensorFlow and number of threads, from the cache.

    Args:
        dtype: `fp32`, `bf16` or `fp16`.
        path: the cache, a JSON file; it is made, or gets another entry, when the peak
            is measured.
        measure_anew: measure although it is in the cache.

    Raises:
        UserError: the cache is damaged or cannot be written.
    """
    machine = machines.machine()
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    key = f"{machine.id} tensorflow {tf.version.VERSION} {dtype} threads {threads}"
    known = _read(path)
    if key in known and not measure_anew:
        entry = known[key]
        return Peak(entry["flops_per_second"], entry["size"])
    print(f"measuring the peak of matrix products in {dtype}, once", flush=True)
    busy = machines.busy()
    if busy > machines.BUSY:
        console.warn(
            f"other work takes {busy:.0%} of the cores, so the peak may come out too "
            "low; --measure_peak measures it anew"
        )
    peak = measure(dtype)
    entry = vars(peak) | {"machine": machine.text, "busy": busy, "time": time.time()}
    _write(path, _read(path) | {key: entry})
    return peak


def measure(dtype: str, sizes: tuple[int, ...] = _SIZES) -> Peak:
    """The best of several sizes and repeats, on all cores or the first GPU.

    Args:
        dtype: `fp32`, `bf16` or `fp16`.
        sizes: of the matrices, from small to large.
    """

    @tf.function
    def products(matrix, number):
        # Each takes the one before, so that none can be left out.
        product = matrix
        for _ in tf.range(number):
            product = tf.matmul(matrix, product)
        return product[0, 0]

    best = Peak(0.0, 0)
    for size in sizes:
        # Of this scale the largest eigenvalue is about 1, and products stay finite.
        matrix = tf.random.stateless_normal([size, size], [0, 0]) / size**0.5
        matrix = tf.cast(matrix, DTYPES[dtype])

        def seconds(number, matrix=matrix):
            begun = time.perf_counter()
            products(matrix, tf.constant(number)).numpy()
            return time.perf_counter() - begun

        seconds(1)  # Traces.
        single = seconds(1)
        if single > _LONGEST_SECONDS and best.size:
            break
        number = min(_MOST_PRODUCTS, max(1, round(_TURN_SECONDS / single)))
        fastest = min(seconds(number) for _ in range(_REPEATS)) / number
        # size^2 sums of `size` products each.
        best = max(
            best, Peak(2 * size**3 / fastest, size), key=lambda p: p.flops_per_second
        )
    return best


def _read(path: str) -> dict[str, dict]:
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        for entry in known.values():
            Peak(float(entry["flops_per_second"]), int(entry["size"]))
        return known
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no cache of peaks ({type(error).__name__}); remove the file or "
            "name another with --peak_cache"
        ) from None


def _write(path: str, known: dict[str, dict]) -> None:
    """Replaces the file at once; a name of its own keeps two writers apart."""
    folder = os.path.dirname(os.path.abspath(path))
    with writing(path, "name another file with --peak_cache"):
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            json.dump(known, file, indent=2)
        os.replace(file.name, path)
