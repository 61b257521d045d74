"""The verdict on a night: its runs against the recipes' bands and the nights before."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from official.benchmark import processes, verdicts
from official.benchmark.exchange import Record
from official.benchmark.suites import Job

# Exit codes, and what they say of a night.
EXIT_CODES = {"good": 0, "regression": 1, "could not run": 2}
UNFINISHED = "unfinished"  # A night or comparison that runs, or was cut short.
_REGRESSIONS = (verdicts.WORSE, verdicts.SLOWER, verdicts.BROKEN)
_NO_RESULT = (verdicts.INTERRUPTED, verdicts.SKIPPED)
_BROKEN = (processes.CRASHED, processes.HUNG, processes.OUT_OF_MEMORY)


def judge_job(job: Job, runs: Sequence[Record], nights: Sequence[Record]) -> dict:
    """The verdict on one job.

    Args:
        job: the recipe or micro-benchmark.
        runs: tonight's records of it, at least one.
        nights: finished nights that it can be compared with, oldest first.

    Returns:
        `verdict`, `reasons` (phrases), `values` (the median over the seeds, by
        quantity), `metrics` (likewise), `limits`, `regressions` (names of quantities),
        `bands`, `missed` (names of metrics that a seed had out of its band), `runs`
        and `good_runs`, `digest`.
    """
    entry: dict[str, Any] = {
        "digest": job.digest,
        "runs": len(runs),
        "good_runs": sum(run["status"] == processes.OK for run in runs),
        "reasons": [],
        "values": {},
        "metrics": {},
        "limits": {},
        "regressions": [],
        "bands": {name: list(band) for name, band in job.bands.items()},
        "missed": [],
    }
    statuses = {run["status"] for run in runs}
    failed = [run for run in runs if run["status"] != processes.OK]
    entry["reasons"] += [
        f"seed {run['seed']}: {run['status']}: {run['detail']}" for run in failed
    ]
    complete = [run for run in runs if run["status"] == processes.OK]
    for run in complete:
        out = verdicts.out_of_band(job.bands, run["results"]["metrics"])
        entry["missed"] += [name for name in out if name not in entry["missed"]]
        entry["reasons"] += [f"seed {run['seed']}: {text}" for text in out.values()]
    found = [run["results"] for run in complete]
    entry["metrics"] = _medians(result["metrics"] for result in found)
    entry["values"] = _medians(
        {quantity.name: result[quantity.name] for quantity in verdicts.QUANTITIES}
        for result in found
    )
    changes = _judge_speed(entry, job, nights)
    if statuses & set(_BROKEN):
        entry["verdict"] = verdicts.BROKEN
    elif entry["missed"] or "peak_memory_bytes" in entry["regressions"]:
        entry["verdict"] = verdicts.WORSE
    elif entry["regressions"]:
        entry["verdict"] = verdicts.SLOWER
    elif processes.INTERRUPTED in statuses:
        entry["verdict"] = verdicts.INTERRUPTED
    elif processes.SKIPPED in statuses:
        entry["verdict"] = verdicts.SKIPPED
    elif changes.get("examples_per_second") == 1:
        entry["verdict"] = verdicts.FASTER
    else:
        entry["verdict"] = verdicts.GOOD
    return entry


def _judge_speed(entry: dict, job: Job, nights: Sequence[Record]) -> dict[str, int]:
    """Fills `limits` and `regressions`; returns the change of each quantity."""
    changes = {}
    for quantity in verdicts.QUANTITIES:
        value = entry["values"].get(quantity.name)
        if value is None:
            continue
        before = earlier_values(job.key, quantity.name, nights)
        allowed = verdicts.limits(quantity, before)
        if allowed is None:
            continue
        entry["limits"][quantity.name] = vars(allowed)
        change = verdicts.speed_change(quantity, value, allowed)
        changes[quantity.name] = change
        if change < 0:
            entry["regressions"].append(quantity.name)
            entry["reasons"].append(
                f"{quantity.title} {shown(quantity.name, value)}, limit "
                + shown(
                    quantity.name,
                    allowed.low if quantity.higher_is_better else allowed.high,
                )
                + f" from {allowed.nights} "
                + ("night" if allowed.nights == 1 else "nights")
            )
    return changes


def earlier_values(job: str, quantity: str, nights: Iterable[Record]) -> list[float]:
    """A quantity of `job` in earlier nights, without those that were a regression."""
    values = []
    for night in nights:
        entry = night["jobs"].get(job, {})
        value = entry.get("values", {}).get(quantity)
        if value is not None and quantity not in entry["regressions"]:
            values.append(value)
    return values


def comparable_nights(
    job: Job, machine_id: str, nights: Sequence[Record], acceptances: Sequence[Record]
) -> list[Record]:
    """Finished nights of the same job on the same machine since the last acceptance."""
    since = max(
        (
            accepted["time"]
            for accepted in acceptances
            if (accepted["job"], accepted["machine"]["id"]) == (job.key, machine_id)
        ),
        default="",
    )
    return [
        night
        for night in nights
        if night.get("jobs", {}).get(job.key, {}).get("digest") == job.digest
        and night["machine"]["id"] == machine_id
        and night["time"] > since
    ]


def changed_lineup(night: Record, nights: Sequence[Record]) -> tuple[list, list]:
    """Jobs that are new tonight, and jobs that the last night of the suite had.

    Returns:
        New and vanished keys; none of both where the suite never ran on this machine.
    """
    before = [
        other
        for other in nights
        if other["suite"] == night["suite"]
        and other["machine"]["id"] == night["machine"]["id"]
        and other.get("jobs")
    ]
    if not before:
        return [], []
    old, new = before[-1]["jobs"], night["jobs"]
    return [key for key in new if key not in old], [k for k in old if k not in new]


def judge_night(jobs: Mapping[str, dict]) -> str:
    """`good`, `regression` or `could not run`; EXIT_CODES has their numbers.

    A regression outranks what gave no result, because it is a finding.
    """
    found = {entry["verdict"] for entry in jobs.values()}
    if found & set(_REGRESSIONS):
        return "regression"
    return "could not run" if found & set(_NO_RESULT) or not jobs else "good"


def shown(quantity: str, value: float | None) -> str:
    """A quantity with its unit, as tables show it."""
    if value is None:
        return "-"
    if quantity == "peak_memory_bytes":
        return f"{value / 2**30:.2f} GiB"
    if quantity.endswith("seconds"):
        return f"{value:.1f} s"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _medians(rows: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    """Medians by name over the rows that have a number."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: statistics.median(found) for name, found in values.items()}
