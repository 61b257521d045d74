"""Reads files of weights from PyTorch and Keras.

- PyTorch: state dicts in safetensors files.
- Keras: files of whole models (`.keras`, `.h5`), and of the weights of
  `keras.applications` ResNet50, ResNet101 and ResNet152.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.weights import pytorch_files

SUFFIXES = (".safetensors", ".keras", ".h5")
# Those whose weights stand in files without the network: `.weights.h5`, and the `.h5`
# that Keras publishes.
_APPLICATIONS = {
    "resnet50_v1": "ResNet50",
    "resnet101_v1": "ResNet101",
    "resnet152_v1": "ResNet152",
}


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
        return pytorch_files.read_safetensors(path)
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
