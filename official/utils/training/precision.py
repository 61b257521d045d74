"""The precision of a run's arithmetic."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

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
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        native = details.get("compute_capability", (0, 0)) >= (8, 0)
    else:
        import cpuinfo  # Asks for a second's work, hence only here.

        instructions = set(cpuinfo.get_cpu_info().get("flags", ()))
        native = bool(instructions & {"avx512_bf16", "amx_bf16", "bf16"})
    return "bf16" if native else "fp32"


@contextlib.contextmanager
def policy(dtype: str) -> Iterator[None]:
    """Builds models in the precision `dtype` (resolved); restores Keras' own after."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[dtype])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
