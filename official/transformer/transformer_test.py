"""The main, from flags to a served translator."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from official.mnist.flags_test import FLAGS, SHORT_NAMES
from official.transformer import transformer, translate
from official.utils.flags import core as flags_core
from official.utils.testing import mains
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

OWN = (
    "activation_dropout attention_dropout beam_size decode_batch_size dropout "
    "eval_source eval_target input label_smoothing length_penalty max_extra_length "
    "max_length model_size n_best norm output sampling_temperature train_source "
    "train_target validation_source validation_target vocab_file vocab_kind vocab_size"
)
TRANSLATE = (
    "beam_size decode_batch_size input_file length_penalty max_extra_length model_dir "
    "n_best output_file sampling_temperature seed"
)
SMALL = dict(model_size="small", batch_size=1024, max_extra_length=5, vocab_size=120)


def run(main=transformer, **values):
    recipes = getattr(main, "RECIPES", ())
    return main.run(flags_core.make_flags(main.define_flags, recipes, **values))


def test_flags_are_frozen():
    flag_values = transformer.define_flags()
    expected = {name: text.split() for name, text in FLAGS.items() if name != "mnist"}
    expected["transformer"] = OWN.split()
    found = flags_core.flags_by_set(flag_values)
    assert found == {name: sorted(flags) for name, flags in expected.items()}
    short = {flag_values[name].short_name for name in flag_values} - {None}
    assert sorted(short) == sorted(SHORT_NAMES.split())
    assert sorted(translate.define_flags()) == sorted(TRANSLATE.split())


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """The folder of a short run on the embedded set, and its metrics."""
    pytest.importorskip("tensorflow_text")
    folder = str(tmp_path_factory.mktemp("numbers"))
    metrics = run(train_steps=80, steps_between_evals=80, model_dir=folder)
    return folder, metrics


def test_learns_from_the_embedded_set(numbers):
    folder, metrics = numbers
    assert metrics["loss"] < 3.4 and metrics["accuracy"] > 0.3
    names = {"bleu", "bleu_char", "exact_match", "validation_bleu"}
    assert names <= metrics.keys()
    assert metrics["bleu_char"] > 5
    with open(f"{folder}/results.json") as file:
        assert json.load(file)["dataset"] == "numbers"


def test_the_saved_model_translates_as_the_command_does(numbers, tmp_path):
    folder, _ = numbers
    lines = ["three hundred and five", "", "one thousand and one", "seven"]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    files = dict(
        input_file=str(tmp_path / "in.txt"), output_file=str(tmp_path / "out.txt")
    )
    run(translate, model_dir=folder, **files)
    found = (tmp_path / "out.txt").read_text().split("\n")
    assert len(found) == 5 and found[1] == found[4] == ""
    script = (
        "import json, sys, tensorflow as tf, tensorflow_text\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "found = model.signatures['serving_default'](text=tf.constant(sys.argv[2:]))\n"
        "ids = tf.constant([[5, 6, 1], [7, 1, 0]])\n"
        "ids = model.signatures['serve_ids'](inputs=ids)\n"
        "print(json.dumps([[x.decode() for x in found['translation'].numpy()],\n"
        "  found['score'].numpy().tolist(), ids['outputs'].shape.as_list()[:1],\n"
        "  ids['scores'].shape.as_list()]))\n"
    )
    # Of a folder in which Python does not find the project.
    asked = [line for line in lines if line]
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, f"{folder}/saved_model", *asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    translations, scores, *shapes = json.loads(ran.stdout)
    assert translations == [line for line in found if line]
    assert all(score < 0 for score in scores) and shapes == [[2], [2]]

    message = message_of(run, translate, model_dir=folder, **files)
    assert "not overwritten" in message
    files["output_file"] = str(tmp_path / "best.txt")
    run(translate, model_dir=folder, **files, n_best=2, beam_size=3)
    rows = [row.split("\t") for row in (tmp_path / "best.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "2", "3", "3", "4", "4"]
    assert float(rows[0][1]) >= float(rows[1][1]) and rows[0][2] != rows[1][2]


def test_mode_eval_gives_the_metrics_of_the_run(numbers):
    folder, metrics = numbers
    found = run(mode="eval", model_dir=folder)
    for name in ("loss", "bleu_char", "exact_match"):
        assert found[name] == pytest.approx(metrics[name], rel=1e-4)


def test_lines_of_the_standard_input(numbers):
    folder, _ = numbers
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "official.transformer.translate"),
            *("--beam_size=1", f"--model_dir={folder}"),
        ],
        cwd=mains.PROJECT_ROOT,
        input="seven\n\nninety-nine\n",
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == 3 and lines[0] and not lines[1] and lines[2]


def multi30k(**values):
    return dict(
        dataset="text",
        data_dir=real_data("multi30k"),
        train_source="val.en",
        train_target="val.de",
        validation_source="test2016.en",
        validation_target="test2016.de",
        eval_source="test2016.en",
        eval_target="test2016.de",
        **SMALL | dict(vocab_size=500) | values,
    )


def test_real_text_averages_and_resumes(tmp_path):
    """Files of Multi30k; the ids are prepared once, also for a run that goes on."""
    pytest.importorskip("tensorflow_text")
    folder = tmp_path / "run"
    flags = multi30k(
        train_steps=6,
        steps_between_evals=6,
        checkpoint_steps=2,
        average_checkpoints=2,
        beam_size=1,
        max_extra_length=0,
    )
    assert run(**flags, model_dir=str(folder), max_train_steps=4, mode="train")
    (prepared,) = (folder / "prepared").iterdir()
    made = (prepared / "prepared.json").stat().st_mtime_ns
    metrics = run(**flags, model_dir=str(folder))
    assert (prepared / "prepared.json").stat().st_mtime_ns == made
    assert np.isfinite(metrics["loss"]) and "bleu" in metrics
    with open(folder / "results.json") as file:
        assert json.load(file)["resumed_from_steps"] == [4]
    flags |= dict(train_steps=2, checkpoint_steps=1)
    # Of other texts or vocabularies.
    unused = shutil.copytree(prepared, prepared.with_name("0" * 16))
    run(**flags, model_dir=str(folder), clean=True)
    assert (prepared / "prepared.json").stat().st_mtime_ns == made
    assert not unused.exists()


def test_what_is_wrong_is_one_line(tmp_path):
    for values, fragment in (
        (dict(train_source="none.en"), "--train_source=" + real_data("multi30k")),
        (dict(eval_target="val.de"), "val.de 1,014; line n of one has to be"),
        (dict(batch_size=20), "--batch_size=20 tokens is less than the longest"),
        (dict(vocab_file=real_data("multi30k", "val.en")), "--vocab_file="),
        (dict(vocab_size=20), "no vocabulary of 20 pieces can be learnt"),
    ):
        flags = multi30k(train_steps=1) | values
        assert fragment in message_of(run, **flags, model_dir=str(tmp_path / "run"))
    assert "--input_file" not in message_of(run, translate)


def test_vocabulary_of_another_run(numbers, tmp_path):
    folder, _ = numbers
    message = message_of(
        run, **SMALL, train_steps=1, init_checkpoint=folder, model_dir=str(tmp_path)
    )
    assert "is of another network or optimizer" in message
