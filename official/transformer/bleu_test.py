# ruff: noqa: RUF001 - dashes that look like others.
import itertools
import math
import random
import sys

import pytest

from official.transformer import bleu
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

pytest.importorskip("sacrebleu")


def worsened(lines):
    """Some words are lost, some have no capitals, and some change places."""
    generator = random.Random(0)
    for line in lines:
        words = [word for word in line.split() if generator.random() > 0.1]
        if len(words) > 1 and generator.random() < 0.5:
            words[0], words[1] = words[1], words[0]
        yield " ".join(w if generator.random() > 0.1 else w.lower() for w in words)


def test_by_hand():
    hypothesis, reference = ["the cat sat on the mat ."], ["the cat sat on a mat ."]
    # 6 of 7 words, 4 of 6 pairs, 2 of 5 and 1 of 4; of equal length.
    expected = 100 * (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25
    assert bleu.bleu_2019(hypothesis, reference, True) == pytest.approx(expected)
    score, signature = bleu.corpus_bleu(hypothesis, reference)
    assert score == pytest.approx(expected)
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    # Two "the" where there is one count once: of "the the", 1 of 2 words.
    expected = 100 * (1 / 2 * 1 / 2) ** 0.25
    assert bleu.bleu_2019(["the the"], ["the a"], True) == pytest.approx(expected)


def test_counts_of_2019():
    # Brackets are words: 6 of them where 7 are expected.
    found = bleu.bleu_2019(
        ["A dog ( small ) barks"], ["A dog (small) barks loudly"], True
    )
    assert found == pytest.approx(100 * math.exp(1 - 7 / 6))
    # Longer ones are not punished beyond their precision: 4/5, 3/4, 2/3, 1/2.
    found = bleu.bleu_2019(["a b c d e"], ["a b c d"], True)
    assert found == pytest.approx(100 * 0.2**0.25)
    # 2 of 5 words; 1/2 of 4 pairs, 1/4 of 3 and 1/8 of 2.
    found = bleu.bleu_2019(["a b c d e"], ["a q c s t"], True)
    assert found == pytest.approx(100 * (2 / 5 / 8 / 12 / 16) ** 0.25)
    # 1/2 of 2 words, and longer ones are not there.
    found = bleu.bleu_2019(["Dog", "Cat"], ["x", "y"], True)
    assert found == pytest.approx(100 * 0.25**0.25)
    assert bleu.bleu_2019(["", ""], ["x", "y"], True) == 0
    assert bleu.bleu_2019(["a", ""], ["", ""], True) == pytest.approx(100 * 0.5**0.25)
    assert bleu.bleu_2019([], [], True) == 0
    with pytest.raises(ValueError):
        bleu.bleu_2019(["a"], ["a", "b"], True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3.5% of 1,000 - no?", "It ' s 3.5 % of 1,000 - no ?"),
        ("Test0, 1 two, 3", "Test0 , 1 two , 3"),
        # A mark behind a digit at the end stays with it.
        ("in 2019.", "in 2019."),
        ("in 2019. But", "in 2019 . But"),
        ("„Süß“ – 5€+x²…", "„ Süß “ – 5 € + x² …"),
        ("私は、東京。", "私は 、 東京 。"),
        # As it happened in 2019.
        (r"a\b [c]", r"a\b [ c ]"),
        ("", ""),
    ],
)
def test_words_of_2019(text, words):
    assert bleu._words(text) == words.split()


def test_real_text_gives_the_scores_of_the_library():
    """Its tokens `intl` are those of 2019, but for digits such as ½ and backslashes."""
    with open(real_data("multi30k", "test2016.de"), encoding="utf-8") as file:
        references = file.read().splitlines()
    hypotheses = list(worsened(references))
    for is_cased, count in itertools.product((True, False), (1000, 30, 1)):
        both = hypotheses[:count], references[:count]
        found = bleu.bleu_2019(*both, is_cased)
        score, _ = bleu.corpus_bleu(*both, "intl", lowercase=not is_cased)
        assert found == pytest.approx(score)
        assert 50 < found < 90 or count == 1
    assert bleu.bleu_2019(references, references, True) == pytest.approx(100)


def test_tokens_and_case_of_the_library():
    numbers = ["dreihundertvier"], ["dreihundertfünf"]
    assert bleu.corpus_bleu(*numbers)[0] == 0
    score, signature = bleu.corpus_bleu(*numbers, tokenize="char")
    # 11 of 15 characters, 10 of 14 pairs, 9 of 13 and 8 of 12.
    expected = 100 * (11 / 15 * 10 / 14 * 9 / 13 * 8 / 12) ** 0.25
    assert score == pytest.approx(expected) and "tok:char" in signature
    upper = ["THE CAT SAT ON THE MAT"], ["the cat sat on the mat"]
    assert bleu.corpus_bleu(*upper)[0] == 0
    score, signature = bleu.corpus_bleu(*upper, lowercase=True)
    assert score == pytest.approx(100) and "case:lc" in signature
    with pytest.raises(AssertionError):
        bleu.corpus_bleu(["a"], ["a", "b"])


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    assert message_of(bleu.corpus_bleu, ["a"], ["a"]) == (
        "translation needs sacrebleu: pip install 'official-models[text]'"
    )
