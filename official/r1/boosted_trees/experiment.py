"""One run of boosted trees: every mode, from flags to results.

LightGBM trains, so that the shared loop has no part in it; folder, flags, logs,
checkpoints, results and export are the shared ones.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence

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
from official.utils.export import saved_model
from official.utils.flags.settings import Settings
from official.utils.logs import console, files, results
from official.utils.logs.run_log import RunLog
from official.utils.recipes import Recipe
from official.utils.run_folder import RunFolder
from official.utils.training import effects, runs

NAME = "boosted_trees"
# Flags that say how much a run does: with others, a finished folder goes on.
_AMOUNTS = ("n_trees", "max_train_steps", "stop_threshold", "early_stopping_rounds")
# A step is a tree and passes over all rows.
_STEP_NAMES = ("tree", "rows x trees/second")


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
    # To use a model one machine is enough.
    settings = runs.resolve(flag_values, recipes, ("machines", "machine_index"))
    effects.warn_of_flags_without_effect(settings, idle_flags.reasons_of(settings))
    cluster = machines.cluster_of(settings)
    folder = runs.open_folder(NAME, settings, cluster.is_chief, EXTRA_FILES)
    finished = runs.finished_metrics(folder, settings, _AMOUNTS, _STEP_NAMES)
    if finished is not None:
        return finished
    writes = settings.mode.startswith("train") and cluster.is_chief
    with folder.lock() if writes else contextlib.nullcontext():
        return getattr(_Experiment(settings, folder, cluster, started), settings.mode)()


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
        self._export_dir = runs.export_dir(folder, settings)

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
        written = {
            "model": NAME,
            "metrics": found,
            "steps": trained.state.step,
            "resumed_from_steps": trained.resumed_from_steps,
            "examples_per_second": trained.rate(),
            "num_replicas": self._cluster.number,
            # LightGBM's own: sums are in float64, gradients in float32.
            "dtype": "fp32",
            "versions": results.versions() | engine.versions(),
        }
        begun = trained.first_step_time
        runs.write_results(
            self._folder, settings, self._started, begun, written, _STEP_NAMES
        )
        return found
