"""Compares two TensorFlow builds on the recipes of a suite, on this machine.

    python -m official.benchmark.compare --baseline_python=A/bin/python \
        --candidate_python=B/bin/python --suite=quick

Whole runs alternate, A B, B A, ..., with equal seeds: quality, start-up, memory. Then
both builds train in turns until the ratio of their speeds is known (turns.py). Exit
codes: 0 same or faster; 1 slower, worse or broken; 2 could not run (the baseline is
broken, or a wrong flag, interpreter or history); 130 and 143 ended by a signal.
"""

import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from official.benchmark import (
    command,
    executor,
    gate,
    machines,
    processes,
    saved_models,
    suites,
    turns,
    verdicts,
)
from official.benchmark import run as run_command
from official.benchmark.exchange import Record
from official.benchmark.history import History, new_record
from official.benchmark.turns import SIDES
from official.utils.errors import UserError
from official.utils.logs import console

# Start-up and memory come from few whole runs, so their thresholds are wide: median
# and interval.
_STARTUP_THRESHOLDS = (0.25, 0.1)
_MEMORY_THRESHOLDS = (0.1, 0.04)
# The candidate leaves a band this much more often than the baseline.
_WORSE_RUNS = 2
_COLUMNS = (
    *("model", "recipe", "verdict", "speed, candidate/baseline", "rounds"),
    *("start-up", "memory", "quality", "drift", "SavedModels"),
)


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    run_command.define_run_flags(flag_values, "compare")
    own = dict(flag_values=flag_values, module_name="compare")
    for side in SIDES:
        flags.DEFINE_string(f"{side}_python", None, f"The {side}'s Python.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Compares, records, prints; ends the process with its exit code.

    Raises:
        UserError: a flag, an interpreter or the history is wrong.
        SystemExit: with the exit code of the comparison.
    """
    jobs = suites.select(flags_obj.suite, flags_obj.data_dir)
    builds = []
    for side in SIDES:
        python = flags_obj[f"{side}_python"].value
        if not python:
            raise UserError(f"--{side}_python is needed: the {side}'s interpreter")
        builds.append(machines.probe(python, f"--{side}_python"))
    history = History(flags_obj.history)
    name = run_command.new_night_name()
    comparison = new_record(
        "comparison",
        night=name,
        suite=flags_obj.suite,
        seeds=flags_obj.seeds,
        machine=vars(machines.machine()),
        builds=[build.record() for build in builds],
        project=machines.commit(),
        jobs={},
        verdict=gate.UNFINISHED,
    )
    history.add(comparison)
    machines.warn_if_busy()
    print(f"machine: {comparison['machine']['text']}")
    for side, build in zip(SIDES, builds, strict=True):
        print(f"{side}: {build.text}", flush=True)
    with console.progress_bar(len(jobs), unit="recipe") as bar:
        for job in jobs:
            bar.set_description(job.key)
            folder = run_command.logs_folder(flags_obj, history, name)
            one = _Comparison(job, builds, history, name, folder, flags_obj)
            comparison["jobs"][job.key] = entry = one.compare()
            history.replace(comparison)
            bar.update()
            bar.write(f"{job.key}: {entry['verdict']}{_because(entry)}")
    comparison["verdict"] = _overall(comparison["jobs"])
    history.replace(comparison)
    print("\n".join(console.table(table_rows(comparison))))
    print(f"verdict: {comparison['verdict']}")
    print(f"history: {history.path}, comparison {name}", flush=True)
    sys.exit(gate.EXIT_CODES[comparison["verdict"]])


def _because(entry: dict) -> str:
    return "".join(f"; {reason}" for reason in entry["reasons"])


def _overall(jobs: dict[str, dict]) -> str:
    """The comparison as one word of `gate.EXIT_CODES`."""
    found = [entry["verdict"] for entry in jobs.values() if not entry["cannot_run"]]
    if set(found) & {verdicts.SLOWER, verdicts.WORSE, verdicts.BROKEN}:
        return "regression"
    return "good" if len(found) == len(jobs) else "could not run"


class _Comparison:
    """One recipe under two builds."""

    def __init__(self, job, builds, history, night, folder, flags_obj):
        self._job = job
        self._builds = builds
        self._history = history
        self._night = night
        self._folder = folder
        self._seeds = run_command.seeds_of(job, flags_obj.seeds)
        self._limits = run_command.limits_of(flags_obj)
        self._keep = flags_obj.keep
        self._entry: dict[str, Any] = {
            "verdict": verdicts.SAME,
            "reasons": [],
            "cannot_run": False,
            "rounds": [],
            "speed": None,
            "startup": None,
            "memory": None,
            "quality": {},
            "drift": None,
            "first_losses": None,
            "saved_models": None,
        }

    def compare(self) -> dict:
        """Everything about the recipe, as the history keeps it."""
        entry = self._entry
        pairs: list[list[Record]] = []
        for number, seed in enumerate(self._seeds):
            # The SavedModels of the first pair are still needed.
            pairs.append(self._pair(number, seed, keep=self._keep or number == 0))
            if not self._both_ran(pairs[-1]):
                return entry
            if number == 0 and not self._job.micro:
                self._exchange_saved_models(pairs[0])
        if entry["verdict"] != verdicts.BROKEN:
            self._measure_speed(pairs)
        if entry["verdict"] != verdicts.BROKEN:
            self._judge(pairs)
        return entry

    def _pair(self, number: int, seed: int, keep: bool) -> list[Record]:
        """A run of either side; even pairs begin with the baseline, odd ones not."""
        found = {}
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            name = executor.folder_name(self._job, seed, f"{number}-{SIDES[side]}")
            found[side] = executor.execute(
                self._job,
                seed,
                self._builds[side],
                os.path.join(self._folder, name),
                self._night,
                keep=keep,
                side=SIDES[side],
                **self._limits,
            )
            self._history.add(found[side])
        return [found[0], found[1]]

    def _both_ran(self, pair: Sequence[Record]) -> bool:
        for side, record in zip(SIDES, pair, strict=True):
            if record["status"] != processes.OK:
                self._fail(side, f"{record['status']}: {record['detail']}")
        return self._entry["verdict"] != verdicts.BROKEN

    def _fail(self, side: str, reason: str) -> None:
        entry = self._entry
        entry["verdict"] = verdicts.BROKEN
        entry["reasons"].append(f"{side} {reason}")
        # Where the baseline fails too, nothing is said of the candidate.
        entry["cannot_run"] |= side == SIDES[0]

    def _record_failure(self, side: str, status: str, detail: str, log: str) -> None:
        """Records what was no run of the recipe, so that the report shows its log."""
        self._history.add(
            executor.run_record(
                self._job,
                self._seeds[0],
                self._builds[SIDES.index(side)],
                self._night,
                side=side,
                command="",
                status=status,
                detail=detail,
                log=log,
                log_tail=processes.log_text(log, executor.TAIL_BYTES),
            )
        )

    def _exchange_saved_models(self, pair: Sequence[Record]) -> None:
        """Each build asks both SavedModels; the answers must be equal."""
        entry = self._entry
        folder = os.path.dirname(pair[0]["log"])
        runs = [os.path.join(os.path.dirname(r["log"]), "run") for r in pair]
        answers = saved_models.ask(
            [os.path.join(run, "saved_model") for run in runs],
            [build.python for build in self._builds],
            folder,
            self._job.time_limit(),
        )
        entry["saved_models"] = answers.text
        for side, (status, reason, log_path) in answers.failures.items():
            self._fail(SIDES[side], f"{status}: {reason}")
            if log_path:
                self._record_failure(SIDES[side], status, reason, log_path)
        if not self._keep:
            for run in runs:
                executor.remove_large_files(run)

    def _measure_speed(self, pairs: list[list[Record]]) -> None:
        """Rounds until the ratio of the speeds is decided."""
        entry = self._entry
        in_turns = self._job.recipe.has_steps and not self._job.micro
        if not in_turns:
            ratios = [_ratio(pair, "examples_per_second") for pair in pairs]
            if None in ratios:
                return  # It has no such speed.
            entry["rounds"] = [[ratio] for ratio in ratios]
        while True:
            if entry["rounds"]:
                ratio = verdicts.paired_ratio(entry["rounds"])
                entry["speed"] = vars(ratio)
                verdict = verdicts.speed_verdict(ratio)
                if verdict is not None:
                    self._say_speed(verdict, ratio)
                    return
            number = len(entry["rounds"])
            seed = self._seeds[number % len(self._seeds)]
            if not in_turns:
                pairs.append(self._pair(number, seed, self._keep))
                if not self._both_ran(pairs[-1]):
                    return
                entry["rounds"].append([_ratio(pairs[-1], "examples_per_second")])
                continue
            try:
                ratios, losses = turns.take_turns(
                    self._job, seed, self._builds, self._turns_folder(), number
                )
            except turns.WorkerError as error:
                side, reason = SIDES[error.side], f"failed while taking turns: {error}"
                self._fail(side, reason)
                self._record_failure(side, processes.CRASHED, reason, error.log_path)
                return
            entry["rounds"].append(ratios)
            if number == 0:
                entry["first_losses"] = losses
                entry["drift"] = verdicts.largest_difference(*losses)

    def _turns_folder(self) -> str:
        folder = os.path.join(self._folder, executor.folder_name(self._job, 0, "turns"))
        os.makedirs(folder, exist_ok=True)
        return folder

    def _say_speed(self, verdict: str, ratio: verdicts.Ratio) -> None:
        self._entry["verdict"] = verdict
        if verdict != verdicts.SAME:
            self._entry["reasons"].append(f"speed {ratio}")
        elif ratio.rounds >= verdicts.MAX_ROUNDS:
            self._entry["reasons"].append(
                f"the speed is not certain after {ratio.rounds} rounds: {ratio}"
            )

    def _judge(self, pairs: Sequence[Sequence[Record]]) -> None:
        """Start-up, memory and quality; each may make the verdict graver."""
        entry = self._entry
        for key, name, thresholds, verdict in (
            ("startup", "startup_seconds", _STARTUP_THRESHOLDS, verdicts.SLOWER),
            ("memory", "peak_memory_bytes", _MEMORY_THRESHOLDS, verdicts.WORSE),
        ):
            # Upside down, so that here too less than 1 is a regression.
            ratios = [r for r in (_ratio(pair, name, True) for pair in pairs) if r]
            if not ratios:
                continue
            ratio = verdicts.paired_ratio([[each] for each in ratios])
            entry[key] = 1 / ratio.median
            if verdicts.speed_verdict(ratio, *thresholds) == verdicts.SLOWER:
                entry["verdict"] = verdict
                entry["reasons"].append(f"{name} is {entry[key]:.2f} of the baseline's")
        self._judge_quality(pairs)

    def _judge_quality(self, pairs: Sequence[Sequence[Record]]) -> None:
        entry, bands = self._entry, self._job.bands
        metrics = [[run["results"]["metrics"] for run in pair] for pair in pairs]
        for name in bands or metrics[0][0]:
            values = [[side.get(name) for side in pair] for pair in metrics]
            values = [pair for pair in values if None not in pair]
            if values:
                medians = [
                    statistics.median(side) for side in zip(*values, strict=True)
                ]
                entry["quality"][name] = dict(zip(SIDES, medians, strict=True)) | {
                    "difference": statistics.median(b - a for a, b in values)
                }
        outs = [
            sum(bool(verdicts.out_of_band(bands, pair[side])) for pair in metrics)
            for side in (0, 1)
        ]
        medians = [
            {name: found[side] for name, found in entry["quality"].items()}
            for side in SIDES
        ]
        missed = [verdicts.out_of_band(bands, each) for each in medians]
        if (missed[1] and not missed[0]) or outs[1] - outs[0] >= _WORSE_RUNS:
            entry["verdict"] = verdicts.WORSE
            counts = f"candidate {outs[1]} of {len(pairs)} runs, baseline {outs[0]}"
            reason = "; ".join([f"out of the band: {counts}", *missed[1].values()])
            entry["reasons"].append(reason)


def _ratio(pair: Sequence[Record], name: str, inverse: bool = False) -> float | None:
    """Candidate to baseline; None where a side has no number."""
    one, other = (record["results"][name] for record in pair)
    if not one or not other:
        return None
    return one / other if inverse else other / one


def table_rows(comparison: Record) -> list[Sequence[str]]:
    """The table of a comparison: a head and a row a recipe."""
    rows: list[Sequence[str]] = [_COLUMNS]
    for key, entry in comparison["jobs"].items():
        model, _, recipe = key.rpartition("/")
        speed = entry["speed"]
        quality = [
            f"{name} {found['candidate']:.4g} ({found['difference']:+.2g})"
            for name, found in entry["quality"].items()
        ]
        rows.append(
            (
                model,
                recipe,
                entry["verdict"],
                str(verdicts.Ratio(**speed)) if speed else "-",
                str(speed["rounds"]) if speed else "-",
                f"{entry['startup']:.2f}" if entry["startup"] else "-",
                f"{entry['memory']:.2f}" if entry["memory"] else "-",
                ", ".join(quality) or "-",
                "-" if entry["drift"] is None else f"{entry['drift']:.1e}",
                entry["saved_models"] or "-",
            )
        )
    return rows


def main() -> None:
    """The command line."""
    command.main(define_flags, run, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
