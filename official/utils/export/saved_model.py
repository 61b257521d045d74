"""SavedModels that load with TensorFlow alone."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from official.utils.errors import UserError
from official.utils.training.task import Signature


def check_target(path: str, may_replace: bool) -> None:
    """Checks before the training that the export will find room after it.

    Args:
        path: folder of the SavedModel to be.
        may_replace: whether a SavedModel there was written by this run.

    Raises:
        UserError: something else stands there.
    """
    if may_replace or not tf.io.gfile.exists(path):
        return
    if tf.io.gfile.isdir(path) and not tf.io.gfile.listdir(path):
        return
    raise UserError(
        f"{path} exists and is not overwritten; name another --export_dir, or move it"
    )


def export(model: keras.Model, signatures: Mapping[str, Signature], path: str) -> None:
    """Writes a SavedModel, complete under its final name or not at all.

    Args:
        model: the network, made outside any distribution strategy, so that the
            variables in the file are plain ones.
        signatures: functions by signature name.
        path: the folder; one that exists is replaced.

    Raises:
        UserError: the folder cannot be written.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, signature in signatures.items():
        archive.add_endpoint(name, signature.function, list(signature.inputs))
    temporary = path.rstrip("/") + ".tmp"
    try:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
        archive.write_out(temporary, verbose=False)
        if tf.io.gfile.exists(path):
            tf.io.gfile.rmtree(path)
        tf.io.gfile.rename(temporary, path)
    except (tf.errors.OpError, OSError) as error:
        reason = str(getattr(error, "message", error)).splitlines()[0]
        raise UserError(f"SavedModel {path} cannot be written ({reason})") from None
