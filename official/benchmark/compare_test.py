import json
import stat
import statistics
import subprocess
import sys

import pytest

from official.benchmark import compare, machines, suites, turns
from official.benchmark.history import History
from official.utils.flags import core as flags_core
from official.utils.testing import fake_main, mains


def interpreter(folder, name, **environment):
    """A Python that has these variables in its environment: another build."""
    path = folder / name
    settings = " ".join(f"{key}='{value}'" for key, value in environment.items())
    path.write_text(f'#!/bin/sh\n{settings} exec "{sys.executable}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def comparing(tmp_path, monkeypatch, capsys):
    """Compares fake builds; returns exit code, entry of the recipe, and output."""
    monkeypatch.chdir(tmp_path)

    def start(suite="toy/good", baseline=None, candidate=None, *arguments):
        flags = flags_core.parse(
            compare.define_flags(),
            [
                *(f"--suite={suite}", "--history=h.sqlite"),
                f"--baseline_python={interpreter(tmp_path, 'a', **(baseline or {}))}",
                f"--candidate_python={interpreter(tmp_path, 'b', **(candidate or {}))}",
                *arguments,
            ],
            (),
        )
        with fake_main.known_to_the_nightly(), pytest.raises(SystemExit) as stop:
            compare.run(flags)
        (found,) = History("h.sqlite").records("comparison")
        (entry,) = found["jobs"].values()
        return stop.value.code, entry, capsys.readouterr().out

    return start


def test_equal_builds_are_the_same(comparing):
    code, entry, output = comparing()
    assert (code, entry["verdict"], entry["reasons"]) == (0, "same", [])
    assert entry["speed"]["median"] == 1 and entry["speed"]["rounds"] == 3
    assert entry["quality"]["accuracy"]["difference"] == 0
    assert (entry["startup"], entry["memory"]) == pytest.approx((1, 1))
    assert "toy/good: same" in output and "verdict: good" in output
    runs = History("h.sqlite").records("run")
    # A B, B A, A B.
    sides = [run["side"][0] for run in runs]
    assert "".join(sides) == "bccbbc"
    assert [run["seed"] for run in runs] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("keep", [True, False])
def test_what_runs_leave_stays_if_it_is_kept(comparing, tmp_path, keep):
    comparing("toy/good", None, None, f"--keep={keep}", "--seeds=2")
    # Two seeds and a third round, on both sides.
    kept = list(tmp_path.glob("logs/*/*/run/checkpoints"))
    assert len(kept) == (6 if keep else 0)


@pytest.mark.parametrize(
    ("candidate", "verdict", "code", "reason"),
    [
        ({"FAKE_SPEED": 900}, "slower", 1, "speed 0.900 (0.900 to 0.900)"),
        ({"FAKE_SPEED": 1100}, "faster", 0, "speed 1.100 (1.100 to 1.100)"),
        ({"FAKE_SPEED": 960}, "same", 0, None),
        (
            {"FAKE_ACCURACY": 0.5},
            "worse",
            1,
            "out of the band: candidate 3 of 3 runs, baseline 0; accuracy 0.501 is "
            "outside 0.9 to 1",
        ),
        (
            {"FAKE_MEMORY": 2**28, "FAKE_SPEED": 900},
            "worse",
            1,
            "peak_memory_bytes is 2.00 of the baseline's",
        ),
        (
            {"FAKE_CRASH": 1},
            "broken",
            1,
            "candidate crashed: RuntimeError: a kernel is missing",
        ),
    ],
)
def test_verdicts(comparing, candidate, verdict, code, reason):
    found, entry, _ = comparing(candidate=candidate)
    assert (found, entry["verdict"]) == (code, verdict)
    assert entry["reasons"][-1:] == ([reason] if reason else [])


def test_a_broken_baseline_says_nothing_of_the_candidate(comparing):
    code, entry, output = comparing(
        baseline={"FAKE_CRASH": 1}, candidate={"FAKE_CRASH": 1}
    )
    assert (code, entry["verdict"]) == (2, "broken")
    assert entry["reasons"][0].startswith("baseline crashed")
    assert "verdict: could not run" in output


def test_missing_interpreters_are_named(tmp_path):
    for arguments, words in (
        ((), "--baseline_python is needed"),
        (("--baseline_python=/no/python",), "--baseline_python=/no/python is no"),
    ):
        outcome = subprocess.run(
            [sys.executable, "-m", "official.benchmark.compare", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert outcome.returncode == 2
        assert len(outcome.stderr.splitlines()) == 1 and words in outcome.stderr


# ---- Turns ----


def test_a_worker_that_fails_names_its_side(tmp_path, monkeypatch):
    job = suites.Job("mnist/instant", suites.find("mnist/instant"))
    good = machines.Build(sys.executable, {"python": "3"})
    bad = machines.Build(interpreter(tmp_path, "b", KERAS_BACKEND="jax"), {})
    with pytest.raises(turns.WorkerError, match="KERAS_BACKEND=jax") as failed:
        turns.take_turns(job, 0, [good, bad], str(tmp_path), 0)
    assert failed.value.side == 1
    assert (tmp_path / "turns-candidate.txt").exists()


def test_a_round_of_turns(tmp_path):
    job = suites.Job("mnist/instant", suites.find("mnist/instant"))
    build = machines.Build(sys.executable, {"python": "3"})
    ratios, losses = turns.take_turns(job, 0, [build, build], str(tmp_path), 1)
    assert 5 <= len(ratios) <= 30
    assert 0.5 < statistics.median(ratios) < 2
    # One build, one seed: the first losses are the same, and they fall.
    assert len(losses[0]) == 10 and losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert 2 < losses[0][0] < 3 and losses[0][-1] < losses[0][0]


# Slows every call of the loop by a tenth of its time, whatever runs in this Python.
SLOW_BUILD = """
import importlib.machinery, sys, time
NAME = "official.utils.training.loop"
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            train = module.Loop.train
            def slower(self, *arguments):
                begun = time.perf_counter()
                found = train(self, *arguments)
                # 10 % fewer steps a second: a ninth more time.
                time.sleep((time.perf_counter() - begun) / 9)
                return found
            module.Loop.train = slower
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
def test_a_build_against_itself_and_against_a_slower_one(tmp_path):
    """Twenty comparisons of one build with itself, five with one that is 10 % slower.

    An hour on two slow cores; nothing else should run meanwhile.
    """
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(SLOW_BUILD)
    slow = interpreter(tmp_path, "slow", PYTHONPATH=f"{hook}:$PYTHONPATH")
    # The shell must not take the variable's name for its value.
    path = tmp_path / "slow"
    path.write_text(path.read_text().replace("'", '"'))
    found = {"same build": [], "10 % slower": []}
    for number in range(25):
        is_slow = number % 5 == 4
        outcome = mains.run_process(
            "official.benchmark.compare",
            [
                *("--suite=mnist/instant", "--seeds=1"),
                f"--history={tmp_path}/h.sqlite",
                f"--baseline_python={sys.executable}",
                f"--candidate_python={slow if is_slow else sys.executable}",
            ],
            timeout=1800,
        )
        entry = History(f"{tmp_path}/h.sqlite").records("comparison")[-1]
        (job,) = entry["jobs"].values()
        speed = job["speed"] or {}
        found["10 % slower" if is_slow else "same build"].append(job["verdict"])
        print(json.dumps([is_slow, job["verdict"], speed, job["reasons"]]), flush=True)
        assert outcome.exit_code == (1 if job["verdict"] == "slower" else 0), outcome
    assert found == {"same build": ["same"] * 20, "10 % slower": ["slower"] * 5}
