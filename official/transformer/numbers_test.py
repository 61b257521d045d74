import sys

import numpy as np
import pytest

from official.transformer import numbers
from official.utils.testing.errors import message_of

num2words = pytest.importorskip("num2words").num2words


def test_equals_num2words():
    """All shapes: each thousand alone, each rest once, and draws of both."""
    generator = np.random.default_rng(0)
    values = np.unique(
        np.concatenate(
            [
                np.arange(1100),
                np.arange(1000) * 1000,
                np.arange(0, 1_000_000, 1001),
                # What follows one thousand, a hundred and 999 thousand.
                *(1000 * n + np.arange(0, 1000, 37) for n in (1, 21, 100, 101, 999)),
                generator.integers(0, 1_000_000, 800),
                [numbers.LARGEST],
            ]
        )
    )
    english, german = numbers.sentences(values)
    assert english == [num2words(int(n), lang="en") for n in values]
    assert german == [num2words(int(n), lang="de") for n in values]


def test_words():
    assert numbers.sentences(np.array([0, 304_217, 1_001])) == (
        [
            "zero",
            "three hundred and four thousand, two hundred and seventeen",
            "one thousand and one",
        ],
        ["null", "dreihundertviertausendzweihundertsiebzehn", "eintausendeins"],
    )


def test_parts_share_no_number():
    drawn = numbers.draw(0)
    assert [len(drawn[part]) for part in numbers.PARTS] == [60_000, 1_000, 1_000]
    everything = np.concatenate(list(drawn.values()))
    assert len(np.unique(everything)) == 62_000
    assert everything.min() == 0 and everything.max() <= numbers.LARGEST
    # Those of up to four digits are all somewhere; the rest are half and half.
    assert (np.sort(everything)[:10_000] == np.arange(10_000)).all()
    assert (everything >= 100_000).sum() == 26_000
    # Each part has short ones and long ones.
    for part in numbers.PARTS:
        digits = np.char.str_len(drawn[part].astype(str))
        shares = np.bincount(digits, minlength=7) / len(digits)
        assert shares[6] == pytest.approx(26 / 62, abs=0.06)
        assert shares[4] == pytest.approx(9 / 62, abs=0.05)


def test_draws_are_those_of_the_seed():
    drawn, again, other = numbers.draw(0), numbers.draw(0), numbers.draw(1)
    for part in numbers.PARTS:
        np.testing.assert_array_equal(drawn[part], again[part])
        assert (drawn[part] != other[part]).any()


@pytest.mark.parametrize("training", [10, 500, 900_000, 998_000])
def test_any_number_for_training(training):
    drawn = numbers.draw(0, training)
    assert [len(drawn[part]) for part in numbers.PARTS] == [training, 1_000, 1_000]
    everything = np.concatenate(list(drawn.values()))
    assert len(np.unique(everything)) == training + 2_000


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "num2words", None)
    assert message_of(numbers.sentences, np.array([1])) == (
        "translation needs num2words: pip install 'official-models[text]'"
    )
