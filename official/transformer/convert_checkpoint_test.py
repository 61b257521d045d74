import json

import numpy as np
import pytest

from official.transformer import convert_checkpoint, marian, numbers, text, translate
from official.transformer.model_test import network
from official.utils.testing import mains
from official.utils.testing.errors import message_of

LINES = ["three hundred and five", "", "one thousand and one"]


def run(*arguments):
    return mains.run_main(
        convert_checkpoint.define_flags, convert_checkpoint.run, (), arguments
    )


@pytest.fixture(scope="module")
def vocabulary():
    english, german = numbers.sentences(np.arange(1000, 1400))
    return text.learn(english + german, 60)


@pytest.fixture
def source(vocabulary, tmp_path):
    """A network of ours with its vocabulary, in Hugging Face's form."""
    model = network(vocab_size=vocabulary.vocab_size, norm="post")
    marian.write(str(tmp_path / "source"), model, vocabulary)
    return str(tmp_path / "source")


def test_to_a_run_and_back(source, tmp_path, vocabulary):
    pytest.importorskip("tensorflow_text")
    folder = str(tmp_path / "run")
    outcome = run(f"--input={source}", f"--output={folder}", "--format=garden")
    assert outcome.exit_code == 0, outcome.stderr
    # The table, the bias, and blocks of 12 and 20 variables. Theirs are of 16 and 26,
    # and there are three more tables of pieces, and two of positions.
    assert outcome.stdout.endswith(
        f"{folder}: 66 tensors of a Transformer of 2 + 2 layers, 16 wide, read back "
        "with a maximal difference of logits of 0\n"
    )
    back = str(tmp_path / "back")
    outcome = run(f"--input={folder}", f"--output={back}", "--format=hugging_face")
    assert outcome.exit_code == 0, outcome.stderr
    assert f"{back}: 91 tensors of" in outcome.stdout
    for name in (tmp_path / "source").iterdir():
        assert name.read_bytes() == (tmp_path / "back" / name.name).read_bytes()

    # The run's folder translates, and theirs gives the same.
    (tmp_path / "in.txt").write_text("\n".join(LINES) + "\n")
    outcome = mains.run_main(
        translate.define_flags,
        translate.run,
        (),
        (
            f"--model_dir={folder}",
            f"--input_file={tmp_path}/in.txt",
            f"--output_file={tmp_path}/out.txt",
            "--beam_size=1",
            "--max_extra_length=9",
        ),
    )
    assert outcome.exit_code == 0, outcome.stderr
    found = (tmp_path / "out.txt").read_text().split("\n")
    assert len(found) == 4 and found[0] and found[2] and not found[1]
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.MarianTokenizer.from_pretrained(back)
    theirs = transformers.MarianMTModel.from_pretrained(back)
    for line, translation in zip(LINES, found, strict=False):
        (ids,) = vocabulary.encode_many([line])
        assert tokenizer(line).input_ids == ids.tolist()
        if line:
            batch = tokenizer([line], return_tensors="pt")
            best = theirs.generate(**batch, max_new_tokens=len(ids) + 9)
            assert tokenizer.decode(best[0], skip_special_tokens=True) == translation


def test_vocabularies(source, vocabulary, tmp_path, capsys):
    folder = tmp_path / "source"
    (tmp_path / "given.model").write_bytes((folder / "source.spm").read_bytes())
    other = text.learn(numbers.sentences(np.arange(1000, 1400))[0], 40)
    marian._write_text(str(tmp_path / "other"), other)
    arguments = (f"--input={source}", "--format=garden")
    given = f"--vocab_file={tmp_path}/given.model"
    wrong = f"--vocab_file={tmp_path}/other/source.spm"
    message = f"has {other.vocab_size} pieces and the network {vocabulary.vocab_size}"
    mains.assert_one_line_error(
        run(*arguments, wrong, f"--output={tmp_path}/0"), message
    )
    # Those of Marian's own kind: ids that are not those of one SentencePiece model.
    ids = json.loads((folder / "vocab.json").read_text())
    for name, content, reason in (
        ("vocab.json", json.dumps(ids | {"more": 99}), "vocab.json has other ids"),
        ("target.spm", "another", "each language has a SentencePiece model"),
        ("source.spm", "another", "no SentencePiece model"),
    ):
        (folder / name).write_text(content)
        outcome = run(*arguments, f"--output={tmp_path}/1")
        mains.assert_one_line_error(outcome, "give --vocab_file")
        assert reason in outcome.stderr
    for name in ("source.spm", "target.spm", "vocab.json"):
        (folder / name).unlink()
    outcome = run(*arguments, f"--output={tmp_path}/1")
    mains.assert_one_line_error(outcome, "give --vocab_file")
    assert not (tmp_path / "1").exists()
    outcome = run(*arguments, given, f"--output={tmp_path}/1")
    assert outcome.exit_code == 0, outcome.stderr
    # A network whose padding is another piece.
    model = network(vocab_size=vocabulary.vocab_size, norm="post", pad_id=5, eos_id=6)
    marian.write(str(tmp_path / "shifted"), model)
    outcome = run(
        f"--input={tmp_path}/shifted",
        "--format=garden",
        given,
        f"--output={tmp_path}/2",
    )
    mains.assert_one_line_error(outcome, "padding 0 and end of sentence 1")


def test_epsilon_of_ours(vocabulary, source, tmp_path):
    """1e-6 is not theirs; it is said, and how much it matters."""
    outcome = run(
        f"--input={source}/model.safetensors",
        f"--config_file={source}/config.json",
        f"--output={tmp_path}/again",
        "--format=hugging_face",
    )
    assert outcome.exit_code == 0 and "warning" not in outcome.stderr
    for epsilon in (1e-6, 0.1):
        before = network(norm="post", norm_epsilon=epsilon)
        marian.write(str(tmp_path / "epsilon"), before)
        after = marian.read(str(tmp_path / "epsilon" / "model.safetensors"))
        if epsilon == 1e-6:
            assert 0 < convert_checkpoint.compare(before, after, "it") < 1e-4
        else:
            message = message_of(convert_checkpoint.compare, before, after, "it")
            assert "gives other logits" in message


def test_weights_that_were_changed(tmp_path):
    before, after = network(norm="post"), network(norm="post")
    assert convert_checkpoint.compare(before, after, "it") == 0
    bias = after.decoder[0].feed_forward.filter.bias
    bias.assign(np.nextafter(bias.numpy(), 1))
    message = message_of(convert_checkpoint.compare, before, after, "it")
    assert "1 differ (model/decoder/0/feed_forward/filter/bias)" in message


def test_what_is_wrong(source, tmp_path):
    out, form = f"--output={tmp_path}/out", "--format=garden"
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for arguments, fragment in (
        ((), "--input, --output and --format are needed"),
        ((f"--input={source}", out), "--format"),
        ((f"--input={source}", f"--output={source}", form), "not overwritten"),
        ((f"--input={tmp_path}/no", out, form), "neither a run's folder nor one"),
        ((f"--input={tmp_path}/empty", out, form), "neither a run's folder nor one"),
        ((f"--input={tmp_path}/no.safetensors", out, form), "no.safetensors"),
        ((f"--input={tmp_path}/run", out, form), "holds no checkpoint"),
        (
            (f"--input={tmp_path}/run", out, form, f"--vocab_file={source}/source.spm"),
            "has its own",
        ),
    ):
        mains.assert_one_line_error(run(*arguments), fragment)
    assert not (tmp_path / "out").exists()


def test_help_needs_no_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not now')")
    outcome = mains.run_process(
        "official.transformer.convert_checkpoint",
        ["--help"],
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert outcome.exit_code == 0 and "--format" in outcome.stdout, outcome
