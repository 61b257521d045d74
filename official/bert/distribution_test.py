"""Replicas, workers, micro-batches and deaths change nothing in what is learned."""

import json
import os

import numpy as np
import pytest

from official.bert import run_classifier
from official.utils.data.streams import Share
from official.utils.flags import core as flags_core
from official.utils.logs import metric_log
from official.utils.testing import kills, mains, workers

CLASSIFIER = "official.bert.run_classifier"
PRETRAINING = "official.bert.run_pretraining"
# The embedded set, in batches that are cut off at their own longest sentence.
FLAGS = dict(
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.01,
    clip_norm=1.0,
    schedule="linear",
    warmup_steps=4,
    batch_size=32,
    max_seq_length=32,
    train_steps=20,
    steps_between_evals=10,
    log_steps=1,
    hidden_dropout=0.0,
    attention_dropout=0.0,
)


def arguments(**flags):
    return [f"--{name}={value}" for name, value in flags.items()]


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def curves(model_dir):
    """Losses and accuracies of steps and of evaluations, by name and step."""
    found = {
        (record["name"], record["global_step"]): record["value"]
        for record in metric_log.read(os.path.join(model_dir, "metric.log"))
        if record["name"].endswith(("loss", "accuracy"))
    }
    assert ("train_loss", FLAGS["train_steps"]) in found
    assert ("validation_loss", FLAGS["steps_between_evals"]) in found
    return found


@pytest.fixture(scope="module")
def whole_batches(tmp_path_factory):
    """The folder of a run on one device."""
    folder = str(tmp_path_factory.mktemp("whole"))
    outcome = train(folder)
    assert outcome.exit_code == 0, outcome
    return folder


def train(folder, **flags):
    return mains.run_main(
        run_classifier.define_flags,
        run_classifier.run,
        run_classifier.RECIPES,
        arguments(**FLAGS | flags, model_dir=folder),
    )


def assert_same_curves(folder, whole, tolerance):
    expected, found = curves(whole), curves(folder)
    assert found.keys() == expected.keys()
    differences = {name: abs(found[name] - expected[name]) for name in expected}
    worst = max(differences, key=differences.get)
    losses = [expected["train_loss", step + 1] for step in range(FLAGS["train_steps"])]
    print(f"{worst} differs by {differences[worst]:.1e}; losses {np.round(losses, 4)}")
    assert differences[worst] < tolerance, worst
    metrics = results(whole)["metrics"]
    assert results(folder)["metrics"] == pytest.approx(metrics, abs=tolerance, rel=0)


def test_batches_are_of_several_lengths():
    flags = flags_core.make_flags(run_classifier.define_flags, **FLAGS)
    task = run_classifier.task_class()(
        flags_core.resolve(flags, run_classifier.RECIPES)
    )
    task.load()
    batches = task.training_stream().dataset(0, Share(1, 0, 1)).take(10)
    assert len({batch["ids"].shape[1] for batch in batches}) > 1


@pytest.mark.parametrize(
    ("replicas", "pieces"), [(1, 4), (2, 1), (2, 2)], ids=["1x4", "2x1", "2x2"]
)
def test_parts_of_a_batch_follow_the_whole(whole_batches, tmp_path, replicas, pieces):
    flags = dict(gradient_accumulation_steps=pieces)
    if replicas > 1:
        flags |= dict(distribution_strategy="mirrored", num_virtual_cpus=replicas)
    outcome = train(str(tmp_path), **flags)
    assert outcome.exit_code == 0, outcome
    assert results(tmp_path)["num_replicas"] == replicas
    assert_same_curves(tmp_path, whole_batches, tolerance=1e-5)


@pytest.mark.slow
def test_two_workers_follow_one_device(whole_batches, tmp_path):
    flags = arguments(**FLAGS, model_dir=tmp_path)
    for outcome in workers.outcomes(
        workers.start_workers(CLASSIFIER, flags), timeout=600
    ):
        assert outcome.exit_code == 0, outcome
        assert outcome.error_lines() == []
    assert results(tmp_path)["num_replicas"] == 2
    assert_same_curves(tmp_path, whole_batches, tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("module", [CLASSIFIER, PRETRAINING])
def test_killed_runs_end_in_the_same_bits(module, tmp_path):
    """Dropout, masks and the company of rows in batches are functions of the step."""
    last_step = 120
    flags = arguments(
        **FLAGS
        | dict(
            train_steps=last_step,
            steps_between_evals=60,
            checkpoint_steps=10,
            batch_size=16,
            hidden_dropout=0.1,
            attention_dropout=0.1,
        )
    )
    flags += ["--deterministic", "--mode=train"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    outcome = mains.run_process(module, [*flags, f"--model_dir={whole}"], timeout=600)
    assert outcome.exit_code == 0, outcome
    deaths = kills.run_with_kills(
        module, flags, str(killed), last_step, kills=3, timeout=600
    )
    print(f"killed at {deaths}")
    assert any(death.unfinished for death in deaths)
    kills.assert_same_checkpoint(whole, killed)
    assert results(killed)["resumed_from_steps"] == [death.step for death in deaths]
    assert results(whole)["metrics"] == results(killed)["metrics"]
