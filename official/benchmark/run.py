"""Runs a suite of recipes on one TensorFlow build, records it, and judges it.

    python -m official.benchmark.run --suite=quick
    python -m official.benchmark.run --suite=quick --python=NIGHTLY/bin/python

Exit codes: 0 all good; 1 a regression (a band missed, a limit passed, or a recipe that
crashed, hung or ran out of memory); 2 could not run (no verdict on a recipe: its data
are missing, it was interrupted; or a wrong flag, interpreter or history). 130 and 143:
ended by SIGINT or SIGTERM, `--resume` goes on.
"""

import os
import secrets
import sys
import time
from collections.abc import Sequence

from absl import flags

from official.benchmark import command, executor, gate, machines, suites, verdicts
from official.benchmark.exchange import Record
from official.benchmark.history import DEFAULT_PATH, History, new_record
from official.utils.logs import console

_COLUMNS = (
    *("model", "recipe", "verdict", "runs", "quality"),
    *("examples/s", "start-up", "memory", "seconds"),
)


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define_run_flags(flag_values, "run")
    own = dict(flag_values=flag_values, module_name="run")
    flags.DEFINE_string("python", sys.executable, "The interpreter to measure.", **own)
    flags.DEFINE_boolean(
        "resume",
        False,
        "Goes on with the last night of this suite, if cut short.",
        **own,
    )
    flags.DEFINE_boolean(
        "profile", False, "Writes TensorFlow profiles of the kernel benchmarks.", **own
    )
    return flag_values


def define_run_flags(flag_values: flags.FlagValues, name: str) -> None:
    """Flags of all commands that run jobs."""
    own = dict(flag_values=flag_values, module_name=name)
    flags.DEFINE_string(
        "suite",
        "quick",
        "What to run, between commas: a size (instant, quick, full, paper), models, "
        "recipes model/name, micro-benchmarks (loop, input, kernel, micro).",
        **own,
    )
    flags.DEFINE_integer("seeds", 3, "Runs of each recipe.", lower_bound=1, **own)
    flags.DEFINE_string("history", DEFAULT_PATH, "File of all records.", **own)
    flags.DEFINE_string(
        "logs", None, "Folder of logs. Default: `logs` beside the history.", **own
    )
    flags.DEFINE_string(
        "data_dir", None, "A folder with a sub-folder for each real data set.", **own
    )
    flags.DEFINE_float(
        "time_limit",
        None,
        "Seconds for a run. Default: ten times the recipe's cost, at least 300.",
        lower_bound=1.0,
        **own,
    )
    flags.DEFINE_float(
        "memory_limit",
        None,
        "GiB for a run. Default: nine tenths of the machine's.",
        lower_bound=0.001,
        **own,
    )
    flags.DEFINE_boolean(
        "keep", False, "Keeps checkpoints, SavedModels and summaries.", **own
    )


def limits_of(flags_obj: flags.FlagValues) -> dict[str, float | None]:
    """The limits of a run, as `executor.execute` takes them."""
    memory = flags_obj.memory_limit
    return dict(
        time_limit=flags_obj.time_limit,
        memory_limit=memory and int(memory * 2**30),
    )


def logs_folder(flags_obj: flags.FlagValues, history: History, night: str) -> str:
    """Where the runs of `night` leave their logs."""
    default = os.path.join(os.path.dirname(history.path), "logs")
    folder = flags_obj.logs or default
    return os.path.join(os.path.abspath(os.path.expanduser(folder)), night)


def new_night_name() -> str:
    """A name that sorts by time and that no other process takes."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def seeds_of(job: suites.Job, number: int) -> list[int]:
    """The first seeds of the recipe, and further ones where it has fewer."""
    if job.micro:
        return [0]  # It measures in rounds of its own.
    seeds = list(job.recipe.seeds)[:number]
    further = (seed for seed in range(10**6) if seed not in seeds)
    return seeds + [next(further) for _ in range(number - len(seeds))]


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Runs the suite; ends the process with its exit code.

    Raises:
        UserError: a flag, the interpreter or the history is wrong.
        SystemExit: with the exit code of the night.
    """
    jobs = suites.select(flags_obj.suite, flags_obj.data_dir)
    build = machines.probe(flags_obj.python, "--python")
    history = History(flags_obj.history)
    night = _unfinished(history, flags_obj, build) if flags_obj.resume else None
    if night is None:
        night = _begin(history, flags_obj, jobs, build)
    else:
        print(f"going on with the night {night['night']}", flush=True)
    machines.warn_if_busy()
    print(f"machine: {night['machine']['text']}\nbuild: {build.text}", flush=True)
    try:
        _run_plan(history, night, jobs, build, flags_obj)
    except BaseException:
        print(_table(night, _judge(history, night, jobs)))
        print(f"interrupted; --resume goes on with the night {night['night']}")
        raise
    night["jobs"] = _judge(history, night, jobs)
    night["verdict"] = gate.judge_night(night["jobs"])
    earlier = [n for n in history.records("night") if n["night"] != night["night"]]
    night["new"], night["vanished"] = gate.changed_lineup(night, earlier)
    history.replace(night)
    _print_night(night, history)
    sys.exit(gate.EXIT_CODES[night["verdict"]])


def _begin(history, flags_obj, jobs, build) -> Record:
    name = new_night_name()
    plan = [
        [job.key, seed]
        for place in range(flags_obj.seeds)
        # Seed by seed, so that a slow hour does not hit all runs of one recipe.
        for job in jobs
        for seed in seeds_of(job, flags_obj.seeds)[place : place + 1]
    ]
    night = new_record(
        "night",
        night=name,
        suite=flags_obj.suite,
        plan=plan,
        machine=vars(machines.machine()),
        build=build.record(),
        project=machines.commit(),
    )
    history.add(night)
    return night


def _unfinished(history, flags_obj, build) -> Record | None:
    """The last night of this suite on this machine and build, if it was cut short."""
    nights = [
        night
        for night in history.records("night")
        if night["suite"] == flags_obj.suite
        and night["machine"]["id"] == machines.machine().id
        and night["build"]["text"] == build.text
    ]
    if nights and "verdict" not in nights[-1]:
        return nights[-1]
    return None


def _run_plan(history, night, jobs, build, flags_obj) -> None:
    """Runs what is left of the plan; each record is on disk before the next run."""
    by_key = {job.key: job for job in jobs}
    done = {(r["job"], r["seed"]) for r in history.records("run", night["night"])}
    plan = [(key, seed) for key, seed in night["plan"] if key in by_key]
    left = [pair for pair in plan if pair not in done]
    folder = logs_folder(flags_obj, history, night["night"])
    with console.progress_bar(len(plan), len(plan) - len(left), unit="run") as bar:
        for key, seed in left:
            job = by_key[key]
            bar.set_description(f"{key} seed {seed}")
            name = executor.folder_name(job, seed)
            extra = ["--profile"] if flags_obj.profile and job.micro == "kernel" else []
            record = executor.execute(
                job,
                seed,
                build,
                _free(os.path.join(folder, name)),
                night["night"],
                extra=extra,
                keep=flags_obj.keep,
                **limits_of(flags_obj),
            )
            history.add(record)
            bar.update()
            bar.write(run_line(record))


def _free(folder: str) -> str:
    """A folder's name, or one beside it where a night cut short has left that."""
    number = 1
    while os.path.exists(folder if number == 1 else f"{folder}-{number}"):
        number += 1
    return folder if number == 1 else f"{folder}-{number}"


def run_line(record: Record) -> str:
    """One line on a run that has ended."""
    head = f"{record['job']} seed {record['seed']}: {record['status']}"
    if "results" not in record:
        return f"{head}: {record['detail']}"
    found = record["results"]
    metrics = {k: v for k, v in found["metrics"].items() if v is not None}
    shown = [f"{name} {value:.4g}" for name, value in list(metrics.items())[:3]]
    rate = gate.shown("examples_per_second", found["examples_per_second"])
    return f"{head}, {record['seconds']:.1f} s, {', '.join(shown)}, {rate} examples/s"


def _judge(history, night, jobs) -> dict[str, dict]:
    """The verdicts on those jobs that have run, by key."""
    runs = history.records("run", night["night"])
    earlier = [n for n in history.records("night") if n["night"] != night["night"]]
    acceptances = history.records("acceptance")
    found = {}
    for job in jobs:
        own = [run for run in runs if run["job"] == job.key]
        if own:
            comparable = gate.comparable_nights(
                job, night["machine"]["id"], earlier, acceptances
            )
            found[job.key] = gate.judge_job(job, own, comparable)
            found[job.key]["seconds"] = sum(run.get("seconds", 0) for run in own)
    return found


def _table(night: Record, entries: dict[str, dict]) -> str:
    rows = [_COLUMNS]
    for key, entry in entries.items():
        model, _, recipe = key.rpartition("/")
        values = [
            shown_against(quantity.name, entry) for quantity in verdicts.QUANTITIES
        ]
        runs = f"{entry['good_runs']}/{entry['runs']}"
        quality = quality_text(entry)
        seconds = f"{entry['seconds']:.0f}"
        rows.append((model, recipe, entry["verdict"], runs, quality, *values, seconds))
    return "\n".join(console.table(rows))


def quality_text(entry: dict) -> str:
    """The metrics that the gate looks at, each with its median over the seeds."""
    metrics = entry["metrics"]
    # A micro-benchmark has no band; its first metrics tell most.
    names = entry["bands"] or list(metrics)[:3]
    return ", ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)


def shown_against(quantity: str, entry: dict) -> str:
    """A quantity with its change from the median of the nights before."""
    value = entry["values"].get(quantity)
    text = gate.shown(quantity, value)
    before = entry["limits"].get(quantity)
    if before and before["median"] and value is not None:
        text += f" ({value / before['median'] - 1:+.0%})"
    return text


def _print_night(night: Record, history: History) -> None:
    print(_table(night, night["jobs"]))
    for key, entry in night["jobs"].items():
        for reason in entry["reasons"]:
            print(f"{key} {entry['verdict']}: {reason}")
    lineup: Sequence[tuple[str, list[str]]] = (
        ("new", night["new"]),
        ("vanished", night["vanished"]),
    )
    for word, keys in lineup:
        if keys:
            print(f"{word}: {', '.join(keys)}")
    print(f"verdict: {night['verdict']}")
    print(f"history: {history.path}, night {night['night']}", flush=True)


def main() -> None:
    """The command line."""
    command.main(define_flags, run, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
