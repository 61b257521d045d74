"""The part of a file that has come, on the disk: locked, resumable, never half there.

See download.py for what fills it.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import uuid
from typing import BinaryIO

from official.utils.errors import UserError, writing

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None

BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched, and how to know that it is the right one.

    Attributes:
        name: its name in the folder, without a path.
        urls: where it is, http or https; the first that works is taken.
        sha256: 64 lower-case hexadecimal digits.
        size_bytes: its size.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size_bytes: int

    def __post_init__(self):
        assert self.name and self.name == os.path.basename(self.name), self.name
        assert self.urls and all(url.startswith("http") for url in self.urls)
        assert re.fullmatch("[0-9a-f]{64}", self.sha256), self.sha256
        assert self.size_bytes > 0


def is_header_value(text: str) -> bool:
    """Whether a server's text can go back to it in a header."""
    return re.fullmatch("[ -~]{1,200}", text) is not None


def sha256(file: BinaryIO) -> str:
    """Digests what follows in an open file.

    Args:
        file: open for reading bytes.

    Returns:
        64 lower-case hexadecimal digits.
    """
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


class Part:
    """The file that grows until it is complete; a context manager.

    It is locked while it is open, so that no other process writes to it. Where the file
    system has no locks, it has a name of its own and cannot be resumed.

    Attributes:
        size: bytes so far.
        is_pieced: whether they came through more than one connection.
    """

    def __init__(self, path: str, remote: RemoteFile):
        self.path = path
        self.size = 0
        self.is_pieced = False
        self.report = lambda num_bytes: None
        self._remote = remote
        self._part = f"{path}.part"
        self._source: dict[str, str | None] = {}
        self._is_finished = False

    def __enter__(self) -> "Part":
        with writing(self._part):
            self._open()
            while not self._lock():
                self._file.close()
                self._open()
        try:
            self._look()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *error) -> None:
        with self._file:
            if self._is_finished or (self.size and self._is_shared):
                return
            with contextlib.suppress(OSError):
                os.unlink(self._part)
            with contextlib.suppress(OSError):
                os.unlink(self._source_path)

    @property
    def _source_path(self) -> str:
        return f"{self._part}.json"

    def _open(self) -> None:
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)

    def _lock(self) -> bool:
        """Waits for the lock; False if the file was renamed or deleted meanwhile."""
        self._is_shared = True
        try:
            if fcntl is None:
                raise OSError
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting: another process fetches {self.path}", flush=True)
                fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:
            self._is_shared = False
            self._file.close()
            if not os.path.getsize(self._part):
                os.unlink(self._part)
            self._part = f"{self.path}.{uuid.uuid4().hex}.part"
            self._open()
        try:
            return os.path.samestat(os.stat(self._part), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _look(self) -> None:
        """Takes over what an earlier call left."""
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return
        self._source = self._read_source()
        if not self._source:
            raise UserError(
                f"{self._part} is in the way: no download of this project left it; "
                "delete or rename it"
            )
        self.size, self.is_pieced = size, True
        is_same = self._source.get("sha256") == self._remote.sha256
        if not is_same or size > self._remote.size_bytes:
            self.restart()
        self._file.seek(0, os.SEEK_END)

    def _read_source(self) -> dict[str, str | None]:
        try:
            with open(self._source_path, encoding="utf-8") as file:
                source = json.load(file)
        except (OSError, ValueError):
            return {}
        return source if isinstance(source, dict) else {}

    def restart(self, url: str | None = None, validator: str | None = None) -> None:
        """Forgets all bytes.

        Args:
            url: where the next ones come from.
            validator: what the server names this version of the file by.
        """
        self.report(-self.size)
        with writing(self._part):
            self._file.seek(0)
            self._file.truncate()
        self.size, self.is_pieced = 0, False
        self._source = {
            "url": url,
            "validator": validator,
            "sha256": self._remote.sha256,
        }
        with writing(self._source_path):
            with open(f"{self._source_path}.tmp", "w", encoding="utf-8") as file:
                json.dump(self._source, file)
            os.replace(f"{self._source_path}.tmp", self._source_path)

    def validator(self, url: str) -> str | None:
        """What the server at `url` named the version by that the bytes are of."""
        found = self._source.get("validator")
        is_known = self._source.get("url") == url and isinstance(found, str)
        return found if is_known and is_header_value(found) else None

    def write(self, block: bytes) -> None:
        """Appends bytes."""
        rest = memoryview(block)
        with writing(self._part):
            while rest:
                written = self._file.write(rest)
                rest = rest[written:]
                self.size += written
        self.report(len(block))

    def sha256(self) -> str:
        """Digest of what stands on the disk."""
        with writing(self._part):
            self._file.seek(0)
            return sha256(self._file)

    def finish(self) -> None:
        """Gives the file its own name."""
        with writing(self.path):
            os.fsync(self._file.fileno())
            if fcntl is None:
                # Windows renames no open file.
                self._file.close()
            os.replace(self._part, self.path)
        self._is_finished = True
        with contextlib.suppress(OSError):
            os.unlink(self._source_path)
