"""Reads files of weights from PyTorch and Keras, and writes those of PyTorch.

- PyTorch: state dicts in safetensors files.
- Keras: files of whole models (`.keras`, `.h5`), and of the weights of
  `keras.applications` ResNet50, ResNet101 and ResNet152.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from types import ModuleType

import keras
import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.logs import files

SUFFIXES = (".safetensors", ".keras", ".h5")
# NumPy itself has no bfloat16, and the library reads none for it.
_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": tf.bfloat16.as_numpy_dtype,
    "I64": np.int64,
    "I32": np.int32,
}
# Those whose weights stand in files without the network: `.weights.h5`, and the `.h5`
# that Keras publishes.
_APPLICATIONS = {
    "resnet50_v1": "ResNet50",
    "resnet101_v1": "ResNet101",
    "resnet152_v1": "ResNet152",
}


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


def read(path: str, name: str) -> dict[str, np.ndarray] | keras.Model:
    """Reads what another framework, or Keras, wrote.

    Args:
        path: a file whose name ends in one of `SUFFIXES`. Keras' may hold a model, or
            the weights of an application alone.
        name: the network that they are meant for, of `resnet.VARIANTS`; only weights
            alone need it.

    Returns:
        Tensors by PyTorch's name, or a Keras model.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    if path.endswith(".safetensors"):
        return read_safetensors(path)
    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise UserError(f"{path} is no file; check the path")
    with _local(path) as local:
        try:
            if path.endswith(".keras") or _holds_model(local):
                return keras.saving.load_model(local, compile=False)
            return _application_with_weights(local, name, path)
        except UserError:
            raise
        except Exception as error:
            # Keras raises errors of many kinds for what is wrong with a file.
            raise UserError(
                f"{path} is no file of a Keras model that can be read "
                f"({one_line(error)}); fetch or save it again"
            ) from error


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    """The path of a copy on disk where the file is elsewhere; HDF5 reads no buckets."""
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(path))
        tf.io.gfile.copy(path, copy)
        yield copy


def _holds_model(path: str) -> bool:
    import h5py

    with h5py.File(path, "r") as file:
        return "model_config" in file.attrs


def _application_with_weights(local: str, name: str, path: str) -> keras.Model:
    """An application, with as many classes as the file of weights has."""
    import h5py

    if name not in _APPLICATIONS:
        raise UserError(
            f"{path} holds weights without a network, which are read for those of "
            f"keras.applications only: give --model={', '.join(_APPLICATIONS)}, or "
            "save the whole model as .keras"
        )
    matrices = []

    def note(_, entry):
        if isinstance(entry, h5py.Dataset) and entry.ndim == 2:
            matrices.append(entry.shape)

    with h5py.File(local, "r") as file:
        file.visititems(note)
    # The last layer holds the one matrix of these networks.
    head = dict(classes=matrices[0][1]) if matrices else dict(include_top=False)
    build = getattr(keras.applications, _APPLICATIONS[name])
    application = build(weights=None, **head)
    application.load_weights(local)
    return application
