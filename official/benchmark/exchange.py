"""Records on their way out of a history and into another: JSON lines, and rescue."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from official.utils.errors import UserError
from official.utils.logs.files import plain

Record = dict[str, Any]

KINDS = ("night", "run", "comparison", "acceptance")
# Where the head of a SQLite file has the size of a page and the number of pages
# (sqlite.org/fileformat2.html, 1.3).
_PAGE_SIZE, _PAGE_COUNT = slice(16, 18), slice(28, 32)


def recover(path: str) -> tuple[list[Record], int]:
    """Reads what a damaged history still holds.

    Args:
        path: the damaged file.

    Returns:
        The records, and at how many numbers the file is unreadable: each may have
        been a record.

    Raises:
        UserError: nothing can be read.
    """
    found: dict[str, Record] = {}
    lost = 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            # SQLite reads no file that is shorter than its head says, so a copy is
            # filled up with empty pages.
            copy = shutil.copy(path, os.path.join(folder, "copy"))
            with open(copy, "r+b") as file:
                head = file.read(100)
                size = int.from_bytes(head[_PAGE_SIZE], "big")
                pages = int.from_bytes(head[_PAGE_COUNT], "big")
                file.truncate(max(os.path.getsize(copy), size * pages))
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                # A record takes 64 bytes at least, so no number is larger.
                for number in range(1, size * pages // 64 + 1):
                    try:
                        row = connection.execute(
                            "SELECT content FROM records WHERE number = ?", (number,)
                        ).fetchone()
                        if row is not None:
                            record = json.loads(row[0])
                            found[record["id"]] = record
                    except (sqlite3.DatabaseError, ValueError, KeyError):
                        lost += 1
    except OSError as error:
        raise UserError(f"--history={path} cannot be read ({error})") from None
    if not found:
        raise UserError(f"--history={path} holds no record that can be read")
    return list(found.values()), lost


def read_lines(path: str) -> list[Record]:
    """Records from a file of JSON lines.

    Raises:
        UserError: the file cannot be read, or a line is no record.
    """
    records = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    if record["kind"] not in KINDS or not record["id"]:
                        raise ValueError
                    record["time"]
                except (ValueError, KeyError, TypeError):
                    raise UserError(
                        f"{path}, line {number}, is no record of a history; remove or "
                        "mend that line"
                    ) from None
                records.append(record)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text; name a file of JSON lines") from None
    return records


def write_lines(path: str, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes records as JSON lines, complete or not at all; returns how many.

    Raises:
        UserError: the file cannot be written.
    """
    lines = [json.dumps(plain(record), sort_keys=True) + "\n" for record in records]
    try:
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            file.writelines(lines)
        os.replace(f"{path}.tmp", path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None
    return len(lines)


def published(record: Mapping[str, Any]) -> Record:
    """A record without what belongs to the machine alone: its logs and folders."""

    def plain_text(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain_text(part) for name, part in value.items()}
        if isinstance(value, list):
            return [plain_text(part) for part in value]
        return without_folders(value) if isinstance(value, str) else value

    kept = {name: v for name, v in record.items() if name not in ("log", "log_tail")}
    return plain_text(kept)


# An absolute path of two parts or more; not the `//host` of an address.
_PATH = re.compile(r"(?<![\w/.~-])(?:file://)?/(?!/)[\w.@+~%-]+(?:/[\w.@+~%-]+)+")


def without_folders(text: str) -> str:
    """Text whose absolute paths keep only what is the same on another machine."""
    return _PATH.sub(_shortened, text)


def _shortened(found: re.Match) -> str:
    path = found[0]
    for folder in ("/site-packages/", "/dist-packages/"):
        if folder in path:
            return f".../{path.rpartition(folder)[2]}"
    _, official, after = path.rpartition("/official/")
    return f".../official/{after}" if official else f".../{os.path.basename(path)}"
