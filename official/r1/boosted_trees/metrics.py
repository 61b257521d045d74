"""How well chances tell signals from the rest."""

import numpy as np

from official.utils.training.metrics import auc

# Log loss counts a chance of 0 or 1 as this far from it.
_MARGIN = 1e-15


def log_loss(labels: np.ndarray, chances: np.ndarray) -> float:
    """Mean cross entropy in nats."""
    given = np.where(labels > 0, chances, 1 - chances)
    return float(-np.log(np.clip(given, _MARGIN, 1)).mean())


def evaluate(labels: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    """Metrics of predictions.

    Args:
        labels: 0 or 1, [N].
        chances: predicted probability of 1, [N].

    Returns:
        `accuracy` (at one half), `auc` where there are both labels, `loss`.
    """
    found = {
        "accuracy": float(((chances > 0.5) == (labels > 0)).mean()),
        "auc": auc(labels, chances),
        "loss": log_loss(labels, chances),
    }
    return {name: value for name, value in found.items() if not np.isnan(value)}


def known(labels: np.ndarray, best_chances: np.ndarray | None) -> dict[str, float]:
    """What there is to compare with.

    Args:
        labels: 0 or 1, [N].
        best_chances: the true chances of 1 where they are known.

    Returns:
        `baseline_accuracy`, of the more frequent label; `best_accuracy`, `best_auc` and
        `best_loss`, of the true chances.
    """
    share = float(labels.mean())
    found = {"baseline_accuracy": max(share, 1 - share)}
    if best_chances is not None:
        best = evaluate(labels, best_chances)
        found |= {f"best_{name}": value for name, value in best.items()}
    return found
