"""The precision of a run's arithmetic."""

import contextlib
import functools
from collections.abc import Iterator

import keras
import tensorflow as tf

from official.utils.logs import console

_POLICIES = {
    "fp32": "float32",
    "bf16": "mixed_bfloat16",
    "fp16": "mixed_float16",
}


def resolve_dtype(dtype: str) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is bf16 where the hardware multiplies it.

    That is: a GPU of compute capability 8.0 (Ampere) or later, else a CPU with
    AVX-512 BF16, AMX or Arm's BF16 instructions.
    """
    if dtype != "auto":
        return dtype
    return "bf16" if _has_bf16() else "fp32"


def warn_if_slow(dtype: str) -> None:
    """Warns of a precision that the hardware has no instructions for.

    Args:
        dtype: resolved.
    """
    if dtype == "bf16" and not _has_bf16():
        console.warn(
            "--dtype=bf16: this hardware has no bfloat16 instructions, so that it is "
            "several times slower than fp32; --dtype=auto takes the faster one"
        )


@functools.cache
def _has_bf16() -> bool:
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    import cpuinfo  # Asks for a second's work, hence only here.

    instructions = set(cpuinfo.get_cpu_info().get("flags", ()))
    return bool(instructions & {"avx512_bf16", "amx_bf16", "bf16"})


@contextlib.contextmanager
def policy(dtype: str) -> Iterator[None]:
    """Builds models in the precision `dtype` (resolved); restores Keras' own after."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[dtype])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
