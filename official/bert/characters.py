"""What BERT's normalisation makes of each code point.

The rules are those of BERT's own tokenizer (Devlin et al. 2018) as the `tokenizers`
library carries them out: control characters are dropped; uncased networks read lower
case without accents; words end at white space; punctuation marks and Chinese characters
are words of their own.

That library knows the punctuation marks and accents of Unicode 8, but the lower case of
Unicode 17. Published networks are served with it, so its ids are what counts; and they
must not depend on the Unicode of the Python at hand. Where the two differ is listed
here.
"""

import dataclasses
import functools
import itertools
import unicodedata
from typing import Any

import numpy as np

# What a code point is: of a word, between words, a word of its own, of no account, or
# of no account because it is an accent.
LETTER, SPACE, SINGLE, DROPPED, ACCENT = range(5)

# Code points from here on are letters, but for those below. As no scripts are there,
# all of them are written as one that is no character.
_NUM_COMMON = 0x34000
STAND_IN = 0x10FFFF
# Tags and selectors of variants, which are dropped, or letters.
_SELECTORS = range(0xE0000, 0xE0200)
_PRIVATE = 0xF0000
_LETTER_ROW = _NUM_COMMON + len(_SELECTORS)
_DROPPED_ROW = _LETTER_ROW + 1

_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F),
    # 2B820 to 2B91F are left out by that library.
    (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
# Younger than Unicode 8, and therefore letters: marks, accents and format characters,
# with letters between them.
_YOUNG = (
    (0x61D, 0x61D),
    (0x7FD, 0x7FD),
    (0x890, 0x8E2),
    (0x9FD, 0x9FE),
    (0xA76, 0xA76),
    (0xAFA, 0xAFF),
    (0xB55, 0xB55),
    (0xC04, 0xC3C),
    (0xC77, 0xC77),
    (0xC84, 0xC84),
    (0xD00, 0xD00),
    (0xD3B, 0xD3C),
    (0xD81, 0xD81),
    (0xEBA, 0xEBA),
    (0xECE, 0xECE),
    (0x180F, 0x1886),
    (0x1ABF, 0x1ACE),
    (0x1B7D, 0x1B7E),
    (0x1DF6, 0x1DFB),
    (0x2E43, 0x2E5D),
    (0xA82C, 0xA82C),
    (0xA8C5, 0xA8C5),
    (0xA8FF, 0xA8FF),
    (0xA9BD, 0xA9BD),
    (0x10D24, 0x10D27),
    (0x10EAB, 0x10F89),
    (0x11070, 0x11074),
    (0x110C2, 0x110CD),
    (0x111CF, 0x111CF),
    (0x1123E, 0x11241),
    (0x1133B, 0x1133B),
    (0x11438, 0x1145E),
    (0x11660, 0x1166C),
    (0x116B9, 0x116B9),
    (0x1182F, 0x1183B),
    (0x11938, 0x11FFF),
    (0x12FF1, 0x13455),
    (0x16E97, 0x16E9A),
    (0x16F4F, 0x16F4F),
    (0x16FE2, 0x16FE4),
    (0x1CF00, 0x1CF46),
    (0x1E000, 0x1E4EF),
    (0x1E944, 0x1E95F),
)
# Categories of Unicode: control, format, private and half characters; spaces; accents;
# punctuation. The others are letters, also what is not assigned (Cn).
_KIND_OF = {
    **dict.fromkeys(("Cc", "Cf", "Co", "Cs"), DROPPED),
    **dict.fromkeys(("Zs", "Zl", "Zp"), SPACE),
    "Mn": ACCENT,
    **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"), SINGLE),
}
_EXCEPTIONS = {
    SPACE: "\t\n\r",
    # The symbols of ASCII, and what was punctuation in Unicode 8.
    SINGLE: "$+<=>^`|~\u166d\U000111c9",
    ACCENT: "\u1734",
    # What stands for invalid bytes.
    DROPPED: "\ufffd",
}
# Capitals younger than Python 3.10, with their small letters: first capital, number,
# step, first small letter.
_YOUNG_CAPITALS = (
    (0x1C89, 1, 1, 0x1C8A),
    (0x2C2F, 1, 1, 0x2C5F),
    (0xA7C0, 1, 1, 0xA7C1),
    (0xA7CB, 1, 1, 0x264),
    (0xA7CC, 8, 2, 0xA7CD),
    (0xA7DC, 1, 1, 0x19B),
    (0x10570, 11, 1, 0x10597),
    (0x1057C, 15, 1, 0x105A3),
    (0x1058C, 7, 1, 0x105B3),
    (0x10594, 2, 1, 0x105BB),
    (0x10D50, 22, 1, 0x10D70),
    (0x16EA0, 25, 1, 0x16EBB),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Characters:
    """A table of code points; `rows` says which row is whose.

    Attributes:
        splits: int64 [rows + 1]; a row becomes `codes[splits[row] : splits[row + 1]]`,
            mostly a single code point, and nothing if it is dropped.
        codes: int32 [N], code points.
        kinds: int32 [N], `LETTER`, `SPACE` or `SINGLE`, of `codes`.
        is_accent: bool [rows]; dropped, and belongs to the character before it.
    """

    splits: np.ndarray
    codes: np.ndarray
    kinds: np.ndarray
    is_accent: np.ndarray


@functools.cache
def table(lower_case: bool) -> Characters:
    """Describes all code points.

    Args:
        lower_case: for uncased networks.
    """
    kinds = _kinds()
    if not lower_case:
        # These networks keep accents.
        kinds[kinds == ACCENT] = LETTER
    written = [[code] for code in (*range(_NUM_COMMON), *_SELECTORS, STAND_IN)]
    written.append([])
    if lower_case:
        for code, codes in _small_letters(kinds).items():
            written[code] = codes
    for row in np.flatnonzero((kinds == DROPPED) | (kinds == ACCENT)):
        written[row] = []
    codes = np.array(list(itertools.chain.from_iterable(written)), np.int32)
    splits = np.cumsum([0, *map(len, written)], dtype=np.int64)
    return Characters(splits, codes, kinds[rows(codes)], kinds == ACCENT)


def rows(codes: Any, operations: Any = np) -> Any:
    """Finds the rows of code points in the table.

    Args:
        codes: int32 [N].
        operations: NumPy, or what has its `where` (TensorFlow).

    Returns:
        int32 [N].
    """
    where = operations.where
    # The last two of each plane are no characters, and so not private ones.
    is_private = (codes >= _PRIVATE) & (codes % 0x10000 < 0xFFFE)
    rare = where(is_private, _DROPPED_ROW, _LETTER_ROW)
    selector = codes - _SELECTORS.start
    is_selector = (selector >= 0) & (selector < len(_SELECTORS))
    rare = where(is_selector, selector + _NUM_COMMON, rare)
    return where(codes < _NUM_COMMON, codes, rare)


def is_word(character: str, lower_case: bool) -> bool:
    """Whether a normalised character is a word of its own."""
    found = table(lower_case)
    return found.kinds[found.splits[rows(ord(character))]] == SINGLE


def _kinds() -> np.ndarray:
    """The kind of each row, int32, for uncased networks."""
    codes = (*range(_NUM_COMMON), *_SELECTORS)
    kinds = [_KIND_OF.get(unicodedata.category(chr(code)), LETTER) for code in codes]
    kinds = np.array([*kinds, LETTER, DROPPED], np.int32)
    for kind, ranges in ((SINGLE, _IDEOGRAPHS), (LETTER, _YOUNG)):
        for first, last in ranges:
            kinds[first : last + 1] = kind
    for kind, characters in _EXCEPTIONS.items():
        kinds[[ord(character) for character in characters]] = kind
    return kinds


def _small_letters(kinds: np.ndarray) -> dict[int, list[int]]:
    """The code points that become others, without accents and in lower case."""
    young = {code for first, last in _YOUNG for code in range(first, last + 1)}
    replaced = {}
    for code in range(_NUM_COMMON):
        character = chr(code)
        parts = unicodedata.normalize("NFD", character)
        # Each by itself: a capital sigma at a word's end would become a final one.
        small = "".join(part.lower() for part in parts if kinds[ord(part)] != ACCENT)
        if small != character and code not in young:
            replaced[code] = [ord(part) for part in small]
    for capital, count, step, small in _YOUNG_CAPITALS:
        for shift in range(0, count * step, step):
            replaced[capital + shift] = [small + shift]
    return replaced
