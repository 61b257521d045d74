import os
import subprocess
import sys

import pytest

from official.benchmark import readme
from official.benchmark.exchange import write_lines
from official.benchmark.history import new_record
from official.utils.errors import UserError
from official.utils.flags import core as flags_core

BEGIN = "<!-- table: runs official/toy/results.jsonl accuracy -->"
END = "<!-- end of table -->"


def ran(job, seed, accuracy):
    return new_record("run", night="n", job=job, seed=seed) | {
        "time": "2026-11-25T01:02:03Z",
        "status": "ok",
        "seconds": 34.6,
        "project": "abc1234567",
        "build": {"text": "tensorflow 2.21.0, Python 3.11.7"},
        "machine": {"text": "2 x toy"},
        "results": {
            "metrics": {"accuracy": accuracy, "ratio_to_fit": 1.25},
            "steps": 1600,
            "examples_per_second": 2005.7,
            "peak_memory_bytes": 2**30,
        },
    }


@pytest.fixture
def project(tmp_path):
    (tmp_path / "official" / "toy").mkdir(parents=True)
    records = [ran("toy/b", 1, 0.99), ran("toy/b", 0, 0.98765), ran("toy/a", 0, None)]
    records.append(ran("toy/c", 0, 0.5) | {"status": "crashed"})
    records.append(ran("loop:toy/b", 0, 0.5))
    records[-1]["results"]["metrics"] = {"flops_per_step": 1.5e9}
    write_lines(str(tmp_path / "official/toy/results.jsonl"), records)
    (tmp_path / "README.md").write_text(f"# Toy\n\n{BEGIN}\n{END}\n\nMore.\n")
    return tmp_path


def command(root, *arguments):
    flags = flags_core.parse(readme.define_flags(), [f"--root={root}", *arguments], ())
    return readme.run(flags)


TABLE = [
    "| recipe | seed | accuracy | steps | examples/s | memory | seconds |",
    "|---|---|---|---|---|---|---|",
    "| toy/a | 0 | - | 1,600 | 2,006 | 1.00 GiB | 35 |",
    "| toy/b | 0 | 0.9877 | 1,600 | 2,006 | 1.00 GiB | 35 |",
    "| toy/b | 1 | 0.99 | 1,600 | 2,006 | 1.00 GiB | 35 |",
    "",
    "Measured 2026-11-25 at commit abc1234567, with tensorflow 2.21.0, Python 3.11.7, "
    "on 2 x toy.",
]


def test_tables_are_drawn_from_records(project):
    assert command(project) == {"tables": 1, "stale": 1}
    text = (project / "README.md").read_text()
    assert text == "\n".join(["# Toy", "", BEGIN, *TABLE, END, "", "More.", ""])
    assert command(project) == {"tables": 1, "stale": 0}
    assert command(project, "--check") == {"tables": 1, "stale": 0}
    assert os.listdir(project / "official" / "toy") == ["results.jsonl"]


@pytest.mark.parametrize("change", ["0.9877", "2,006", "commit abc"])
def test_a_figure_changed_by_hand_is_found(project, change, capsys):
    command(project)
    path = project / "README.md"
    text = path.read_text().replace(change, "9")
    path.write_text(text)
    with pytest.raises(SystemExit) as stop:
        command(project, "--check")
    assert stop.value.code == 1
    assert "error: README.md, line 3: the table differs" in capsys.readouterr().err
    assert path.read_text() == text


def test_metrics_of_micro_benchmarks(project):
    (project / "docs").mkdir()
    line = BEGIN.replace("runs", "metrics").replace("accuracy", "ratio_to_fit")
    (project / "docs" / "speed.md").write_text(f"{line}\n{END}\n")
    command(project)
    lines = (project / "docs" / "speed.md").read_text().splitlines()
    assert lines[1:5] == [
        "| benchmark | ratio to fit |",
        "|---|---|",
        "| toy/b | 1.25 |",
        "| toy/a | 1.25 |",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (END, "", "line 3: the table has no <!-- end of table -->"),
        ("table: runs", "table: sums", "line 3: the table's kind is runs, metrics"),
        ("results.jsonl", "none.jsonl", "none.jsonl cannot be read"),
        ("table: runs", "table:", "line 3: a table is named as"),
        ("accuracy", "bleu", "line 3: .* no run that ended well and has these"),
    ],
)
def test_wrong_comments_are_named(project, old, new, words):
    path = project / "README.md"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=words):
        command(project)


def test_the_project_s_own_tables_are_their_records():
    outcome = subprocess.run(
        [sys.executable, "-m", "official.benchmark.readme", "--check"],
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
