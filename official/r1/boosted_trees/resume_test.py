import json
import os
import signal

import lightgbm
import numpy as np
import pytest

from official.r1.boosted_trees import decay, train_higgs
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.flags import core as flags_core
from official.utils.testing import kills, mains

MAIN = "official.r1.boosted_trees.train_higgs"
FLAGS = dict(
    train_count=4000,
    eval_count=1000,
    n_trees=20,
    mode="train",
    deterministic=True,
    intra_op_parallelism_threads=1,
)


def run(folder, **flags):
    values = FLAGS | {"model_dir": str(folder)} | flags
    return train_higgs.run(
        flags_core.make_flags(train_higgs.define_flags, RECIPES, **values)
    )


def results(folder):
    return json.loads((folder / "results.json").read_text())


def splits(folder):
    """The splits of all trees, as their text, and the values of their leaves."""
    text = (folder / "model.txt").read_text()
    lines = [line.partition("=") for line in text.splitlines()]
    names = ("split_feature", "threshold", "left_child", "right_child")
    found = [value for name, _, value in lines if name in names]
    values = " ".join(value for name, _, value in lines if name == "leaf_value")
    return found, np.array(values.split(), float)


def assert_same_trees(folder, other):
    (found, values), (expected, expected_values) = splits(folder), splits(other)
    assert len(expected) == 80 and found == expected
    np.testing.assert_allclose(values, expected_values, rtol=1e-9)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return folder


def test_a_run_in_parts_is_one_run(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    for stop in (7, 12):
        run(folder, max_train_steps=stop)
        assert results(folder)["steps"] == stop
    metrics = run(folder)
    assert "resuming from " in capsys.readouterr().out
    assert results(folder)["resumed_from_steps"] == [7, 12]
    assert results(folder)["startup_seconds"] > 0
    assert_same_trees(folder, whole)
    expected = results(whole)["metrics"]
    assert metrics.keys() == expected.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(expected[name], abs=1e-9)


def test_more_trees_for_a_finished_run(whole, tmp_path):
    folder = tmp_path / "run"
    run(folder, n_trees=9)
    run(folder)
    assert results(folder)["resumed_from_steps"] == [9]
    assert_same_trees(folder, whole)


def test_missing_values_and_categories_in_parts(tmp_path):
    rows, labels, _ = decay.make(0, 3000)
    rows = rows[:, :6].copy()
    rows[::3, 1] = np.nan
    rows[:, 5] = np.round(rows[:, 5] * 7)
    rows = np.concatenate([labels[:, np.newaxis], rows], axis=1)
    text = "\n".join(",".join(map(repr, row)) for row in rows.astype(float).tolist())
    (tmp_path / "a.csv").write_text(text.replace("nan", ""))
    flags = dict(
        dataset="csv",
        train_file=str(tmp_path / "a.csv"),
        eval_file=str(tmp_path / "a.csv"),
        train_count=None,
        eval_count=None,
        categorical_columns="column_6",
    )
    run(tmp_path / "whole", **flags)
    for stop in (3, None):
        run(tmp_path / "parts", max_train_steps=stop, **flags)
    assert_same_trees(tmp_path / "parts", tmp_path / "whole")


def test_sampling_begins_anew_and_says_so(tmp_path, capsys):
    drawn = dict(bagging_fraction=0.5, feature_fraction=0.5)
    run(tmp_path / "whole", **drawn)
    run(tmp_path / "parts", max_train_steps=8, **drawn)
    capsys.readouterr()
    run(tmp_path / "parts", **drawn)
    assert "training begins with the first tree" in capsys.readouterr().out
    assert results(tmp_path / "parts")["resumed_from_steps"] == []
    assert_same_trees(tmp_path / "parts", tmp_path / "whole")


def test_stopped_early_stays_stopped(tmp_path):
    flags = dict(n_trees=200, learning_rate=0.5, early_stopping_rounds=10)
    metrics = run(tmp_path / "run", **flags)
    steps = results(tmp_path / "run")["steps"]
    os.remove(tmp_path / "run" / "results.json")
    assert run(tmp_path / "run", **flags) == pytest.approx(metrics, abs=1e-9)
    assert results(tmp_path / "run")["steps"] == steps < 200
    # Without the stop, and with fewer trees than asked for, it goes on.
    run(tmp_path / "run", **flags | {"early_stopping_rounds": 0, "n_trees": steps + 5})
    assert results(tmp_path / "run")["steps"] == steps + 5


def test_damaged_checkpoint_gives_way_to_the_one_before(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    run(folder, max_train_steps=10, checkpoint_steps=5)
    data = folder / "checkpoints" / "ckpt-10.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    run(folder)
    assert "ckpt-10 is damaged" in capsys.readouterr().err
    assert results(folder)["resumed_from_steps"] == [5]
    assert_same_trees(folder, whole)


def test_no_split_is_left(tmp_path):
    metrics = run(tmp_path / "run", min_data_in_leaf=3000, mode="train_and_eval")
    assert metrics["auc"] == 0.5
    assert results(tmp_path / "run")["steps"] == 1
    booster = lightgbm.Booster(model_file=str(tmp_path / "run" / "model.txt"))
    assert booster.num_trees() == 1


@pytest.mark.slow
def test_killed_runs_end_in_the_same_trees(whole, tmp_path):
    arguments = [f"--{name}={str(value).lower()}" for name, value in FLAGS.items()]
    arguments += ["--train_count=200000", "--checkpoint_steps=1", "--n_trees=60"]
    run(tmp_path / "whole", train_count=200_000, n_trees=60)
    deaths = kills.run_with_kills(
        MAIN, arguments, str(tmp_path / "run"), last_step=60, kills_while_writing=0
    )
    assert len(deaths) == 3 and results(tmp_path / "run")["resumed_from_steps"]
    (found, values), (expected, wanted) = (
        splits(tmp_path / name) for name in ("run", "whole")
    )
    assert found == expected
    np.testing.assert_allclose(values, wanted, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_the_trees(tmp_path, number):
    arguments = ["--train_count=500000", "--n_trees=2000", "--log_steps=1"]
    folder = tmp_path / "run"
    with mains.start_main(MAIN, [*arguments, f"--model_dir={folder}"]) as process:
        log = folder / "metric.log"
        while not log.exists() or log.stat().st_size < 1000:
            assert process.poll() is None
        process.send_signal(number)
        stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "stopped after " in stdout
    steps = int(stdout.partition("stopped after ")[2].split()[0])
    assert (folder / "checkpoints" / f"ckpt-{steps}.index").exists()
