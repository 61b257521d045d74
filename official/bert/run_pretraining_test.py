import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.bert import run_classifier, run_pretraining
from official.mnist.flags_test import FLAGS
from official.utils.flags import core as flags_core
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

BERT = (
    "attention_dropout bert_config_file do_whole_word_mask hidden_dropout input_files "
    "layer_decay lower_case masked_lm_prob max_predictions_per_seq max_seq_length "
    "model_size recompute short_seq_prob text_column use_next_sentence vocab_file "
    "vocab_size pad_to_max_length"
)
SMALL = dict(train_steps=6, steps_between_evals=3, batch_size=8, max_seq_length=32)


def run(main=run_pretraining, **values):
    flags = flags_core.make_flags(main.define_flags, main.RECIPES, **values)
    return main.run(flags)


def test_flags_are_frozen():
    expected = {name: text.split() for name, text in FLAGS.items() if name != "mnist"}
    expected["bert"] = BERT.split()
    found = flags_core.flags_by_set(run_pretraining.define_flags())
    assert found == {name: sorted(flags) for name, flags in expected.items()}


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    """Folder and metrics of a short run on the embedded text."""
    folder = str(tmp_path_factory.mktemp("english"))
    values = SMALL | dict(train_steps=30, batch_size=32, max_seq_length=64)
    return folder, run(**values, model_dir=folder)


def test_learns_words_and_knows_the_best(english):
    _, metrics = english
    # "." alone is a tenth of all words.
    assert metrics["masked_lm_accuracy"] > 0.08
    assert 0.65 < metrics["best_masked_lm_accuracy"] < 0.71
    assert 0.3 < metrics["next_sentence_accuracy"] < 0.8
    assert metrics["loss"] > metrics["masked_lm_loss"]


def test_encoder_is_served_without_the_project(english, tmp_path):
    folder, _ = english
    script = (
        "import json, sys, tensorflow as tf, tensorflow_text\n"
        "call = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "found = call(text=tf.constant(['The baker.', 'The merry baker sings.']))\n"
        "print(json.dumps({k: v.shape.as_list() for k, v in found.items()}))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, f"{folder}/saved_model"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    # [CLS] the merry baker sings . [SEP]
    assert json.loads(ran.stdout) == {
        "pooled_output": [2, 128],
        "sequence_output": [2, 7, 128],
    }


def test_real_sentences_then_a_classifier(tmp_path):
    """The path of the acceptance: a vocabulary is learnt on the way."""
    table = tmp_path / "train.tsv"
    with open(real_data("glue", "SST-2", "train.tsv"), encoding="utf-8") as file:
        table.write_text(
            "".join(line for _, line in zip(range(400), file, strict=False))
        )
    first = str(tmp_path / "pretrained")
    metrics = run(
        **SMALL,
        dataset="text",
        input_files=str(table),
        text_column="sentence",
        use_next_sentence=False,
        do_whole_word_mask=True,
        vocab_size=500,
        model_size="tiny",
        model_dir=first,
    )
    assert "next_sentence_accuracy" not in metrics
    (tmp_path / "dev.tsv").write_text(table.read_text())
    found = run(
        run_classifier,
        **SMALL,
        task="SST-2",
        data_dir=str(tmp_path),
        init_checkpoint=first,
        model_dir=str(tmp_path / "tuned"),
    )
    assert 0 <= found["accuracy"] <= 1
    with open(f"{tmp_path}/tuned/results.json") as file:
        assert json.load(file)["dataset"] == "SST-2"


def write_records(path, vocabulary_size=40, rows=60, length=32, picks=20):
    """Features of 2019, written by hand."""
    generator = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(rows):
            size = 12 + row % 9
            ids = np.zeros(length, int)
            ids[:size] = generator.integers(5, vocabulary_size, size)
            weights = np.zeros(picks)
            weights[:2] = 1
            integers = {
                "input_ids": ids,
                "input_mask": (np.arange(length) < size).astype(int),
                "segment_ids": ((np.arange(length) > 5) & (ids > 0)).astype(int),
                "masked_lm_positions": [1, 2] + [0] * (picks - 2),
                "masked_lm_ids": [7, 8] + [0] * (picks - 2),
                "next_sentence_labels": [row % 2],
            }
            features = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                for name, value in integers.items()
            }
            features["masked_lm_weights"] = tf.train.Feature(
                float_list=tf.train.FloatList(value=weights)
            )
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def test_records_of_2019(tmp_path):
    write_records(tmp_path / "a.tfrecord", rows=120)
    vocab = tmp_path / "vocab.txt"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [
        f"w{i}" for i in range(35)
    ]
    vocab.write_text("\n".join(pieces) + "\n")
    asked = dict(
        dataset="records",
        input_files=f"{tmp_path}/*.tfrecord",
        model_size="tiny",
        model_dir=str(tmp_path / "run"),
    )
    assert "needs --vocab_file" in message_of(run, **SMALL, **asked)
    metrics = run(
        **SMALL | dict(train_steps=60, learning_rate=1e-3),
        **asked,
        vocab_file=str(vocab),
    )
    # The two words are always the same.
    assert metrics["masked_lm_accuracy"] > 0.4


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(dataset="text"), "--input_files is missing"),
        (dict(dataset="text", input_files="/nowhere/*"), "input_files=/nowhere/*"),
        (dict(dataset="text", input_files="FEW"), "too few to hold some out"),
        (dict(dataset="records", input_files="FEW", vocab_file="V"), "no TFRecord"),
    ],
)
def test_text_that_cannot_be(tmp_path, values, words):
    (tmp_path / "few.txt").write_text("one line of text\n")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    places = {"FEW": str(tmp_path / "few.txt"), "V": str(tmp_path / "vocab.txt")}
    values = {name: places.get(value, value) for name, value in values.items()}
    assert words in message_of(run, **SMALL, **values, model_dir=str(tmp_path / "run"))


def test_predicts_nothing(english):
    message = message_of(run, mode="predict", model_dir=english[0])
    assert "run_classifier" in message
