import numpy as np
import pytest

from official.transformer import numbers

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
                generator.integers(0, 1_000_000, 800),
            ]
        )
    )
    english, german = numbers.sentences(values)
    assert english == [num2words(int(n)) for n in values]
    assert german == [num2words(int(n), lang="de") for n in values]


def test_parts_share_no_number():
    drawn = numbers.draw(0)
    assert [len(drawn[part]) for part in numbers.PARTS] == [60_000, 1_000, 1_000]
    everything = np.concatenate(list(drawn.values()))
    assert len(np.unique(everything)) == 62_000
    assert everything.min() == 0 and everything.max() <= numbers.LARGEST
    # Those of one and two digits are all somewhere.
    assert (np.sort(everything)[:100] == np.arange(100)).all()
    again, other = numbers.draw(0), numbers.draw(1)
    np.testing.assert_array_equal(drawn["test"], again["test"])
    assert (drawn["test"] != other["test"]).any()
