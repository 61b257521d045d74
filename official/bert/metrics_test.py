import math

import numpy as np
import pytest

from official.bert import metrics

LABELS = np.array([1, 1, 1, 0, 0, 1], np.int32)
GUESSES = np.array([1, 1, 0, 1, 0, 0])


def test_two_classes():
    # Of class 1: 2 found, 1 wrongly, 2 missed; 1 of class 0 is found.
    found = metrics.compute(("accuracy", "f1", "matthews"), LABELS, GUESSES)
    assert found == pytest.approx(
        {
            "accuracy": 3 / 6,
            "f1": 2 * 2 / (2 * 2 + 1 + 2),
            "matthews": (2 * 1 - 1 * 2) / math.sqrt(3 * 4 * 2 * 3),
        }
    )
    assert list(found) == ["accuracy", "f1", "matthews"]
    assert all(type(value) is float for value in found.values())


def test_matthews_of_two_and_of_three_classes():
    labels, guesses = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 0, 0])
    found = metrics.compute(["matthews"], labels, guesses)["matthews"]
    assert found == pytest.approx((2 * 2 - 0 * 1) / math.sqrt(2 * 3 * 2 * 3))
    # Gorodkin, 2004: 4 of 6 right; counts of labels 2, 2, 2 and of guesses 3, 2, 1.
    labels, guesses = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 2, 1])
    found = metrics.compute(["matthews"], labels, guesses)["matthews"]
    covariance = 4 * 6 - (2 * 3 + 2 * 2 + 2 * 1)
    spread = (36 - (9 + 4 + 1)) * (36 - (4 + 4 + 4))
    assert found == pytest.approx(covariance / math.sqrt(spread))


def test_correlations():
    labels = np.array([1, 2, 3, 4], np.float32)
    guesses = np.array([1, 2, 3, 10], np.float32)
    found = metrics.compute(("pearson", "spearman"), labels, guesses)
    # Products of what is above and below the means, 2.5 and 4: sum 14; squares 5, 50.
    assert found["pearson"] == pytest.approx(14 / math.sqrt(5 * 50))
    assert found["spearman"] == pytest.approx(1)
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: products sum 3; squares 4.5 and 5.
    labels, guesses = np.array([0.0, 2.0, 2.0, 5.0]), np.array([0.2, 0.1, 0.3, 9.0])
    found = metrics.compute(["spearman"], labels, guesses)["spearman"]
    assert found == pytest.approx(3 / math.sqrt(4.5 * 5))


@pytest.mark.filterwarnings("error")
def test_undefined_values_are_0():
    zeros, ones = np.zeros(3, np.int32), np.ones(3, np.int32)
    mixed = np.array([0, 1, 1])
    for labels, guesses in [(zeros, zeros), (zeros, mixed), (mixed, zeros)]:
        found = metrics.compute(("f1", "matthews"), labels, guesses)
        assert found == {"f1": 0.0, "matthews": 0.0}
    found = metrics.compute(("accuracy", "f1", "matthews"), ones, ones)
    assert found == {"accuracy": 1.0, "f1": 1.0, "matthews": 0.0}
    scores = np.array([1.0, 2.0, 4.0], np.float32)
    names = ("pearson", "spearman")
    for other in ([1, 1, 1], [1, math.nan, 2], [1, 2, math.inf]):
        other = np.array(other, np.float32)
        for labels, guesses in [(scores, other), (other, scores)]:
            found = metrics.compute(names, labels, guesses)
            assert found == {"pearson": 0.0, "spearman": 0.0}
    one = np.ones(1, np.float32)
    assert metrics.compute(names, one, one) == {"pearson": 0.0, "spearman": 0.0}


def test_arrays_that_do_not_fit():
    for labels, guesses in [(LABELS, GUESSES[:5]), (LABELS[:0], GUESSES[:0])]:
        with pytest.raises(AssertionError):
            metrics.compute(["accuracy"], labels, guesses)
    with pytest.raises(AssertionError):
        metrics.compute(["accuracy"], LABELS[:, None], GUESSES[:, None])
