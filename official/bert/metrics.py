"""Metrics of classes and of scores, of all examples at once."""

from collections.abc import Callable, Sequence

import numpy as np

# scikit-learn and SciPy are imported where they are used: that takes seconds, and many
# tasks report what needs neither.


def compute(
    names: Sequence[str], labels: np.ndarray, predictions: np.ndarray
) -> dict[str, float]:
    """Computes metrics by name.

    A metric that the data leave undefined is 0: F1 where class 1 is neither there nor
    predicted, a correlation where one side does not vary or is not finite.

    Args:
        names: of `METRICS`.
        labels: [N], N > 0: classes, or scores for `pearson` and `spearman`.
        predictions: [N], the same of the network.

    Returns:
        The value of each, as a fraction: from 0 to 1, correlations from -1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    assert labels.ndim == 1 and labels.shape == predictions.shape, (
        labels.shape,
        predictions.shape,
    )
    assert len(labels)
    return {name: float(METRICS[name](labels, predictions)) for name in names}


def _accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    return np.mean(labels == predictions)


def _f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Harmonic mean of precision and recall of class 1."""
    from sklearn.metrics import f1_score

    return f1_score(labels == 1, predictions == 1, zero_division=0)


def _matthews(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Matthews' correlation coefficient, of two or more classes."""
    from sklearn.metrics import matthews_corrcoef

    if _is_constant(labels) or _is_constant(predictions):
        return 0.0
    return matthews_corrcoef(labels, predictions)


def _pearson(labels: np.ndarray, predictions: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, predictions)


def _spearman(labels: np.ndarray, predictions: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, predictions)


def _correlation(
    function: Callable, labels: np.ndarray, predictions: np.ndarray
) -> float:
    labels, predictions = labels.astype(np.float64), predictions.astype(np.float64)
    if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
        return 0.0
    if _is_constant(labels) or _is_constant(predictions):
        return 0.0
    return function(labels, predictions).statistic


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


METRICS = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
