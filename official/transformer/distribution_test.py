"""Replicas, workers, micro-batches and deaths change nothing in what is learned."""

import json
import os

import pytest

from official.transformer import transformer
from official.utils.logs import metric_log
from official.utils.testing import kills, mains, workers

MODULE = "official.transformer.transformer"
FLAGS = dict(
    # Of tokens: it divides by none of the numbers of pieces.
    batch_size=2049,
    vocab_size=128,
    train_steps=12,
    steps_between_evals=6,
    log_steps=1,
    max_extra_length=0,
    beam_size=1,
)


def arguments(**flags):
    return [f"--{name}={value}" for name, value in flags.items()]


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def losses(model_dir):
    """Of steps and of evaluations, by name and step."""
    found = {
        (record["name"], record["global_step"]): record["value"]
        for record in metric_log.read(os.path.join(model_dir, "metric.log"))
        if record["name"].endswith("loss")
    }
    assert ("train_loss", 12) in found and ("validation_loss", 6) in found
    return found


def train(folder, **flags):
    outcome = mains.run_main(
        transformer.define_flags,
        transformer.run,
        transformer.RECIPES,
        arguments(**FLAGS | flags, model_dir=folder, mode="train"),
    )
    assert outcome.exit_code == 0, outcome


@pytest.fixture(scope="module")
def whole_batches(tmp_path_factory):
    """The losses of a run on one device."""
    pytest.importorskip("tensorflow_text")
    folder = str(tmp_path_factory.mktemp("whole"))
    train(folder)
    found = losses(folder)
    assert found["train_loss", 12] < found["train_loss", 1] - 0.5
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "pieces"), [(1, 4), (2, 2)], ids=["1x4", "2x2"])
def test_parts_of_a_batch_follow_the_whole(whole_batches, tmp_path, replicas, pieces):
    """Batches have any number of rows; empty ones fill them up."""
    flags = dict(gradient_accumulation_steps=pieces)
    if replicas > 1:
        flags |= dict(distribution_strategy="mirrored", num_virtual_cpus=replicas)
    train(str(tmp_path), **flags)
    assert results(tmp_path)["num_replicas"] == replicas
    assert losses(tmp_path) == pytest.approx(whole_batches, abs=1e-4)


@pytest.mark.slow
def test_two_workers_follow_one_device(whole_batches, tmp_path):
    flags = arguments(**FLAGS, model_dir=tmp_path, mode="train")
    for outcome in workers.outcomes(workers.start_workers(MODULE, flags), timeout=600):
        assert outcome.exit_code == 0, outcome
    assert results(tmp_path)["num_replicas"] == 2
    assert losses(tmp_path) == pytest.approx(whole_batches, abs=1e-4)


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bits(tmp_path):
    """Dropout and the company of a row in its batch are functions of the step."""
    last_step = 60
    flags = arguments(
        **FLAGS
        | dict(
            train_steps=last_step,
            steps_between_evals=30,
            checkpoint_steps=5,
            dropout=0.1,
            attention_dropout=0.1,
            activation_dropout=0.1,
        )
    )
    flags += ["--deterministic", "--mode=train"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    outcome = mains.run_process(MODULE, [*flags, f"--model_dir={whole}"], timeout=600)
    assert outcome.exit_code == 0, outcome
    deaths = kills.run_with_kills(
        MODULE, flags, str(killed), last_step, kills=3, timeout=600
    )
    assert any(death.unfinished for death in deaths)
    kills.assert_same_checkpoint(whole, killed)
    assert results(whole)["metrics"] == results(killed)["metrics"]
