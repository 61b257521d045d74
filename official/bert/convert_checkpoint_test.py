import dataclasses

import pytest

from official.bert import (
    checkpoint_samples,
    convert_checkpoint,
    foreign_checkpoints,
)
from official.bert.checkpoint_samples import PARTS
from official.bert.foreign_checkpoints_test import assert_same
from official.utils.testing import mains


def run(*arguments):
    return mains.run_main(
        convert_checkpoint.define_flags, convert_checkpoint.run, (), arguments
    )


@pytest.fixture
def source(tmp_path):
    initial = checkpoint_samples.network(PARTS["pretraining"])
    foreign_checkpoints.write(str(tmp_path / "source"), initial, "tf1")
    return str(tmp_path / "source")


def test_three_forms(source, tmp_path):
    initial = foreign_checkpoints.read_initial(source)
    # 5 of embeddings, 9 of heads and 2 blocks of 16; with us of 12, because query, key
    # and value are one.
    for form, tensors in (("garden", 38), ("hugging_face", 46), ("tf1", 46)):
        target = str(tmp_path / form)
        outcome = run(f"--input={source}", f"--output={target}", f"--format={form}")
        assert outcome.exit_code == 0, outcome.stderr
        assert outcome.stdout == (
            f"{target}: {tensors} tensors of BERT of 2 layers, 12 wide with masked_lm, "
            "next_sentence, pooler, read back with a maximal difference of outputs of "
            "0\n"
        )
        assert_same(foreign_checkpoints.read_initial(target), initial)
        source = target


def test_files_elsewhere(source, tmp_path):
    folder = tmp_path / "source"
    for name in ("bert_config.json", "vocab.txt"):
        (folder / name).rename(tmp_path / name)
    target = tmp_path / "target"
    arguments = (
        f"--input={source}/bert_model.ckpt",
        f"--output={target}",
        "--format=garden",
    )
    mains.assert_one_line_error(run(*arguments), "bert_config.json")
    config = f"--config_file={tmp_path}/bert_config.json"
    outcome = run(*arguments, config, f"--vocab_file={tmp_path}/vocab.txt")
    assert outcome.exit_code == 0, outcome.stderr
    mains.assert_one_line_error(run(*arguments, config), str(target), "not overwritten")
    outcome = run(*arguments, config, f"--output={target}2")
    assert outcome.exit_code == 0, outcome.stderr
    assert "has no vocabulary; --vocab_file adds one" in outcome.stdout
    # That of the checkpoint, and one given for it.
    outcome = run(
        f"--input={target}2",
        f"--output={target}3",
        "--format=hugging_face",
        f"--vocab_file={tmp_path}/vocab.txt",
    )
    assert outcome.exit_code == 0, outcome.stderr
    written = (tmp_path / "target3" / "vocab.txt").read_text()
    assert written == (tmp_path / "vocab.txt").read_text()


def test_exact_gelu_to_tf1(tmp_path):
    initial = checkpoint_samples.network(PARTS["classes"], hidden_act="gelu_erf")
    foreign_checkpoints.write(str(tmp_path / "in"), initial, "hugging_face")
    outcome = run(f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--format=tf1")
    assert outcome.exit_code == 0, outcome.stderr
    assert 'calls it "gelu_erf"' in outcome.stdout


def test_what_is_wrong(source, tmp_path):
    out = f"--output={tmp_path}/out"
    for arguments, fragment in (
        ((), "--input, --output and --format are needed"),
        ((f"--input={source}", out), "--format"),
        ((f"--input={source}", out, "--format=keras"), "hugging_face"),
        ((f"--input={tmp_path}/no", out, "--format=tf1"), "no readable checkpoint"),
    ):
        mains.assert_one_line_error(run(*arguments), fragment)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_weights_that_are_no_numbers(tmp_path):
    initial = checkpoint_samples.network(PARTS["classes"])
    values = {name: value * float("nan") for name, value in initial.values.items()}
    initial = dataclasses.replace(initial, values=values)
    foreign_checkpoints.write(str(tmp_path / "nan"), initial, "tf1")
    for form, fragment in (
        ("garden", "is not finite"),
        ("hugging_face", "(difference nan)"),
    ):
        mains.assert_one_line_error(
            run(
                f"--input={tmp_path}/nan",
                f"--output={tmp_path}/{form}",
                f"--format={form}",
            ),
            fragment,
        )


def test_help_needs_no_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not now')")
    outcome = mains.run_process(
        "official.bert.convert_checkpoint",
        ["--help"],
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert outcome.exit_code == 0 and "--format" in outcome.stdout, outcome
