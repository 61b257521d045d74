import dataclasses

import pytest

from official.benchmark import gate
from official.benchmark.suites import Job
from official.benchmark.suites_test import TOY

JOB = Job("toy/small", TOY)


def ran(seed=0, accuracy=0.95, speed=1000.0, startup=5.0, memory=2**30):
    return {
        "job": JOB.key,
        "seed": seed,
        "status": "ok",
        "detail": "",
        "results": {
            "metrics": {"accuracy": accuracy, "loss": 0.1},
            "examples_per_second": speed,
            "startup_seconds": startup,
            "peak_memory_bytes": memory,
        },
    }


def failed(status, detail="it did", seed=1):
    return {"job": JOB.key, "seed": seed, "status": status, "detail": detail}


def night(speed=1000.0, number=0, regressions=(), digest=JOB.digest, machine="m"):
    entry = {
        "digest": digest,
        "values": {"examples_per_second": speed, "startup_seconds": 5.0},
        "regressions": list(regressions),
    }
    return {
        "suite": "quick",
        "time": f"2026-11-{number + 1:02}T00:00:00Z",
        "machine": {"id": machine},
        "jobs": {JOB.key: entry},
    }


def verdict(runs, nights=()):
    entry = gate.judge_job(JOB, runs, list(nights))
    return entry["verdict"], entry["reasons"]


def test_a_first_night_in_the_band_is_good():
    entry = gate.judge_job(JOB, [ran(0, speed=900), ran(1), ran(2, speed=1300)], [])
    assert (entry["verdict"], entry["reasons"]) == ("good", [])
    assert entry["values"]["examples_per_second"] == 1000
    assert entry["metrics"] == {"accuracy": 0.95, "loss": 0.1}
    assert (entry["runs"], entry["good_runs"], entry["limits"]) == (3, 3, {})


def test_each_seed_must_keep_the_band():
    entry = gate.judge_job(JOB, [ran(0), ran(1, accuracy=0.8), ran(2)], [])
    assert entry["verdict"] == "worse"
    assert entry["reasons"] == ["seed 1: accuracy 0.8 is outside 0.9 to 1"]
    # The median hides it, the list does not.
    assert entry["metrics"]["accuracy"] == 0.95
    assert entry["missed"] == ["accuracy"]
    assert entry["bands"] == {"accuracy": [0.9, 1.0]}


@pytest.mark.parametrize("status", ["crashed", "hung", "out of memory"])
def test_a_recipe_that_fails_is_broken(status):
    found, reasons = verdict([ran(0), failed(status)])
    assert (found, reasons) == ("broken", [f"seed 1: {status}: it did"])
    assert verdict([ran(0, accuracy=0.1), failed(status)])[0] == "broken"


def test_what_gave_no_result_is_no_regression():
    assert verdict([failed("interrupted")])[0] == "interrupted"
    assert verdict([failed("skipped")])[0] == "skipped"
    assert verdict([ran(0, accuracy=0.1), failed("interrupted")])[0] == "worse"


def test_slower_than_the_nights_before():
    nights = [night(1000 + i, i) for i in range(5)]
    assert verdict([ran(speed=935)], nights)[0] == "good"
    found, reasons = verdict([ran(speed=920)], nights)
    assert found == "slower"
    assert reasons == ["examples/s 920, limit 932 from 5 nights"]
    assert verdict([ran(speed=1200)], nights)[0] == "faster"
    assert verdict([ran(startup=7)], nights) == (
        "slower",
        ["start-up 7.0 s, limit 6.2 s from 5 nights"],
    )
    assert verdict([ran(startup=1)], nights)[0] == "good"


def test_more_memory_is_worse():
    before = night()
    before["jobs"][JOB.key]["values"]["peak_memory_bytes"] = 2**30
    found, reasons = verdict([ran(memory=1.2 * 2**30)], [before])
    assert found == "worse"
    assert reasons == ["memory 1.20 GiB, limit 1.10 GiB from 1 night"]


def test_a_regression_does_not_become_the_measure():
    nights = [night(1000, i) for i in range(3)]
    nights += [night(500, i, ["examples_per_second"]) for i in range(3, 20)]
    entry = gate.judge_job(JOB, [ran(speed=500)], nights)
    assert entry["verdict"] == "slower"
    assert entry["limits"]["examples_per_second"]["nights"] == 3
    # Its start-up was well and counts.
    assert entry["limits"]["startup_seconds"]["nights"] == 20


def test_only_the_same_job_on_the_same_machine_compares():
    nights = [
        night(1, 0, machine="other"),
        night(2, 1, digest="other flags"),
        night(3, 2),
        {**night(4, 3), "jobs": {}},
        night(5, 4),
    ]
    unfinished = night(6, 5)
    del unfinished["jobs"]
    nights.append(unfinished)
    found = gate.comparable_nights(JOB, "m", nights, [])
    assert gate.earlier_values(JOB.key, "examples_per_second", found) == [3, 5]
    accepted = [
        {"job": JOB.key, "time": "2026-11-04T12:00:00Z", "machine": {"id": "m"}},
        {"job": JOB.key, "time": "2026-12-04T12:00:00Z", "machine": {"id": "x"}},
        {"job": "toy/large", "time": "2026-12-04T12:00:00Z", "machine": {"id": "m"}},
    ]
    found = gate.comparable_nights(JOB, "m", nights, accepted)
    assert gate.earlier_values(JOB.key, "examples_per_second", found) == [5]


def test_new_and_vanished_recipes():
    tonight = {**night(), "jobs": {"a/b": {}, "c/d": {}}}
    last = {**night(), "jobs": {"a/b": {}, "e/f": {}}}
    other_suite = {**night(), "suite": "full", "jobs": {"x/y": {}}}
    other_machine = {**night(machine="x"), "jobs": {"x/y": {}}}
    found = gate.changed_lineup(tonight, [last, other_suite, other_machine])
    assert found == (["c/d"], ["e/f"])
    assert gate.changed_lineup(tonight, [other_suite]) == ([], [])


@pytest.mark.parametrize(
    ("found", "word", "code"),
    [
        (("good", "faster"), "good", 0),
        (("good", "worse"), "regression", 1),
        (("slower", "skipped"), "regression", 1),
        (("broken",), "regression", 1),
        (("good", "skipped"), "could not run", 2),
        (("interrupted",), "could not run", 2),
        ((), "could not run", 2),
    ],
)
def test_the_verdict_on_a_night(found, word, code):
    jobs = {str(i): {"verdict": each} for i, each in enumerate(found)}
    assert gate.judge_night(jobs) == word
    assert gate.EXIT_CODES[word] == code


def test_quantities_have_units():
    assert gate.shown("peak_memory_bytes", 3 * 2**29) == "1.50 GiB"
    assert gate.shown("startup_seconds", 5.04) == "5.0 s"
    assert gate.shown("examples_per_second", 12345.6) == "12,346"
    assert gate.shown("examples_per_second", 5.678) == "5.68"
    assert gate.shown("examples_per_second", None) == "-"


def test_bands_may_change_without_a_new_measure():
    wider = dataclasses.replace(TOY, bands={"accuracy": (0.5, 1.0)})
    entry = gate.judge_job(Job(JOB.key, wider), [ran(accuracy=0.6)], [night()])
    assert entry["verdict"] == "good"
    assert entry["limits"]["examples_per_second"]["nights"] == 1
