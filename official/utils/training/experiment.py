"""One run of a main that trains by gradients: every mode, from flags to results."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf
from absl import flags

from official.utils.distribution import strategies
from official.utils.errors import UserError
from official.utils.export import saved_model
from official.utils.flags import core as flags_core
from official.utils.logs import console
from official.utils.logs.run_log import RunLog
from official.utils.recipes import Recipe
from official.utils.run_folder import RunFolder
from official.utils.training import checkpoints, effects, precision, runs
from official.utils.training.task import Task
from official.utils.training.trainer import Trainer
from official.utils.training.variables import named_variables

# Flags that say how much a run does.
_AMOUNTS = ("train_steps", "train_epochs", "max_train_steps", "stop_threshold")
# What TensorFlow raises where a worker of several does not answer any more.
_LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def run(
    task_class: type[Task],
    flag_values: flags.FlagValues,
    recipes: Sequence[Recipe],
) -> dict[str, float]:
    """Does what `--mode` says.

    Args:
        task_class: the model's part.
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
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND={keras.backend.backend()}: the mains train on TensorFlow; "
            "unset it (the networks themselves run on any backend)"
        )
    devices = flags_core.flags_by_set(flag_values)["distribution"]
    settings = runs.resolve(flag_values, recipes, devices)
    effects.warn_of_flags_without_effect(settings)
    strategies.apply_process_settings(settings)
    keras.utils.set_random_seed(settings.seed)
    # Several workers find each other here, before TensorFlow computes anything.
    strategy = strategies.make_strategy(settings)
    workers = strategies.workers_of(strategy)
    folder = _folder(task_class, settings, workers)
    finished = runs.finished_metrics(folder, settings, _AMOUNTS)
    if finished is not None:
        return finished
    task = task_class(settings)
    task.folder = folder.path
    if not settings.clean:
        task.recorded = checkpoints.latest_facts(folder.file("checkpoints"))
    if settings.mode in ("train_and_eval", "train", "eval"):
        verb = "evaluating on" if settings.mode == "eval" else "training on"
        print(f"{task.name}: {verb} {task.load()}", flush=True)
        print(f"model_dir: {folder.path}", flush=True)
    dtype = precision.resolve_dtype(settings.dtype)
    precision.warn_if_slow(dtype)
    writes = settings.mode.startswith("train") and workers.is_chief
    lock = folder.lock() if writes else contextlib.nullcontext()
    try:
        with lock, precision.policy(dtype):
            experiment = _Experiment(task, strategy, folder, started)
            return getattr(experiment, settings.mode)()
    except _LOST_WORKER as error:
        if workers.number == 1:
            raise
        raise UserError(
            "another worker is gone or cannot be reached "
            f"({type(error).__name__}); start all of them again: the run goes on from "
            "its last checkpoint"
        ) from None
    except tf.errors.OpError as error:
        # Whatever a file holds comes to light only when the stream gets there.
        reason = task.explain(error)
        if reason is None:
            raise
        raise reason from None


def _folder(task_class, settings, workers) -> RunFolder:
    if workers.number > 1 and not settings.model_dir:
        raise UserError(
            "--model_dir is needed with several workers: one folder that all see"
        )
    return runs.open_folder(task_class.name, settings, workers.is_chief)


class _Experiment:
    """A task with its trainer and its folder; a method a mode."""

    def __init__(
        self,
        task: Task,
        strategy: tf.distribute.Strategy,
        folder: RunFolder,
        started: float,
    ):
        self._task = task
        self._settings = task.settings
        self._strategy = strategy
        self._folder = folder
        self._started = started
        self._is_chief = strategies.workers_of(strategy).is_chief
        self._trainer = Trainer(task, strategy, folder)

    def train_and_eval(self) -> dict[str, float]:
        """Trains, evaluates on the test set, exports, and writes the results."""
        trainer, settings = self._trainer, self._settings
        export_dir = runs.export_dir(self._folder, settings)
        saved_model.check_target(export_dir, self._folder.path)
        with self._training() as log:
            validation = trainer.train(log)
            with trainer.final_weights():
                if settings.export_best or settings.average_checkpoints:
                    validation = trainer.validation_metrics()
                metrics = trainer.evaluate("test")
                log.final(trainer.state.step, metrics)
                self._export(export_dir)
            return self._finish(log, metrics | validation)

    def train(self) -> dict[str, float]:
        """Trains; the test set stays unseen."""
        with self._training() as log:
            return self._finish(log, self._trainer.train(log))

    def eval(self) -> dict[str, float]:
        """Evaluates a checkpoint on the test set; writes nothing."""
        trainer = self._trainer
        trainer.restore()
        with trainer.final_weights():
            metrics = trainer.evaluate("test")
        if self._is_chief:
            facts = {"step": f"{trainer.state.step:,}", "model_dir": self._folder.path}
            print(console.results_table(metrics, facts), flush=True)
        return metrics

    def predict(self) -> dict[str, float]:
        """Prints predictions from a checkpoint."""
        self._trainer.restore()
        with self._trainer.final_weights():
            self._task.predict(self._trainer.loop.model)
        return {}

    def export(self) -> dict[str, float]:
        """Exports a checkpoint."""
        export_dir = runs.export_dir(self._folder, self._settings)
        saved_model.check_target(export_dir, self._folder.path)
        self._trainer.restore()
        with self._trainer.final_weights():
            self._export(export_dir)
        if self._is_chief:
            print(f"saved_model: {export_dir}", flush=True)
        return {}

    @contextlib.contextmanager
    def _training(self) -> Iterator[RunLog]:
        """Prepares the training and opens the log."""
        settings = self._settings
        self._trainer.prepare()
        log = RunLog(
            self._folder.path,
            settings.benchmark_log_dir,
            settings.log_steps,
            is_chief=self._is_chief,
        )
        with log:
            log.start(self._task.name, settings)
            yield log

    def _export(self, path: str) -> None:
        if not self._is_chief:
            return
        # Made anew on one device: a SavedModel of mirrored variables is larger.
        model = self._task.build_model()
        targets = named_variables(model)
        for name, variable in named_variables(self._trainer.loop.model).items():
            targets[name].assign(variable.value)
        signatures = self._task.signatures(model)
        saved_model.export(model, signatures, path, self._folder.path)

    def _finish(self, log: RunLog, metrics: dict[str, float]) -> dict[str, float]:
        if not self._is_chief:
            return metrics
        settings, trainer = self._settings, self._trainer
        log.draw_curves(f"{self._task.name} on {settings.dataset}")
        found = {
            "model": self._task.name,
            "metrics": metrics,
            "steps": trainer.state.step,
            "resumed_from_steps": trainer.resumed_from_steps,
            "examples_per_second": trainer.rate(),
            "num_replicas": self._strategy.num_replicas_in_sync,
            "dtype": precision.resolve_dtype(settings.dtype),
        }
        runs.write_results(
            self._folder, settings, self._started, trainer.first_step_time, found
        )
        return metrics
