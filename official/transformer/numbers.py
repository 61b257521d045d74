"""The embedded data set: whole numbers in English words, and in German ones.

    304,217: three hundred and four thousand, two hundred and seventeen
             dreihundertviertausendzweihundertsiebzehn

The words are those of the package num2words. It is slow, so only those of 0 to 999 come
from it; a test compares the larger numbers, which are composed of them.
"""

import numpy as np

from official.transformer.text import missing

PARTS = ("train", "validation", "test")
LARGEST = 999_999
_HELD_OUT = 1_000
_TRAINING = 60_000


def draw(seed: int, training: int = _TRAINING) -> dict[str, np.ndarray]:
    """Numbers for each part, none of which is in two of them.

    Every number of digits up to six is as likely as another, as far as there are so
    many numbers of it.

    Args:
        seed: of the draw.
        training: numbers of the training part.

    Returns:
        int64 [numbers] by the names of `PARTS`; validation and test have 1,000 each.
    """
    generator = np.random.default_rng(seed)
    total = training + 2 * _HELD_OUT
    found: list[np.ndarray] = []
    left = total
    # The short ones first: there are 10 of one digit, 90 of two.
    for digits in range(1, 7):
        low = 10 ** (digits - 1) if digits > 1 else 0
        available = np.arange(low, 10**digits)
        share = min(len(available), left // (7 - digits))
        found.append(generator.choice(available, share, replace=False))
        left -= share
    numbers = generator.permutation(np.concatenate(found))
    ends = (len(numbers) - 2 * _HELD_OUT, len(numbers) - _HELD_OUT)
    return dict(zip(PARTS, np.split(numbers, ends), strict=True))


def sentences(numbers: np.ndarray) -> tuple[list[str], list[str]]:
    """The words of numbers.

    Args:
        numbers: integers from 0 to `LARGEST`.

    Returns:
        English and German words, a text a number.

    Raises:
        UserError: num2words is missing.
    """
    english, german = _Words("en"), _Words("de")
    values = numbers.tolist()
    return [english.english(n) for n in values], [german.german(n) for n in values]


class _Words:
    """Words of 0 to 999 in one language, looked up once, and what they compose."""

    def __init__(self, language: str):
        try:
            import num2words
        except ImportError:
            raise missing("num2words") from None
        self._small = [num2words.num2words(n, lang=language) for n in range(1000)]

    def english(self, number: int) -> str:
        thousands, rest = divmod(number, 1000)
        if not thousands:
            return self._small[rest]
        words = f"{self._small[thousands]} thousand"
        if not rest:
            return words
        # "one thousand and five", "one thousand, one hundred and five"
        joint = ", " if rest >= 100 else " and "
        return f"{words}{joint}{self._small[rest]}"

    def german(self, number: int) -> str:
        thousands, rest = divmod(number, 1000)
        if not thousands:
            return self._small[rest]
        # "eintausend", but "einhunderteinstausend", as num2words has it.
        words = "ein" if thousands == 1 else self._small[thousands]
        return f"{words}tausend{self._small[rest] if rest else ''}"
