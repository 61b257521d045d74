"""The folder in which a run leaves its files."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence

import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.flags.settings import (
    Settings,
    flags_file_text,
    read_flags_file,
)
from official.utils.logs import files

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

_PROBE = ".write_probe"
_FILES = (
    _PROBE,
    "flags.txt",
    "benchmark_run.log",
    "metric.log",
    "results.json",
    "curves.png",
)
# What stands below the folders of a run; a folder's name ends in "/". What a process
# that was killed left half written is among it.
_EVENTS = r"(events\.out\.tfevents\.[^/]+)"
_FOLDERS = {
    "checkpoints": r"checkpoint(\.resumes)?(\.tmp)?|ckpt-\d+\.[^/]+",
    "prepared": r"([0-9a-f]{16}(\.\d+\.tmp)?/"
    r"((inputs|targets)\.(ids|lengths)|prepared\.json(\.tmp)?)?)?",
    "train": rf"{_EVENTS}|plugins/(profile/([^/]+/([^/]+\.pb)?)?)?",
    "eval": _EVENTS,
    "saved_model": (
        r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|assets(\.extra)?/([^/]+)?|"
        r"variables/(variables\.[^/]+)?"
    ),
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
        probe = self.file(_PROBE)
        try:
            tf.io.gfile.makedirs(self.path)
            with tf.io.gfile.GFile(probe, "w") as file:
                file.write("")
            tf.io.gfile.remove(probe)
        except (tf.errors.OpError, OSError) as error:
            raise UserError(
                f"--model_dir={self.path} cannot be written to ({one_line(error)}); "
                "name another folder"
            ) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from training in the folder.

        The lock is the operating system's and goes with the process, however it ends.
        Folders that are not local, and systems without such locks, have none.

        Raises:
            UserError: another process trains there.
        """
        if fcntl is None or "://" in self.path:
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"--model_dir={self.path}: another process trains there; wait for "
                    "it, or name another folder"
                ) from None
            except OSError:
                pass  # A file system without locks.
            yield
        finally:
            os.close(descriptor)

    def check_clean(self, extra_files: Sequence[str] = ()) -> None:
        """Checks that everything in the folder was written by a run.

        Args:
            extra_files: names that this model leaves beside the common ones.

        Raises:
            UserError: something else stands there.
        """
        if not tf.io.gfile.isdir(self.path):
            return
        known = {*_FILES, *extra_files}
        for name in _below(self.path):
            top, slash, inner = name.partition("/")
            top = top.removesuffix(".tmp")
            if slash:
                is_known = top in _FOLDERS and (
                    not inner or re.fullmatch(_FOLDERS[top], inner)
                )
            else:
                is_known = top in known
            if not is_known:
                raise UserError(
                    f"--clean: {self.file(name)} was written by no run; move it away, "
                    "or name another --model_dir. Nothing was deleted"
                )

    def clean(
        self, extra_files: Sequence[str] = (), in_use: Sequence[str] = ()
    ) -> None:
        """Deletes what a run left, and nothing else.

        Args:
            extra_files: see `check_clean`.
            in_use: paths of files and folders that stay.

        Raises:
            UserError: something in the folder was written by no run; nothing is
                deleted. Or something cannot be deleted.
        """
        self.check_clean(extra_files)
        if not tf.io.gfile.isdir(self.path):
            return
        for name in _names(self.path):
            path = self.file(name)
            try:
                _delete(path, in_use)
            except tf.errors.OpError as error:
                raise UserError(
                    f"--clean: {path} cannot be deleted ({one_line(error)}); name "
                    "another --model_dir"
                ) from None

    def write_flags(self, settings: Settings) -> None:
        """Writes `flags.txt`, with which `--flagfile` repeats the run."""
        files.write_whole(self.file("flags.txt"), flags_file_text(settings))

    def read_flags(self) -> dict[str, str]:
        """The flags of the run that made this folder; empty where there was none.

        Raises:
            UserError: `flags.txt` is damaged.
        """
        path = self.file("flags.txt")
        if not tf.io.gfile.exists(path):
            return {}
        remedy = "remove it, and give the flags of the run beside --model_dir"
        try:
            return read_flags_file(files.read_whole(path, "flags", remedy).decode())
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is damaged ({error}); {remedy}") from None


def new_path(name: str) -> str:
    """A folder under runs/ that does not exist yet, named after model and time."""
    path = os.path.join("runs", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    number = 1
    while os.path.exists(path if number == 1 else f"{path}-{number}"):
        number += 1
    return path if number == 1 else f"{path}-{number}"


def _delete(path: str, kept: Sequence[str]) -> None:
    """Deletes a file, or a folder with all in it but what is kept."""
    if path in kept:
        return
    if not tf.io.gfile.isdir(path):
        tf.io.gfile.remove(path)
    elif any(other.startswith(os.path.join(path, "")) for other in kept):
        for name in _names(path):
            _delete(os.path.join(path, name), kept)
    else:
        tf.io.gfile.rmtree(path)


def _names(folder: str) -> list[str]:
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))


def _below(folder: str) -> Iterator[str]:
    """Relative paths of all that stands below a folder; those of folders end in "/".

    A symbolic link counts as a file: what it points to belongs to someone else.
    """
    for name in _names(folder):
        path = os.path.join(folder, name)
        if tf.io.gfile.isdir(path) and not os.path.islink(path):
            yield f"{name}/"
            yield from (f"{name}/{inner}" for inner in _below(path))
        else:
            yield name
