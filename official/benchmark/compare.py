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

import numpy as np
from absl import flags

from official.benchmark import (
    executor,
    gate,
    machines,
    processes,
    suites,
    turns,
    verdicts,
)
from official.benchmark import run as run_command
from official.benchmark.history import History, Record, new_record
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console

SIDES = ("baseline", "candidate")
# Not imported here: it loads TensorFlow.
_CLIENT = os.path.join(os.path.dirname(__file__), "saved_model_client.py")
# Start-up and memory come from few whole runs, so their thresholds are wide: median
# and interval.
_STARTUP_THRESHOLDS = (0.25, 0.1)
_MEMORY_THRESHOLDS = (0.1, 0.04)
# The candidate leaves a band this much more often than the baseline.
_WORSE_RUNS = 2
# Largest difference of two builds' outputs of one SavedModel: kernels may add up in
# another order, in float32.
_OUTPUT_TOLERANCE = 1e-4
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
        builds=[{"text": b.text, "versions": b.versions} for b in builds],
        project=machines.commit(),
        jobs={},
    )
    print(f"machine: {comparison['machine']['text']}")
    for side, build in zip(SIDES, builds, strict=True):
        print(f"{side}: {build.text}", flush=True)
    with console.progress_bar(len(jobs), unit="recipe") as bar:
        for job in jobs:
            bar.set_description(job.key)
            folder = run_command.logs_folder(flags_obj, history, name)
            one = _Comparison(job, builds, history, name, folder, flags_obj)
            comparison["jobs"][job.key] = entry = one.compare()
            bar.update()
            bar.write(f"{job.key}: {entry['verdict']}{_because(entry)}")
    comparison["verdict"] = _overall(comparison["jobs"])
    history.add(comparison)
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
            pairs.append(self._pair(number, seed, keep=number == 0))
            if not self._both_ran(pairs[-1]):
                return entry
            if number == 0 and not self._job.micro:
                self._exchange_saved_models(pairs[0])
        if entry["verdict"] != verdicts.BROKEN:
            self._measure_speed(pairs)
        if entry["verdict"] != verdicts.BROKEN:
            self._judge(pairs)
        return entry

    def _pair(self, number: int, seed: int, keep: bool = False) -> list[Record]:
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

    def _exchange_saved_models(self, pair: Sequence[Record]) -> None:
        """Each build asks both SavedModels; the answers must be equal."""
        models = [
            os.path.join(os.path.dirname(record["log"]), "run", "saved_model")
            for record in pair
        ]
        exist = [os.path.isdir(model) for model in models]
        if not all(exist):
            self._entry["saved_models"] = "none"
            if any(exist):
                missing = SIDES[exist.index(False)]
                self._fail(missing, "wrote no SavedModel, and the other side did")
            return
        folder = os.path.dirname(pair[0]["log"])
        commands, outputs = [], []
        for side in (0, 1):
            files = [
                os.path.join(folder, f"asked-{of}-by-{SIDES[side]}.npz") for of in SIDES
            ]
            outputs.append(files)
            arguments = [self._builds[side].python, "-I", _CLIENT]
            for model, file in zip(models, files, strict=True):
                arguments += [model, file]
            commands.append(
                processes.Command(
                    arguments,
                    os.path.join(folder, f"saved-models-{SIDES[side]}.txt"),
                    os.environ,
                    self._job.time_limit(),
                )
            )
        for side, ending in enumerate(processes.run(*commands)):
            if ending.status != processes.OK:
                self._fail(
                    SIDES[side],
                    f"cannot serve the SavedModels: {ending.status}: {ending.detail}",
                )
        if self._entry["verdict"] != verdicts.BROKEN:
            found = [
                _difference(by_a, by_b) for by_a, by_b in zip(*outputs, strict=True)
            ]
            self._entry["saved_models"] = " / ".join(text for _, text in found)
            if not all(are_equal for are_equal, _ in found):
                self._fail(
                    SIDES[1],
                    "gives other outputs for the SavedModels of baseline / candidate: "
                    + self._entry["saved_models"],
                )
        for model in models:
            executor.remove_large_files(os.path.dirname(model))

    def _measure_speed(self, pairs: list[list[Record]]) -> None:
        """Rounds until the ratio of the speeds is decided."""
        entry = self._entry
        in_turns = self._job.recipe.has_steps and not self._job.micro
        if not in_turns:
            entry["rounds"] = [[_ratio(pair, "examples_per_second")] for pair in pairs]
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
                pairs.append(self._pair(number, seed))
                if not self._both_ran(pairs[-1]):
                    return
                entry["rounds"].append([_ratio(pairs[-1], "examples_per_second")])
                continue
            try:
                ratios, losses = turns.take_turns(
                    self._job, seed, self._builds, self._turns_folder(), number
                )
            except turns.WorkerError as error:
                self._fail(SIDES[error.side], f"failed while it took turns: {error}")
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
            entry["reasons"].append(
                f"out of the band: candidate {outs[1]} of {len(pairs)} runs, baseline "
                f"{outs[0]}; {'; '.join(missed[1])}".rstrip("; ")
            )


def _ratio(pair: Sequence[Record], name: str, inverse: bool = False) -> float | None:
    """Candidate to baseline; None where a side has no number."""
    one, other = (record["results"][name] for record in pair)
    if not one or not other:
        return None
    return one / other if inverse else other / one


def _difference(path: str, other_path: str) -> tuple[bool, str]:
    """Whether two files of outputs are equal, and a word on it."""
    with np.load(path) as one, np.load(other_path) as other:
        if "takes_text" in one:
            return True, "not asked (takes text)"
        if sorted(one) != sorted(other):
            return False, f"outputs {', '.join(one)} against {', '.join(other)}"
        largest = 0.0
        for name in one:
            a, b = one[name], other[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                return False, f"{name}: {a.dtype}{a.shape} against {b.dtype}{b.shape}"
            if a.dtype.kind == "f":
                scale = max(1.0, float(np.abs(a).max(initial=0.0)))
                gap = np.abs(a.astype(np.float64) - b) / scale
                # NaN on one side only must not pass as equal.
                gap = np.where(
                    np.isnan(a) & np.isnan(b), 0, np.nan_to_num(gap, nan=1e9)
                )
                largest = max(largest, float(gap.max(initial=0.0)))
            elif not np.array_equal(a, b):
                return False, f"{name} differs in {(a != b).mean():.1%} of its values"
    return largest <= _OUTPUT_TOLERANCE, "equal" if not largest else f"{largest:.1e}"


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
    summary = __doc__.splitlines()[0]
    app.main(define_flags, run, (), summary, user_error_code=2)


if __name__ == "__main__":
    main()
