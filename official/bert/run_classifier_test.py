import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.bert import english, run_classifier
from official.mnist.flags_test import FLAGS, SHORT_NAMES
from official.utils.flags import core as flags_core
from official.utils.testing import mains
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

BERT = (
    "attention_dropout bert_config_file hidden_dropout label layer_decay lower_case "
    "input max_seq_length model_size output recompute text_a text_b vocab_file "
    "vocab_size pad_to_max_length"
)
SMALL = dict(train_steps=6, steps_between_evals=3, batch_size=8, max_seq_length=32)


def run(**values):
    return run_classifier.run(
        flags_core.make_flags(
            run_classifier.define_flags, run_classifier.RECIPES, **values
        )
    )


def test_flags_are_frozen():
    flag_values = run_classifier.define_flags()
    expected = {name: text.split() for name, text in FLAGS.items() if name != "mnist"}
    expected["bert"] = BERT.split()
    found = flags_core.flags_by_set(flag_values)
    assert found == {name: sorted(flags) for name, flags in expected.items()}
    short = {flag_values[name].short_name for name in flag_values} - {None}
    assert sorted(short) == sorted([*SHORT_NAMES.split(), "task"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short run on the embedded set, and its metrics."""
    folder = str(tmp_path_factory.mktemp("english"))
    metrics = run(**SMALL | dict(train_steps=60, batch_size=32), model_dir=folder)
    return folder, metrics


def test_learns_from_the_embedded_set(trained):
    folder, metrics = trained
    assert metrics["loss"] < 0.72
    assert {"accuracy", "validation_accuracy"} <= metrics.keys()
    with open(f"{folder}/results.json") as file:
        assert json.load(file)["dataset"] == "english"


def test_predicts_what_the_saved_model_gives(trained, tmp_path):
    folder, _ = trained
    lines = ["The happy baker called the sad cook.", "The sad cook was called."]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    output = tmp_path / "out.csv"
    asked = dict(mode="predict", model_dir=folder, input=str(tmp_path / "in.txt"))
    run(**asked, output=str(output))
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert [row["line"] for row in rows] == ["1", "2"]
    script = (
        "import json, sys, tensorflow as tf, tensorflow_text\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "found = model.signatures['serving_default'](text=tf.constant(sys.argv[2:]))\n"
        "ids = model.signatures['serve_ids']\n"
        "print(json.dumps([found['probabilities'].numpy().tolist(),\n"
        "  [x.decode() for x in found['labels'].numpy()],\n"
        "  sorted(ids.structured_input_signature[1])]))\n"
    )
    # Of a folder in which Python does not find the project.
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, f"{folder}/saved_model", *lines],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    probabilities, labels, inputs = json.loads(ran.stdout)
    assert inputs == ["input_mask", "input_type_ids", "input_word_ids"]
    for row, expected, label in zip(rows, probabilities, labels, strict=True):
        found = [float(row[name]) for name in ("cheerful", "gloomy")]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert row["label"] == label
    assert "not overwritten" in message_of(run, **asked, output=str(output))


def test_mode_eval_gives_the_metrics_of_the_run(trained):
    folder, metrics = trained
    found = run(mode="eval", model_dir=folder)
    assert found["accuracy"] == pytest.approx(metrics["accuracy"])
    assert found["loss"] == pytest.approx(metrics["loss"], rel=1e-4)


def test_fine_tunes_another_task_from_a_run(trained, tmp_path, capsys):
    folder, _ = trained
    for name, number in (("train", 60), ("dev", 20)):
        rows = [
            f"the baker {i % 7} likes {'cake' if i % 3 else 'song'}"
            for i in range(number)
        ]
        labels = ["abc"[i % 3] for i in range(number)]
        content = "".join(
            f"{row}\t{label}\n" for row, label in zip(rows, labels, strict=True)
        )
        (tmp_path / f"{name}.tsv").write_text("text\tkind\n" + content)
    metrics = run(
        **SMALL,
        task="table",
        text_a="text",
        label="kind",
        data_dir=str(tmp_path),
        init_checkpoint=folder,
        layer_decay=0.8,
        model_dir=str(tmp_path / "run"),
    )
    assert 0 <= metrics["accuracy"] <= 1
    said = capsys.readouterr().out
    assert f"{len(english.vocabulary())} pieces" in said
    assert "fresh weights: logits/kernel, logits/bias" in said


def test_pairs_and_more_metrics_of_real_mrpc(tmp_path):
    metrics = run(
        **SMALL,
        task="MRPC",
        data_dir=real_data("glue", "MRPC"),
        vocab_file=real_data("vocab", "bert-uncased", "vocab.txt"),
        model_size="tiny",
        model_dir=str(tmp_path),
        eval_batch_size=100,
    )
    assert {"accuracy", "f1", "validation_f1"} <= metrics.keys()
    model = tf.saved_model.load(f"{tmp_path}/saved_model")
    (_, inputs) = model.signatures["serving_default"].structured_input_signature
    assert sorted(inputs) == ["text_a", "text_b"]


def test_made_up_sequences_have_full_length(tmp_path, capsys):
    """What speed is measured with: no file is read."""
    metrics = run(
        **SMALL,
        task="MRPC",
        use_synthetic_data=True,
        vocab_size=300,
        eval_batch_size=100,
        model_dir=str(tmp_path),
    )
    assert 0.5 < metrics["loss"] < 1
    said = capsys.readouterr().out
    assert "made-up sequences of 32 pieces (--use_synthetic_data)" in said
    assert "300 pieces" in said


@pytest.mark.slow
def test_resumes_with_the_same_weights(tmp_path):
    """Dropout and buckets are functions of the step."""
    arguments = [f"--{name}={value}" for name, value in SMALL.items()]
    arguments += ["--deterministic", "--mode=train", "--checkpoint_seconds=0"]
    module = "official.bert.run_classifier"
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    for folder, more in (
        (whole, []),
        (parts, ["--max_train_steps=4"]),
        (parts, []),
    ):
        done = mains.run_process(module, [*arguments, f"--model_dir={folder}", *more])
        assert done.exit_code == 0, done.stderr
    a, b = (
        tf.train.load_checkpoint(f"{folder}/checkpoints/ckpt-6")
        for folder in (whole, parts)
    )
    names = set(a.get_variable_to_shape_map()) - {"state"}
    assert names == set(b.get_variable_to_shape_map()) - {"state"}
    for name in names:
        np.testing.assert_array_equal(a.get_tensor(name), b.get_tensor(name), name)


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "is empty"),
        ("good\n\nbad\n", "line 2 has an empty text"),
        (b"good\n\xff\xfe\n", "line 2 is not UTF-8"),
    ],
    ids=["empty", "line", "bytes"],
)
def test_lines_that_cannot_be_classified(trained, tmp_path, content, words):
    path = tmp_path / "in.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = message_of(run, mode="predict", model_dir=trained[0], input=str(path))
    assert words in message
    assert str(path) in message


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(task="SST-2"), "--data_dir"),
        (dict(vocab_file="/nowhere/vocab.txt"), "/nowhere/vocab.txt"),
        (dict(init_checkpoint="/nowhere"), "/nowhere"),
        (dict(max_seq_length=600, bert_config_file="CONFIG"), "--max_seq_length=600"),
    ],
)
def test_flags_that_cannot_be(tmp_path, values, words):
    config = tmp_path / "bert_config.json"
    config.write_text(json.dumps(dict(vocab_size=len(english.vocabulary()))))
    if "bert_config_file" in values:
        values = values | dict(bert_config_file=str(config))
    message = message_of(run, **SMALL | values, model_dir=str(tmp_path / "run"))
    assert words in message


def test_rates_fall_from_block_to_block(trained):
    task = run_classifier.task_class()(
        flags_core.resolve(
            flags_core.make_flags(run_classifier.define_flags, layer_decay=0.5), ()
        )
    )
    task.facts = {
        "config": dict(vocab_size=99, num_hidden_layers=2, hidden_size=8)
        | dict(num_attention_heads=2, intermediate_size=8),
        "label_names": ["a", "b"],
    }
    scales = task.learning_rate_scales(task.build_model())
    assert scales["model/embeddings/word"] == 0.125
    assert scales["model/block1/attention/query_key_value/kernel"] == 0.25
    assert scales["model/block2/feed_forward_norm/gamma"] == 0.5
    assert not any("logits" in name or "pooler" in name for name in scales)


def test_a_network_of_another_vocabulary(trained, tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    message = message_of(
        run,
        **SMALL,
        init_checkpoint=trained[0],
        vocab_file=str(vocab),
        model_dir=str(tmp_path / "run"),
    )
    assert "has 6 pieces" in message
    assert f"a network of {len(english.vocabulary())}" in message
