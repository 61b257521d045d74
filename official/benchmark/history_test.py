import json
import os
import sqlite3
import subprocess
import sys

import pytest

from official.benchmark import history as history_module
from official.benchmark.exchange import read_lines, recover, write_lines
from official.benchmark.history import History, new_record
from official.utils.errors import UserError
from official.utils.flags import core as flags_core


def record(number, night="n1", **fields):
    return new_record(
        "run", night=night, job="toy/small", number=number, filler="x" * 600, **fields
    )


def command(**flags):
    flag_values = history_module.define_flags()
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    return history_module.run(flags_core.parse(flag_values, arguments, ()))


def test_records_come_back_as_they_were(tmp_path):
    history = History(str(tmp_path / "new" / "h.sqlite"))
    assert history.records() == []
    records = [record(i, value=float("nan")) for i in range(3)]
    for each in records:
        history.add(each)
    history.add(new_record("night", night="n2", suite="quick"))
    again = History(history.path)
    # JSON has no NaN.
    assert again.records("run") == [each | {"value": None} for each in records]
    assert [r["kind"] for r in again.records()] == ["run", "run", "run", "night"]
    assert [r["suite"] for r in again.records(night="n2")] == ["quick"]
    with pytest.raises(UserError, match="UNIQUE"):
        again.add(records[0])
    assert len(again.records()) == 4


def test_a_record_can_be_written_anew(tmp_path):
    history = History(str(tmp_path / "h.sqlite"))
    night = new_record("night", night="n1")
    history.add(night)
    history.replace(night | {"verdict": "good"})
    assert [n["verdict"] for n in history.records()] == ["good"]


WRITER = """
import sys
from official.benchmark.history import History, new_record
for i in range(int(sys.argv[3])):
    History(sys.argv[1]).add(new_record("run", night="n", job=sys.argv[2], number=i))
"""


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    path = str(tmp_path / "h.sqlite")
    # The file does not exist yet: they also race to make it.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, f"job{i}", "50"])
        for i in range(4)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    found = History(path).records("run")
    for i in range(4):
        numbers = [r["number"] for r in found if r["job"] == f"job{i}"]
        assert numbers == list(range(50))
    assert [name for name in os.listdir(tmp_path) if name != "h.sqlite"] == []


def test_a_writer_killed_in_the_middle_does_no_harm(tmp_path):
    path = str(tmp_path / "h.sqlite")
    history = History(path)
    history.add(record(0))
    killed = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
for i in range(500):
    connection.execute(
        "INSERT INTO records (id, kind, time, content) VALUES (?, 'run', 't', ?)",
        (str(i), "x" * 3000),
    )
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", killed, path]).returncode == -9
    assert os.path.exists(f"{path}-journal")  # It was in the middle of writing.
    assert [r["number"] for r in History(path).records()] == [0]


@pytest.fixture
def full(tmp_path):
    history = History(str(tmp_path / "h.sqlite"))
    history.import_records([record(i) for i in range(400)])
    return history


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_a_cut_file_is_refused_and_what_is_left_recovered(full, part, tmp_path):
    with open(full.path, "r+b") as file:
        file.truncate(int(part * os.path.getsize(full.path)))
    cut = open(full.path, "rb").read()
    with pytest.raises(UserError) as refused:
        History(full.path).records()
    assert "damaged" in str(refused.value) and "--recover=NEW" in str(refused.value)
    assert "\n" not in str(refused.value)
    new = str(tmp_path / "recovered.sqlite")
    found = command(history=full.path, recover=new)["records"]
    # The indexes lie between the records, so somewhat less than the part is left.
    assert 400 * part * 0.5 <= found <= 400 * part * 1.2
    numbers = [r["number"] for r in History(new).records()]
    assert numbers == sorted(set(numbers)) and len(numbers) == found
    assert open(full.path, "rb").read() == cut  # Left as it was.
    with pytest.raises(UserError, match="exists; name a new file"):
        command(history=full.path, recover=new)


def test_damage_in_the_middle_is_recovered_around(full):
    size = os.path.getsize(full.path)
    with open(full.path, "r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(4096))
    with pytest.raises(UserError, match="damaged"):
        History(full.path).records()
    records, lost = recover(full.path)
    assert 350 <= len(records) < 400
    assert lost >= 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"not a database at all" * 100, "damaged or no history"),
        (b"SQLite format 3\0", "damaged or no history"),
    ],
)
def test_files_that_are_no_history(content, words, tmp_path):
    path = tmp_path / "h.sqlite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        History(str(path))
    assert path.read_bytes() == content


def test_other_databases_are_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE records (x)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="another program's database"):
        History(str(path))
    assert path.read_bytes() == before


def test_a_later_form_is_refused(full):
    with sqlite3.connect(full.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(UserError, match="has the form 2, this project reads 1"):
        History(full.path)


def test_a_history_that_is_read_only_can_be_read(full):
    os.chmod(full.path, 0o400)
    os.chmod(os.path.dirname(full.path), 0o500)
    try:
        assert len(History(full.path).records()) == 400
    finally:
        os.chmod(os.path.dirname(full.path), 0o700)


def test_no_file_is_made_where_one_is_to_be_read(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        History(str(tmp_path / "none.sqlite"), create=False)
    assert os.listdir(tmp_path) == []


def test_json_lines_merge_histories(full, tmp_path):
    lines = str(tmp_path / "runs.jsonl")
    assert command(history=full.path, export=lines)["records"] == 400
    other = History(str(tmp_path / "other.sqlite"))
    other.add(record(1000, night="n9"))
    other.add(full.records()[0])
    assert command(history=other.path, **{"import": lines})["records"] == 399
    assert command(history=other.path, **{"import": lines})["records"] == 0
    assert len(other.records()) == 401
    assert all(json.loads(line) for line in open(lines))


def test_what_is_published_names_no_folder(tmp_path):
    history = History(str(tmp_path / "h.sqlite"))
    history.add(record(0, night="n1", log="/home/me/log.txt", detail="in /home/me/x"))
    history.add(record(1, night="n2", log="/home/me/log.txt"))
    path = str(tmp_path / "runs.jsonl")
    flags = dict(history=history.path, export=path, publish="true")
    assert command(**flags, night="n1", select="toy/*")["records"] == 1
    assert "/home/me" not in open(path).read()
    assert [r["number"] for r in read_lines(path)] == [0]
    with pytest.raises(UserError, match="no record is selected"):
        command(**flags, select="mnist/*")
    assert len(read_lines(path)) == 1


def test_lines_that_are_no_records_are_named(tmp_path):
    path = tmp_path / "runs.jsonl"
    write_lines(str(path), [record(0)])
    with open(path, "a") as file:
        file.write('{"kind": "run"}\n')
    with pytest.raises(UserError, match=r"runs\.jsonl, line 2, is no record"):
        read_lines(str(path))
    history = tmp_path / "h.sqlite"
    with pytest.raises(UserError, match="line 2"):
        command(history=history, **{"import": path})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is no text"):
        read_lines(str(path))
    with pytest.raises(UserError, match="cannot be read"):
        read_lines(str(tmp_path / "none"))


def test_acceptance_needs_a_known_recipe_and_a_reason(full):
    with pytest.raises(UserError, match="has no such recipe; it has toy/small"):
        command(history=full.path, accept="toy/large", reason="new kernel")
    with pytest.raises(UserError, match="needs --reason"):
        command(history=full.path, accept="toy/small")
    command(history=full.path, accept="toy/small", reason="new kernel")
    (found,) = full.records("acceptance")
    assert (found["job"], found["reason"]) == ("toy/small", "new kernel")
