"""Scalars for TensorBoard, under `train/` and `eval/` of a run's folder."""

import os
from collections.abc import Mapping
from typing import SupportsFloat

from official.utils.errors import writing


class Summaries:
    """Writes scalars to two TensorBoard runs, so that their curves lie on each other.

    A writer, and with it its folder, is made at its first scalar. Use the same name
    in both (`loss` rather than `train_loss`) to have the curves in one chart.

    Attributes:
        model_dir: the run's folder, local or on any file system of `tf.io.gfile`.
    """

    def __init__(self, model_dir: str):
        self.model_dir = model_dir
        self._writers = {}

    def train(self, step: int, scalars: Mapping[str, SupportsFloat]) -> None:
        """Writes scalars of the training.

        Args:
            step: steps of the optimizer done so far.
            scalars: numbers by name.
        """
        self._write("train", step, scalars)

    def eval(self, step: int, scalars: Mapping[str, SupportsFloat]) -> None:
        """Writes scalars of an evaluation.

        Args:
            step: steps of the optimizer done so far.
            scalars: numbers by name.
        """
        self._write("eval", step, scalars)

    def flush(self) -> None:
        """Hands everything written so far to the file system."""
        for folder, writer in self._writers.items():
            with writing(self._path(folder)):
                writer.flush()

    def close(self) -> None:
        """Flushes and closes the writers; a later scalar opens a new file."""
        writers, self._writers = self._writers, {}
        for folder, writer in writers.items():
            with writing(self._path(folder)):
                writer.close()

    def __enter__(self) -> "Summaries":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def _write(
        self, folder: str, step: int, scalars: Mapping[str, SupportsFloat]
    ) -> None:
        if not scalars:
            return
        import tensorflow as tf

        path = self._path(folder)
        with writing(path):
            if folder not in self._writers:
                self._writers[folder] = tf.summary.create_file_writer(path)
            with self._writers[folder].as_default(step=int(step)):
                for name, value in scalars.items():
                    tf.summary.scalar(name, float(value))

    def _path(self, folder: str) -> str:
        return os.path.join(self.model_dir, folder)
