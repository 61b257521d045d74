"""Files of weights of PyTorch: safetensors, read and written, and state dicts, read."""

import io
from collections.abc import Mapping
from types import ModuleType

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.logs import files

# What Hugging Face calls its files.
SAFETENSORS, STATE_DICT = "model.safetensors", "pytorch_model.bin"
# NumPy itself has no bfloat16, and the library reads none for it.
_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": tf.bfloat16.as_numpy_dtype,
    "I64": np.int64,
    "I32": np.int32,
}


def read(path: str) -> dict[str, np.ndarray]:
    """Reads a safetensors file, by its ending, or else a state dict; see both."""
    is_safe = path.endswith(".safetensors")
    return (read_safetensors if is_safe else read_state_dict)(path)


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Reads all tensors of a file.

    Args:
        path: a safetensors file of floats (of 16, 32 or 64 bits) and integers.

    Returns:
        Arrays by name, as they are stored; they are read-only.

    Raises:
        UserError: the file is missing, damaged, or holds other types; or the library
            `safetensors` is missing.
    """
    library = _import_safetensors()
    content = files.read_whole(path, "PyTorch weights", "check the path")
    try:
        entries = library.deserialize(content)
    except library.SafetensorError as error:
        raise UserError(
            f"{path} is no whole safetensors file ({one_line(error)}); fetch it again"
        ) from None
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in _TYPES:
            raise UserError(
                f"{path} holds {name} in {entry['dtype']}; store it in one of "
                f"{', '.join(_TYPES)}"
            )
        values = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def write_safetensors(path: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a file, or replaces it.

    Args:
        path: the file.
        tensors: arrays by name.

    Raises:
        UserError: it cannot be written, or the library `safetensors` is missing.
    """
    _import_safetensors()
    import safetensors.numpy

    # Not `ascontiguousarray`, which makes a vector of a scalar.
    dense = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    # Hugging Face refuses a file that does not say for whom it is.
    files.write_whole(path, safetensors.numpy.save(dense, metadata={"format": "pt"}))


def _import_safetensors() -> ModuleType:
    try:
        import safetensors
    except ImportError as error:
        raise UserError(
            f"files of PyTorch need safetensors ({one_line(error)}); run "
            "`pip install safetensors`"
        ) from None
    return safetensors


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Reads a state dict without running what else a pickle may hold.

    Args:
        path: a file of `torch.save`.

    Returns:
        Arrays by name; floats as float32.

    Raises:
        UserError: PyTorch or the file is missing, or it is no such file.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} needs PyTorch ({one_line(error)}); run `pip install torch`, or "
            f"give a {SAFETENSORS}"
        ) from None
    content = files.read_whole(path, "PyTorch weights", "check the path")
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            for name, tensor in found.items()
        }
    except Exception as error:
        # The errors of pickles, archives and tensors are of many kinds.
        raise UserError(
            f"{path} is no state dict of PyTorch that can be read safely "
            f"({one_line(error)}); fetch it again, or give a {SAFETENSORS}"
        ) from None
