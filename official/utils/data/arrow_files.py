"""Files as Apache Arrow reads them."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import tensorflow as tf

from official.utils.data.files import GZIP_MAGIC, reading


@contextlib.contextmanager
def opened(path: str) -> Iterator[pa.NativeFile]:
    """The bytes of a file, unpacked where it is gzipped, whatever its name.

    Args:
        path: the file, which may lie on `gs://`.

    Raises:
        UserError: it is missing or cannot be read.
        OSError: while reading, it is a damaged gzip file, or ends too early.
    """
    with reading(path), tf.io.gfile.GFile(path, "rb") as file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if "://" in path:
        stream = pa.PythonFile(tf.io.gfile.GFile(path, "rb"), mode="r")
    else:
        stream = pa.OSFile(path)
    with (
        stream,
        pa.CompressedInputStream(stream, "gzip")
        if is_packed
        else contextlib.nullcontext(stream) as content,
    ):
        yield content
