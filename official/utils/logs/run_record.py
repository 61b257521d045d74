"""The run record `benchmark_run.log`: what ran, on which machine, with which flags.

The fields are those of the benchmark logs that the TensorFlow model garden wrote in
2019, so that tools that read those read these; `keras_version` and `python_version`
are new.
"""

import copy
import functools
import importlib.metadata
import math
import numbers
import os
import platform
from collections.abc import Mapping

from official.utils.logs import files
from official.utils.logs.metric_log import utc_timestamp

# Terraform shares TensorFlow's prefix, and keeps tokens and passwords under these;
# a record is made to be published.
_TERRAFORM_PREFIXES = ("TF_CLI_", "TF_HTTP_", "TF_TOKEN_", "TF_VAR_")


def run_record(
    model_name: str,
    dataset_name: str,
    run_parameters: Mapping[str, object],
    test_id: str | None = None,
) -> dict:
    """Returns the facts of this run; facts that cannot be found are left out.

    Nothing is asked over the network.

    Args:
        model_name: such as "mnist".
        dataset_name: such as "fashion_mnist".
        run_parameters: the resolved flags by name.
        test_id: the benchmark's own name of this run, if it has one.

    Returns:
        A dict that JSON can hold: `model_name`, `dataset`, `machine_config`,
        `test_id`, `run_date` (UTC), `tensorflow_version`, `keras_version`,
        `python_version`, `tensorflow_environment_variables`, `run_parameters`.
    """
    import tensorflow as tf

    return {
        "model_name": model_name,
        "dataset": {"name": dataset_name},
        "machine_config": copy.deepcopy(machine_config()),
        "test_id": test_id,
        "run_date": utc_timestamp(),
        "tensorflow_version": {
            "version": tf.version.VERSION,
            "git_hash": tf.version.GIT_VERSION,
        },
        "keras_version": keras_version(),
        "python_version": platform.python_version(),
        "tensorflow_environment_variables": [
            {"name": name, "value": value}
            for name, value in sorted(os.environ.items())
            if name.startswith("TF_") and not name.startswith(_TERRAFORM_PREFIXES)
        ],
        "run_parameters": [
            _run_parameter(name, run_parameters[name])
            for name in sorted(run_parameters)
        ],
    }


def keras_version() -> str | None:
    """Returns the version of Keras, from the package's metadata; None if unknown.

    A main without a network need not import Keras. Beside tf-nightly the package is
    named keras-nightly.
    """
    for name in ("keras", "keras-nightly"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None


def write_run_record(path: str, record: Mapping[str, object]) -> None:
    """Writes the run record as one JSON object.

    Args:
        path: the file, usually `<model_dir>/benchmark_run.log`.
        record: what `run_record` returned.
    """
    files.write_whole(path, files.json_text(record))


@functools.cache
def machine_config() -> dict:
    """Returns what this machine is; found once in a process.

    Returns:
        `cpu_info` {`num_cores`, `cpu_info` (the brand), `mhz_per_cpu`}, `gpu_info`
        {`count`, `model`}, `memory_total` and `memory_available` in bytes. A fact
        that cannot be found is left out. The dict is shared: copy it to change it.
    """
    import psutil

    memory = psutil.virtual_memory()
    return {
        "cpu_info": cpu_info(),
        "gpu_info": _gpu_info(),
        "memory_total": memory.total,
        "memory_available": memory.available,
    }


def cpu_info() -> dict:
    """Returns `num_cores` (logical), `cpu_info` (the brand) and `mhz_per_cpu`."""
    info = {}
    cores = os.cpu_count()
    if cores:
        info["num_cores"] = cores
    found = cpu_details()
    if found.get("brand_raw"):
        info["cpu_info"] = found["brand_raw"]
    if found.get("hz_advertised"):
        # A pair: whole hertz, and the rest.
        info["mhz_per_cpu"] = found["hz_advertised"][0] / 1e6
    return info


def cpu_details() -> Mapping[str, object]:
    """Returns what py-cpuinfo knows of the processor.

    py-cpuinfo's public call starts a second Python, which asks every source it knows
    and forks once more to time the cpuid instruction: 1.1 s before the first step.
    Brand and clock already stand in /proc/cpuinfo, and py-cpuinfo's reader of that
    file takes 10 to 50 ms with its import. It starts nothing but `cat`, with no Python
    code between fork and exec, so it is safe beside TensorFlow's threads. The public
    call started early in the background was the other choice: on a machine with two
    cores it takes 1 s of one of them from TensorFlow's own import.

    The reader's name is private, though as old as the package: where it is gone,
    or the file has no brand (ARM) or does not exist (macOS, Windows), the public call
    answers. On ARM it has no cpuid to time.
    """
    # A missing or failing probe must never cost a training run.
    try:
        from cpuinfo import cpuinfo

        read_proc = getattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo", None)
        found = read_proc() if read_proc else None
        if not found or not found.get("brand_raw"):
            found = cpuinfo.get_cpu_info()
    except Exception:
        return {}
    return found or {}


def _gpu_info() -> dict:
    """Returns how many GPUs TensorFlow sees, and the model of the first."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    info = {"count": len(gpus)}
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        if details.get("device_name"):
            info["model"] = details["device_name"]
    return info


def _run_parameter(name: str, value: object) -> dict:
    """Returns one flag in the form of the 2019 schema: a name and a typed value."""
    if hasattr(value, "item"):  # A NumPy scalar.
        value = value.item()
    if isinstance(value, bool):
        return {"name": name, "bool_value": value}
    if isinstance(value, numbers.Integral):
        return {"name": name, "long_value": int(value)}
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return {"name": name, "float_value": float(value)}
    # Lists, None, NaN: the schema has no column for them but text.
    return {"name": name, "string_value": str(value)}
