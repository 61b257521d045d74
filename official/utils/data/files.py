"""Finding, checking and reading data files, on disk or in a bucket.

Everything goes through `tf.io.gfile`, so that a path may also be `gs://...`. What can
be wrong with a user's file is raised as a `UserError` that names the file.
"""

import contextlib
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from official.utils.errors import UserError, one_line

BLOCK_BYTES = 1 << 20
MAX_BYTES = 1 << 30
GZIP_MAGIC = b"\x1f\x8b"


@contextlib.contextmanager
def _file_errors(path: str) -> Iterator[None]:
    """Turns TensorFlow's file system errors into a `UserError` that names `path`."""
    try:
        yield
    except tf.errors.NotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except tf.errors.OpError as error:
        # A file system's message may run over several lines.
        reason = " ".join(str(error.message).split())
        raise UserError(
            f"{path} cannot be read ({reason}); check that it is a file and that you "
            "have the right to read it"
        ) from error


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns what is in the way of finding or reading files into a `UserError`.

    Args:
        what: the flag that names them, with its value, for the message.

    Raises:
        UserError: the code inside met a file or folder that cannot be read, or a name
            that is not UTF-8.
    """
    try:
        yield
    except tf.errors.OpError as error:
        raise UserError(
            f"{what} cannot be read ({one_line(error)}); check the path and that you "
            "have the right to read it"
        ) from None
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise UserError(
            f"{what} holds the file or folder {error.object!r:.300}, whose name is not "
            "UTF-8; rename it"
        ) from None


def find(
    data_dir: str | None,
    names: Sequence[str],
    dataset: str,
    can_download: bool = False,
) -> str:
    """Finds the first file of several possible names in a folder.

    Args:
      data_dir: the folder to look in, as given with `--data_dir`.
      names: the names under which the file is known, the preferred one first.
      dataset: name of the data set, for the message.
      can_download: whether `--download` fetches the file, for the message.

    Returns:
      The path of the first name that is there. A folder of that name does not count:
      some archives unpack each file into a folder called like the file.

    Raises:
      UserError: no folder was given, it is not there or is no folder, or it holds none
        of the names.
    """
    assert names, "find needs at least one name"
    wanted = " or ".join(names)
    fetch = "; --download fetches it there" if can_download else ""
    if not data_dir:
        raise UserError(
            f"the data set {dataset} needs --data_dir: give the folder that holds "
            f"{wanted}{fetch}"
        )
    with _file_errors(data_dir):
        if not tf.io.gfile.exists(data_dir):
            raise UserError(
                f"--data_dir={data_dir} does not exist; give the folder that holds "
                f"{wanted} of the data set {dataset}{fetch}"
            )
        if not tf.io.gfile.isdir(data_dir):
            raise UserError(
                f"--data_dir={data_dir} is no folder; give the folder that holds "
                f"{wanted} of the data set {dataset}"
            )
        for name in names:
            path = tf.io.gfile.join(data_dir, name)
            if tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path):
                return path
    raise UserError(
        f"--data_dir={data_dir} holds no {wanted} of the data set {dataset}; put it "
        f"there, or give the folder that holds it{fetch}"
    )


def sha256(path: str) -> str:
    """Digests a file block by block, so that its size does not matter.

    Args:
      path: the file.

    Returns:
      The SHA-256 of its bytes as 64 lower-case hexadecimal digits.

    Raises:
      UserError: the file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    with _file_errors(path), tf.io.gfile.GFile(path, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def verify(path: str, expected_sha256: str) -> None:
    """Checks that a file is the one that is expected, to the last bit.

    Args:
      path: the file.
      expected_sha256: its SHA-256 in hexadecimal digits of either case.

    Raises:
      UserError: the file is missing, cannot be read, or has another digest.
    """
    found = sha256(path)
    if found != expected_sha256.lower():
        raise UserError(
            f"{path} has SHA-256 {found} where {expected_sha256.lower()} is expected: "
            "it is damaged or another version; delete it and fetch it again"
        )


def read_bytes(path: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Reads a whole file and unpacks it if it is gzipped, whatever its name.

    Args:
      path: the file.
      max_bytes: the most bytes to accept, both as stored and unpacked. A gzip of
        1 MiB can unpack to 1 GiB; unpacking stops as soon as this is passed.

    Returns:
      The content, unpacked; never empty.

    Raises:
      UserError: the file is missing, cannot be read, is empty, is a damaged or
        truncated gzip, or is longer than `max_bytes`.
    """
    with _file_errors(path), tf.io.gfile.GFile(path, "rb") as stream:
        stored_bytes = stream.size()
        if stored_bytes > max_bytes:
            raise UserError(
                f"{path} has {stored_bytes} bytes where at most {max_bytes} are "
                "expected; check that it is the right file"
            )
        content = stream.read()
    if content.startswith(GZIP_MAGIC):
        content = _gunzip(path, content, max_bytes)
    if not content:
        raise UserError(f"{path} is empty; delete it and fetch it again")
    return content


def _gunzip(path: str, packed: bytes, max_bytes: int) -> bytes:
    """Unpacks `packed`, the content of `path`, up to `max_bytes`."""
    blocks = []
    unpacked_bytes = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            while block := stream.read(BLOCK_BYTES):
                unpacked_bytes += len(block)
                if unpacked_bytes > max_bytes:
                    raise UserError(
                        f"{path} unpacks to more than the {max_bytes} bytes that are "
                        "expected; check that it is the right file"
                    )
                blocks.append(block)
    except EOFError:
        raise UserError(
            f"{path} is a gzip file that ends too early ({len(packed)} bytes are "
            "there); delete it and fetch it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is a damaged gzip file ({error}); delete it and fetch it again"
        ) from error
    return b"".join(blocks)
