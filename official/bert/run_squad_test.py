import json
import subprocess
import sys

import pytest

from official.bert import english, run_squad, squad_data
from official.mnist.flags_test import FLAGS
from official.utils.flags import core as flags_core
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

BERT = (
    "attention_dropout bert_config_file doc_stride hidden_dropout input layer_decay "
    "lower_case max_answer_length max_query_length max_seq_length model_size "
    "n_best_size null_score_diff_threshold output predict_file recompute train_file "
    "pad_to_max_length vocab_file vocab_size"
)
SMALL = dict(train_steps=4, steps_between_evals=4, batch_size=8)


def run(**values):
    flags = flags_core.make_flags(run_squad.define_flags, run_squad.RECIPES, **values)
    return run_squad.run(flags)


def test_flags_are_frozen():
    expected = {name: text.split() for name, text in FLAGS.items() if name != "mnist"}
    expected["bert"] = BERT.split()
    found = flags_core.flags_by_set(run_squad.define_flags())
    assert found == {name: sorted(flags) for name, flags in expected.items()}


def write(path, questions):
    """A file of SQuAD 1.1, a paragraph a question."""
    paragraphs = [
        {
            "context": each.context,
            "qas": [
                {
                    "id": each.id,
                    "question": each.question,
                    "answers": [
                        {"text": each.answers[0], "answer_start": each.answer_start}
                    ],
                }
            ],
        }
        for each in questions
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder and metrics of a run on files, and the test file."""
    folder = tmp_path_factory.mktemp("squad")
    train, _, test = english.questions(0, (600, 20, 60))
    metrics = run(
        **SMALL | dict(train_steps=40, batch_size=16, learning_rate=1e-3),
        dataset="squad",
        train_file=write(folder / "train.json", train),
        predict_file=write(folder / "test.json", test),
        vocab_size=300,
        max_seq_length=64,
        max_query_length=16,
        max_answer_length=3,
        eval_batch_size=60,
        model_dir=str(folder / "run"),
    )
    return folder, metrics


def test_metrics(trained):
    _, metrics = trained
    assert metrics["loss"] < 4
    assert 0 <= metrics["exact_match"] <= metrics["f1"] <= 1
    assert "validation_f1" in metrics


def test_predicts_what_the_saved_model_gives(trained, tmp_path):
    folder, metrics = trained
    asked = dict(
        mode="predict",
        model_dir=str(folder / "run"),
        input=str(folder / "test.json"),
        output=str(tmp_path / "answers"),
    )
    run(**asked)
    predictions = json.loads((tmp_path / "answers" / "predictions.json").read_text())
    questions = squad_data.read_questions(str(folder / "test.json"))
    assert set(predictions) == {each.id for each in questions}
    right = sum(predictions[q.id].lower() == q.answers[0].lower() for q in questions)
    assert right / len(questions) <= metrics["exact_match"] + 1e-6
    script = (
        "import json, sys, tensorflow as tf, tensorflow_text\n"
        "call = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "asked = json.load(sys.stdin)\n"
        "found = call(question=tf.constant(asked[0]), context=tf.constant(asked[1]))\n"
        "print(json.dumps([x.decode() for x in found['answers'].numpy()]))\n"
    )
    columns = [[q.question for q in questions], [q.context for q in questions]]
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder / "run" / "saved_model")],
        input=json.dumps(columns),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout) == [predictions[q.id] for q in questions]
    assert "not overwritten" in message_of(run, **asked)


def test_real_questions_run_end_to_end(tmp_path):
    """XQuAD's English, in training and test: the form, not the quality."""
    path = real_data("xquad", "xquad.en.json")
    metrics = run(
        **SMALL,
        dataset="squad",
        train_file=path,
        predict_file=path,
        vocab_file=real_data("vocab", "bert-uncased", "vocab.txt"),
        model_size="2/128",
        max_seq_length=128,
        doc_stride=64,
        eval_batch_size=100,
        mode="train",
        model_dir=str(tmp_path),
    )
    assert 0 <= metrics["validation_exact_match"] <= metrics["validation_f1"] <= 1


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(dataset="squad"), "--train_file is missing"),
        (dict(dataset="squad", train_file="F"), "--predict_file is missing"),
        (dict(dataset="squad", train_file="F", predict_file="F"), "20 or more"),
    ],
)
def test_files_that_are_missing_or_small(tmp_path, values, words):
    small = write(tmp_path / "small.json", english.questions(0, (3, 1, 1))[0])
    values = {name: small if value == "F" else value for name, value in values.items()}
    assert words in message_of(run, **SMALL, **values, model_dir=str(tmp_path / "run"))


def test_predict_needs_input_and_output(trained):
    folder, _ = trained
    message = message_of(run, mode="predict", model_dir=str(folder / "run"))
    assert "--input=FILE" in message
