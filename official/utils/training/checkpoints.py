"""Checkpoints: every variable and the run's state, by structural name.

A checkpoint is `ckpt-<step>` in TensorFlow's format, so that `tf.train.load_checkpoint`
reads it and `tf.train.latest_checkpoint` finds it. It holds no clock and no path: the
same run writes the same bytes.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.errors import UserError
from official.utils.logs import console

_STATE = "state"


class Checkpoints:
    """The folder of a run's checkpoints."""

    def __init__(self, folder: str, keep: int = 3):
        """Manages `folder`, in which the last `keep` checkpoints stay."""
        self.folder = folder
        self._keep = keep

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
            for suffix in (".data-00000-of-00001", ".index"):
                tf.io.gfile.rename(temporary + suffix, prefix + suffix, overwrite=True)
            kept = self._kept(state.get("best_step"))
            self._write_state_file(kept)
        except (tf.errors.OpError, OSError) as error:
            self._delete(temporary)
            last = max((s for s in self.steps() if s < step), default=None)
            raise UserError(
                f"checkpoint {prefix} cannot be written ({_one_line(error)}); free "
                "space and start again"
                + ("" if last is None else f": the run goes on from step {last}")
            ) from None
        for old in set(self.steps()) - set(kept):
            self._delete(self.prefix(old))

    def load(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reads one checkpoint: values by structural name, and the run's state.

        Raises:
            tf.errors.OpError: it is damaged.
        """
        values = read(self.prefix(step))
        return values, json.loads(values.pop(_STATE).item())

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
            except (tf.errors.OpError, KeyError, ValueError) as error:
                console.warn(
                    f"checkpoint {self.prefix(step)} is damaged and is skipped "
                    f"({_one_line(error)})"
                )
        if steps:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged; train anew with --clean"
            )
        return None

    def _kept(self, best_step: int | None) -> list[int]:
        steps = self.steps()
        best = [best_step] if best_step in steps[: -self._keep] else []
        return best + steps[-self._keep :]

    def _write_state_file(self, steps: list[int]) -> None:
        names = [f"ckpt-{step}" for step in steps]
        state = tf.compat.v1.train.generate_checkpoint_state_proto(
            self.folder, names[-1], all_model_checkpoint_paths=names
        )
        path = os.path.join(self.folder, "checkpoint")
        with tf.io.gfile.GFile(path + ".tmp", "w") as file:
            file.write(str(state))
        tf.io.gfile.rename(path + ".tmp", path, overwrite=True)

    def _delete(self, prefix: str) -> None:
        # Index before data, the reverse of writing.
        for path in (f"{prefix}.index", f"{prefix}.data-00000-of-00001"):
            if tf.io.gfile.exists(path):
                tf.io.gfile.remove(path)


def read(prefix: str) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint by name.

    Raises:
        tf.errors.OpError: the checkpoint is missing or damaged.
    """
    # The reader's own exceptions are of many kinds, hence tf.raw_ops below.
    try:
        reader = tf.train.load_checkpoint(prefix)
        return {
            name: np.asarray(reader.get_tensor(name))
            for name in reader.get_variable_to_shape_map()
        }
    except (ValueError, RuntimeError, IndexError) as error:
        raise tf.errors.DataLossError(None, None, str(error)) from None


def read_initial(path: str) -> dict[str, np.ndarray]:
    """The network's part of `--init_checkpoint`.

    Args:
        path: a file prefix, or a folder (of checkpoints, or a run's) for its newest.

    Returns:
        Values by structural name, all beginning with `model/`.

    Raises:
        UserError: there is no readable checkpoint.
    """
    candidates = [os.path.join(path, "checkpoints"), path]
    found = (tf.train.latest_checkpoint(folder) for folder in candidates)
    prefix = next((checkpoint for checkpoint in found if checkpoint), path)
    try:
        values = read(prefix)
    except tf.errors.OpError as error:
        raise UserError(
            f"--init_checkpoint={path} is no readable checkpoint ({_one_line(error)})"
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
            "or another --model_dir"
        )
    for name, variable in variables.items():
        variable.assign(values[name])


def _value(variable) -> np.ndarray:
    """The value of a Keras variable; of a mirrored one, the first replica's."""
    return np.asarray(variable.value)


def _one_line(error: Exception) -> str:
    return str(getattr(error, "message", error)).strip().splitlines()[0][:200]
