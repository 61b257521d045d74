"""Replicas, workers, micro-batches and deaths change nothing in what is learned."""

import json
import os

import numpy as np
import pytest

from official.bert import english, run_classifier, vocabulary
from official.utils.data.streams import Share
from official.utils.flags import core as flags_core
from official.utils.logs import metric_log
from official.utils.testing import kills, mains, workers

CLASSIFIER = "official.bert.run_classifier"
PRETRAINING = "official.bert.run_pretraining"
STEPS = 16
FLAGS = dict(
    mode="train",
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.01,
    clip_norm=0.1,  # Below the norms of these gradients.
    schedule="linear",
    warmup_steps=4,
    batch_size=32,
    train_steps=STEPS,
    steps_between_evals=STEPS // 2,
    log_steps=1,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    dtype="fp32",
)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Flags of a table whose labels say how many sentences a text has."""
    folder = tmp_path_factory.mktemp("table")
    for seed, (name, number) in enumerate((("train", 640), ("dev", 64))):
        rows = ["text\tlabel"]
        for row, document in enumerate(english.documents(seed, number)):
            sentences = document[: 1 + row % 4]
            rows.append(f"{' '.join(sentences)}\t{len(sentences)}")
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    vocabulary.write(f"{folder}/vocab.txt", english.vocabulary())
    return dict(
        task="table",
        data_dir=str(folder),
        text_a="text",
        vocab_file=f"{folder}/vocab.txt",
        model_size="tiny",
        max_seq_length=64,
    )


def arguments(**flags):
    return [f"--{name}={value}" for name, value in flags.items()]


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def curves(model_dir):
    """Losses and accuracies of steps and of evaluations, by name and step."""
    return {
        (record["name"], record["global_step"]): record["value"]
        for record in metric_log.read(os.path.join(model_dir, "metric.log"))
        if record["name"].endswith(("loss", "accuracy"))
    }


def train(folder, **flags):
    outcome = mains.run_main(
        run_classifier.define_flags,
        run_classifier.run,
        run_classifier.RECIPES,
        arguments(**FLAGS | flags, model_dir=folder),
    )
    assert outcome.exit_code == 0, outcome


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    """The folder of a run on one device."""
    folder = str(tmp_path_factory.mktemp("whole"))
    train(folder, **table)
    return folder


def assert_same_curves(folder, whole):
    expected, found = curves(whole), curves(folder)
    assert found.keys() == expected.keys()
    assert {("train_accuracy", 1), ("validation_loss", STEPS)} <= found.keys()
    losses = [expected["train_loss", step + 1] for step in range(STEPS)]
    # Without training, each would be about the first.
    assert np.ptp(losses) > 0.1
    differences = {name: abs(found[name] - expected[name]) for name in expected}
    worst = max(differences, key=differences.get)
    print(f"{worst} differs by {differences[worst]:.1e}; losses {np.round(losses, 4)}")
    assert differences[worst] < TOLERANCE, worst
    metrics = results(whole)["metrics"]
    assert results(folder)["metrics"] == pytest.approx(metrics, abs=TOLERANCE, rel=0)


def test_batches_are_of_several_lengths(table):
    """Else the tests below would not meet buckets."""
    flags = flags_core.make_flags(run_classifier.define_flags, **FLAGS | table)
    settings = flags_core.resolve(flags, run_classifier.RECIPES)
    task = run_classifier.task_class()(settings)
    task.load()
    batches = task.training_stream().dataset(0, Share(1, 0, 1)).take(STEPS)
    assert len({batch["ids"].shape[1] for batch in batches}) > 2


@pytest.mark.parametrize(
    ("replicas", "pieces"), [(1, 4), (2, 1), (2, 2)], ids=["1x4", "2x1", "2x2"]
)
def test_parts_of_a_batch_follow_the_whole(table, whole, tmp_path, replicas, pieces):
    flags = table | dict(gradient_accumulation_steps=pieces)
    if replicas > 1:
        flags |= dict(distribution_strategy="mirrored", num_virtual_cpus=replicas)
    train(str(tmp_path), **flags)
    assert results(tmp_path)["num_replicas"] == replicas
    assert_same_curves(tmp_path, whole)


@pytest.mark.slow
def test_two_workers_follow_one_device(table, whole, tmp_path):
    flags = arguments(**FLAGS | table, model_dir=tmp_path)
    started = workers.start_workers(CLASSIFIER, flags)
    for outcome in workers.outcomes(started, timeout=600):
        assert outcome.exit_code == 0, outcome
        assert outcome.error_lines() == []
    assert results(tmp_path)["num_replicas"] == 2
    assert_same_curves(tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("module", [CLASSIFIER, PRETRAINING])
def test_killed_runs_end_in_the_same_bits(module, table, tmp_path):
    """Dropout, masks and which rows share a batch are functions of the step."""
    last_step = 120
    changes = dict(
        train_steps=last_step,
        steps_between_evals=last_step // 2,
        checkpoint_steps=10,
        hidden_dropout=0.1,
        attention_dropout=0.1,
        deterministic=True,
    )
    data = table if module == CLASSIFIER else dict(max_seq_length=32)
    flags = arguments(**FLAGS | changes | data)
    one, other = tmp_path / "whole", tmp_path / "killed"
    outcome = mains.run_process(module, [*flags, f"--model_dir={one}"], timeout=600)
    assert outcome.exit_code == 0, outcome
    deaths = kills.run_with_kills(module, flags, str(other), last_step, timeout=600)
    print(f"killed at {deaths}")
    assert len(deaths) == 3
    assert any(death.unfinished for death in deaths)
    kills.assert_same_checkpoint(one, other)
    assert results(other)["resumed_from_steps"] == [death.step for death in deaths]
    assert results(one)["metrics"] == results(other)["metrics"]
