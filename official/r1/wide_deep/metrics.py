"""Metrics of yes-or-no guesses that are no means over rows."""

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, exactly: the share of pairs in the right order.

    Args:
        labels: 0 or 1, [N].
        scores: larger where 1 is likelier, [N]. A pair of equal ones counts half.

    Returns:
        From 0 to 1; NaN where one of the labels is missing.
    """
    _, ranks, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # The mean rank of each group of equal scores, counted from 1.
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    is_one = labels > 0.5
    ones = int(is_one.sum())
    zeros = len(labels) - ones
    if not ones or not zeros:
        return float("nan")
    rank_sum = mean_ranks[ranks][is_one].sum()
    return float((rank_sum - ones * (ones + 1) / 2) / (ones * zeros))
