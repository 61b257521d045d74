"""Whole runs on each real form of data."""

import json
import os

import pytest
import tensorflow as tf

from official.utils.flags import core as flags_core
from official.utils.testing import kills, mains, tasks
from official.utils.testing.data import real_data
from official.vision.image_classification import classifier, recipes
from official.vision.image_classification.imagenet_test import (
    TEST_LABELS,
    TRAIN_LABELS,
    real_jpegs,
    write_shards,
)
from official.vision.image_classification.task import ClassificationTask

SMALL = (
    *("--model=resnet8", "--optimizer=sgd", "--learning_rate=0.05", "--momentum=0.9"),
    *("--batch_norm_momentum=0.9", "--schedule=cosine"),
)


def run(*arguments):
    outcome = mains.run_main(
        classifier.define_flags, classifier.run, recipes.RECIPES, arguments
    )
    assert outcome.exit_code == 0, outcome
    return outcome


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


@pytest.fixture(autouse=True)
def determinism():
    """Switches off what `--deterministic` switches on for the whole process."""
    yield
    from tensorflow.python.framework import config

    config.disable_op_determinism()


def test_imagenet_trains_resumes_evaluates_and_exports(tmp_path):
    write_shards(tmp_path / "data", "train", TRAIN_LABELS, 8)
    write_shards(tmp_path / "data", "validation", TEST_LABELS, 2)
    flags = [
        *SMALL,
        *("--dataset=imagenet", f"--data_dir={tmp_path}/data", "--image_size=64"),
        *("--crop=distorted", "--normalization=mean", "--rand_augment_layers=1"),
        *("--mixup_alpha=0.2", "--batch_size=8", "--eval_batch_size=4"),
        *("--train_steps=8", "--steps_between_evals=4", "--deterministic"),
        "--warmup_steps=2",
    ]
    whole = run(*flags, f"--model_dir={tmp_path}/whole")
    # One shard of eight is held out, of five pictures.
    assert "(35 train, 5 validation, 6 test images, 1000 classes)" in whole.stdout
    run(*flags, f"--model_dir={tmp_path}/parts", "--max_train_steps=4")
    again = run(*flags, f"--model_dir={tmp_path}/parts")
    assert "resuming from" in again.stdout
    kills.assert_same_checkpoint(tmp_path / "whole", tmp_path / "parts")
    found = results(tmp_path / "parts")
    assert found["resumed_from_steps"] == [4]
    assert found["metrics"] == results(tmp_path / "whole")["metrics"]
    # Of six pictures, each counted once.
    assert (6 * found["metrics"]["accuracy"]) % 1 == pytest.approx(0, abs=1e-6)
    assert {"top_5_accuracy", "validation_accuracy"} <= set(found["metrics"])
    evaluated = run("--mode=eval", f"--model_dir={tmp_path}/whole")
    assert "accuracy" in evaluated.stdout

    signatures = tf.saved_model.load(f"{tmp_path}/whole/saved_model").signatures
    served = signatures["serving_default"](image_bytes=tf.constant(real_jpegs()[:6]))
    assert served["probabilities"].shape == (6, 1000)
    own = [label - 1 for label in TEST_LABELS]
    # The same pictures as in the shards, so the same accuracy.
    hits = sum(served["classes"].numpy() == own)
    assert hits == round(6 * found["metrics"]["accuracy"])


def test_a_damaged_record_is_named(tmp_path):
    write_shards(tmp_path, "train", TRAIN_LABELS, 2)
    write_shards(tmp_path, "validation", TEST_LABELS, 1)
    path = tmp_path / "validation-00000-of-00001"
    content = path.read_bytes()
    path.write_bytes(content[:5000] + bytes(20) + content[5020:])
    outcome = mains.run_main(
        classifier.define_flags,
        classifier.run,
        recipes.RECIPES,
        [
            *SMALL,
            *("--dataset=imagenet", f"--data_dir={tmp_path}", "--image_size=64"),
            *("--batch_size=8", "--train_steps=2", f"--model_dir={tmp_path}/run"),
        ],
    )
    mains.assert_one_line_error(outcome, "validation-00000-of-00001: record 0")


def test_lossless_cifar10_trains(tmp_path):
    """4,000 and 1,000 pictures in CIFAR's binary layout."""
    outcome = run(
        *SMALL,
        *("--dataset=cifar10", f"--data_dir={real_data('cifar10')}"),
        *("--train_steps=120", "--steps_between_evals=60", "--batch_size=64"),
        *("--eval_batch_size=500", f"--model_dir={tmp_path}"),
    )
    assert "3,600 train, 400 validation, 1,000 test images" in outcome.stdout
    # Chance is .1.
    assert results(tmp_path)["metrics"]["accuracy"] > 0.25


def test_synthetic_data_needs_no_files(tmp_path):
    outcome = run(
        *SMALL,
        *("--dataset=imagenet", "--use_synthetic_data", "--image_size=32"),
        *("--train_steps=2", "--batch_size=16", f"--model_dir={tmp_path}"),
    )
    assert "made-up pictures" in outcome.stdout and "1000 classes" in outcome.stdout


def test_a_step_with_all_augmentation_compiles():
    flags = flags_core.make_flags(
        classifier.define_flags,
        use_synthetic_data=True,
        model="resnet8",
        batch_size=8,
        enable_xla=True,
        crop="distorted",
        rand_augment_layers=2,
        mixup_alpha=0.3,
        cutmix_alpha=1.0,
        label_smoothing=0.1,
    )
    task = ClassificationTask(flags_core.resolve(flags, recipes.RECIPES))
    task.load()
    tasks.assert_step_compiles(task)
