"""The file `results.json`: what a run ended with, written last."""

import json
import platform
import sys
from collections.abc import Mapping

from official.utils.errors import UserError
from official.utils.logs import files, run_record

_REMEDY = "finish the run: the same command with the same --model_dir"

# The contract with those who read the file: tables, tests, the nightly suite.
REQUIRED_KEYS = (
    "model",
    "dataset",
    "metrics",
    "steps",
    "resumed_from_steps",
    "examples_per_second",
    "startup_seconds",
    "wall_seconds",
    "peak_memory_bytes",
    "seed",
    "num_replicas",
    "dtype",
    "flags",
    "versions",
)


def write_results(path: str, results: Mapping[str, object]) -> None:
    """Writes the results as one JSON object, complete or not at all.

    Args:
        path: the file, usually `<model_dir>/results.json`.
        results: every key of `REQUIRED_KEYS`, and more where a model has more. NumPy
            and TensorFlow numbers are converted; a number that is not finite is
            written as null. The keys keep their order.

    Raises:
        ValueError: a required key is missing.
        TypeError: a value has no form in JSON.
    """
    missing = [key for key in REQUIRED_KEYS if key not in results]
    if missing:
        raise ValueError(f"results for {path} lack {', '.join(missing)}")
    files.write_whole(path, files.json_text(results))


def read_results(path: str) -> dict:
    """Returns what `write_results` wrote.

    Args:
        path: a `results.json`.

    Raises:
        UserError: there is no such file, or it holds no complete results.
    """
    content = files.read_whole(path, "results", _REMEDY)
    return parse_results(content, path)


def parse_results(content: bytes, path: str) -> dict:
    """Returns the results that stand in the bytes of a `results.json`.

    Args:
        content: the whole file.
        path: its path, for the message.

    Raises:
        UserError: these are no complete results.
    """
    remedy = f"remove the file and {_REMEDY}"
    try:
        results = json.loads(content)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({reason}); {remedy}") from None
    if not isinstance(results, dict):
        raise UserError(f"{path} is damaged (no JSON object); {remedy}")
    missing = [key for key in REQUIRED_KEYS if key not in results]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {remedy}")
    for key in ("metrics", "flags"):
        if not isinstance(results[key], dict):
            raise UserError(f"{path} is damaged ({key} is no object); {remedy}")
    return results


def versions() -> dict[str, str | None]:
    """Returns the versions of python, tensorflow, keras, numpy and official.

    `official` is None where the package does not say its version.
    """
    import numpy as np
    import tensorflow as tf

    import official

    return {
        "python": platform.python_version(),
        "tensorflow": tf.version.VERSION,
        "keras": run_record.keras_version(),
        "numpy": np.__version__,
        "official": getattr(official, "__version__", None),
    }


def peak_memory_bytes() -> int:
    """Returns the most resident memory this process has had, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":
        # Linux hands getrusage's ru_maxrss on from a parent to the program it starts:
        # a main started by a large test process would report that one's memory. The
        # mark VmHWM belongs to the program alone.
        try:
            with open("/proc/self/status", encoding="ascii", errors="replace") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024  # "VmHWM:  5120 kB"
        except OSError:
            pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS bytes, else KiB
