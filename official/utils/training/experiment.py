"""One run of a main that trains by gradients: every mode, from flags to results."""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import psutil
import tensorflow as tf
from absl import flags

from official.utils import run_folder
from official.utils.app import Interrupted
from official.utils.data.streams import TrainingStream
from official.utils.distribution import strategies
from official.utils.errors import UserError
from official.utils.export import saved_model
from official.utils.flags import core as flags_core
from official.utils.logs import console, results
from official.utils.logs.run_log import RunLog
from official.utils.recipes import Recipe
from official.utils.training import checkpoints, effects, optimizers, precision
from official.utils.training.checkpoints import Checkpoints
from official.utils.training.loop import Loop
from official.utils.training.pacing import Pace
from official.utils.training.signals import SignalWatch
from official.utils.training.task import Task
from official.utils.training.variables import named_variables


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
    settings = _resolve(flag_values, recipes)
    effects.warn_of_flags_without_effect(settings)
    strategies.check_supported(settings)
    strategies.apply_process_settings(settings)
    keras.utils.set_random_seed(settings.seed)
    folder = _folder(task_class, settings)
    finished = _finished_results(folder, settings)
    if finished is not None:
        print(f"{folder.path} is finished at step {finished['steps']}: nothing to do")
        _print_results(finished, folder, settings)
        return finished["metrics"]
    task = task_class(settings)
    verb = "training on" if settings.mode.startswith("train") else "data set"
    print(f"{task.name}: {verb} {task.load()}", flush=True)
    print(f"model_dir: {folder.path}", flush=True)
    with precision.policy(precision.resolve_dtype(settings.dtype)):
        experiment = _Experiment(task, folder, started)
        return getattr(experiment, settings.mode)()


def _resolve(flag_values, recipes) -> flags_core.Settings:
    settings = flags_core.resolve(flag_values, recipes)
    if settings.mode.startswith("train"):
        return settings
    if not settings.model_dir:
        raise UserError(
            f"--mode={settings.mode} needs --model_dir, the folder of a trained model"
        )
    # The model is the one that was trained there, whatever the defaults are now.
    recorded = run_folder.RunFolder(settings.model_dir).read_flags()
    recorded.pop("mode", None)
    return flags_core.resolve(flag_values, recipes, recorded)


def _folder(task_class, settings) -> run_folder.RunFolder:
    path = settings.model_dir or run_folder.new_path(task_class.name)
    folder = run_folder.RunFolder(os.path.expanduser(path))
    if settings.mode.startswith("train"):
        if settings.clean:
            folder.clean()
        folder.create()
    elif not tf.io.gfile.isdir(folder.path):
        raise UserError(
            f"--model_dir={folder.path} does not exist; --mode={settings.mode} needs "
            "the folder of a trained model"
        )
    return folder


def _finished_results(folder, settings) -> dict[str, Any] | None:
    """Results of a run that did all that this one is asked for; else None."""
    path = folder.file("results.json")
    if settings.mode != "train_and_eval" or not tf.io.gfile.exists(path):
        return None
    found = results.read_results(path)
    if found["flags"].get("mode") != settings.mode:
        return None
    asked = ("train_steps", "train_epochs", "max_train_steps", "stop_threshold")
    if any(found["flags"].get(name) != settings[name] for name in asked):
        return None
    return found


def _print_results(found, folder, settings) -> None:
    facts = {
        "steps": f"{found['steps']:,}",
        "examples/second": f"{found['examples_per_second']:,.0f}",
        "wall time": f"{found['wall_seconds']:.1f} s",
        "model_dir": folder.path,
    }
    if settings.mode == "train_and_eval":
        facts["saved_model"] = _export_dir(folder, settings)
    print(console.results_table(found["metrics"], facts), flush=True)


def _export_dir(folder, settings) -> str:
    return os.path.expanduser(settings.export_dir or folder.file("saved_model"))


@dataclasses.dataclass
class _State:
    """What a checkpoint holds beside the variables; plain JSON."""

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    is_stopped: bool = False
    resumed_from_steps: list[int] = dataclasses.field(default_factory=list)


class _Experiment:
    """A task with its network, folder and log, from the first step to the results."""

    def __init__(self, task: Task, folder: run_folder.RunFolder, started: float):
        self._task = task
        self._settings = task.settings
        self._folder = folder
        self._started = started
        self._checkpoints = Checkpoints(
            folder.file("checkpoints"), self._settings.keep_checkpoints
        )
        self._state = _State()
        self._pace = Pace()
        self._startup_seconds = 0.0
        self._strategy = strategies.make_strategy(self._settings)
        self._replicas = self._strategy.num_replicas_in_sync

    # Modes ------------------------------------------------------------------------

    def train_and_eval(self) -> dict[str, float]:
        """Trains, evaluates on the test set, exports, and writes the results."""
        export_dir = _export_dir(self._folder, self._settings)
        saved_model.check_target(export_dir, may_replace=not self._settings.export_dir)
        with self._training() as log:
            validation = self._train(log)
            with self._final_weights():
                metrics = self._loop.evaluate(self._task.evaluation_stream("test"))
                log.final(self._state.step, metrics)
                self._export(export_dir)
        return self._finish(log, metrics | validation)

    def train(self) -> dict[str, float]:
        """Trains; the test set stays unseen."""
        with self._training() as log:
            metrics = self._train(log)
        return self._finish(log, metrics)

    def eval(self) -> dict[str, float]:
        """Evaluates a checkpoint on the test set; writes nothing."""
        self._restore_trained()
        with self._final_weights():
            metrics = self._loop.evaluate(self._task.evaluation_stream("test"))
        facts = {"step": f"{self._state.step:,}", "model_dir": self._folder.path}
        print(console.results_table(metrics, facts), flush=True)
        return metrics

    def predict(self) -> dict[str, float]:
        """Prints predictions from a checkpoint."""
        self._restore_trained()
        with self._final_weights():
            self._task.predict(self._loop.model)
        return {}

    def export(self) -> dict[str, float]:
        """Exports a checkpoint."""
        export_dir = _export_dir(self._folder, self._settings)
        saved_model.check_target(export_dir, may_replace=not self._settings.export_dir)
        self._restore_trained()
        with self._final_weights():
            self._export(export_dir)
        print(f"saved_model: {export_dir}", flush=True)
        return {}

    # Parts ------------------------------------------------------------------------

    def _build(self, total_steps: int) -> None:
        with self._strategy.scope():
            model = self._task.build_model()
            optimizer = optimizers.make_optimizer(self._settings, total_steps)
            optimizer.build(model.trainable_variables)
        self._loop = Loop(self._task, model, optimizer, self._strategy)
        self._variables = named_variables(model, optimizer)

    @contextlib.contextmanager
    def _training(self):
        """Builds everything, restores what there is, and opens the log."""
        settings, task = self._settings, self._task
        strategies.check_batch_size(settings, self._replicas)
        self._stream: TrainingStream = task.training_stream()
        self._validation = task.evaluation_stream("validation")
        self._schedule_steps = settings.train_steps or (
            settings.train_epochs * self._stream.steps_per_epoch
        )
        self._total_steps = min(
            self._schedule_steps, settings.max_train_steps or self._schedule_steps
        )
        self._build(self._schedule_steps)
        self._resume_or_begin()
        log = RunLog(self._folder.path, settings.benchmark_log_dir, settings.log_steps)
        log.start(task.name, settings)
        with log:
            yield log

    def _resume_or_begin(self) -> None:
        settings = self._settings
        found = self._checkpoints.load_latest()
        if found is not None:
            values, state = found
            source = self._checkpoints.prefix(state["step"])
            checkpoints.assign(self._variables, values, source)
            self._state = _State(**state)
            self._state.resumed_from_steps.append(self._state.step)
            print(f"resuming from {source}", flush=True)
            effects.warn_of_changed_flags(self._folder.read_flags(), settings)
        elif settings.init_checkpoint:
            model_variables = named_variables(self._loop.model)
            values = checkpoints.read_initial(settings.init_checkpoint)
            checkpoints.assign(model_variables, values, settings.init_checkpoint)
        self._folder.write_flags(settings)

    def _restore_trained(self) -> None:
        self._build(total_steps=1)
        found = self._checkpoints.load_latest()
        if found is None:
            raise UserError(
                f"{self._checkpoints.folder} holds no checkpoint; train there first"
            )
        values, state = found
        source = self._checkpoints.prefix(state["step"])
        checkpoints.assign(self._variables, values, source)
        self._state = _State(**state)

    def _train(self, log: RunLog) -> dict[str, float]:
        """Runs the steps that are left; returns the last metrics of validation data."""
        state = self._state
        validation: dict[str, float] = {}
        batches = self._loop.batches(self._stream, state.step)
        saved_at = time.monotonic()
        bar = console.progress_bar(self._total_steps, state.step, self._task.name)
        with SignalWatch() as signals, bar:
            while state.step < self._total_steps and not state.is_stopped:
                count = self._pace.next_count(self._next_stop() - state.step)
                begun = time.monotonic()
                history = self._loop.train(batches, state.step, count)
                self._pace.record(time.monotonic() - begun, count)
                log.train(state.step, history, self._learning_rate, self._rate())
                state.step += count
                if not self._startup_seconds:
                    self._startup_seconds = time.time() - self._begin_of_process()
                bar.update(count)
                bar.set_postfix(loss=history["loss"][-1])
                is_best = False
                if self._is_due(self._eval_steps()):
                    validation = self._validate(log)
                    is_best = self._note_best(validation)
                seconds = time.monotonic() - saved_at
                if is_best or signals.received or self._is_checkpoint_due(seconds):
                    self._checkpoints.save(self._variables, vars(state))
                    saved_at = time.monotonic()
                if signals.received:
                    print(f"stopped at step {state.step}; the same command goes on")
                    raise Interrupted(signals.received)
        return validation or self._validate(log)

    def _next_stop(self) -> int:
        """The next step at which something other than training is due."""
        step = self._state.step
        intervals = [self._eval_steps(), self._settings.checkpoint_steps]
        stops = [step - step % every + every for every in intervals if every]
        return min([self._total_steps, *stops])

    def _is_due(self, every: int | None) -> bool:
        is_last = self._state.step >= self._total_steps
        return is_last or (bool(every) and self._state.step % every == 0)

    def _is_checkpoint_due(self, seconds: float) -> bool:
        settings = self._settings
        is_late = bool(settings.checkpoint_seconds) and (
            seconds >= settings.checkpoint_seconds
        )
        return (
            self._is_due(settings.checkpoint_steps) or is_late or self._state.is_stopped
        )

    def _eval_steps(self) -> int:
        settings = self._settings
        return settings.steps_between_evals or (
            settings.epochs_between_evals * self._stream.steps_per_epoch
        )

    def _validate(self, log: RunLog) -> dict[str, float]:
        with self._averaged_weights():
            metrics = self._loop.evaluate(self._validation)
        metrics = {f"validation_{name}": value for name, value in metrics.items()}
        log.validation(self._state.step, metrics)
        return metrics

    def _note_best(self, validation: Mapping[str, float]) -> bool:
        """Compares with the best so far, and with `--stop_threshold`."""
        state, threshold = self._state, self._settings.stop_threshold
        value = validation[f"validation_{self._task.metric}"]
        sign = 1 if self._task.higher_is_better else -1
        if threshold is not None and sign * value >= sign * threshold:
            state.is_stopped = True
        if state.best_value is not None and sign * value <= sign * state.best_value:
            return False
        state.best_step, state.best_value = state.step, value
        return True

    def _learning_rate(self, step: int) -> float:
        rate = self._loop.optimizer._learning_rate
        return float(rate(step) if callable(rate) else rate)

    def _rate(self) -> float:
        """Examples a second, the median so far."""
        return self._pace.steps_per_second() * self._settings.batch_size

    @contextlib.contextmanager
    def _averaged_weights(self):
        """Puts the moving average of the weights in their place, where it is on."""
        if not self._settings.ema_decay or not self._state.step:
            yield
            return
        trainable = self._loop.model.trainable_variables
        last = [variable.numpy() for variable in trainable]
        self._loop.optimizer.finalize_variable_values(trainable)
        yield
        for variable, value in zip(trainable, last, strict=True):
            variable.assign(value)

    @contextlib.contextmanager
    def _final_weights(self):
        """The weights that are reported and exported, while the context lasts."""
        if self._settings.export_best and self._state.best_step is not None:
            values, _ = self._checkpoints.load(self._state.best_step)
            source = self._checkpoints.prefix(self._state.best_step)
            checkpoints.assign(self._variables, values, source)
        with self._averaged_weights():
            yield

    def _export(self, path: str) -> None:
        # Made anew on one device: a SavedModel of mirrored variables is larger.
        model = self._task.build_model()
        targets = named_variables(model)
        for name, variable in named_variables(self._loop.model).items():
            targets[name].assign(variable.value)
        saved_model.export(model, self._task.signatures(model), path)

    def _finish(self, log: RunLog, metrics: dict[str, float]) -> dict[str, float]:
        settings, state = self._settings, self._state
        log.draw_curves(f"{self._task.name} on {settings.dataset}")
        found = {
            "model": self._task.name,
            "dataset": settings.dataset,
            "metrics": metrics,
            "steps": state.step,
            "resumed_from_steps": state.resumed_from_steps,
            "examples_per_second": self._rate(),
            "startup_seconds": self._startup_seconds,
            "wall_seconds": time.time() - self._started,
            "peak_memory_bytes": results.peak_memory_bytes(),
            "seed": settings.seed,
            "num_replicas": self._replicas,
            "dtype": precision.resolve_dtype(settings.dtype),
            "flags": dict(sorted(settings.items())),
            "versions": results.versions(),
        }
        results.write_results(self._folder.file("results.json"), found)
        _print_results(found, self._folder, settings)
        return metrics

    @functools.cache
    def _begin_of_process(self) -> float:
        """When the process began if it is a main's, else the run; epoch seconds."""
        import __main__

        is_main = getattr(__main__, "__spec__", None) is not None and (
            str(__main__.__spec__.name).startswith("official.")
        )
        return psutil.Process().create_time() if is_main else self._started
