"""What a report shows: one night or comparison out of a history, and what led to it."""

import dataclasses
import os
import urllib.parse
from collections.abc import Iterator, Sequence

from official.benchmark import gate, processes, suites, verdicts
from official.benchmark.exchange import Record, without_folders
from official.benchmark.history import History
from official.utils.errors import UserError

# Of an unfinished night's recipes that have no run yet, and of those that the project
# does not know any more.
NOT_RUN, NOT_JUDGED = "not run", "not judged"
MAX_NIGHTS_SHOWN = 60

_GOOD = (verdicts.GOOD, verdicts.FASTER, verdicts.SAME)
_BAD = ("regression", verdicts.SLOWER, verdicts.WORSE, verdicts.BROKEN)
_NO_ENTRY = dict(
    reasons=[],
    regressions=[],
    values={},
    metrics={},
    limits={},
    digest="",
    bands={},
    missed=[],
)


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        id: of its record.
        night: of which night or comparison it is.
        job: the recipe.
        title: which run of the recipe.
        detail: how it ended, one line.
        command: what was run.
        tail: the end of its log.
        link: address of its log, from the page's folder; None where there is none.
    """

    id: str
    night: str
    job: str
    title: str
    detail: str
    command: str
    tail: str
    link: str | None


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the report shows.

    Attributes:
        shown: the night or the comparison that the first line speaks of; `jobs` and
            `verdict` are there for an unfinished night too.
        nights: nights on the same machine until then, the night itself included, oldest
            first.
        comparisons: the comparisons to be shown, newest first.
        acceptances: all.
        failures: the failed runs of what is shown.
    """

    shown: Record
    nights: Sequence[Record]
    comparisons: Sequence[Record]
    acceptances: Sequence[Record]
    failures: Sequence[Failure]

    @property
    def is_night(self) -> bool:
        """Whether a night is shown, and not a comparison alone."""
        return self.shown["kind"] == "night"

    @property
    def build(self) -> str:
        """The build that is judged."""
        build = self.shown["build"] if self.is_night else self.shown["builds"][1]
        return build["text"]

    def course(self, key: str) -> list[tuple[Record, dict]]:
        """The last nights that had the recipe, each with its entry."""
        entries = [(night, night.get("jobs", {}).get(key)) for night in self.nights]
        found = [(n, e) for n, e in entries if e and e["digest"]]
        return found[-MAX_NIGHTS_SHOWN:]

    def accepted_since(self, key: str) -> list[Record]:
        """The acceptances of a recipe that came after what is shown."""
        since = self.shown["time"]
        return [a for a in self.acceptances if a["job"] == key and a["time"] > since]


def gather(history: History, night: str | None, folder: str) -> Findings:
    """Reads what a report shows.

    Args:
        history: the history.
        night: the name of a night or a comparison; None for the last night, or the last
            comparison where there is no night.
        folder: the page's folder, from which logs are linked.

    Raises:
        UserError: the history has no such night, or none at all.
    """
    nights, comparisons = history.records("night"), history.records("comparison")
    known = nights + comparisons
    if not known:
        raise UserError(
            f"--history={history.path} has no night and no comparison yet; "
            "`python -m official.benchmark.run` makes one"
        )
    if night is None:
        shown = (nights or comparisons)[-1]
    else:
        named = [record for record in known if record["night"] == night]
        if not named:
            names = sorted(record["night"] for record in known)[-3:]
            raise UserError(
                f"--night={night}: the history has no such night or comparison; the "
                f"last are {', '.join(names)}"
            )
        shown = named[0]
    acceptances = history.records("acceptance")
    earlier = [
        each
        for each in nights
        if each["machine"]["id"] == shown["machine"]["id"]
        and each["time"] < shown["time"]
    ]
    if shown["kind"] == "comparison":
        comparisons = [shown]
    elif "verdict" not in shown:
        runs = history.records("run", shown["night"])
        shown |= {
            "verdict": gate.UNFINISHED,
            "jobs": _preliminary(shown, runs, earlier, acceptances),
        }
    shown = _with_plain_reasons(shown)
    comparisons = [_with_plain_reasons(each) for each in comparisons[::-1]]
    of_night = [shown] if shown["kind"] == "night" else []
    with_runs = [*of_night, *comparisons]
    return Findings(
        shown,
        [*earlier, *of_night],
        comparisons,
        acceptances,
        [
            _failure(run, folder)
            for record in with_runs
            for run in history.records("run", record["night"])
            if run["status"] not in (processes.OK, processes.SKIPPED)
        ],
    )


def _job(key: str) -> suites.Job | None:
    """The job of that key; None where the project has none any more."""
    try:
        (job,) = suites.select(key)
    except UserError:
        return None
    return job


def _preliminary(night, runs, earlier, acceptances) -> dict[str, dict]:
    """Entries of an unfinished night, from the runs that have ended."""
    entries = {}
    for key in dict.fromkeys(key for key, _ in night["plan"]):
        own, job = [run for run in runs if run["job"] == key], _job(key)
        if not own or job is None:
            good = sum(run["status"] == processes.OK for run in own)
            entries[key] = _NO_ENTRY | {
                "verdict": NOT_JUDGED if own else NOT_RUN,
                "runs": len(own),
                "good_runs": good,
            }
        else:
            machine = night["machine"]["id"]
            before = gate.comparable_nights(job, machine, earlier, acceptances)
            entries[key] = gate.judge_job(job, own, before)
    return entries


def _with_plain_reasons(record: Record) -> Record:
    """A night or a comparison whose reasons name no folder."""
    jobs = {
        key: entry | {"reasons": list(map(without_folders, entry["reasons"]))}
        for key, entry in record["jobs"].items()
    }
    return record | {"jobs": jobs}


def _failure(run: Record, folder: str) -> Failure:
    side = f", {run['side']}" if "side" in run else ""
    link = None
    path = run.get("log")  # Records that were published have none.
    if path and os.path.exists(path):
        # Quoted, so that nothing in a name is taken for a part of an address.
        link = urllib.parse.quote(os.path.relpath(path, folder))
    return Failure(
        run["id"],
        run["night"],
        run["job"],
        f"seed {run['seed']}{side}",
        f"{run['status']}: {without_folders(run['detail'])}",
        run["command"],
        without_folders(run.get("log_tail", "")),
        link,
    )


def tone(verdict: str) -> str:
    """`good`, `bad` or `warn`."""
    if verdict in _GOOD:
        return "good"
    return "bad" if verdict in _BAD else "warn"


def not_good(record: Record) -> dict[str, dict]:
    """The entries of those recipes that are not good."""
    entries = record["jobs"].items()
    return {key: entry for key, entry in entries if tone(entry["verdict"]) != "good"}


def headline(record: Record) -> str:
    """The verdict on a night or a comparison in one sentence."""
    entries = record["jobs"].values()
    count = "1 recipe" if len(entries) == 1 else f"{len(entries)} recipes"
    if record["verdict"] == gate.UNFINISHED and record["kind"] == "comparison":
        return f"Unfinished: {count} compared"
    if record["verdict"] == gate.UNFINISHED:
        done = sum(entry["runs"] for entry in entries)
        return f"Unfinished: {done} of {len(record['plan'])} runs are done"
    if record["verdict"] == "good":
        if record["kind"] == "comparison":
            return f"Good: the candidate keeps up in {count}"
        return f"Good: {count} within bands and limits"
    if record["verdict"] == "regression":
        bad = [e for e in entries if tone(e["verdict"]) == "bad" and not _is_mute(e)]
        return f"Regression in {len(bad)} of {count}"
    return f"Could not run: {sum(map(_is_mute, entries))} of {count} without a result"


def _is_mute(entry: dict) -> bool:
    """Whether a recipe says nothing on the build."""
    without_result = (verdicts.INTERRUPTED, verdicts.SKIPPED)
    # Where the baseline of a comparison is broken, nothing is said of the candidate.
    return entry.get("cannot_run", False) or entry["verdict"] in without_result


def lineup(record: Record) -> list[str]:
    """A phrase each on the recipes that are new and that have vanished."""
    phrases = [(word, record.get(word)) for word in ("new", "vanished")]
    return [f"{word}: {', '.join(keys)}" for word, keys in phrases if keys]


def date_time(record: Record) -> str:
    """When a record was made, such as `2026-11-25 03:35 UTC`."""
    return f"{record['time'][:16].replace('T', ' ')} UTC"


def quality(entry: dict) -> Iterator[tuple[str, bool]]:
    """A phrase for each metric that counts, and whether a seed had it out of its band.

    Args:
        entry: of the recipe in a night; where it has no bands, its first metrics count.
    """
    metrics, bands = entry["metrics"], entry["bands"]
    for name in bands or list(metrics)[:3]:
        value = metrics.get(name)
        text = f"{name} -" if value is None else f"{name} {value:.4g}"
        if name in bands:
            text += " ({:g} to {:g})".format(*bands[name])
        yield text, name in entry["missed"]
