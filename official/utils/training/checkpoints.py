"""Checkpoints: every variable and the run's state, by structural name.

A checkpoint is `ckpt-<step>` in TensorFlow's format, so that `tf.train.load_checkpoint`
reads it and `tf.train.latest_checkpoint` finds it. It holds no clock and no path: the
same run writes the same bytes.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line, writing
from official.utils.logs import console, files

_STATE = "state"
_DATA, _INDEX = ".data-00000-of-00001", ".index"
# All that a run, also one that was killed while it wrote, can leave of checkpoints:
# `.tmp` is ours, `.tempstate` followed by a random number is TensorFlow's.
_FILE = re.compile(r"ckpt-\d+(\.tmp)?\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?")


class Checkpoints:
    """The folder of a run's checkpoints."""

    def __init__(
        self,
        folder: str,
        keep: int = 3,
        is_chief: bool = True,
        average: int = 0,
        every: int | None = None,
    ):
        """Manages `folder`, in which the last `keep` checkpoints stay.

        Only the chief of several workers writes.

        Args:
            folder: of the checkpoints.
            keep: how many of the last ones stay.
            is_chief: whether this process writes.
            average: so many of those of each `every` steps stay too, to be averaged.
            every: steps between them.
        """
        self.folder = folder
        self._keep = keep
        self._is_chief = is_chief
        self._average = average
        self._every = every

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints, ascending."""
        if not tf.io.gfile.isdir(self.folder):
            return []
        matches = (
            re.fullmatch(r"ckpt-(\d+)\.index", name)
            for name in tf.io.gfile.listdir(self.folder)
        )
        return sorted(int(match[1]) for match in matches if match)

    def prefix(self, step: int) -> str:
        """What TensorFlow calls the checkpoint of `step`."""
        return os.path.join(self.folder, f"ckpt-{step}")

    def save(self, variables: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Writes a checkpoint and deletes those that are no longer kept.

        Args:
            variables: variables by structural name; of a mirrored one the first
                replica's value.
            state: JSON-able state of the run: `step`, and `best_step` or None, the step
                of a checkpoint to keep whatever its age.

        Raises:
            UserError: a weight is not finite, or the disk does not take the file. The
                checkpoints before it stay.
        """
        step = state["step"]
        values = {name: _value(variable) for name, variable in variables.items()}
        for name, value in values.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise UserError(
                    f"{name} is not finite at step {step}; no checkpoint is written. "
                    "Lower --learning_rate or set --clip_norm"
                )
        if not self._is_chief:
            return
        values[_STATE] = np.array(json.dumps(state, sort_keys=True).encode())
        prefix = self.prefix(step)
        temporary = prefix + ".tmp"
        try:
            tf.io.gfile.makedirs(self.folder)
            tf.raw_ops.SaveV2(
                prefix=temporary,
                tensor_names=list(values),
                shape_and_slices=[""] * len(values),
                tensors=list(values.values()),
            )
            # Data before index: without its index a checkpoint does not exist.
            for suffix in (_DATA, _INDEX):
                tf.io.gfile.rename(temporary + suffix, prefix + suffix, overwrite=True)
            kept = self._kept(step, state.get("best_step"))
            self._write_state_file(kept)
            self._delete_all_but(kept)
        except (tf.errors.OpError, OSError) as error:
            whole = self.steps()
            self._delete_all_but(whole)
            last = max((other for other in whole if other <= step), default=None)
            raise UserError(
                f"checkpoint {prefix} cannot be written ({one_line(error)}); free "
                "space and start again"
                + ("" if last is None else f": the run goes on from step {last}")
            ) from None

    def resume(self, state: Mapping[str, Any]) -> list[int]:
        """Completes what a killed run left, and notes that the run goes on.

        The note stands in a file beside the checkpoints, because their bytes do not
        depend on how often a run was stopped.

        Args:
            state: the run's state, as `load_latest` gave it.

        Returns:
            The steps from which the run went on so far, that of `state` the last.

        Raises:
            UserError: the folder cannot be written to.
        """
        step = state["step"]
        if not self._is_chief:
            return []
        with writing(f"checkpoint folder {self.folder}"):
            # The state file is older than the newest checkpoint if the run was killed
            # between the two.
            kept = self._kept(step, state.get("best_step"))
            self._write_state_file(kept)
            # Damaged ones stay to be looked at until the next is written.
            damaged = [other for other in self.steps() if other > step]
            self._delete_all_but(kept + damaged)
            return self._note_resume(step)

    def _note_resume(self, step: int) -> list[int]:
        path = os.path.join(self.folder, "checkpoint.resumes")
        steps = []
        if tf.io.gfile.exists(path):
            with tf.io.gfile.GFile(path) as file, contextlib.suppress(ValueError):
                steps = json.loads(file.read())
        steps.append(step)
        files.write_whole(path, json.dumps(steps))
        return steps

    def load(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reads one checkpoint: values by structural name, and the run's state.

        Raises:
            tf.errors.OpError: it is damaged.
        """
        values = read(self.prefix(step))
        try:
            state = json.loads(values.pop(_STATE).item())
            is_whole = state["step"] == step
        except (KeyError, TypeError, ValueError):
            is_whole = False
        if not is_whole:
            raise tf.errors.DataLossError(
                None, None, f"it holds no state of step {step}"
            )
        return values, state

    def load_latest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Reads the newest checkpoint that is whole; None where there is none.

        Damaged ones are skipped with a warning.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.load(step)
            except tf.errors.OpError as error:
                console.warn(
                    f"checkpoint {self.prefix(step)} is damaged and is skipped "
                    f"({one_line(error)})"
                )
        if steps:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged; train anew with --clean"
            )
        return None

    def _kept(self, step: int, best_step: int | None) -> list[int]:
        """Steps of the checkpoints that stay once that of `step` is written."""
        # Later ones are damaged: the run would else have gone on from there.
        steps = [other for other in self.steps() if other <= step]
        kept = {best_step, *steps[-self._keep :], *self._averaged(steps)}
        return [other for other in steps if other in kept]

    def _averaged(self, steps: list[int]) -> list[int]:
        """Those that are averaged where `steps` ends; none that the clock asked for."""
        if not self._average:
            return []
        regular = [step for step in steps[:-1] if step % self._every == 0]
        return [*regular, *steps[-1:]][-self._average :]

    def load_average(self, step: int) -> tuple[dict[str, np.ndarray], list[int]]:
        """The mean of the weights of the last checkpoints up to `step`.

        Args:
            step: of the last one.

        Returns:
            Means by structural name, of what is no floating-point number the last
            value, and the steps they are of.

        Raises:
            tf.errors.OpError: a checkpoint is damaged.
        """
        steps = self._averaged([other for other in self.steps() if other <= step])
        values, _ = self.load(steps[-1])
        sums = {
            name: np.float64(x) for name, x in values.items() if x.dtype.kind == "f"
        }
        for other in steps[:-1]:
            found, _ = self.load(other)
            for name in sums:
                sums[name] = sums[name] + found[name]
        means = {
            name: (total / len(steps)).astype(values[name].dtype)
            for name, total in sums.items()
        }
        return values | means, steps

    def _write_state_file(self, steps: list[int]) -> None:
        names = [f"ckpt-{step}" for step in steps]
        # An absolute folder, so that TensorFlow leaves the names as they are.
        state = tf.compat.v1.train.generate_checkpoint_state_proto(
            "/", names[-1], all_model_checkpoint_paths=names
        )
        files.write_whole(os.path.join(self.folder, "checkpoint"), str(state))

    def _delete_all_but(self, steps: list[int]) -> None:
        """Deletes the other checkpoints, and what killed runs left half written."""
        if not tf.io.gfile.isdir(self.folder):
            return
        kept = {f"ckpt-{step}{suffix}" for step in steps for suffix in (_DATA, _INDEX)}
        names = [
            name
            for name in tf.io.gfile.listdir(self.folder)
            if _FILE.fullmatch(name) and name not in kept
        ]
        # Index before data, the reverse of writing.
        for name in sorted(names, key=lambda name: not name.endswith(_INDEX)):
            tf.io.gfile.remove(os.path.join(self.folder, name))


def read(prefix: str) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint by name.

    Raises:
        tf.errors.OpError: the checkpoint is missing or damaged.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        return {
            name: np.asarray(reader.get_tensor(name))
            for name in reader.get_variable_to_shape_map()
        }
    except (ValueError, RuntimeError, IndexError) as error:
        # The reader's exceptions are of many kinds.
        raise tf.errors.DataLossError(None, None, str(error)) from None


def latest_facts(folder: str) -> dict[str, Any]:
    """`Task.facts` of the newest checkpoint of a folder that can be read; else none."""
    for step in reversed(Checkpoints(folder).steps()):
        with contextlib.suppress(
            ValueError, RuntimeError, IndexError, tf.errors.OpError
        ):
            reader = tf.train.load_checkpoint(os.path.join(folder, f"ckpt-{step}"))
            state = json.loads(reader.get_tensor(_STATE))
            return state.get("facts", {}) if isinstance(state, dict) else {}
    return {}


def read_initial(path: str) -> dict[str, np.ndarray]:
    """The network's part of `--init_checkpoint`.

    Args:
        path: a file prefix, or a folder (of checkpoints, or a run's) for its newest.

    Returns:
        Values by structural name, all beginning with `model/`.

    Raises:
        UserError: there is no readable checkpoint.
    """
    path = path.removesuffix(_INDEX)  # The file that a shell completes to.
    candidates = [os.path.join(path, "checkpoints"), path]
    found = (tf.train.latest_checkpoint(folder) for folder in candidates)
    prefix = next((checkpoint for checkpoint in found if checkpoint), path)
    try:
        values = read(prefix)
    except tf.errors.OpError as error:
        raise UserError(
            f"--init_checkpoint={path} is no readable checkpoint ({one_line(error)}); "
            "name a run's folder, or a prefix such as DIR/checkpoints/ckpt-100"
        ) from None
    return {k: value for k, value in values.items() if k.startswith("model/")}


def assign(
    variables: Mapping[str, Any], values: Mapping[str, np.ndarray], source: str
) -> None:
    """Sets variables to the values of a checkpoint, on all replicas.

    Args:
        variables: by structural name.
        values: by structural name.
        source: the checkpoint's name, for the error.

    Raises:
        UserError: names or shapes differ: the checkpoint is of another network. No
            variable was changed.
    """
    differences = [f"{name} is missing" for name in variables if name not in values]
    differences += [f"{name} is unknown" for name in values if name not in variables]
    differences += [
        f"{name} is {list(values[name].shape)} there and {list(variable.shape)} here"
        for name, variable in variables.items()
        if name in values and values[name].shape != tuple(variable.shape)
    ]
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(
            f"{source} is of another network or optimizer: "
            f"{'; '.join(differences[:3])}{more}. Use the flags it was trained with, "
            "or name another folder"
        )
    for name, variable in variables.items():
        variable.assign(values[name])


def _value(variable) -> np.ndarray:
    """The value of a Keras variable; of a mirrored one, the first replica's."""
    return np.asarray(variable.value)
