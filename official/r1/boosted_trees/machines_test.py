import json
import socket
import time

import pytest

from official.r1.boosted_trees import dataset, decay, engine, machines, train_higgs
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.flags import core as flags_core
from official.utils.testing import mains, workers
from official.utils.testing.errors import message_of

MAIN = "official.r1.boosted_trees.train_higgs"
FLAGS = dict(train_count=20_000, eval_count=5000, n_trees=30, validation_fraction=0.1)


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(folder, **flags):
    hosts = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    arguments = [f"--{name}={value}" for name, value in (FLAGS | flags).items()]
    arguments += [f"--model_dir={folder}", f"--machines={hosts}"]
    arguments += ["--intra_op_parallelism_threads=1"]
    return [
        mains.start_main(MAIN, [*arguments, f"--machine_index={index}"])
        for index in range(2)
    ]


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_every_row_is_in_one_share():
    features, labels, _ = decay.make(0, 11)
    part = dataset.Part(features, labels)
    hosts = ("a:1", "b:1", "c:2")
    shares = [machines.Cluster(hosts, index).share(part) for index in range(3)]
    assert [len(share) for share in shares] == [4, 4, 3]
    found = sorted(row[0] for share in shares for row in share.features)
    assert found == sorted(features[:, 0])
    assert machines.Cluster().share(part) is part


@pytest.mark.slow
def test_two_machines_reach_what_one_does(tmp_path):
    alone = train_higgs.run(
        flags_core.make_flags(
            train_higgs.define_flags,
            RECIPES,
            model_dir=str(tmp_path / "alone"),
            **FLAGS,
        )
    )
    for ended in workers.outcomes(start(tmp_path / "two"), timeout=240):
        assert ended.exit_code == 0 and ended.error_lines() == [], ended
    found = results(tmp_path / "two")
    assert found["num_replicas"] == 2 and found["steps"] == 30
    # Bins are found on each machine's rows, so trees differ a little.
    assert found["metrics"]["auc"] == pytest.approx(alone["auc"], abs=0.004)
    assert found["metrics"]["loss"] == pytest.approx(alone["loss"], abs=0.006)
    # A second part: both go on from the same trees.
    for ended in workers.outcomes(start(tmp_path / "two", n_trees=40), timeout=240):
        assert ended.exit_code == 0, ended
    found = results(tmp_path / "two")
    assert found["steps"] == 40 and found["resumed_from_steps"] == [30]
    assert found["metrics"]["auc"] > alone["auc"] - 0.001


def test_a_broken_connection_is_a_machine_that_is_gone():
    def send():
        with engine._messages():
            raise engine.lightgbm.basic.LightGBMError("Socket send error, code: 104")

    assert message_of(send) == (
        "another machine is gone; start all of them again: the run goes on from its "
        "last checkpoint (LightGBM: Socket send error, code: 104)"
    )


@pytest.mark.slow
def test_a_machine_that_dies_ends_the_other(tmp_path):
    processes = start(tmp_path / "run", n_trees=100_000, train_count=100_000)
    log = tmp_path / "run" / "metric.log"
    # Before the first trees the machines may not have met, and wait for each other.
    while not (log.exists() and "train_loss" in log.read_text()):
        time.sleep(0.1)
        assert all(process.poll() is None for process in processes)
    processes[1].kill()
    try:
        _, errors = processes[0].communicate(timeout=120)
    finally:
        processes[0].kill()
        processes[1].communicate()
    assert processes[0].returncode == 1, errors
    assert "error: another machine is gone; start all of them" in errors
    assert "Traceback" not in errors
