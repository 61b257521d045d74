"""What every run does before and after its training, whatever trains."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil
import tensorflow as tf
from absl import flags

from official.utils import run_folder
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.flags.settings import Settings
from official.utils.logs import console, results
from official.utils.recipes import Recipe
from official.utils.run_folder import RunFolder
from official.utils.training import effects

# What a step and the rate are called in the terminal.
STEP_NAMES = ("step", "examples/second")


def resolve(
    flag_values: flags.FlagValues, recipes: Sequence[Recipe], own: Iterable[str]
) -> Settings:
    """Flags of a run, with those of the training where it uses what was trained.

    Args:
        flag_values: parsed flags.
        recipes: the main's.
        own: flags that are never taken from the training, beside `mode`: here and now
            there may be other devices.

    Raises:
        UserError: a flag is wrong, or the mode needs a folder and none is named.
    """
    settings = flags_core.resolve(flag_values, recipes)
    if settings.mode.startswith("train"):
        return settings
    if not settings.model_dir:
        raise UserError(
            f"--mode={settings.mode} needs --model_dir, the folder of a trained model"
        )
    # The model is the one that was trained there, whatever the defaults are now.
    recorded = RunFolder(settings.model_dir).read_flags()
    for name in ("mode", *own):
        recorded.pop(name, None)
    return flags_core.resolve(flag_values, recipes, recorded)


def open_folder(
    name: str, settings: Settings, is_chief: bool, extra_files: Sequence[str] = ()
) -> RunFolder:
    """The folder of a run, made where it trains.

    Args:
        name: the model's, for a folder that no flag names.
        settings: resolved flags.
        is_chief: whether this process may write.
        extra_files: what the model leaves there beside what all do.

    Raises:
        UserError: the folder is missing, or is not one to be cleaned.
    """
    folder = RunFolder(settings.model_dir or run_folder.new_path(name))
    if settings.mode.startswith("train"):
        if is_chief:
            if settings.clean:
                folder.check_clean(extra_files)
            folder.create()
    elif not tf.io.gfile.isdir(folder.path):
        raise UserError(
            f"--model_dir={folder.path} is no folder; --mode={settings.mode} needs "
            "that of a trained model"
        )
    return folder


def finished_metrics(
    folder: RunFolder,
    settings: Settings,
    amounts: Iterable[str],
    names: tuple[str, str] = STEP_NAMES,
) -> dict[str, float] | None:
    """Metrics of a run that did all that this one is asked for, which it prints.

    Args:
        folder: that of the run.
        settings: resolved flags.
        amounts: flags that say how much a run does: with others it goes on.
        names: see `STEP_NAMES`.

    Returns:
        The metrics; None where there is something to do.
    """
    path = folder.file("results.json")
    if not settings.mode.startswith("train") or settings.clean:
        return None
    if not tf.io.gfile.exists(path):
        return None
    found = results.read_results(path)
    if found["flags"].get("mode") not in ("train_and_eval", settings.mode):
        return None
    if any(found["flags"].get(name) != settings[name] for name in amounts):
        return None
    print(f"{folder.path} is finished at {names[0]} {found['steps']}: nothing to do")
    effects.warn_of_changed_flags(folder.read_flags(), settings)
    _print_results(found, folder, settings, names)
    return found["metrics"]


def write_results(
    folder: RunFolder,
    settings: Settings,
    started: float,
    first_step_time: float | None,
    found: Mapping[str, Any],
    names: tuple[str, str] = STEP_NAMES,
) -> None:
    """Writes `results.json`, and prints it.

    Args:
        folder: that of the run.
        settings: resolved flags.
        started: when the run began, epoch seconds.
        first_step_time: when the first step ended; None where a resumed run had none
            left.
        found: what only the trainer knows: `model`, `metrics`, `steps`,
            `resumed_from_steps`, `examples_per_second`, `num_replicas`, `dtype`, and
            `versions` that differ from those of the project.
        names: see `STEP_NAMES`.
    """
    written = {
        "dataset": settings.dataset,
        "startup_seconds": first_step_time
        and first_step_time - _begin_of_process(started),
        "wall_seconds": time.time() - started,
        "peak_memory_bytes": results.peak_memory_bytes(),
        "seed": settings.seed,
        "flags": dict(sorted(settings.items())),
        "versions": results.versions(),
    } | dict(found)
    results.write_results(folder.file("results.json"), written)
    _print_results(written, folder, settings, names)


def export_dir(folder: RunFolder, settings: Settings) -> str:
    """Where the SavedModel of a run comes to lie."""
    return settings.export_dir or folder.file("saved_model")


def _print_results(found, folder, settings, names) -> None:
    step, rate = names
    facts = {
        f"{step}s": f"{found['steps']:,}",
        rate: f"{found['examples_per_second']:,.0f}",
        "wall time": f"{found['wall_seconds']:.1f} s",
        "model_dir": folder.path,
    }
    if settings.mode == "train_and_eval":
        facts["saved_model"] = export_dir(folder, settings)
    print(console.results_table(found["metrics"], facts), flush=True)


def _begin_of_process(started: float) -> float:
    """When the process began if it is a main's, else the run; epoch seconds."""
    import __main__

    spec = getattr(__main__, "__spec__", None)
    is_main = spec is not None and spec.name.startswith("official.")
    return psutil.Process().create_time() if is_main else started
