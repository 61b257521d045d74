"""Lines of text files, plain or gzipped, here or in a bucket.

Files are UTF-8, maybe with a byte-order mark; lines end with LF or CRLF.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from official.utils.data.files import BLOCK_BYTES, GZIP_MAGIC, reading
from official.utils.errors import UserError

MAX_LINE_BYTES = 1_000_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find(patterns: Sequence[str], flag: str) -> list[str]:
    """Finds files.

    Args:
        patterns: paths, or glob patterns.
        flag: what they were given with, for the message.

    Returns:
        The paths, each once: pattern after pattern, those of a pattern sorted.

    Raises:
        UserError: a pattern matches no file, or a folder cannot be read.
    """
    paths: dict[str, None] = {}
    for pattern in patterns:
        with reading(f"{flag}={pattern}"):
            found = [
                path
                for path in sorted(tf.io.gfile.glob(pattern))
                if not tf.io.gfile.isdir(path)
            ]
        if not found:
            raise UserError(f"{flag}={pattern} matches no file; check the path")
        paths.update(dict.fromkeys(found))
    return list(paths)


def read(path: str) -> Iterator[tuple[int, str]]:
    """Reads the lines of a file, without holding them all.

    Args:
        path: the file, maybe gzipped.

    Yields:
        Numbers, from 1 on, and texts without their ends.

    Raises:
        UserError: the file cannot be read, or a line is no UTF-8 or longer than
            `MAX_LINE_BYTES`.
    """
    number, rest = 0, b""
    for block in _blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            number += 1
            yield number, _decoded(path, number, line)
        if len(rest) > MAX_LINE_BYTES + len(_BYTE_ORDER_MARK) + 1:
            raise _too_long(path, number + 1)
    if rest:
        yield number + 1, _decoded(path, number + 1, rest)


def _blocks(path: str) -> Iterator[bytes]:
    """The content of a file, unpacked."""
    with reading(path), tf.io.gfile.GFile(path, "rb") as stream:
        is_packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        stream.seek(0)
        unpacked = gzip.GzipFile(fileobj=stream) if is_packed else stream
        try:
            while block := unpacked.read(BLOCK_BYTES):
                yield block
        except EOFError:
            raise UserError(
                f"{path} is a gzip file that ends too early; fetch it again"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UserError(
                f"{path} is a damaged gzip file ({error}); fetch it again"
            ) from None


def _decoded(path: str, number: int, line: bytes) -> str:
    if number == 1:
        line = line.removeprefix(_BYTE_ORDER_MARK)
    line = line.removesuffix(b"\r")
    if len(line) > MAX_LINE_BYTES:
        raise _too_long(path, number)
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: line {number} is not UTF-8 ({error.reason} at byte "
            f"{error.start + 1} of the line); convert the file"
        ) from None


def _too_long(path: str, number: int) -> UserError:
    return UserError(
        f"{path}: line {number} has more than the {MAX_LINE_BYTES:,} bytes that are "
        "expected; write a sentence a line, and check that lines end with LF or CRLF"
    )
