"""BLEU (Papineni et al., 2002): sacreBLEU, and the variant of 2019.

Post, "A Call for Clarity in Reporting BLEU Scores", 2018, arXiv:1804.08771: a score
stands beside its signature, or nobody can compare it.
"""

import collections
import math
import re
import sys
import unicodedata
from collections.abc import Sequence

from official.transformer.text import missing

_ORDER = 4


def corpus_bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    tokenize: str = "13a",
    lowercase: bool = False,
) -> tuple[float, str]:
    """BLEU of a whole set by sacreBLEU.

    Args:
        hypotheses: translations.
        references: one each.
        tokenize: of sacreBLEU: `13a`, `char`, `intl`, ...
        lowercase: whether capitals do not count.

    Returns:
        The score, 0 to 100, and the signature.

    Raises:
        UserError: sacrebleu is missing.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise missing("sacrebleu") from None
    metric = BLEU(tokenize=tokenize, lowercase=lowercase)
    score = metric.corpus_score(list(hypotheses), [list(references)])
    return score.score, str(metric.get_signature())


def bleu_2019(
    hypotheses: Sequence[str], references: Sequence[str], case_sensitive: bool
) -> float:
    """BLEU as the garden of 2019 reported it.

    Punctuation and symbols are words of their own, unless digits stand on both sides;
    n-grams up to 4, the geometric mean of their precisions (an order without a match
    makes the score 0), and the brevity penalty.

    Args:
        hypotheses: translations.
        references: one each.
        case_sensitive: whether capitals count.

    Returns:
        The score, 0 to 100.
    """
    matches, totals = [0] * _ORDER, [0] * _ORDER
    length = reference_length = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        words, expected = (
            _words(text if case_sensitive else text.lower())
            for text in (hypothesis, reference)
        )
        length += len(words)
        reference_length += len(expected)
        for order in range(1, _ORDER + 1):
            found, wanted = _ngrams(words, order), _ngrams(expected, order)
            matches[order - 1] += (found & wanted).total()
            totals[order - 1] += found.total()
    if not all(matches):
        return 0.0
    precision = sum(
        math.log(match / total) for match, total in zip(matches, totals, strict=True)
    )
    penalty = min(0.0, 1 - reference_length / length)
    return 100 * math.exp(precision / _ORDER + penalty)


def _ngrams(words: list[str], order: int) -> collections.Counter:
    return collections.Counter(
        tuple(words[i : i + order]) for i in range(len(words) - order + 1)
    )


def _characters(kind: str) -> str:
    """All characters whose category begins with `kind`, for a regular expression."""
    codes = range(sys.maxunicode + 1)
    found = (chr(c) for c in codes if unicodedata.category(chr(c)).startswith(kind))
    return re.escape("".join(found))


class _Patterns:
    """Made on first use: they take a second."""

    _made = None

    @classmethod
    def get(cls):
        if cls._made is None:
            punctuation, symbols = _characters("P"), _characters("S")
            cls._made = (
                re.compile(rf"([^\d])([{punctuation}])"),
                re.compile(rf"([{punctuation}])([^\d])"),
                re.compile(rf"([{symbols}])"),
            )
        return cls._made


def _words(text: str) -> list[str]:
    before, behind, symbol = _Patterns.get()
    text = before.sub(r"\1 \2 ", text)
    text = behind.sub(r" \1 \2", text)
    return symbol.sub(r" \1 ", text).split()
