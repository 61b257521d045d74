"""The folder in which a run leaves its files."""

import os
import time
from collections.abc import Sequence

import tensorflow as tf

from official.utils.errors import UserError
from official.utils.flags.core import Settings, flags_file_text, read_flags_file
from official.utils.logs import files

_FILES = (
    "flags.txt",
    "benchmark_run.log",
    "metric.log",
    "results.json",
    "curves.png",
)
_FOLDERS = {
    "checkpoints": ("ckpt-", "checkpoint"),
    "train": ("events.out.tfevents.", "plugins"),
    "eval": ("events.out.tfevents.",),
    "saved_model": ("",),
}


class RunFolder:
    """Names and makes what stands in `--model_dir`.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str):
        """Names a folder, which need not exist yet."""
        self.path = path

    def file(self, name: str) -> str:
        """The path of a file or folder in it."""
        return os.path.join(self.path, name)

    def create(self) -> None:
        """Makes the folder, and sees that it can be written to.

        Raises:
            UserError: it cannot be made or written to, or is a file.
        """
        if tf.io.gfile.exists(self.path) and not tf.io.gfile.isdir(self.path):
            raise UserError(f"--model_dir={self.path} is a file; name a folder")
        probe = self.file(".write_probe")
        try:
            tf.io.gfile.makedirs(self.path)
            with tf.io.gfile.GFile(probe, "w") as file:
                file.write("")
            tf.io.gfile.remove(probe)
        except (tf.errors.OpError, OSError) as error:
            reason = str(getattr(error, "message", error)).splitlines()[0]
            raise UserError(
                f"--model_dir={self.path} cannot be written to ({reason}); name "
                "another folder"
            ) from None

    def clean(self, extra_files: Sequence[str] = ()) -> None:
        """Deletes what a run left, and nothing else.

        Args:
            extra_files: names that this model leaves beside the common ones.

        Raises:
            UserError: something in the folder was written by no run; nothing is deleted.
        """
        if not tf.io.gfile.isdir(self.path):
            return
        known = {*_FILES, *extra_files}
        for name in _names(self.path):
            if name.removesuffix(".tmp") in known:
                continue
            folder = self.file(name)
            prefixes = _FOLDERS.get(name.removesuffix(".tmp"))
            if prefixes is None or not tf.io.gfile.isdir(folder):
                self._refuse(name)
            for inner in _names(folder):
                if not inner.startswith(prefixes):
                    self._refuse(f"{name}/{inner}")
        for name in _names(self.path):
            path = self.file(name)
            if tf.io.gfile.isdir(path):
                tf.io.gfile.rmtree(path)
            else:
                tf.io.gfile.remove(path)

    def _refuse(self, name):
        raise UserError(
            f"--clean: {self.file(name)} was written by no run; move it away, or name "
            "another --model_dir. Nothing was deleted"
        )

    def write_flags(self, settings: Settings) -> None:
        """Writes `flags.txt`, with which `--flagfile` repeats the run."""
        files.write_whole(self.file("flags.txt"), flags_file_text(settings))

    def read_flags(self) -> dict[str, str]:
        """The flags of the run that made this folder; empty where there was none."""
        path = self.file("flags.txt")
        if not tf.io.gfile.exists(path):
            return {}
        with tf.io.gfile.GFile(path) as file:
            return read_flags_file(file.read())


def new_path(name: str) -> str:
    """A folder under runs/ that does not exist yet, named after model and time."""
    path = os.path.join("runs", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    number = 1
    while os.path.exists(path if number == 1 else f"{path}-{number}"):
        number += 1
    return path if number == 1 else f"{path}-{number}"


def _names(folder: str) -> list[str]:
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))
