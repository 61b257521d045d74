"""A run of boosted trees: what is trained, logged and kept between two trees."""

import time
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from official.r1.boosted_trees import engine
from official.r1.boosted_trees.dataset import Part
from official.r1.boosted_trees.engine import State
from official.r1.boosted_trees.machines import Cluster, Watch
from official.utils.app import Interrupted
from official.utils.errors import UserError
from official.utils.flags.settings import Settings
from official.utils.logs import console
from official.utils.logs.run_log import RunLog
from official.utils.run_folder import RunFolder
from official.utils.training import effects
from official.utils.training.checkpoints import Checkpoints
from official.utils.training.pacing import Pace
from official.utils.training.signals import SignalWatch

# The tensor of a checkpoint that holds LightGBM's text.
_MODEL = "model"


class Training:
    """Grows trees, from the first or from the last checkpoint on.

    Attributes:
        model: LightGBM's text of the trees.
        state: where the training stands.
        pace: how fast it is; a step is a tree.
        resumed_from_steps: the numbers of trees from which the run went on.
        first_step_time: when the first tree stood, in seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        names: tuple[str, ...],
        cluster: Cluster,
    ):
        """Takes the flags and the run's folder; nothing is read yet."""
        self.model: str | None = None
        self.state = State(facts={"names": list(names)})
        self.pace = Pace()
        self.resumed_from_steps: list[int] = []
        self.first_step_time: float | None = None
        self._settings = settings
        self._folder = folder
        self._cluster = cluster
        self._num_rows = 0
        self._checkpoints = checkpoints_of(settings, folder, cluster.is_chief)

    @property
    def num_trees(self) -> int:
        """Trees with which the run ends, unless it stops early."""
        settings = self._settings
        return min(settings.n_trees, settings.max_train_steps or settings.n_trees)

    def prepare(self) -> None:
        """Takes up an earlier part of the run, and notes the flags.

        Raises:
            UserError: the checkpoint is of other columns.
        """
        settings = self._settings
        found = None if settings.clean else self._checkpoints.load_latest()
        if found is not None:
            self._take(*found)
        if self._cluster.is_chief:
            if settings.clean:
                self._folder.clean(EXTRA_FILES)
            self._folder.write_flags(settings)

    def _take(self, values: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        settings, facts = self._settings, self.state.facts
        source = self._checkpoints.prefix(state["step"])
        check_names(state["facts"]["names"], facts["names"], source)
        effects.warn_of_changed_flags(self._folder.read_flags(), settings)
        if engine.is_sampling(settings) and not self._is_complete(State(**state)):
            print(
                f"{source} is passed over: rows or columns are drawn anew for each "
                "tree, and a restart would draw others; training begins with the first "
                "tree",
                flush=True,
            )
            return
        self.model, self.state = _text(values), State(**state)
        self.resumed_from_steps = self._checkpoints.resume(state)
        print(f"resuming from {source}", flush=True)

    def train(self, train: Part, validation: Part | None, log: RunLog) -> None:
        """Grows the trees that are left.

        Args:
            train: training rows.
            validation: rows held out, for early stopping and for the curves.
            log: takes the metrics.

        Raises:
            Interrupted: a signal came; a checkpoint was written.
        """
        settings, state = self._settings, self.state
        self._num_rows = len(train) * self._cluster.number
        if self._is_complete(state):
            return
        names = tuple(state.facts["names"])
        saved_at = time.monotonic()
        received = None
        bar = console.progress_bar(self.num_trees, state.step, "trees", unit="tree")
        watch = Watch(self._cluster)
        with SignalWatch() as signals, watch, bar:

            def between_trees(booster, seconds: float) -> bool:
                nonlocal saved_at, received
                watch.note_tree()
                self.first_step_time = self.first_step_time or time.time()
                self.pace.record(seconds, 1)
                bar.update(1)
                self._measure(booster, validation, log, bar)
                is_last = self._is_complete(state)
                received = None if is_last else signals.received
                if is_last or received or self._is_due(saved_at):
                    self._save(booster.model_to_string(num_iteration=-1))
                    saved_at = time.monotonic()
                return is_last or bool(received)

            self.model = engine.Boosting(
                engine.parameters(settings, names) | self._cluster.parameters(),
                engine.categorical_positions(settings, names),
                self.num_trees,
                state,
                between_trees,
            ).run(train, validation, self.model)
        if received:
            print(
                f"stopped after {state.step} trees; the same command with "
                f"--model_dir={self._folder.path} goes on",
                flush=True,
            )
            raise Interrupted(received)

    def _measure(self, booster, validation, log: RunLog, bar) -> None:
        """Logs what is due after a tree, and notes the best."""
        settings, step = self._settings, self.state.step
        is_last = step >= self.num_trees or self.state.is_exhausted
        if is_last or step % settings.log_steps == 0:
            loss = engine.training_loss(booster)
            log.train(
                step - 1,
                {"loss": np.array([loss])},
                lambda step: settings.learning_rate,
                self.rate(),
            )
            bar.set_postfix(loss=loss)
        every = settings.steps_between_evals or settings.log_steps
        if validation is not None and (is_last or step % every == 0):
            found = engine.evaluate_validation(booster)
            log.validation(step, {f"validation_{k}": v for k, v in found.items()})
            best = self.state.best_value
            if best is None or found["auc"] > best:
                self.state.best_step, self.state.best_value = step, found["auc"]
            self.state.validated_step = step

    def _is_complete(self, state: State) -> bool:
        """Whether there are enough trees, by number or by the validation rows."""
        if state.is_exhausted or state.step >= self.num_trees:
            return True
        if state.best_step is None:
            return False
        rounds = self._settings.early_stopping_rounds
        threshold = self._settings.stop_threshold
        return bool(rounds and state.validated_step - state.best_step >= rounds) or (
            threshold is not None and state.best_value >= threshold
        )

    def _is_due(self, saved_at: float) -> bool:
        """Whether a checkpoint is due, by trees or by the clock."""
        steps, seconds = (
            self._settings.checkpoint_steps,
            self._settings.checkpoint_seconds,
        )
        return bool(steps and self.state.step % steps == 0) or bool(
            seconds and time.monotonic() - saved_at >= seconds
        )

    def _save(self, text: str) -> None:
        # A best model is a part of every later one: none has to be kept for itself.
        state = vars(self.state)
        self._checkpoints.save({_MODEL: _variable(text)}, state)

    def rate(self) -> float:
        """Rows times trees a second, the median so far; 0 while it is unknown."""
        return self.pace.steps_per_second() * self._num_rows


# What this model leaves in a run's folder beside the common files.
EXTRA_FILES = ("model.txt", "report.json", "report.png")


def checkpoints_of(
    settings: Settings, folder: RunFolder, is_chief: bool = True
) -> Checkpoints:
    """The checkpoints of a run."""
    return Checkpoints(folder.file("checkpoints"), settings.keep_checkpoints, is_chief)


def restore(settings: Settings, folder: RunFolder) -> tuple[str, State]:
    """LightGBM's text and the state of the newest checkpoint.

    Raises:
        UserError: there is none.
    """
    checkpoints = checkpoints_of(settings, folder)
    found = checkpoints.load_latest()
    if found is None:
        raise UserError(f"{checkpoints.folder} holds no checkpoint; train there first")
    values, state = found
    return _text(values), State(**state)


def check_names(trained: Sequence[str], given: Sequence[str], source: str) -> None:
    """Raises a `UserError` where a model is of other columns than those given."""
    if list(trained) != list(given):
        raise UserError(
            f"{source} is of a model of other columns ({len(trained)} there, "
            f"{len(given)} here); use data of the form it was trained on, or name "
            "another folder"
        )


def chosen_trees(settings: Settings, state: State) -> int:
    """How many of the trees are evaluated and exported."""
    by_validation = settings.early_stopping_rounds or settings.export_best
    if by_validation and state.best_step is not None:
        return state.best_step
    return state.step


def _variable(text: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(value=np.array(text.encode()))


def _text(values: dict[str, np.ndarray]) -> str:
    return values[_MODEL].item().decode()
