import json
import os

import lightgbm
import numpy as np
import pytest
import tensorflow as tf

from official.r1.boosted_trees import tables, train_higgs
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.flags import core as flags_core
from official.utils.logs import metric_log
from official.utils.testing import mains
from official.utils.testing.data import real_data

FLAGS = {
    "base": "batch_size clean data_dir dataset download epochs_between_evals "
    "eval_batch_size export_best export_dir mode model_dir recipe seed "
    "steps_between_evals stop_threshold train_epochs train_steps",
    "checkpoints": "checkpoint_seconds checkpoint_steps keep_checkpoints",
    "performance": "deterministic dtype enable_xla inter_op_parallelism_threads "
    "intra_op_parallelism_threads loss_scale max_train_steps num_parallel_calls "
    "profile_steps run_eagerly use_synthetic_data",
    "benchmark": "benchmark_log_dir benchmark_test_id log_steps",
    "train_higgs": "bagging_fraction boosting categorical_columns "
    "early_stopping_rounds eval_count eval_file eval_start feature_fraction input "
    "label_column lambda_l1 lambda_l2 learning_rate machine_index machines max_bin "
    "max_depth min_data_in_leaf monotone_constraints n_trees num_leaves output "
    "train_count train_file train_start validation_fraction",
}
SMALL = dict(
    train_start=0, train_count=3000, eval_start=10_000, eval_count=1000, n_trees=12
)


def run(folder, **flags):
    values = {"model_dir": str(folder)} | flags
    return train_higgs.run(
        flags_core.make_flags(train_higgs.define_flags, RECIPES, **values)
    )


def outcome(*arguments):
    return mains.run_main(
        train_higgs.define_flags, train_higgs.run, RECIPES, list(arguments)
    )


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_flags_are_frozen():
    found = flags_core.flags_by_set(train_higgs.define_flags())
    assert found == {name: sorted(text.split()) for name, text in FLAGS.items()}


def test_what_a_run_leaves(tmp_path):
    folder = tmp_path / "run"
    metrics = run(folder, **SMALL, validation_fraction=0.1)
    found = results(folder)
    assert found["metrics"] == metrics
    assert found["steps"] == 12 and found["model"] == "boosted_trees"
    assert found["examples_per_second"] > 0
    assert found["versions"]["lightgbm"] == lightgbm.__version__
    assert 0.8 < metrics["auc"] < metrics["best_auc"] < 0.95
    assert metrics["baseline_accuracy"] < metrics["accuracy"]
    assert metrics["best_loss"] < metrics["loss"] < 0.65
    names = set(os.listdir(folder))
    assert names == {
        *("benchmark_run.log", "checkpoints", "curves.png", "eval", "flags.txt"),
        *("metric.log", "model.txt", "report.json", "report.png", "results.json"),
        *("saved_model", "train"),
    }
    records = metric_log.read(str(folder / "metric.log"))
    losses = [r["value"] for r in records if r["name"] == "train_loss"]
    assert len(losses) == 2 and losses[1] < losses[0] < 0.69  # After 10 and 12 trees.
    before = (folder / "results.json").read_bytes()
    assert run(folder, **SMALL, validation_fraction=0.1) == metrics
    assert (folder / "results.json").read_bytes() == before
    evaluated = run(folder, mode="eval")
    assert evaluated == {
        name: value for name, value in metrics.items() if "validation" not in name
    }


def test_report(tmp_path):
    run(tmp_path / "run", **SMALL)
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    shares = [each["gain"] for each in found["feature_importance"]]
    assert len(shares) == 28 and shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    # The masses that the labels depend on.
    best = {each["name"] for each in found["feature_importance"][:4]}
    assert len(best & {"m_bb", "m_wbb", "m_wwbb", "m_jj"}) >= 2
    assert sum(each["rows"] for each in found["calibration"]["bins"]) == 1000
    assert found["calibration"]["expected_error"] < 0.15
    assert found["roc"]["auc"] == results(tmp_path / "run")["metrics"]["auc"]
    for name in ("false_positive_rate", "true_positive_rate"):
        rates = found["roc"][name]
        assert rates[0] == 0 and rates[-1] == 1 and rates == sorted(rates)
    assert (tmp_path / "run" / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_higgs_is_what_lightgbm_gives(tmp_path):
    data_dir = real_data("higgs")
    metrics = run(tmp_path / "run", recipe="higgs_sample", data_dir=data_dir)
    assert metrics["accuracy"] >= 0.745 and metrics["auc"] >= 0.825
    train, test = (
        np.loadtxt(os.path.join(data_dir, f"binary.{part}"))
        for part in ("train", "test")
    )
    booster = lightgbm.train(
        dict(objective="binary", max_depth=6, learning_rate=0.1, verbosity=-1),
        lightgbm.Dataset(train[:, 1:], train[:, 0]),
        100,
    )
    expected = booster.predict(test[:, 1:])
    loaded = tf.saved_model.load(str(tmp_path / "run" / "saved_model"))
    classify = loaded.signatures["matrix"]
    found = classify(features=tf.constant(test[:, 1:]))["logistic"].numpy()[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with open(os.path.join(data_dir, "binary.test")) as file:
        lines = [line.partition("\t")[2].replace("\t", ",").strip() for line in file]
    found = loaded.signatures["serving_default"](inputs=tf.constant(lines))
    np.testing.assert_allclose(found["logistic"].numpy()[:, 0], expected, atol=1e-6)
    accuracy = (found["class_ids"].numpy()[:, 0] == test[:, 0]).mean()
    assert accuracy == pytest.approx(metrics["accuracy"], abs=1e-9)


def test_monotone_constraints(tmp_path):
    run(
        tmp_path / "run",
        **SMALL,
        monotone_constraints="m_bb:-1, lepton_pt:1",
        intra_op_parallelism_threads=1,
    )
    booster = lightgbm.Booster(model_file=str(tmp_path / "run" / "model.txt"))
    rows = np.tile(np.linspace(0.1, 5, 200)[:, np.newaxis], [1, 28])
    for column, sign in ((25, -1), (0, 1)):
        line = np.ones_like(rows)
        line[:, column] = rows[:, column]
        steps = np.diff(booster.predict(line, raw_score=True)) * sign
        assert (steps >= 0).all()
    assert (np.diff(booster.predict(rows)) != 0).any()


def test_early_stopping_takes_the_best_trees(tmp_path):
    flags = SMALL | {"n_trees": 300, "learning_rate": 0.4}
    metrics = run(
        tmp_path / "run", **flags, early_stopping_rounds=20, steps_between_evals=5
    )
    found = results(tmp_path / "run")
    assert 20 < found["steps"] < 300
    records = metric_log.read(str(tmp_path / "run" / "metric.log"))
    curve = [r for r in records if r["name"] == "validation_auc"]
    best = max(curve, key=lambda r: r["value"])
    assert best["value"] == pytest.approx(metrics["validation_auc"], abs=1e-12)
    assert best["global_step"] == found["steps"] - 20
    booster = lightgbm.Booster(model_file=str(tmp_path / "run" / "model.txt"))
    assert booster.current_iteration() == best["global_step"]


def test_random_forest_and_sampling(tmp_path):
    metrics = run(
        tmp_path / "run",
        **SMALL,
        boosting="rf",
        bagging_fraction=0.6,
        feature_fraction=0.5,
        num_leaves=64,
        max_depth=-1,
    )
    assert 0.75 < metrics["auc"] < 0.9
    text = (tmp_path / "run" / "model.txt").read_text()
    assert "average_output" in text
    same = run(
        tmp_path / "again",
        **SMALL,
        boosting="rf",
        bagging_fraction=0.6,
        feature_fraction=0.5,
        num_leaves=64,
        max_depth=-1,
    )
    assert same["auc"] == pytest.approx(metrics["auc"], abs=1e-9)


def test_categories(tmp_path):
    random = np.random.default_rng(0)
    kind = random.integers(0, 40, 3000)
    labels = (kind * 7919 % 40 < 20) ^ (random.random(3000) < 0.1)
    rows = np.stack([labels, kind, random.normal(size=3000)], axis=1)
    for name, part in (("a.csv", rows[:2000]), ("b.csv", rows[2000:])):
        np.savetxt(tmp_path / name, part, fmt="%.17g", delimiter=",")
    flags = dict(
        dataset="csv",
        data_dir=str(tmp_path),
        train_file="a.csv",
        eval_file="b.csv",
        n_trees=5,
        learning_rate=0.5,
        categorical_columns="0",
    )
    metrics = run(tmp_path / "run", **flags)
    assert metrics["accuracy"] > 0.85
    loaded = tf.saved_model.load(str(tmp_path / "run" / "saved_model"))
    classify = loaded.signatures["serving_default"]
    lines = [f"{row[1]:.17g},{row[2]:.17g}" for row in rows[2000:]]
    classes = classify(inputs=tf.constant(lines))["class_ids"].numpy()[:, 0]
    accuracy = (classes == rows[2000:, 0]).mean()
    assert accuracy == pytest.approx(metrics["accuracy"], abs=1e-9)


def test_prediction_of_a_table(tmp_path):
    data_dir = real_data("higgs")
    run(tmp_path / "run", recipe="higgs_sample", data_dir=data_dir, n_trees=5)
    test = os.path.join(data_dir, "binary.test")
    arguments = ["--mode=predict", f"--model_dir={tmp_path / 'run'}"]
    ended = outcome(*arguments, f"--input={test}", f"--output={tmp_path / 'out.csv'}")
    assert ended.exit_code == 0, ended
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "row,class,probability" and len(lines) == 501
    rows = tables.read(tables.form_of(test))
    booster = lightgbm.Booster(model_file=str(tmp_path / "run" / "model.txt"))
    chances = np.array([float(line.split(",")[2]) for line in lines[1:]])
    np.testing.assert_allclose(chances, booster.predict(rows[:, 1:]), atol=1e-6)
    (tmp_path / "few.csv").write_text("1,2,3\n")
    ended = outcome(*arguments, f"--input={tmp_path / 'few.csv'}")
    mains.assert_one_line_error(ended, "few.csv has 3 columns", "28 features")
    mains.assert_one_line_error(outcome(*arguments), "--input=FILE")


def test_flags_without_effect_are_named(tmp_path):
    arguments = [f"--{name}={value}" for name, value in SMALL.items()]
    ended = outcome(
        *arguments,
        f"--model_dir={tmp_path / 'run'}",
        "--batch_size=64",
        "--train_epochs=3",
        "--input=x",
        "--machine_index=1",
    )
    assert ended.exit_code == 0, ended
    for name in ("batch_size", "train_epochs", "input", "machine_index"):
        assert f"warning: --{name} has no effect: " in ended.stderr
    assert ended.stdout.startswith("boosted_trees: training on decay, the embedded ")


def test_clean(tmp_path):
    run(tmp_path / "run", **SMALL)
    run(tmp_path / "run", **SMALL, clean=True, seed=3)
    assert results(tmp_path / "run")["seed"] == 3
    (tmp_path / "run" / "mine.txt").write_text("mine")
    ended = outcome(f"--model_dir={tmp_path / 'run'}", "--clean")
    mains.assert_one_line_error(ended, "mine.txt was written by no run")
    assert (tmp_path / "run" / "results.json").exists()
