import gzip
import subprocess
import sys

import pytest

from official.transformer import bleu, compute_bleu
from official.utils.flags import core as flags_core
from official.utils.testing.data import PROJECT_ROOT
from official.utils.testing.errors import message_of

pytest.importorskip("sacrebleu")

HYPOTHESES = ["the cat sat on the mat .", "A dog ( small ) barks", ""]
REFERENCES = ["the cat sat on a mat .", "a dog (small) barks loudly", "It sleeps."]


@pytest.fixture
def paths(tmp_path):
    for name, lines in (("translation", HYPOTHESES), ("reference", REFERENCES)):
        text = "".join(f"{line}\n" for line in lines)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return {name: str(tmp_path / name) for name in ("translation", "reference")}


def run(**values):
    flags = flags_core.make_flags(compute_bleu.define_flags, **values)
    return compute_bleu.run(flags)


def test_both_variants(paths, capsys):
    found = run(**paths)
    assert found == {
        "bleu_cased": bleu.corpus_bleu(HYPOTHESES, REFERENCES)[0],
        "bleu_2019_cased": bleu.bleu_2019(HYPOTHESES, REFERENCES, True),
        "bleu_uncased": bleu.corpus_bleu(HYPOTHESES, REFERENCES, lowercase=True)[0],
        "bleu_2019_uncased": bleu.bleu_2019(HYPOTHESES, REFERENCES, False),
    }
    assert found["bleu_2019_uncased"] > found["bleu_2019_cased"] > 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert {line[0]: float(line[1]) for line in lines} == {
        name: pytest.approx(score, abs=0.005) for name, score in found.items()
    }
    signatures = {line[0]: line[2] for line in lines}
    assert signatures["bleu_cased"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    assert signatures["bleu_uncased"].startswith("nrefs:1|case:lc|eff:no|tok:13a|")


@pytest.mark.parametrize("variant", ["cased", "uncased"])
def test_one_variant(paths, variant):
    found = run(**paths, bleu_variant=variant)
    assert set(found) == {f"bleu_{variant}", f"bleu_2019_{variant}"}
    assert found.items() <= run(**paths).items()


def test_packed_files_and_other_line_ends(paths, tmp_path):
    expected = run(**paths)
    with gzip.open(tmp_path / "reference.gz", "wt", encoding="utf-8") as file:
        file.write("\r\n".join(REFERENCES))
    assert run(**paths | dict(reference=str(tmp_path / "reference.gz"))) == expected


def test_what_is_wrong_is_one_line(paths, tmp_path):
    translation, reference = paths.values()
    other = tmp_path / "other"

    def message(content):
        other.write_bytes(content)
        return message_of(run, translation=translation, reference=str(other))

    start = f"{translation} has 3 lines and {other}"
    assert message(b"one line\n").startswith(f"{start} 1; line n of one")
    assert message(b"").startswith(f"{start} 0; line n of one")
    assert message(b"1\n2\n3\n4\n").startswith(f"{start} 4; line n of one")
    assert message(b"one\n\xff\n3\n").startswith(f"{other}: line 2 is not UTF-8")
    other.write_bytes(b"")
    assert message_of(run, translation=str(other), reference=str(other)).startswith(
        f"{other} and {other} are empty; name others"
    )
    for path in (str(tmp_path / "none"), str(tmp_path)):
        found = message_of(run, translation=path, reference=reference)
        assert found.startswith(f"{path} ")
    assert "--reference=FILE are needed" in message_of(run, translation="a")
    assert "--reference=FILE are needed" in message_of(run, reference="a")
    assert "--bleu_variant" in message_of(run, **paths, bleu_variant="intl")


def test_command_line(paths):
    arguments = [f"--{name}={path}" for name, path in paths.items()]
    ran = subprocess.run(
        [sys.executable, "-m", "official.transformer.compute_bleu", *arguments],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in ran.stdout.splitlines()]
    score, signature = bleu.corpus_bleu(HYPOTHESES, REFERENCES)
    assert lines[0] == ["bleu_cased", f"{score:.2f}", signature]
    assert len(lines) == 4
