import math

import numpy as np
import pytest

from official.utils.training import metrics


@pytest.mark.parametrize("levels", [3, 10_000])
def test_auc_is_the_share_of_pairs_in_the_right_order(levels):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 1000)
    scores = np.round(generator.normal(labels, 1) * levels / 3)
    differences = scores[labels == 1][:, None] - scores[labels == 0]
    expected = (differences > 0).mean() + (differences == 0).mean() / 2
    assert metrics.auc(labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_auc_of_one_label_is_nan(label):
    assert math.isnan(metrics.auc(np.full(3, label), np.arange(3)))
