"""A network's way from its first step, or its last checkpoint, to its last step."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from official.utils import run_folder
from official.utils.app import Interrupted
from official.utils.distribution import strategies
from official.utils.errors import UserError, one_line
from official.utils.flags.settings import profile_window
from official.utils.logs import console
from official.utils.logs.profile import ProfileWindow
from official.utils.logs.run_log import RunLog
from official.utils.training import checkpoints, effects, optimizers
from official.utils.training.checkpoints import Checkpoints
from official.utils.training.loop import build_loop
from official.utils.training.pacing import Pace
from official.utils.training.signals import SignalWatch
from official.utils.training.task import Task
from official.utils.training.variables import named_variables


@dataclasses.dataclass
class State:
    """What a checkpoint holds beside the variables; plain JSON.

    Attributes:
        step: optimizer steps done.
        best_step: the step whose weights were best on validation data.
        best_value: their metric.
        facts: see `Task.facts`.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


class Trainer:
    """Builds, restores and trains a task's network.

    Attributes:
        loop: the training loop, with the network.
        state: where the training stands.
        pace: how fast it is.
        resumed_from_steps: the steps from which the run went on.
        first_step_time: when the first call returned, in seconds since the epoch.
    """

    def __init__(
        self,
        task: Task,
        strategy: tf.distribute.Strategy,
        folder: run_folder.RunFolder,
    ):
        """Takes the task, whose data is loaded, and the run's folder."""
        self.state = State()
        self.pace = Pace()
        self.resumed_from_steps: list[int] = []
        self.first_step_time: float | None = None
        self._task = task
        self._settings = task.settings
        self._strategy = strategy
        self._workers = strategies.workers_of(strategy)
        self._folder = folder
        _check_average(self._settings)
        self._checkpoints = Checkpoints(
            folder.file("checkpoints"),
            self._settings.keep_checkpoints,
            self._workers.is_chief,
            self._settings.average_checkpoints,
            self._settings.checkpoint_steps,
        )

    def prepare(self) -> None:
        """Builds everything for the training, and takes up an earlier part of it."""
        settings, task = self._settings, self._task
        if not task.counts_tokens:
            strategies.check_batch_size(settings, self._strategy.num_replicas_in_sync)
        self._stream = task.training_stream()
        # The schedule is that of the whole run, also where this part ends early.
        schedule_steps = optimizers.schedule_steps(
            settings, self._stream.steps_per_epoch
        )
        self._total_steps = min(
            schedule_steps, settings.max_train_steps or schedule_steps
        )
        self._eval_steps = settings.steps_between_evals or (
            settings.epochs_between_evals * self._stream.steps_per_epoch
        )
        self._build(schedule_steps)
        if settings.weight_decay:
            print(
                optimizers.describe_weight_decay(
                    self.loop.optimizer, named_variables(self.loop.model)
                ),
                flush=True,
            )
        self.state.facts = self._task.facts
        self._resume_or_begin()

    def restore(self) -> None:
        """Builds the network with the weights of the newest checkpoint.

        Raises:
            UserError: there is none.
        """
        found = self._checkpoints.load_latest()
        if found is None:
            raise UserError(
                f"{self._checkpoints.folder} holds no checkpoint; train there first"
            )
        if not self._task.facts:
            self._task.facts = found[1].get("facts", {})
        self._build(total_steps=1)
        self._take(*found)

    def _build(self, total_steps: int) -> None:
        self.loop = build_loop(self._task, self._strategy, total_steps)
        self._variables = named_variables(self.loop.model, self.loop.optimizer)

    def _take(self, values, state) -> str:
        source = self._checkpoints.prefix(state["step"])
        self.state = State(**state)
        _check_facts(self._task.facts, self.state.facts, source)
        checkpoints.assign(self._variables, values, source)
        return source

    def _resume_or_begin(self) -> None:
        settings = self._settings
        found = None if settings.clean else self._checkpoints.load_latest()
        if self._workers.number > 1:
            # Step + 1, so that "none" differs from "the one of step 0".
            step = found[1]["step"] + 1 if found else 0
            if self.loop.sum_over_workers([step])[0] != step * self._workers.number:
                raise UserError(
                    f"the workers find different checkpoints in {self._folder.path}; "
                    "--model_dir must be one folder that all of them see"
                )
        if found is not None:
            source = self._take(*found)
            self.resumed_from_steps = self._checkpoints.resume(vars(self.state))
            print(f"resuming from {source}", flush=True)
            effects.warn_of_changed_flags(self._folder.read_flags(), settings)
        elif settings.init_checkpoint:
            values = self._task.initial_values(
                settings.init_checkpoint, self.loop.model
            )
            source = f"--init_checkpoint={settings.init_checkpoint}"
            checkpoints.assign(named_variables(self.loop.model), values, source)
        if self._workers.is_chief:
            if settings.clean:
                # Only now: what is wrong with flags or files has cost nothing so far.
                self._folder.clean(in_use=self._task.files_in_use)
            self._folder.write_flags(settings)

    def train(self, log: RunLog) -> dict[str, float]:
        """Runs the steps that are left.

        Returns:
            The last metrics of validation data, named `validation_...`.

        Raises:
            UserError: the loss is not finite, or the disk is full.
            Interrupted: a signal came; a checkpoint was written.
        """
        state, settings = self.state, self._settings
        validation: dict[str, float] = {}
        batches = self.loop.batches(self._stream, state.step)
        saved_at = time.monotonic()
        received = None
        bar = console.progress_bar(self._total_steps, state.step, self._task.name)
        window = profile_window(settings) if self._workers.is_chief else None
        self._profile = ProfileWindow(window, self._folder.file("train"))
        with SignalWatch() as signals, self._profile, bar:
            while state.step < self._total_steps and not self._is_stopped():
                is_late = bool(settings.checkpoint_seconds) and (
                    time.monotonic() - saved_at >= settings.checkpoint_seconds
                )
                count, is_late, received = self._agree(
                    self.pace.next_count(self._next_stop() - state.step),
                    is_late,
                    signals.received,
                )
                if is_late or received:
                    self._save()
                    saved_at = time.monotonic()
                if received:
                    break
                self._profile.at(state.step)
                begun = time.monotonic()
                history = self.loop.train(batches, state.step, count)
                self.pace.record(time.monotonic() - begun, count)
                self.first_step_time = self.first_step_time or time.time()
                log.train(state.step, history, self._learning_rate, self.rate())
                state.step += count
                bar.update(count)
                bar.set_postfix(loss=history["loss"][-1])
                is_best = False
                if self._is_due(self._eval_steps):
                    validation = self._validate(log)
                    is_best = self._note_best(validation)
                is_due = self._is_due(settings.checkpoint_steps)
                if is_best or is_due or self._is_stopped():
                    self._save()
                    saved_at = time.monotonic()
            received = received if state.step < self._total_steps else signals.received
            if received:
                print(
                    f"stopped at step {state.step}; the same command with "
                    f"--model_dir={self._folder.path} goes on",
                    flush=True,
                )
                raise Interrupted(received)
        return validation or self._validate(log)

    def _agree(
        self, count: int, is_late: bool, received: int | None
    ) -> tuple[int, bool, int | None]:
        """What all workers do next: by the chief's clock, and by anyone's signal.

        Args:
            count: steps of the next call, by this worker's clock.
            is_late: whether a checkpoint is due, by this worker's clock.
            received: the signal that this worker got, or None.

        Returns:
            The same three, the first two equal on all workers, and a signal for all if
            one got one.
        """
        if self._workers.number == 1:
            return count, is_late, received
        is_chief = self._workers.is_chief
        count, is_late, signals = self.loop.sum_over_workers(
            [count * is_chief, is_late * is_chief, received is not None]
        )
        return count, bool(is_late), (received or 15) if signals else None

    def _save(self) -> None:
        self._checkpoints.save(self._variables, vars(self.state))

    def _next_stop(self) -> int:
        """The next step at which something other than training is due."""
        step = self.state.step
        intervals = [self._eval_steps, self._settings.checkpoint_steps]
        stops = [step - step % every + every for every in intervals if every]
        stops += [stop for stop in self._profile.stops if stop > step]
        return min([self._total_steps, *stops])

    def _is_due(self, every: int | None) -> bool:
        is_last = self.state.step >= self._total_steps
        return is_last or (bool(every) and self.state.step % every == 0)

    def _validate(self, log: RunLog) -> dict[str, float]:
        with self.averaged_weights():
            metrics = self.validation_metrics()
        log.validation(self.state.step, metrics)
        return metrics

    def validation_metrics(self) -> dict[str, float]:
        """Metrics of validation data under the present weights, `validation_...`."""
        metrics = self.evaluate("validation")
        return {f"validation_{name}": value for name, value in metrics.items()}

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of `validation` or `test` under the present weights."""
        metrics = self.loop.evaluate(self._task.evaluation_stream(split))
        return metrics | self._task.more_metrics(self.loop.model, split)

    def _note_best(self, validation: Mapping[str, float]) -> bool:
        """Compares with the best so far."""
        state, value = self.state, validation[f"validation_{self._task.metric}"]
        sign = 1 if self._task.higher_is_better else -1
        if not math.isfinite(value) or (
            state.best_value is not None and sign * value <= sign * state.best_value
        ):
            return False
        state.best_step, state.best_value = state.step, value
        return True

    def _is_stopped(self) -> bool:
        """Whether an evaluation so far reached `--stop_threshold`."""
        best, threshold = self.state.best_value, self._settings.stop_threshold
        if best is None or threshold is None:
            return False
        sign = 1 if self._task.higher_is_better else -1
        return sign * best >= sign * threshold

    def _learning_rate(self, step: int) -> float:
        optimizer = self.loop.optimizer
        schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
        return float(schedule(step))

    def rate(self) -> float:
        """Examples a second, the median so far; 0 while it is unknown."""
        return self.pace.steps_per_second() * self._settings.batch_size

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the moving average of the weights in their place, where it is on."""
        if not self._settings.ema_decay or not self.state.step:
            yield
            return
        trainable = self.loop.model.trainable_variables
        last = [variable.numpy() for variable in trainable]
        self.loop.optimizer.finalize_variable_values(trainable)
        yield
        for variable, value in zip(trainable, last, strict=True):
            variable.assign(value)

    @contextlib.contextmanager
    def final_weights(self) -> Iterator[None]:
        """The weights that are reported and exported, while the context lasts.

        Raises:
            UserError: the best checkpoint, or one to be averaged, cannot be read.
        """
        if self._settings.average_checkpoints:
            try:
                values, steps = self._checkpoints.load_average(self.state.step)
            except tf.errors.OpError as error:
                raise UserError(
                    f"a checkpoint of {self._checkpoints.folder} that should be "
                    f"averaged is damaged ({one_line(error)}); give "
                    "--average_checkpoints=0 to take the last weights"
                ) from None
            checkpoints.assign(self._variables, values, self._checkpoints.folder)
            print(f"average of the weights of steps {', '.join(map(str, steps))}")
            yield
            return
        best_step = self.state.best_step
        if self._settings.export_best and best_step is not None:
            source = self._checkpoints.prefix(best_step)
            try:
                values, _ = self._checkpoints.load(best_step)
            except tf.errors.OpError:
                raise UserError(
                    f"{source}, the best checkpoint, is missing or damaged; without "
                    "--export_best the last weights are taken"
                ) from None
            checkpoints.assign(self._variables, values, source)
        with self.averaged_weights():
            yield


def _check_average(settings) -> None:
    """Refuses an average of checkpoints that says nothing clear."""
    if not settings.average_checkpoints:
        return
    given = f"--average_checkpoints={settings.average_checkpoints}"
    if not settings.checkpoint_steps:
        raise UserError(
            f"{given} needs --checkpoint_steps, the steps between two checkpoints"
        )
    for name in ("export_best", "ema_decay"):
        if settings[name]:
            raise UserError(f"{given} and --{name} exclude each other; leave one out")


def _check_facts(here: Mapping, there: Mapping, source: str) -> None:
    """Refuses a checkpoint of other data than this run's."""
    for name in here:
        if here[name] != there.get(name):
            raise UserError(
                f"{source} was trained with other {name.replace('_', ' ')}: "
                f"{_short(there.get(name))} there, {_short(here[name])} here; give the "
                "data it was trained on, or name another folder"
            )


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
