"""Whole files, and plain JSON values: what the other modules of this folder share."""

import contextlib
import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from official.utils.errors import UserError, writing


def write_whole(path: str, content: str | bytes) -> None:
    """Writes a file that a reader sees complete or not at all.

    The content goes to `<path>.tmp` in the same folder, which is then renamed. On
    object stores (`gs://`) a rename is a copy; the object there appears at once too.

    Args:
        path: the file to write or replace; its folder is made when there is none.
        content: text (written as UTF-8) or bytes.

    Raises:
        UserError: the file system does not take it.
    """
    import tensorflow as tf

    folder = os.path.dirname(path)
    temporary = f"{path}.tmp"
    if isinstance(content, str):
        content = content.encode("utf-8")
    with writing(path):
        if folder:
            tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)


def read_whole(path: str, what: str, remedy: str) -> bytes:
    """Returns the bytes of the file `path`.

    Args:
        path: the file to read.
        what: what the file is, for the message, such as "results".
        remedy: what the user can do when there is no such file.

    Raises:
        UserError: there is no such file, or it is a folder.
    """
    import tensorflow as tf

    # A read of a folder gives another error on each file system; this is one answer.
    if tf.io.gfile.isdir(path):
        raise UserError(f"{path} is a folder, not a file of {what}; {remedy}")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError:
        raise UserError(f"there is no file of {what} at {path}; {remedy}") from None


def plain(value: object) -> object:
    """Returns `value` made of what strict JSON knows.

    NumPy and TensorFlow scalars become Python's, arrays and tuples become lists, and
    a number that is not finite becomes None, because JSON has no name for it. The
    order of a mapping's keys stays.

    Args:
        value: any nesting of mappings, sequences, arrays, scalars, strings and None.

    Raises:
        TypeError: some part of `value` is none of these.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # `float(value)`: a NumPy float64 is a Python float, but prints otherwise.
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"JSON has no form for a {type(value).__name__}: {value!r}")


def json_text(value: object) -> str:
    """Returns `value` as indented strict JSON with a newline at the end.

    Args:
        value: see `plain`.
    """
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


@contextlib.contextmanager
def opened_output(output: str | None, flag: str = "--output") -> Iterator[TextIO]:
    """Gives what predictions go to.

    Args:
        output: the value of the flag; None for stdout.
        flag: its name, for messages.

    Yields:
        Stdout, or text that becomes the file when all is done.

    Raises:
        UserError: there is such a file, or it cannot be written.
    """
    import tensorflow as tf

    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    path = os.path.expanduser(output)
    if tf.io.gfile.exists(path):
        raise UserError(
            f"{flag}={output} exists and is not overwritten; name another file"
        )
    text = io.StringIO()
    yield text
    with writing(f"{flag}={output}"):
        write_whole(path, text.getvalue())


def write_predictions(
    output: str | None, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Writes a CSV table of predictions, a row for each row of an input.

    Args:
        output: see `opened_output`.
        header: names of the columns behind `row`, the number of a row from 1 on.
        rows: their cells.

    Raises:
        UserError: see `opened_output`.
    """
    number = 0
    with opened_output(output) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["row", *header])
        for number, cells in enumerate(rows, start=1):
            table.writerow([number, *cells])
    if output:
        print(f"{number} rows: {output}", flush=True)
