import pytest

from official.benchmark import text_serving, tokenizing
from official.bert import english
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.testing.errors import message_of


def run(module, **values):
    return module.run(flags_core.make_flags(module.define_flags, **values))


@pytest.fixture
def files(tmp_path):
    """A vocabulary and some lines."""
    (tmp_path / "vocab.txt").write_text("\n".join(english.vocabulary()))
    (tmp_path / "in.txt").write_text("The happy baker.\n\nno such Wörd\nthe cook\n")
    return dict(vocab_file=str(tmp_path / "vocab.txt"), input=str(tmp_path / "in.txt"))


def test_tokenizers_race(files, capsys):
    pytest.importorskip("tokenizers")
    metrics = run(tokenizing, **files, batch_sizes="1,2", rounds=2, seconds=0.01)
    for size in (1, 2):
        assert metrics[f"lines_per_second_official_{size}"] > 10
        assert metrics[f"lines_per_second_tokenizers_{size}"] > 10
        assert metrics[f"ratio_{size}"] > 0
    said = capsys.readouterr().out
    assert "3 lines of 12 characters" in said and "ids of all are equal" in said


def test_what_is_wrong_is_one_line(files, tmp_path):
    assert "--input=FILE is missing" in message_of(
        run, tokenizing, vocab_file=files["vocab_file"]
    )
    message = message_of(run, tokenizing, **files, batch_sizes="1,x")
    assert message == "--batch_sizes=x: should be whole numbers from 1 on"
    (tmp_path / "none.txt").write_text("\n")
    wrong = files | {"input": str(tmp_path / "none.txt")}
    assert "has no line of text" in message_of(run, tokenizing, **wrong)
    with pytest.raises(UserError, match="cannot be loaded"):
        run(text_serving, saved_model=str(tmp_path / "a"), input=files["input"])


def test_latencies_are_of_requests():
    sizes = []

    def serve(text):
        sizes.append(len(text))
        return {"score": text}

    found = text_serving._latencies(serve, ["a", "b", "c"], 2, 0.001)
    assert set(sizes) == {2} and len(sizes) == len(found) + 1
    assert text_serving._quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert text_serving._quantile(list(range(100)), 0.99) == 99
