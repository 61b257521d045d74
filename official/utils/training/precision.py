"""The precision of a run's arithmetic."""

import contextlib
from collections.abc import Iterator

import keras

from official.utils import hardware
from official.utils.logs import console

_POLICIES = {
    "fp32": "float32",
    "bf16": "mixed_bfloat16",
    "fp16": "mixed_float16",
}


def resolve_dtype(dtype: str) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is bf16 where `hardware.has_bfloat16`."""
    if dtype != "auto":
        return dtype
    return "bf16" if hardware.has_bfloat16() else "fp32"


def warn_if_slow(dtype: str) -> None:
    """Warns of a precision that the hardware has no instructions for.

    Args:
        dtype: resolved.
    """
    if dtype == "bf16" and not hardware.has_bfloat16():
        console.warn(
            "--dtype=bf16: this hardware has no bfloat16 instructions, so that matrix "
            "products take several times longer; --dtype=auto takes the faster dtype"
        )


@contextlib.contextmanager
def policy(dtype: str) -> Iterator[None]:
    """Builds models in the precision `dtype` (resolved); restores Keras' own after."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[dtype])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
