"""The metric log: one JSON line for each number that a run measures."""

import datetime
import json
import math
import os
from collections.abc import Mapping
from typing import SupportsFloat

from absl import logging

from official.utils.errors import UserError, writing
from official.utils.logs import files

# A record is about 150 bytes: the buffer stays below 40 kB between two flushes.
_MAX_BUFFERED_RECORDS = 256


def utc_timestamp() -> str:
    """Returns the time now, UTC, such as "2026-08-01T09:30:00.000000Z"."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class MetricLog:
    """Appends metrics to a file of JSON lines.

    Records are kept in memory until `flush`, `close` or the end of a `with` block (or
    until 256 have gathered); the file is opened at the first of these that has
    something to write, so a log that gets no record leaves no trace.

    A process killed while it writes leaves a last line that is cut. The next log on
    that file removes the cut line before it appends, so that the file stays one
    record a line for every reader.

    Attributes:
        path: the file, local or on any file system of `tf.io.gfile`.
    """

    def __init__(self, path: str):
        self.path = path
        self._lines: list[str] = []
        self._file = None
        self._closed = False
        self._dropped_names: set[str] = set()

    def log(
        self,
        name: str,
        value: SupportsFloat,
        global_step: int | None = None,
        unit: str | None = None,
        extras: Mapping[str, object] | None = None,
    ) -> None:
        """Adds one record, with the time now.

        Args:
            name: what is measured, such as "train_loss" (guidelines.md lists them).
            value: a number: Python's, NumPy's or a scalar tensor; True counts as 1.
                Anything else is dropped, with one warning for each name. NaN and
                infinities are written as null, with an extra "nonfinite" that says
                which, because strict JSON has no such numbers.
            global_step: steps of the optimizer done so far.
            unit: such as "examples/s"; None for a number without one.
            extras: further facts by name: numbers, strings or booleans.

        Raises:
            ValueError: the log is closed.
        """
        if self._closed:
            raise ValueError(f"the metric log {self.path} is closed")
        number = _to_float(value)
        if number is None:
            if name not in self._dropped_names:
                self._dropped_names.add(name)
                logging.warning("metric %s is dropped: %.60r is no number", name, value)
            return
        extras = dict(extras or {})
        if not math.isfinite(number):
            extras["nonfinite"] = str(number)
        record = {
            "name": str(name),
            "value": number if math.isfinite(number) else None,
            "unit": unit,
            "global_step": None if global_step is None else int(global_step),
            "timestamp": utc_timestamp(),
            "extras": [
                {"name": key, "value": files.plain(extras[key])}
                for key in sorted(extras)
            ],
        }
        self._lines.append(json.dumps(record, allow_nan=False) + "\n")
        if len(self._lines) >= _MAX_BUFFERED_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is buffered and hands it to the file system.

        Raises:
            UserError: the file system does not take it.
        """
        if not self._lines:
            return
        with writing(self.path):
            if self._file is None:
                self._file = _open_at_line_start(self.path)
            self._file.write("".join(self._lines))
            self._lines = []
            self._file.flush()

    def close(self) -> None:
        """Flushes and closes the file. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.flush()
        if self._file is not None:
            with writing(self.path):
                self._file.close()

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *error) -> None:
        self.close()


def read(path: str) -> list[dict]:
    """Returns the records of a metric log, in the order they were written.

    A last line that is cut (its writer was killed) is left out, with a warning.

    Args:
        path: a file that `MetricLog` wrote.

    Returns:
        One dict a record, as it stands in the file: a value that was not finite is
        None, with the extra "nonfinite".

    Raises:
        UserError: there is no such file, or a line other than a cut last one is no
            record; the message names the line.
    """
    content = files.read_whole(path, "metrics", "check the path of the run's folder")
    records = []
    lines = content.split(b"\n")
    # After the last newline comes nothing, or a record that its writer did not end.
    tail = lines.pop()
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is None:
            raise UserError(
                f"{path}, line {number}, is no metric record: "
                f"{line[:40].decode('utf-8', 'replace')!r}; remove that line"
            )
        records.append(record)
    if tail:
        record = _parse(tail)
        if record is not None:
            records.append(record)
        else:
            logging.warning(
                "%s, line %d, is cut and left out (the run was killed while it wrote)",
                path,
                len(lines) + 1,
            )
    return records


def _to_float(value: object) -> float | None:
    """Returns `value` as a float, or None where it is no single number."""
    # float() would take the text "3.5" and, for now, an array of one element.
    if isinstance(value, str | bytes | bytearray) or getattr(value, "ndim", 0):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _parse(line: bytes) -> dict | None:
    """Returns the record on `line`, or None where there is none."""
    try:
        record = json.loads(line)
    except ValueError:  # Covers damaged JSON and damaged UTF-8.
        return None
    if isinstance(record, dict) and "name" in record and "value" in record:
        return record
    return None


def _open_at_line_start(path: str):
    """Opens `path` to append, its last line whole."""
    import tensorflow as tf

    folder = os.path.dirname(path)
    if folder:
        tf.io.gfile.makedirs(folder)
    if tf.io.gfile.exists(path) and not _ends_with_newline(path):
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
        whole_lines, newline, tail = content.rpartition(b"\n")
        if _parse(tail) is not None:
            # Only the newline was cut off.
            files.write_whole(path, content + b"\n")
        else:
            # A newline after the cut record would keep the next one apart from it,
            # but would leave a line that no JSON reader can read.
            logging.warning("%s: its cut last line is removed", path)
            files.write_whole(path, whole_lines + newline)
    return tf.io.gfile.GFile(path, "a")


def _ends_with_newline(path: str) -> bool:
    """Says whether the file is empty or its last byte is a newline."""
    import tensorflow as tf

    size = tf.io.gfile.stat(path).length
    if not size:
        return True
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"
