"""Runs one job of a suite and turns its end into a record of the history."""

import os
import re
import shutil
from collections.abc import Sequence

import psutil

from official.benchmark import machines, processes
from official.benchmark.exchange import Record
from official.benchmark.history import new_record
from official.benchmark.suites import Job, missing_data
from official.utils.errors import UserError
from official.utils.logs import results

# Of `results.json`, what the history keeps.
_KEPT = (
    "model dataset metrics steps examples_per_second startup_seconds wall_seconds "
    "peak_memory_bytes num_replicas dtype versions"
).split()
# What a run leaves that is large, and of no use once its numbers are recorded.
_LARGE = ("checkpoints", "saved_model", "train", "eval")
TAIL_BYTES = 4000


def default_memory_limit() -> int:
    """Nine tenths of the machine's memory, in bytes."""
    return int(0.9 * psutil.virtual_memory().total)


def execute(
    job: Job,
    seed: int,
    build: machines.Build,
    folder: str,
    night: str,
    time_limit: float | None = None,
    memory_limit: int | None = None,
    extra: Sequence[str] = (),
    keep: bool = False,
    **fields: object,
) -> Record:
    """Runs a job once.

    Args:
        job: what to run.
        seed: of the run.
        build: the interpreter that runs it.
        folder: a new folder for `log.txt` and the run's own folder `run`.
        night: what the run belongs to.
        time_limit: seconds; None for the job's own.
        memory_limit: bytes; None for nine tenths of the machine's.
        extra: further flags of the main.
        keep: whether checkpoints, SavedModel and summaries stay.
        **fields: go into the record as they are.

    Returns:
        A record of the kind `run`.

    Raises:
        KeyboardInterrupt, SystemExit: the nightly was asked to end.
    """
    run_folder = os.path.join(folder, "run")
    log_path = os.path.join(folder, "log.txt")
    arguments = [*job.arguments(seed, run_folder), *extra]
    record = run_record(
        job,
        seed,
        build,
        night,
        busy=machines.busy(),
        command=shown_command(arguments),
        log=log_path,
        **fields,
    )
    lacking = missing_data(job)
    if lacking:
        return record | {"status": processes.SKIPPED, "detail": lacking}
    try:
        os.makedirs(folder)
    except OSError as error:
        raise UserError(
            f"the folder of logs {folder} cannot be made ({error.strerror}); name "
            "another with --logs"
        ) from None
    command = processes.Command(
        [build.python, *arguments],
        log_path,
        machines.environment(),
        time_limit or job.time_limit(),
        memory_limit or default_memory_limit(),
    )
    (ending,) = processes.run(command)
    record |= vars(ending)
    record["log_tail"] = processes.log_text(log_path, TAIL_BYTES)
    if ending.status == processes.OK:
        try:
            path = os.path.join(run_folder, "results.json")
            with open(path, "rb") as file:
                found = results.parse_results(file.read(), path)
            record["results"] = {name: found[name] for name in _KEPT}
        except (OSError, UserError) as error:
            record["status"] = processes.CRASHED
            record["detail"] = f"ended well, but left no results: {error}"
    if not keep:
        remove_large_files(run_folder)
    return record


def run_record(
    job: Job, seed: int, build: machines.Build, night: str, **fields: object
) -> Record:
    """A record of the kind `run`, with what every one says of its origin.

    Args:
        job: what is run.
        seed: of the run.
        build: the interpreter.
        night: what the run belongs to.
        **fields: further fields.
    """
    return new_record(
        "run",
        night=night,
        job=job.key,
        digest=job.digest,
        seed=seed,
        machine=vars(machines.machine()),
        build=build.record(),
        project=machines.commit(),
        **fields,
    )


def remove_large_files(run_folder: str) -> None:
    """Deletes checkpoints, SavedModel and summaries of a run that is recorded."""
    for name in _LARGE:
        shutil.rmtree(os.path.join(run_folder, name), ignore_errors=True)


def shown_command(arguments: Sequence[str]) -> str:
    """A command as it stands in reports: without folders of this machine."""
    return " ".join(
        ["python", *(a for a in arguments if not re.match(r"--(model|data)_dir=", a))]
    )


def folder_name(job: Job, seed: int, side: str = "") -> str:
    """The name of a run's folder, which any file system takes."""
    return re.sub(r"[^\w.-]+", "_", f"{job.key}-seed{seed}{side and '-' + side}")
