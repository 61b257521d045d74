"""SavedModels that load with TensorFlow alone."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from official.utils.errors import UserError, writing


@dataclasses.dataclass(frozen=True)
class Signature:
    """One function of a SavedModel.

    Attributes:
        function: takes tensors by name and returns a dict of tensors.
        inputs: a `tf.TensorSpec` for each argument, the batch dimension None.
        resources: tables and the like that the function reads, and that have to be
            stored with it.
    """

    function: Callable[..., Mapping[str, Any]]
    inputs: Sequence[Any]
    resources: Sequence[Any] = ()


# Names the run that wrote a SavedModel, so that it alone replaces it.
_OWNER = "assets.extra/official_run"


def check_target(path: str, model_dir: str) -> None:
    """Checks before the training that the export will find its place after it.

    Args:
        path: folder of the SavedModel to be.
        model_dir: folder of the run.

    Raises:
        UserError: something else stands there, or the folder cannot be made.
    """
    temporary = _temporary(path)
    with writing(f"SavedModel {path}", "name another --export_dir"):
        is_free = not tf.io.gfile.exists(path) or (
            tf.io.gfile.isdir(path)
            and (not tf.io.gfile.listdir(path) or _is_of(path, model_dir))
        )
        if is_free and not tf.io.gfile.exists(temporary):
            tf.io.gfile.makedirs(temporary)
            tf.io.gfile.rmtree(temporary)
    if not is_free:
        raise UserError(
            f"{path} exists and is not overwritten; name another --export_dir, or "
            "move it"
        )


def _is_of(path: str, model_dir: str) -> bool:
    """Whether the run of `model_dir` wrote the SavedModel `path`."""
    if os.path.dirname(os.path.abspath(path)) == os.path.abspath(model_dir):
        return True  # Whatever the folder is called now.
    owner = os.path.join(path, _OWNER)
    if not tf.io.gfile.exists(owner):
        return False
    with tf.io.gfile.GFile(owner) as file:
        return file.read() == _digest(model_dir)


def _digest(model_dir: str) -> str:
    return hashlib.sha256(os.path.abspath(model_dir).encode()).hexdigest()


def export(
    model: keras.Model,
    signatures: Mapping[str, Signature],
    path: str,
    model_dir: str,
) -> None:
    """Writes a SavedModel, complete under its final name or not at all.

    Args:
        model: the network, made outside any distribution strategy, so that the
            variables in the file are plain ones.
        signatures: functions by signature name.
        path: the folder; one that exists is replaced.
        model_dir: folder of the run.

    Raises:
        UserError: the folder cannot be written.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, signature in signatures.items():
        for resource in signature.resources:
            archive.track(resource)
        archive.add_endpoint(name, signature.function, list(signature.inputs))
    temporary = _temporary(path)
    remedy = "free space there and start again, or name another --export_dir"
    with writing(f"SavedModel {path}", remedy):
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
        archive.write_out(temporary, verbose=False)
        owner = os.path.join(temporary, _OWNER)
        tf.io.gfile.makedirs(os.path.dirname(owner))
        with tf.io.gfile.GFile(owner, "w") as file:
            file.write(_digest(model_dir))
        if tf.io.gfile.exists(path):
            tf.io.gfile.rmtree(path)
        tf.io.gfile.rename(temporary, path)


def _temporary(path: str) -> str:
    return path.rstrip("/") + ".tmp"
