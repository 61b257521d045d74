"""Two builds ask each other's SavedModels, and their answers are compared."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from official.benchmark import processes

# Not imported here: it loads TensorFlow.
CLIENT = os.path.join(os.path.dirname(__file__), "saved_model_client.py")
# Largest difference of two builds' outputs of one SavedModel: kernels may add up in
# another order, in float32.
_OUTPUT_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came of it.

    Attributes:
        text: how the answers to the first and the second model differ.
        failures: by side (0 or 1) its status, a phrase, and the log that shows it; no
            log where the answers themselves are the failure.
    """

    text: str
    failures: dict[int, tuple[str, str, str]]


def ask(
    models: Sequence[str], pythons: Sequence[str], folder: str, time_limit: float
) -> Answers:
    """Lets each of two interpreters serve both models.

    Args:
        models: folders of the SavedModels, the baseline's and the candidate's.
        pythons: the interpreters, likewise.
        folder: takes the answers and logs.
        time_limit: seconds for one interpreter.
    """
    exist = [os.path.isdir(model) for model in models]
    if not all(exist):
        if not any(exist):
            return Answers("none", {})
        reason = "wrote no SavedModel, and the other side did"
        return Answers("none", {exist.index(False): (processes.CRASHED, reason, "")})
    sides = range(2)
    outputs = [[f"{folder}/answers-{of}-by-{by}.npz" for of in sides] for by in sides]
    commands = []
    for by in sides:
        pairs = zip(models, outputs[by], strict=True)
        commands.append(
            processes.Command(
                # -I: neither this project nor its folder is on the path.
                [pythons[by], "-I", CLIENT, *(path for pair in pairs for path in pair)],
                f"{folder}/saved-models-{by}.txt",
                os.environ,
                time_limit,
            )
        )
    failures = {
        side: (
            ending.status,
            f"cannot serve the SavedModels: {ending.detail}",
            commands[side].log_path,
        )
        for side, ending in enumerate(processes.run(*commands))
        if ending.status != processes.OK
    }
    if failures:
        return Answers("failed", failures)
    found = [difference(*answers) for answers in zip(*outputs, strict=True)]
    text = " / ".join(words for _, words in found)
    if not all(are_equal for are_equal, _ in found):
        reason = f"other answers to the models of baseline / candidate: {text}"
        failures = {1: (processes.CRASHED, reason, "")}
    return Answers(text, failures)


def difference(path: str, other_path: str) -> tuple[bool, str]:
    """Whether two files of outputs are equal, and a word on it."""
    with np.load(path) as one, np.load(other_path) as other:
        if "takes_text" in one:
            return True, "not asked (takes text)"
        if sorted(one) != sorted(other):
            return False, f"outputs {', '.join(one)} against {', '.join(other)}"
        largest = 0.0
        for name in one:
            a, b = one[name], other[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                return False, f"{name}: {a.dtype}{a.shape} against {b.dtype}{b.shape}"
            if a.dtype.kind == "f":
                scale = max(1.0, float(np.abs(a).max(initial=0.0)))
                gap = np.abs(a.astype(np.float64) - b) / scale
                # NaN on one side only must not pass as equal.
                gap = np.where(
                    np.isnan(a) & np.isnan(b), 0, np.nan_to_num(gap, nan=1e9)
                )
                largest = max(largest, float(gap.max(initial=0.0)))
            elif not np.array_equal(a, b):
                return False, f"{name} differs in {(a != b).mean():.1%} of its values"
    return largest <= _OUTPUT_TOLERANCE, "equal" if not largest else f"{largest:.1e}"
