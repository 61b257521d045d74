import json
import os

import numpy as np
import pytest

from official.utils.logs import metric_log
from official.utils.testing import kills, mains, workers

MAIN = "official.recommendation.ncf"
FLAGS = [
    *("--train_steps=60", "--checkpoint_steps=10", "--log_steps=1"),
    *("--batch_size=1000", "--steps_between_evals=60", "--deterministic"),
]


def losses(model_dir):
    records = metric_log.read(os.path.join(model_dir, "metric.log"))
    found = {r["global_step"]: r["value"] for r in records if r["name"] == "train_loss"}
    return np.array([found[step] for step in sorted(found)])


def metrics(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)["metrics"]


@pytest.mark.slow
def test_killed_and_started_again(tmp_path):
    whole, killed = str(tmp_path / "whole"), str(tmp_path / "killed")
    outcome = mains.run_process(MAIN, [*FLAGS, f"--model_dir={whole}"])
    assert outcome.exit_code == 0, outcome
    deaths = kills.run_with_kills(MAIN, FLAGS, killed, last_step=60, kills=2)
    assert len(deaths) == 2
    kills.assert_same_checkpoint(whole, killed)
    assert metrics(whole) == metrics(killed)


@pytest.mark.slow
def test_two_workers_follow_two_replicas_and_one_device(tmp_path):
    one, mirrored, two = (str(tmp_path / name) for name in ("one", "mirrored", "two"))
    virtual = ["--distribution_strategy=mirrored", "--num_virtual_cpus=2"]
    for folder, more in ((one, []), (mirrored, virtual)):
        outcome = mains.run_process(MAIN, [*FLAGS, *more, f"--model_dir={folder}"])
        assert outcome.exit_code == 0, outcome
    started = workers.start_workers(MAIN, [*FLAGS, f"--model_dir={two}"])
    for outcome in workers.outcomes(started, timeout=280):
        assert outcome.exit_code == 0, outcome
    for other in (mirrored, two):
        np.testing.assert_allclose(losses(other), losses(one), rtol=1e-4)
        assert metrics(other)["hr_at_10"] == pytest.approx(
            metrics(one)["hr_at_10"], abs=2e-3
        )
