"""The history of all runs: one SQLite file, which several processes may append to.

    python -m official.benchmark.history --history=FILE
    python -m official.benchmark.history --history=FILE --export=runs.jsonl
    python -m official.benchmark.history --history=FILE --import=runs.jsonl
    python -m official.benchmark.history --history=FILE --recover=NEW_FILE
    python -m official.benchmark.history --history=FILE --accept=RECIPE --reason=WHY

A record is one JSON object with `kind` (`night`, `run`, `comparison`, `acceptance`), a
unique `id` and `time` (UTC). docs/nightly.md lists the fields.
"""

import contextlib
import fnmatch
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from absl import flags

from official.benchmark import exchange, machines
from official.benchmark.exchange import KINDS, Record
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs.files import plain
from official.utils.logs.metric_log import utc_timestamp

DEFAULT_PATH = "benchmarks/history.sqlite"

# "OMgh", so that another program's database is not taken for a history.
_APPLICATION_ID = 0x4F4D6768
_SCHEMA_VERSION = 1
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    time TEXT NOT NULL,
    night TEXT,
    content TEXT NOT NULL
);
CREATE INDEX records_by_night ON records (night);
CREATE INDEX records_by_kind ON records (kind, time);
"""
# A process that writes holds the file for milliseconds.
_BUSY_SECONDS = 60.0


def new_record(kind: str, **fields: Any) -> Record:
    """A record with a fresh id and the time now."""
    assert kind in KINDS, kind
    return {"kind": kind, "id": uuid.uuid4().hex, "time": utc_timestamp(), **fields}


class History:
    """A history file; made when it does not exist.

    Every call opens the file anew, so that a process holds no lock between two runs
    that take hours.

    Attributes:
        path: the file.
    """

    def __init__(self, path: str, create: bool = True):
        """Opens the file once to see that it is whole.

        Args:
            path: the file.
            create: whether to make it where there is none.

        Raises:
            UserError: there is no file, or it is none of ours or damaged.
        """
        self.path = os.path.abspath(os.path.expanduser(path))
        if not os.path.exists(self.path):
            if not create:
                raise UserError(
                    f"--history={path}: there is no such file; "
                    "`python -m official.benchmark.run` makes one"
                )
            self._make()
        elif not os.path.getsize(self.path):
            raise UserError(
                f"--history={path} is an empty file: its content is lost; remove it to "
                "begin a new history, or bring back a copy"
            )
        with self._open() as connection:
            self._check(connection)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, _BUSY_SECONDS, isolation_level=None)
            ) as connection:
                yield connection
        except sqlite3.OperationalError as error:
            raise UserError(
                f"--history={self.path} cannot be used ({error}); check the folder, or "
                "wait for the process that holds the file"
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, reason: str) -> UserError:
        return UserError(
            f"--history={self.path} is damaged or no history ({reason}); bring back a "
            "copy, or save what can be read: python -m official.benchmark.history "
            f"--history={self.path} --recover=NEW_FILE"
        )

    def _make(self) -> None:
        """Makes the file in one step: another process sees it whole or not at all."""
        temporary = f"{self.path}.{uuid.uuid4().hex}.tmp"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with contextlib.closing(sqlite3.connect(temporary)) as connection:
                connection.executescript(_SCHEMA)
            with contextlib.suppress(FileExistsError):  # Somebody else was faster.
                os.link(temporary, self.path)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"--history={self.path} cannot be made ({error})") from None
        finally:
            with contextlib.suppress(OSError):
                os.remove(temporary)

    def _check(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION_ID:
            raise UserError(f"--history={self.path} is another program's database")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != _SCHEMA_VERSION:
            raise UserError(
                f"--history={self.path} has the form {version}, this project reads "
                f"{_SCHEMA_VERSION}; take the project's version that wrote it"
            )
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self._damaged(" ".join(found.split()))

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a record; it is on the disk when this returns.

        Raises:
            UserError: the file cannot be written, or has a record of that id.
        """
        self._write([record], "INSERT")

    def replace(self, record: Mapping[str, Any]) -> None:
        """Writes a record in the place of the one with its id."""
        self._write([record], "INSERT OR REPLACE")

    def import_records(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Adds those records whose id is new, all or none; returns how many."""
        return self._write(records, "INSERT OR IGNORE")

    def _write(self, records, verb: str) -> int:
        rows = [
            (
                record["id"],
                record["kind"],
                record["time"],
                record.get("night"),
                json.dumps(plain(record), allow_nan=False),
            )
            for record in records
        ]
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            connection.executemany(
                f"{verb} INTO records (id, kind, time, night, content) "
                "VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            connection.execute("COMMIT")
            return connection.total_changes - before

    def records(
        self, kind: str | None = None, night: str | None = None
    ) -> list[Record]:
        """Records in the order of their time.

        Args:
            kind: only these.
            night: only those of one night or comparison.
        """
        with self._open() as connection:
            rows = connection.execute(
                "SELECT content FROM records WHERE kind = COALESCE(?, kind) AND "
                "(? IS NULL OR night = ?) ORDER BY time, number",
                (kind, night, night),
            ).fetchall()
        return [json.loads(content) for (content,) in rows]


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="history")
    flags.DEFINE_string("history", DEFAULT_PATH, "The history file.", **own)
    flags.DEFINE_string("export", None, "Writes JSON lines to this file.", **own)
    flags.DEFINE_string("import", None, "Adds the records of this file.", **own)
    flags.DEFINE_string(
        "recover", None, "Writes what a damaged history holds to a new one.", **own
    )
    flags.DEFINE_string(
        "accept",
        None,
        "A recipe model/name whose speed is right as it is: the limits begin anew.",
        **own,
    )
    flags.DEFINE_string("reason", None, "Why, for the report.", **own)
    flags.DEFINE_string(
        "select", "*", "With --export: only recipes of this pattern, as mnist/*.", **own
    )
    flags.DEFINE_string("night", None, "With --export: only this night.", **own)
    flags.DEFINE_boolean(
        "publish", False, "With --export: leaves out logs and folders.", **own
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what the flags say; without any it lists the nights.

    Returns:
        The number of records written, or listed.
    """
    path = flags_obj.history
    if flags_obj.recover:
        if os.path.exists(flags_obj.recover):
            raise UserError(f"--recover={flags_obj.recover} exists; name a new file")
        records, lost = exchange.recover(os.path.expanduser(path))
        count = History(flags_obj.recover).import_records(records)
        rest = "; others could not be read" if lost else ""
        print(f"{count} records saved to {flags_obj.recover}{rest}")
        return {"records": count}
    history = History(path, create=bool(flags_obj["import"].value))
    if flags_obj["import"].value:
        count = history.import_records(exchange.read_lines(flags_obj["import"].value))
        print(f"{count} records added")
    elif flags_obj.export:
        records = history.records(night=flags_obj.night)
        if flags_obj.select != "*":
            records = [
                record
                for record in records
                if fnmatch.fnmatchcase(record.get("job", ""), flags_obj.select)
            ]
        if flags_obj.publish:
            records = [exchange.published(record) for record in records]
        if not records:
            raise UserError("--export: no record is selected; nothing was written")
        count = exchange.write_lines(flags_obj.export, records)
        print(f"{count} records written to {flags_obj.export}")
    elif flags_obj.accept:
        known = {record["job"] for record in history.records("run")}
        if flags_obj.accept not in known:
            raise UserError(
                f"--accept={flags_obj.accept}: the history has no such recipe; it has "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        if not flags_obj.reason:
            raise UserError("--accept needs --reason, which the report shows")
        here = machines.machine()
        history.add(
            new_record(
                "acceptance",
                job=flags_obj.accept,
                reason=flags_obj.reason,
                machine=vars(here),
            )
        )
        print(f"{flags_obj.accept}: the limits begin anew on {here.text}")
        count = 1
    else:
        nights = history.records("night")
        count = len(nights)
        for night in nights:
            print(
                f"{night['night']}  {night['suite']}  {night['build']['text']}  "
                f"{night.get('verdict', 'unfinished')}"
            )
    return {"records": count}


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
