"""BLEU (Papineni et al., 2002): sacreBLEU, and the variant of 2019.

Post, "A Call for Clarity in Reporting BLEU Scores", 2018, arXiv:1804.08771: a score
stands beside its signature, or nobody can compare it.
"""

import collections
import functools
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
        hypotheses: translations, at least one.
        references: one each.
        tokenize: of sacreBLEU: `13a`, `char`, `intl`, ...
        lowercase: whether capitals do not count.

    Returns:
        The score, 0 to 100, and the signature.

    Raises:
        UserError: sacrebleu is missing.
    """
    # The library would leave out what is over.
    assert len(hypotheses) == len(references)
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

    The words are those of mteval's international style: punctuation marks are words,
    unless digits stand on both sides, and so are symbols. Of n-grams up to 4, the k-th
    order without a match counts as one of 2^k matches, and an order that no translation
    is long enough for does not count. Facts: tensorflow/models of 2019,
    `official/transformer/compute_bleu.py` and `utils/metrics.py`.

    Args:
        hypotheses: translations.
        references: one each.
        case_sensitive: whether capitals count.

    Returns:
        The score, 0 to 100; 0 if there is no word in the translations.
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
    if not length:
        return 0.0
    logarithms, unmatched = 0.0, 1.0
    for match, total in zip(matches, totals, strict=True):
        if total and not match:
            unmatched /= 2
        if total:
            logarithms += math.log((match or unmatched) / total)
    penalty = min(0.0, 1 - reference_length / length)
    return 100 * math.exp(logarithms / _ORDER + penalty)


def _ngrams(words: list[str], order: int) -> collections.Counter:
    return collections.Counter(
        tuple(words[i : i + order]) for i in range(len(words) - order + 1)
    )


def _words(text: str) -> list[str]:
    before, behind, symbol = _patterns()
    text = before.sub(r"\1 \2 ", text)
    text = behind.sub(r" \1 \2", text)
    return symbol.sub(r" \1 ", text).split()


@functools.cache
def _patterns() -> tuple[re.Pattern, re.Pattern, re.Pattern]:
    """Punctuation behind what is no digit, before what is none, and symbols."""
    categories = {chr(c): unicodedata.category(chr(c)) for c in range(sys.maxunicode)}
    punctuation, symbols = (
        "".join(c for c, category in categories.items() if category[0] == kind)
        for kind in "PS"
    )
    # In 2019 a backslash was no mark: it stood unescaped in this very expression.
    punctuation = re.escape(punctuation.replace("\\", ""))
    return (
        re.compile(rf"(\D)([{punctuation}])"),
        re.compile(rf"([{punctuation}])(\D)"),
        re.compile(f"([{re.escape(symbols)}])"),
    )
