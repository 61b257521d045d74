import math

import pytest

from official.transformer import bleu, compute_bleu
from official.utils.flags import core as flags_core
from official.utils.testing.errors import message_of

pytest.importorskip("sacrebleu")

HYPOTHESES = ["the cat sat on the mat .", "A dog ( small ) barks"]
REFERENCES = ["the cat sat on a mat .", "A dog (small) barks loudly"]


def test_by_hand():
    """6 of 7 words, 4 of 6 pairs, 2 of 5 and 1 of 4; of equal length."""
    expected = 100 * (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25
    found = bleu.bleu_2019(HYPOTHESES[:1], REFERENCES[:1], True)
    assert found == pytest.approx(expected)
    score, signature = bleu.corpus_bleu(HYPOTHESES[:1], REFERENCES[:1])
    assert score == pytest.approx(expected)
    assert "tok:13a" in signature and "case:mixed" in signature


def test_variant_of_2019():
    # Brackets are words; 6 words where 7 are expected.
    found = bleu.bleu_2019(HYPOTHESES[1:], REFERENCES[1:], True)
    assert found == pytest.approx(100 * math.exp(1 - 7 / 6))
    assert bleu._words("It's 3.5% of 1,000 - no?") == (
        "It ' s 3.5 % of 1,000 - no ?".split()
    )
    upper = [text.upper() for text in REFERENCES]
    assert bleu.bleu_2019(upper, REFERENCES, True) < 50
    assert bleu.bleu_2019(upper, REFERENCES, False) == pytest.approx(100)
    assert bleu.bleu_2019(["a b"], ["c d"], True) == 0


def test_command(tmp_path, capsys):
    for name, lines in (("a", HYPOTHESES), ("b", REFERENCES)):
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    def run(**values):
        flags = flags_core.make_flags(compute_bleu.define_flags, **values)
        return compute_bleu.run(flags)

    paths = dict(translation=str(tmp_path / "a"), reference=str(tmp_path / "b"))
    found = run(**paths)
    assert found["bleu_cased"] == pytest.approx(
        bleu.corpus_bleu(HYPOTHESES, REFERENCES)[0]
    )
    assert found["bleu_2019_uncased"] >= found["bleu_2019_cased"] > 0
    assert "nrefs:1|case:mixed" in capsys.readouterr().out
    assert set(run(**paths, bleu_variant="cased")) == {"bleu_cased", "bleu_2019_cased"}
    (tmp_path / "b").write_text("one line\n")
    message = message_of(run, **paths)
    assert "a has 2 lines and " in message and "b 1; line n" in message
    assert "are needed" in message_of(run, translation="a")
