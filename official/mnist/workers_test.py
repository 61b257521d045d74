import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from official.utils.logs import metric_log
from official.utils.testing import kills, mains, workers

MAIN = "official.mnist.mnist"
# Digits with dropout, momentum and a schedule.
FLAGS = [
    *("--train_steps=50", "--checkpoint_steps=10", "--log_steps=1", "--batch_size=32"),
    *("--optimizer=sgd", "--learning_rate=0.05", "--schedule=cosine"),
    *("--steps_between_evals=25", "--deterministic"),
]


def losses(model_dir):
    """train_loss by step."""
    records = metric_log.read(os.path.join(model_dir, "metric.log"))
    found = {r["global_step"]: r["value"] for r in records if r["name"] == "train_loss"}
    return np.array([found[step] for step in sorted(found)])


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def wait_for_checkpoint(model_dir, processes):
    first = os.path.join(model_dir, "checkpoints", "ckpt-10.index")
    begun = time.monotonic()
    while not os.path.exists(first):
        assert time.monotonic() - begun < 120
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """The folder of a run of two workers that nothing disturbed."""
    folder = str(tmp_path_factory.mktemp("two_workers"))
    ended = workers.outcomes(
        workers.start_workers(MAIN, [*FLAGS, f"--model_dir={folder}"]), timeout=240
    )
    for outcome in ended:
        assert outcome.exit_code == 0, outcome
        assert outcome.error_lines() == []
    return folder


def test_two_workers_follow_two_replicas_of_one_process(two_workers, tmp_path):
    mirrored = str(tmp_path / "mirrored")
    outcome = mains.run_process(
        MAIN,
        [
            *FLAGS,
            *("--distribution_strategy=mirrored", "--num_virtual_cpus=2"),
            f"--model_dir={mirrored}",
        ],
    )
    assert outcome.exit_code == 0, outcome
    one, two = losses(mirrored), losses(two_workers)
    assert len(one) == len(two) == 50
    assert one[-1] < 0.5 * one[0]
    np.testing.assert_allclose(two, one, rtol=1e-4)
    expected, found = results(mirrored), results(two_workers)
    assert found["num_replicas"] == expected["num_replicas"] == 2
    for name in ("accuracy", "validation_accuracy"):
        assert found["metrics"][name] == pytest.approx(expected["metrics"][name])
    assert found["metrics"]["loss"] == pytest.approx(
        expected["metrics"]["loss"], rel=1e-4
    )


@pytest.mark.parametrize("victim", [1, 0], ids=["worker", "chief"])
def test_a_killed_worker_ends_the_other_and_a_restart_is_exact(
    two_workers, tmp_path, victim
):
    folder = str(tmp_path / "run")
    flags = [*FLAGS, f"--model_dir={folder}"]
    processes = workers.start_workers(MAIN, flags)
    wait_for_checkpoint(folder, processes)
    processes[victim].kill()
    died = time.monotonic()
    survivor = workers.outcomes(processes, timeout=60)[1 - victim]
    assert time.monotonic() - died < 60
    # TensorFlow's C++ code adds the lines of its RPC error; ours is the one.
    errors = [line for line in survivor.error_lines() if line.startswith("error: ")]
    assert survivor.exit_code == 1, survivor
    assert len(errors) == 1 and "another worker is gone" in errors[0], survivor
    assert "Traceback" not in survivor.stderr

    for outcome in workers.outcomes(workers.start_workers(MAIN, flags), timeout=240):
        assert outcome.exit_code == 0, outcome
        assert "resuming from" in outcome.stdout
    kills.assert_same_checkpoint(two_workers, folder)
    assert results(folder)["metrics"] == results(two_workers)["metrics"]


def test_a_worker_that_waits_for_the_others_can_be_interrupted(tmp_path):
    chief, other = workers.start_workers(MAIN, [f"--model_dir={tmp_path}/run"])
    other.kill()
    other.communicate()
    # It says nothing while it waits; by then it does.
    with pytest.raises(subprocess.TimeoutExpired):
        chief.communicate(timeout=20)
    chief.send_signal(signal.SIGINT)
    chief.communicate(timeout=10)
    assert chief.returncode == -signal.SIGINT


def test_a_signal_to_one_worker_stops_all_after_a_checkpoint(tmp_path):
    folder = str(tmp_path / "run")
    flags = ["--train_steps=5000", "--checkpoint_steps=10", f"--model_dir={folder}"]
    processes = workers.start_workers(MAIN, flags)
    wait_for_checkpoint(folder, processes)
    processes[1].send_signal(signal.SIGTERM)
    for outcome in workers.outcomes(processes, timeout=60):
        assert outcome.exit_code == 128 + signal.SIGTERM, outcome
        assert "stopped at step" in outcome.stdout
    stopped_at = int(outcome.stdout.partition("stopped at step ")[2].partition(";")[0])
    assert os.path.exists(f"{folder}/checkpoints/ckpt-{stopped_at}.index")


def test_only_the_chief_writes(two_workers):
    names = set(os.listdir(two_workers))
    assert names == {
        *("flags.txt", "benchmark_run.log", "metric.log", "results.json"),
        *("curves.png", "checkpoints", "saved_model", "train", "eval"),
    }
    steps = [
        record["global_step"]
        for record in metric_log.read(os.path.join(two_workers, "metric.log"))
        if record["name"] == "train_loss"
    ]
    assert steps == list(range(1, 51))


@pytest.mark.parametrize(
    "arguments, environment, fragments",
    [
        ([], {"TF_CONFIG": ""}, ["--worker_hosts", "TF_CONFIG"]),
        ([], {"TF_CONFIG": "{"}, ["TF_CONFIG is damaged", '"cluster"']),
        (["--worker_hosts=a:1,b", "--task_index=0"], {}, ["'b' is not host:port"]),
        (["--worker_hosts=a:1,b:2"], {}, ["--task_index=-1", "from 0 to 1"]),
    ],
)
def test_wrong_addresses_are_refused(arguments, environment, fragments, monkeypatch):
    from official.mnist import mnist, recipes

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = mains.run_main(
        mnist.define_flags,
        mnist.run,
        recipes.RECIPES,
        ["--distribution_strategy=multi_worker_mirrored", *arguments],
    )
    mains.assert_one_line_error(outcome, *fragments)
