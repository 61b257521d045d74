import os
import signal
import subprocess
import sys
import time

import pytest

from official.benchmark import machines
from official.benchmark import run as run_command
from official.benchmark.history import History, new_record
from official.utils.flags import core as flags_core
from official.utils.testing import fake_main, mains


@pytest.fixture
def nightly(tmp_path, monkeypatch, capsys):
    """Runs a suite of fake recipes; returns exit code, output and history."""
    monkeypatch.chdir(tmp_path)

    def start(suite, *arguments):
        flags = flags_core.parse(
            run_command.define_flags(),
            [f"--suite={suite}", "--history=h.sqlite", *arguments],
            (),
        )
        with fake_main.known_to_the_nightly(), pytest.raises(SystemExit) as stop:
            run_command.run(flags)
        return stop.value.code, capsys.readouterr().out, History("h.sqlite")

    return start


def test_a_good_night(nightly, tmp_path):
    code, output, history = nightly("toy/good")
    assert code == 0
    assert "verdict: good" in output
    assert "toy/good seed 1: ok" in output
    runs = history.records("run")
    assert [run["seed"] for run in runs] == [0, 1, 2]
    assert {run["status"] for run in runs} == {"ok"}
    assert runs[0]["results"]["metrics"] == {"accuracy": 0.95}
    assert runs[0]["command"] == (
        "python -m official.utils.testing.fake_main --recipe=good --seed=0"
    )
    assert runs[0]["log_tail"] == "good with seed 0\n"
    assert runs[0]["seconds"] > 0 and runs[0]["machine"]["id"]
    (night,) = history.records("night")
    assert night["verdict"] == "good"
    assert night["jobs"]["toy/good"]["values"]["examples_per_second"] == 1001
    # Large files go once the numbers are recorded; small ones stay.
    folder = tmp_path / "logs" / night["night"] / "toy_good-seed0"
    assert sorted(os.listdir(folder)) == ["log.txt", "run"]
    assert os.listdir(folder / "run") == ["results.json"]


@pytest.mark.parametrize(
    ("name", "arguments", "verdict", "code", "reason"),
    [
        ("bad", (), "worse", 1, "accuracy 0.5 is outside 0.9 to 1"),
        ("crash", (), "broken", 1, "crashed: RuntimeError: a kernel is missing"),
        ("hang", ("--time_limit=2",), "broken", 1, "hung: still running after 2 s"),
        ("memory", ("--memory_limit=0.3",), "broken", 1, "out of memory: used 0."),
        ("interrupted", (), "interrupted", 2, "interrupted: ended by SIGINT"),
        ("silent", (), "broken", 1, "crashed: ended well, but left no results"),
    ],
)
def test_every_end_is_a_result(nightly, name, arguments, verdict, code, reason):
    found, output, history = nightly(f"toy/{name},toy/good", "--seeds=1", *arguments)
    assert found == code
    assert f"toy/{name} {verdict}: seed 0: {reason}" in output
    (night,) = history.records("night")
    # The recipe after it has run all the same.
    words = {key: entry["verdict"] for key, entry in night["jobs"].items()}
    assert words == {f"toy/{name}": verdict, "toy/good": "good"}
    assert len(history.records("run")) == 2


def test_seeds_go_round_by_round(nightly):
    _, _, history = nightly("toy/good,toy/bad", "--seeds=4")
    ran = [(run["job"], run["seed"]) for run in history.records("run")]
    assert ran[:3] == [("toy/good", 0), ("toy/bad", 0), ("toy/good", 1)]
    assert [seed for job, seed in ran if job == "toy/bad"] == [0, 1, 2, 3]


def test_a_slower_night_is_a_regression(nightly, monkeypatch):
    for _ in range(2):
        assert nightly("toy/good", "--seeds=1")[0] == 0
    monkeypatch.setenv("FAKE_SPEED", "900")
    code, output, history = nightly("toy/good", "--seeds=1")
    assert code == 1
    assert "toy/good slower: examples/s 900, limit 930 from 2 nights" in output
    assert "900 (-10%)" in output
    # Accepted, the limits begin anew.
    history.add(
        new_record(
            "acceptance",
            job="toy/good",
            reason="a safer kernel",
            machine=vars(machines.machine()),
        )
    )
    assert nightly("toy/good", "--seeds=1")[0] == 0
    assert nightly("toy/good", "--seeds=1")[0] == 0
    monkeypatch.setenv("FAKE_SPEED", "800")
    assert nightly("toy/good", "--seeds=1")[0] == 1


def test_new_and_vanished_recipes_are_listed(nightly, monkeypatch):
    nightly("quick", "--seeds=1", "--time_limit=1", "--memory_limit=0.3")
    rest = [recipe for recipe in fake_main.recipes() if recipe.name != "bad"]
    monkeypatch.setattr(fake_main, "recipes", lambda: rest)
    output = nightly("quick", "--seeds=1", "--time_limit=1", "--memory_limit=0.3")[1]
    assert "vanished: toy/bad" in output


SUITE = """
from official.benchmark import run
from official.utils.testing import fake_main
with fake_main.known_to_the_nightly():
    run.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_suite_cut_short_goes_on(tmp_path, number):
    arguments = ["--suite=toy/slow", "--history=h.sqlite", "--resume"]
    command = [sys.executable, "-c", SUITE, *arguments]
    path = tmp_path / "h.sqlite"

    def start():
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with start() as suite:
        until = time.monotonic() + 60
        while not path.exists() or len(History(str(path)).records("run")) < 1:
            assert time.monotonic() < until
            time.sleep(0.05)
        suite.send_signal(number)
        output, errors = suite.communicate(timeout=60)
    assert suite.returncode == 128 + number
    assert "Traceback" not in errors
    assert "interrupted; --resume goes on with the night" in output
    (night,) = History(str(path)).records("night")
    assert "verdict" not in night
    with start() as suite:
        output, _ = suite.communicate(timeout=60)
    assert suite.returncode == 0
    assert f"going on with the night {night['night']}" in output
    history = History(str(path))
    # No run is done twice, none is left out.
    assert [run["seed"] for run in history.records("run")] == [0, 1, 2]
    assert [n["verdict"] for n in history.records("night")] == ["good"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--suite=none",), "is unknown; sizes are"),
        (("--python=/no/python",), "--python=/no/python is no program"),
        (("--python=/bin/false",), "is no working Python"),
        (("--history=/proc/h.sqlite",), "--history=/proc/h.sqlite cannot be made"),
        (("--seeds=0",), "--seeds"),
        (("stray",), "stray argument"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_code_2(arguments, words, tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-m", "official.benchmark.run", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 2
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_a_mistake_of_the_nightly_is_no_regression(tmp_path):
    code = "from official.benchmark import command, run\n"
    code += "command.main(run.define_flags, lambda flags: %s, 'A test.')"
    full_disk = "exec('raise OSError(28, \\'No space left on device\\')')"
    for mistake, said in (
        ("{}['key']", "KeyError: 'key'"),
        (full_disk, "error: [Errno 28] No space left on device"),
    ):
        outcome = subprocess.run(
            [sys.executable, "-c", code % mistake],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert outcome.returncode == 2
        assert outcome.stderr.splitlines()[-1] == said


def test_an_interpreter_without_tensorflow_is_refused(nightly, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    outcome = subprocess.run(
        [sys.executable, "-m", "official.benchmark.run", f"--python={bare}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 2
    assert "has no TensorFlow; install the build" in outcome.stderr


def test_missing_data_is_said_before_anything_runs(nightly):
    full = [
        type(recipe)(**{**vars(recipe), "size": "full"})
        for recipe in fake_main.recipes()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_main, "recipes", lambda: full)
        code, output, history = nightly("toy/good", "--seeds=1")
    assert code == 2
    assert "skipped: needs the data set toys: give --data_dir" in output
    assert [run["status"] for run in history.records("run")] == ["skipped"]


def test_the_real_instant_recipe(tmp_path):
    outcome = mains.run_process(
        "official.benchmark.run",
        ["--suite=mnist/instant", "--seeds=1", f"--history={tmp_path}/h.sqlite"],
    )
    assert outcome.exit_code == 0, outcome
    assert "mnist  instant  good     1/1   accuracy 0.9" in outcome.stdout
    (record,) = History(str(tmp_path / "h.sqlite")).records("run")
    assert record["results"]["examples_per_second"] > 0
    assert record["peak_memory_bytes"] > 2**28
    assert record["build"]["versions"]["tensorflow"]
