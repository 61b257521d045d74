"""One run of boosted trees: every mode, from flags to results.

LightGBM trains, so that the shared loop has no part in it; folder, flags, logs,
checkpoints, results and export are the shared ones.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import tensorflow as tf
from absl import flags

from official.r1.boosted_trees import (
    engine,
    idle_flags,
    lightgbm_model,
    machines,
    metrics,
    prediction,
    report,
    serving,
    training,
)
from official.r1.boosted_trees.dataset import Dataset, Part
from official.r1.boosted_trees.forest import Forest
from official.r1.boosted_trees.training import EXTRA_FILES, Training, chosen_trees
from official.utils import run_folder
from official.utils.errors import UserError
from official.utils.export import saved_model
from official.utils.flags import core as flags_core
from official.utils.flags.settings import Settings
from official.utils.logs import console, files, results
from official.utils.logs.run_log import RunLog
from official.utils.recipes import Recipe
from official.utils.run_folder import RunFolder
from official.utils.training import effects

NAME = "boosted_trees"
# Flags that say how much a run does: with others, a finished folder goes on.
_AMOUNTS = ("n_trees", "max_train_steps", "stop_threshold", "early_stopping_rounds")


def run(flag_values: flags.FlagValues, recipes: Sequence[Recipe]) -> dict[str, float]:
    """Does what `--mode` says.

    Args:
        flag_values: parsed flags; they are not changed.
        recipes: the main's recipes, for hyperparameters that are not set.

    Returns:
        The final metrics by name; empty for predict and export.

    Raises:
        UserError: a flag or a file is wrong; one line with the remedy.
        Interrupted: a signal ended the training; a checkpoint was written.
    """
    started = time.time()
    console.reset_warnings()
    engine.check_installed()
    settings = _resolve(flag_values, recipes)
    effects.warn_of_flags_without_effect(settings)
    idle_flags.warn(settings)
    cluster = machines.cluster_of(settings)
    folder = _folder(settings, cluster.is_chief)
    finished = _finished_results(folder, settings)
    if finished is not None:
        print(
            f"{folder.path} is finished with {finished['steps']} trees: nothing to do"
        )
        effects.warn_of_changed_flags(folder.read_flags(), settings)
        _print_results(finished, folder, settings)
        return finished["metrics"]
    writes = settings.mode.startswith("train") and cluster.is_chief
    with folder.lock() if writes else contextlib.nullcontext():
        return getattr(_Experiment(settings, folder, cluster, started), settings.mode)()


def _resolve(flag_values, recipes) -> Settings:
    settings = flags_core.resolve(flag_values, recipes)
    if settings.mode.startswith("train"):
        return settings
    if not settings.model_dir:
        raise UserError(
            f"--mode={settings.mode} needs --model_dir, the folder of a trained model"
        )
    # The model is the one that was trained there, whatever the defaults are now; but
    # one machine is enough for it.
    recorded = run_folder.RunFolder(settings.model_dir).read_flags()
    for name in ("mode", "machines", "machine_index"):
        recorded.pop(name, None)
    return flags_core.resolve(flag_values, recipes, recorded)


def _folder(settings: Settings, is_chief: bool) -> RunFolder:
    folder = RunFolder(settings.model_dir or run_folder.new_path(NAME))
    if settings.mode.startswith("train"):
        if is_chief:
            if settings.clean:
                folder.check_clean(EXTRA_FILES)
            folder.create()
    elif not tf.io.gfile.isdir(folder.path):
        raise UserError(
            f"--model_dir={folder.path} is no folder; --mode={settings.mode} needs "
            "that of a trained model"
        )
    return folder


def _finished_results(folder: RunFolder, settings: Settings) -> dict[str, Any] | None:
    """Results of a run that did all that this one is asked for; else None."""
    path = folder.file("results.json")
    if not settings.mode.startswith("train") or settings.clean:
        return None
    if not tf.io.gfile.exists(path):
        return None
    found = results.read_results(path)
    if found["flags"].get("mode") not in ("train_and_eval", settings.mode):
        return None
    if any(found["flags"].get(name) != settings[name] for name in _AMOUNTS):
        return None
    return found


def _print_results(found, folder: RunFolder, settings: Settings) -> None:
    facts = {
        "trees": f"{found['steps']:,}",
        "rows x trees/second": f"{found['examples_per_second']:,.0f}",
        "wall time": f"{found['wall_seconds']:.1f} s",
        "model_dir": folder.path,
    }
    if settings.mode == "train_and_eval":
        facts["saved_model"] = _export_dir(folder, settings)
    print(console.results_table(found["metrics"], facts), flush=True)


def _export_dir(folder: RunFolder, settings: Settings) -> str:
    return settings.export_dir or folder.file("saved_model")


class _Experiment:
    """The folder, the flags and the machines of a run; a method a mode."""

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        cluster: machines.Cluster,
        started: float,
    ):
        self._settings = settings
        self._folder = folder
        self._cluster = cluster
        self._started = started
        self._export_dir = _export_dir(folder, settings)

    def train_and_eval(self) -> dict[str, float]:
        """Trains, evaluates on the test rows, exports, and writes the results."""
        if self._cluster.is_chief:
            saved_model.check_target(self._export_dir, self._folder.path)
        with self._training() as (trained, data, validation, log):
            if not self._cluster.is_chief:
                return {}
            test = data.test()
            number = chosen_trees(self._settings, trained.state)
            chances = self._predict(trained.model, test, number)
            found = metrics.evaluate(test.labels, chances)
            if "auc" not in found:
                console.warn("the test rows have one label only: there is no AUC")
            found |= metrics.known(test.labels, test.best_chances)
            log.final(trained.state.step, found)
            text = self._write_model(trained)
            self._export(text, data.names)
            report.write(self._folder, text, data.names, test.labels, chances)
            return self._finish(trained, log, found | validation)

    def train(self) -> dict[str, float]:
        """Trains; the test rows stay unread."""
        with self._training() as (trained, _, validation, log):
            if not self._cluster.is_chief:
                return {}
            self._write_model(trained)
            return self._finish(trained, log, validation)

    def eval(self) -> dict[str, float]:
        """Evaluates a checkpoint on the test rows; writes nothing."""
        data = Dataset(self._settings)
        print(f"{NAME}: evaluating on {data.description}", flush=True)
        text, state = training.restore(self._settings, self._folder)
        training.check_names(state.facts["names"], data.names, self._folder.path)
        test = data.test()
        number = chosen_trees(self._settings, state)
        found = metrics.evaluate(test.labels, self._predict(text, test, number))
        if "auc" not in found:
            console.warn("the test rows have one label only: there is no AUC")
        found |= metrics.known(test.labels, test.best_chances)
        facts = {"trees": f"{number:,}", "model_dir": self._folder.path}
        print(console.results_table(found, facts), flush=True)
        return found

    def predict(self) -> dict[str, float]:
        """Writes predictions for the rows of `--input`."""
        text, state = training.restore(self._settings, self._folder)
        number = chosen_trees(self._settings, state)
        prediction.predict(self._settings, text, number, state.facts["names"])
        return {}

    def export(self) -> dict[str, float]:
        """Exports a checkpoint."""
        saved_model.check_target(self._export_dir, self._folder.path)
        text, state = training.restore(self._settings, self._folder)
        number = chosen_trees(self._settings, state)
        self._export(engine.cut(text, number), state.facts["names"])
        print(f"saved_model: {self._export_dir}", flush=True)
        return {}

    @contextlib.contextmanager
    def _training(self) -> Iterator[tuple[Training, Dataset, dict[str, float], RunLog]]:
        """Reads the data and grows the trees; the log stays open."""
        settings, cluster = self._settings, self._cluster
        data = Dataset(settings)
        trained = Training(settings, self._folder, data.names, cluster)
        train, validation = data.training()
        sizes = f"{len(train):,} training rows"
        sizes += f", {len(validation):,} of validation" if validation else ""
        print(f"{NAME}: training on {settings.dataset}, {data.description} ({sizes})")
        print(f"model_dir: {self._folder.path}", flush=True)
        trained.prepare()
        log = RunLog(
            self._folder.path, settings.benchmark_log_dir, 1, is_chief=cluster.is_chief
        )
        with log:
            log.start(NAME, settings)
            trained.train(cluster.share(train), validation, log)
            del train
            yield trained, data, self._validation(trained, validation), log

    def _validation(self, trained: Training, part: Part | None) -> dict[str, float]:
        """Metrics on validation rows under the trees that are exported."""
        if part is None or not self._cluster.is_chief:
            return {}
        number = chosen_trees(self._settings, trained.state)
        chances = self._predict(trained.model, part, number)
        found = metrics.evaluate(part.labels, chances)
        return {f"validation_{name}": value for name, value in found.items()}

    def _predict(self, text: str, part: Part, number: int):
        threads = self._settings.intra_op_parallelism_threads
        return engine.predict(text, part.features, number, threads)

    def _write_model(self, trained: Training) -> str:
        """Writes LightGBM's text of the trees that are exported, and returns it."""
        text = engine.cut(trained.model, chosen_trees(self._settings, trained.state))
        files.write_whole(self._folder.file("model.txt"), text)
        return text

    def _export(self, text: str, names: Sequence[str]) -> None:
        forest = Forest(lightgbm_model.read(text))
        signatures = serving.signatures(forest, names, self._settings.enable_xla)
        saved_model.export(forest, signatures, self._export_dir, self._folder.path)

    def _finish(
        self, trained: Training, log: RunLog, found: dict[str, float]
    ) -> dict[str, float]:
        settings = self._settings
        log.draw_curves(f"{NAME} on {settings.dataset}")
        begun = trained.first_step_time
        written = {
            "model": NAME,
            "dataset": settings.dataset,
            "metrics": found,
            "steps": trained.state.step,
            "resumed_from_steps": trained.resumed_from_steps,
            # A step is a tree and passes over all rows.
            "examples_per_second": trained.rate(),
            # None where a resumed run had no tree left.
            "startup_seconds": begun and begun - _begin_of_process(self._started),
            "wall_seconds": time.time() - self._started,
            "peak_memory_bytes": results.peak_memory_bytes(),
            "seed": settings.seed,
            "num_replicas": self._cluster.number,
            # LightGBM's own: sums are in float64, gradients in float32.
            "dtype": "fp32",
            "flags": dict(sorted(settings.items())),
            "versions": results.versions() | engine.versions(),
        }
        results.write_results(self._folder.file("results.json"), written)
        _print_results(written, self._folder, settings)
        return found


def _begin_of_process(started: float) -> float:
    """When the process began if it is a main's, else the run; epoch seconds."""
    import __main__

    spec = getattr(__main__, "__spec__", None)
    is_main = spec is not None and spec.name.startswith("official.")
    return psutil.Process().create_time() if is_main else started
