import math

import numpy as np
import pytest
import sklearn.metrics

from official.r1.wide_deep import metrics


@pytest.mark.parametrize("levels", [3, 10_000])
def test_auc_is_that_of_scikit_learn(levels):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 1000)
    scores = np.round(generator.normal(labels, 1) * levels / 3)
    expected = sklearn.metrics.roc_auc_score(labels, scores)
    assert metrics.auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_auc_of_one_label_is_nan():
    assert math.isnan(metrics.auc(np.ones(3), np.arange(3)))
