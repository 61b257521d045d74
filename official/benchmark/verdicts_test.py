import json
import math
import pathlib

import numpy as np
import pytest

from official.benchmark import verdicts
from official.benchmark.verdicts import FASTER, SAME, SLOWER

SPEED, STARTUP, MEMORY = verdicts.QUANTITIES
RECORDED = pathlib.Path(__file__).parent / "testdata" / "turns.json"


# ---- The gate ----


def test_few_nights_allow_the_margin():
    found = verdicts.limits(SPEED, [100.0, 104.0, 102.0])
    assert (found.median, found.nights) == (102.0, 3)
    assert (found.low, found.high) == pytest.approx((94.86, 109.14))
    assert verdicts.limits(SPEED, []) is None
    one = verdicts.limits(SPEED, [100.0])
    assert (one.low, one.high) == pytest.approx((93, 107))


def test_ten_nights_allow_four_robust_deviations():
    # Median 100, absolute deviations 0 1 1 2 2 3 3 4 4 900: their median is 2.5.
    nights = [100, 99, 101, 98, 102, 97, 103, 96, 104, 1000]
    found = verdicts.limits(SPEED, nights)
    assert found.median == 100.5
    # Around 100.5 the deviations are .5 .5 1.5 1.5 2.5 2.5 3.5 3.5 4.5 899.5.
    assert found.high - found.median == pytest.approx(4 * 1.4826 * 2.5)
    assert verdicts.limits(SPEED, nights[:9]).high == pytest.approx(100 * 1.07)


def test_quiet_nights_keep_a_floor():
    found = verdicts.limits(SPEED, [100.0] * 20)
    assert (found.low, found.high) == pytest.approx((97, 103))
    # Half a second of start-up is never a regression.
    assert verdicts.limits(STARTUP, [2.0] * 20).high == pytest.approx(2.5)
    assert verdicts.limits(STARTUP, [20.0] * 20).high == pytest.approx(22)


def test_only_the_last_thirty_nights_count():
    found = verdicts.limits(SPEED, [1.0] * 100 + [100.0] * 30)
    assert (found.median, found.nights) == (100.0, 30)


def test_the_direction_of_a_regression_is_the_quantity_s_own():
    allowed = verdicts.Limits(100, 93, 107, 5)
    assert [verdicts.speed_change(SPEED, x, allowed) for x in (92, 93, 107, 108)] == [
        *(-1, 0, 0, 1)
    ]
    assert [verdicts.speed_change(MEMORY, x, allowed) for x in (92, 100, 108)] == [
        *(1, 0, -1)
    ]
    assert verdicts.speed_change(SPEED, 1, None) == 0


def test_bands():
    bands = {"accuracy": (0.9, 1.0), "loss": (0.1, 0.5)}
    assert verdicts.out_of_band(bands, {"accuracy": 0.9, "loss": 0.5}) == {}
    assert verdicts.out_of_band(bands, {"accuracy": 0.8999, "loss": 0.05}) == {
        "accuracy": "accuracy 0.8999 is outside 0.9 to 1",
        "loss": "loss 0.05 is outside 0.1 to 0.5",
    }
    for value in (None, math.nan):
        assert verdicts.out_of_band(bands, {"accuracy": value, "loss": 0.2}) == {
            "accuracy": "accuracy is missing or no number"
        }


# Examples a second of mnist/instant, the same build and seed one after the other on
# two shared cores, 25 November 2026: a very noisy machine.
NIGHTS = (
    *(727.5, 840.9, 817.8, 800.4, 890.1, 823.4, 1111.1, 801.1, 830.2, 779.6),
    *(778.1, 837.9, 941.0),
)


@pytest.mark.parametrize(
    ("nights", "most_false"), [(5, 0.05), (10, 0.035), (30, 0.012)]
)
def test_alarms_of_the_gate_over_10000_draws(nights, most_false):
    generator = np.random.default_rng(nights)
    drawn = generator.choice(NIGHTS, (10_000, nights + 1, 3))
    values = np.median(drawn, axis=2)  # Three seeds a night.
    false = missed = 0
    for before, tonight in zip(values[:, :-1], values[:, -1], strict=True):
        allowed = verdicts.limits(SPEED, before.tolist())
        false += verdicts.speed_change(SPEED, tonight, allowed) < 0
        missed += verdicts.speed_change(SPEED, 0.6 * tonight, allowed) >= 0
    print(f"{nights} nights: {false} false alarms, {missed} missed of 10000")
    assert false <= 10_000 * most_false
    assert missed <= 10_000 * 0.01


# ---- The comparison ----


def test_paired_ratio_of_equal_rounds_is_exact():
    found = verdicts.paired_ratio([[0.9] * 4] * 3)
    assert (found.median, found.low, found.high) == pytest.approx((0.9, 0.9, 0.9))
    assert found.rounds == 3
    assert str(found) == "0.900 (0.900 to 0.900)"


def test_paired_ratio_has_no_favourite():
    generator = np.random.default_rng(0)
    rounds = np.exp(generator.normal(0.05, 0.1, (4, 20)))
    one, other = verdicts.paired_ratio(rounds), verdicts.paired_ratio(1 / rounds)
    assert one.median * other.median == pytest.approx(1)
    assert one.low * other.high == pytest.approx(1, rel=1e-2)
    assert verdicts.paired_ratio(rounds) == one  # The bootstrap is seeded.


def test_rounds_that_disagree_widen_the_interval():
    disagree = verdicts.paired_ratio([[0.95] * 20, [1.05] * 20] * 2)
    assert (disagree.low, disagree.high) == pytest.approx((0.95, 1.05))
    # The same 80 ratios, dealt out evenly and sorted into rounds.
    ratios = np.exp(np.sort(np.random.default_rng(0).normal(0, 0.05, 80)))
    agree = verdicts.paired_ratio(ratios.reshape(20, 4).T)
    disagree = verdicts.paired_ratio(ratios.reshape(4, 20))
    assert agree.median == disagree.median
    assert disagree.high - disagree.low > 2 * (agree.high - agree.low)


@pytest.mark.parametrize(
    ("median", "low", "high", "rounds", "verdict"),
    [
        (0.94, 0.90, 0.979, 3, SLOWER),
        (0.94, 0.90, 0.981, 3, None),  # The interval is not beyond 2 %.
        (0.951, 0.94, 0.96, 3, None),  # The median is not beyond 5 %.
        (0.951, 0.94, 0.96, 15, SAME),
        (0.94, 0.90, 0.979, 2, None),  # Two rounds are too few.
        (1.06, 1.021, 1.1, 3, FASTER),
        (1.06, 1.02, 1.1, 3, None),
        (1.0, 0.951, 1.05, 3, SAME),
        (1.0, 0.949, 1.05, 3, None),
        (1.0, 0.8, 1.2, 15, SAME),
    ],
)
def test_speed_verdict(median, low, high, rounds, verdict):
    assert verdicts.speed_verdict(verdicts.Ratio(median, low, high, rounds)) == verdict


def compare(recorded, generator, factor):
    """A comparison of two builds of which the candidate is `factor` times as fast."""
    rounds = []
    while True:
        ratios = recorded[generator.integers(len(recorded))]
        if generator.random() < 0.5:
            ratios = -ratios  # Either process may be the candidate's.
        start = generator.integers(len(ratios) - 30 + 1)
        # Turns in a row, as they drifted together.
        rounds.append(np.exp(ratios[start : start + 30]) * factor)
        found = verdicts.speed_verdict(verdicts.paired_ratio(rounds))
        if found is not None:
            return found, len(rounds)


def test_alarms_of_the_comparison_over_10000_draws():
    with open(RECORDED) as file:
        turns = np.array(json.load(file)["rounds"])  # [rounds, sides, turns]
    recorded = np.log(turns[:, 0] / turns[:, 1])
    assert recorded.shape == (12, 60)
    generator = np.random.default_rng(0)
    counts, rounds = {}, {}
    for factor, draws in ((1.0, 4000), (0.9, 3000), (1 / 0.9, 3000)):
        found = [compare(recorded, generator, factor) for _ in range(draws)]
        counts[factor] = [
            sum(verdict == word for verdict, _ in found)
            for word in (SLOWER, SAME, FASTER)
        ]
        rounds[factor] = np.mean([number for _, number in found])
    print("slower, same, faster by factor:", counts, "rounds:", rounds)
    false = 4000 - counts[1.0][1]
    missed = 6000 - counts[0.9][0] - counts[1 / 0.9][2]
    assert false <= 8  # .2 %: twenty comparisons with themselves, one alarm in 25.
    assert missed <= 30  # .5 %
    assert max(rounds.values()) < 5


def test_largest_difference():
    assert verdicts.largest_difference([1, 2, 3], [1, 2.5, 2.75]) == 0.5
    assert verdicts.largest_difference([1, 2], [1]) == 0
    assert verdicts.largest_difference([], []) is None
