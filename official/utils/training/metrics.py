"""Metrics that are no means over rows."""

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, exactly: the share of pairs in the right order.

    Args:
        labels: 0 or 1, [N].
        scores: larger where 1 is likelier, [N]. A pair of equal ones counts half.

    Returns:
        From 0 to 1; NaN where one of the labels is missing.
    """
    # Its import takes a second that not every run needs.
    from sklearn.metrics import roc_auc_score

    is_one = np.asarray(labels) > 0.5
    if is_one.all() or not is_one.any():
        return float("nan")
    return float(roc_auc_score(is_one, scores))
