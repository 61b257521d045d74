"""Unpacking archives that came from elsewhere, without trusting them.

An archive may name paths outside its folder, plant links, or unpack to a thousand times
its size. Everything that is not a plain file or folder below the target is refused, and
bytes are counted as they come, whatever the archive says of itself.
"""

import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO

from official.utils.data.download import require_local
from official.utils.errors import UserError, one_line, writing

BLOCK_BYTES = 1 << 20
MAX_FILES = 100_000
# What a tar holds beside its files: a header and padding for each, maybe with a long
# name, and empty blocks at the end.
TAR_BYTES_PER_MEMBER = 8 << 10
TAR_BYTES_AT_END = 1 << 20
MAX_DEPTH = 64

_TARS = (
    ((".tar",), open),
    ((".tar.gz", ".tgz"), gzip.open),
    ((".tar.xz", ".txz"), lzma.open),
    ((".tar.bz2", ".tbz2", ".tbz"), bz2.open),
)
_KINDS = ".tar, .tar.gz, .tar.xz, .tar.bz2, .zip, .gz"
_FETCH = "delete it and fetch it again"
_SAFETY = "it is not unpacked, for safety; check where it comes from"
# What the readers of the standard library raise on damaged input.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,  # NotImplementedError is one.
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def unpack(
    path: str,
    folder: str,
    max_bytes: int,
    max_files: int = MAX_FILES,
    names: Collection[str] | None = None,
) -> list[str]:
    """Unpacks an archive into a new folder.

    The files go to a temporary folder beside it first, which is renamed at the end: the
    folder holds everything, or is not there.

    Args:
        path: .tar, .tar.gz, .tar.xz, .tar.bz2, .zip, or .gz of a single file.
        folder: the folder to make.
        max_bytes: the most that all files together may have unpacked.
        max_files: the most files and folders that it may hold.
        names: the files to write, by their names without folders; None: all.

    Returns:
        The paths of the files, in the order of the archive.

    Raises:
        UserError: the folder exists or cannot be written; the archive is missing,
            damaged, cut, encrypted, empty or of an unknown kind, exceeds a limit, or
            has a member that is a link, a device or outside the folder.
    """
    require_local(path)
    require_local(folder)
    folder = folder.rstrip(os.sep) or folder
    if os.path.lexists(folder):
        raise UserError(f"{folder} exists; delete it, or name another folder")
    members = _members(path, _Limits(path, max_bytes, max_files))
    parent, name = os.path.split(os.path.abspath(folder))
    with writing(folder):
        os.makedirs(parent, exist_ok=True)
        # It has rights of its own; the folder inside gets the user's usual ones.
        scratch = tempfile.mkdtemp(prefix=f".{name}.", suffix=".unpacking", dir=parent)
    try:
        target = os.path.join(scratch, name)
        with writing(folder):
            os.mkdir(target)
        with contextlib.closing(members):
            files = [
                _write(target, folder, *member)
                for member in members
                if names is None or (member[0] and member[0][-1] in names)
            ]
        files = [file for file in files if file]
        if not files:
            what = "no file" if names is None else f"none of {', '.join(sorted(names))}"
            raise UserError(f"{path} holds {what}; {_FETCH}")
        with writing(folder):
            os.rename(target, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return files


class _Limits:
    """Counts what comes out of an archive."""

    def __init__(self, path: str, max_bytes: int, max_files: int):
        self.max_bytes = max_bytes
        self.max_files = max_files
        self._path = path
        self._num_bytes = 0
        self._num_files = 0

    def add_file(self) -> None:
        self._num_files += 1
        if self._num_files > self.max_files:
            raise UserError(
                f"{self._path} holds more than the {self.max_files} files that are "
                f"expected; {_SAFETY}"
            )

    def add_bytes(self, number: int) -> None:
        self._num_bytes += number
        if self._num_bytes > self.max_bytes:
            raise self.error()

    def error(self) -> UserError:
        return UserError(
            f"{self._path} unpacks to more than the {self.max_bytes} bytes that are "
            f"expected; {_SAFETY}"
        )


def _write(
    scratch: str, folder: str, parts: list[str], blocks: Iterator[bytes] | None
) -> str | None:
    """Writes one member below `scratch`.

    Args:
        scratch: the temporary folder.
        folder: what it will be called.
        parts: the path of the member.
        blocks: its content; None for a folder.

    Returns:
        The path of a file in `folder`; None for a folder.
    """
    path = os.path.join(scratch, *parts)
    final_path = os.path.join(folder, *parts)
    with writing(final_path):
        if blocks is None:
            os.makedirs(path, exist_ok=True)
            return None
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # "x": a name that is there twice is an error, as is a file in a folder's place.
        with open(path, "xb") as file:
            for block in blocks:
                file.write(block)
    return final_path


# A member: the parts of its path, and its content; None where it is a folder.
_Member = tuple[list[str], Iterator[bytes] | None]


def _members(path: str, limits: _Limits) -> Iterator[_Member]:
    """Yields what an archive holds, by the kind that its name says it is."""
    lower = path.lower()
    if not os.path.isfile(path):
        raise UserError(f"{path} is no file; check the path")
    for suffixes, opener in _TARS:
        if lower.endswith(suffixes):
            return _read_tar(path, opener, limits)
    if lower.endswith(".zip"):
        return _read_zip(path, limits)
    if lower.endswith(".gz"):
        return _read_gzip(path, limits)
    raise UserError(f"{path} is no archive of a known kind; known are {_KINDS}")


def _parts(path: str, member: str) -> list[str]:
    """Splits the name of a member, and refuses one that leads elsewhere."""
    parts = [part for part in member.split("/") if part not in ("", ".")]
    # Archives made on Windows may have its separators.
    if ".." in re.split(r"[/\\]", member):
        raise UserError(f"{path} has the member {member!r}, with ..; {_SAFETY}")
    if re.match(r"[/\\]|[A-Za-z]:", member):
        raise UserError(
            f"{path} has the member {member!r}, an absolute path; {_SAFETY}"
        )
    if "\0" in member:
        raise UserError(f"{path} has the member {member!r}, which is no name; {_FETCH}")
    if len(parts) > MAX_DEPTH:
        raise UserError(
            f"{path} has a member more than {MAX_DEPTH} folders deep; {_SAFETY}"
        )
    return parts


def _blocks(path: str, stream: BinaryIO, limits: _Limits) -> Iterator[bytes]:
    """Yields the content of a member, up to the limit."""
    with stream:
        while True:
            with _damage(path):
                block = stream.read(BLOCK_BYTES)
            if not block:
                return
            limits.add_bytes(len(block))
            yield block


@contextlib.contextmanager
def _damage(path: str) -> Iterator[None]:
    """Turns what a reader raises into a `UserError` that names the archive."""
    try:
        yield
    except UserError:
        raise
    except EOFError:
        raise UserError(f"{path} is an archive that ends too early; {_FETCH}") from None
    except _DAMAGE as error:
        raise UserError(
            f"{path} cannot be unpacked ({one_line(error)}): it is damaged; {_FETCH}"
        ) from None


def _read_gzip(path: str, limits: _Limits) -> Iterator[_Member]:
    name = os.path.basename(path)[: -len(".gz")]
    if not name:
        raise UserError(f"{path} has no name beside .gz; rename it")
    with _damage(path):
        stream = gzip.open(path)
    limits.add_file()
    yield [name], _blocks(path, stream, limits)


# ---- zip ----


def _read_zip(path: str, limits: _Limits) -> Iterator[_Member]:
    with contextlib.ExitStack() as stack:
        with _damage(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
        for info in archive.infolist():
            limits.add_file()
            name = info.filename
            parts = _parts(path, name)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "a device or the like"
                raise UserError(f"{path} has the member {name!r}, {what}; {_SAFETY}")
            if info.flag_bits & 1:
                raise UserError(
                    f"{path} is encrypted (its member {name!r}); unpack it yourself"
                )
            # Python unpacks the other kinds without a limit to its memory.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError(
                    f"{path} packs {name!r} by method {info.compress_type}, and only "
                    "deflate is known here; unpack it yourself"
                )
            if info.is_dir():
                yield parts, None
                continue
            if not parts:
                raise UserError(f"{path} has a file without a name; {_FETCH}")
            with _damage(path):
                stream = archive.open(info)
            yield parts, _blocks(path, stream, limits)


# ---- tar ----


class _BoundedReader:
    """The unpacked bytes of a tar, as far as the limits reach."""

    def __init__(self, stream: BinaryIO, limits: _Limits):
        self._stream = stream
        self._limits = limits
        members = limits.max_files * TAR_BYTES_PER_MEMBER
        self._max_position = limits.max_bytes + members + TAR_BYTES_AT_END

    def read(self, size: int = -1) -> bytes:
        # tarfile reads a long name or an extended header, whose size the archive sets,
        # in one go into memory.
        if not 0 <= size <= BLOCK_BYTES:
            raise self._limits.error()
        content = self._stream.read(size)
        self._check(self._stream.tell())
        return content

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        assert whence == os.SEEK_SET
        if position < 0:
            raise EOFError
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._max_position:
            raise self._limits.error()


def _read_tar(path: str, opener, limits: _Limits) -> Iterator[_Member]:
    with contextlib.ExitStack() as stack:
        with _damage(path):
            stream = stack.enter_context(opener(path, "rb"))
            reader = _BoundedReader(stream, limits)
            archive = stack.enter_context(tarfile.open(fileobj=reader, mode="r:"))
        while True:
            with _damage(path):
                member = archive.next()
                # tarfile keeps all of them for later.
                archive.members = []
            if member is None:
                break
            limits.add_file()
            parts = _parts(path, member.name)
            if member.isdir():
                yield parts, None
                continue
            if not member.isreg():
                is_link = member.issym() or member.islnk()
                what = "a link" if is_link else "a device or the like"
                raise UserError(
                    f"{path} has the member {member.name!r}, {what}; {_SAFETY}"
                )
            if not parts:
                raise UserError(f"{path} has a file without a name; {_FETCH}")
            with _damage(path):
                content = archive.extractfile(member)
            yield parts, _blocks(path, content, limits)
        with _damage(path):
            # tarfile takes a damaged header for the end, which is a block of zeros.
            reader.seek(archive.offset)
            if reader.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError
            # A compressed stream has its checksum at the end.
            while reader.read(BLOCK_BYTES):
                pass
