import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from official.mnist import mnist, recipes
from official.utils.testing import kills, mains
from official.utils.training import checkpoints
from official.utils.training.loop import Loop
from official.utils.training.pacing import Pace

MODULE = "official.mnist.mnist"
# All that carries state from one step to the next; the network has dropout.
FLAGS = dict(
    deterministic=True,
    batch_size=16,
    gradient_accumulation_steps=2,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.05,
    schedule="cosine",
    warmup_steps=5,
    ema_decay=0.9,
    train_steps=60,
    steps_between_evals=20,
    checkpoint_steps=20,
    eval_batch_size=128,
    seed=3,
)


def arguments(model_dir, **flags):
    flags = {**FLAGS, "model_dir": model_dir, **flags}
    return [f"--{name}={value}" for name, value in flags.items()]


def run(model_dir, **flags):
    outcome = mains.run_main(
        mnist.define_flags, mnist.run, recipes.RECIPES, arguments(model_dir, **flags)
    )
    assert outcome.exit_code in (0, 130, 143), outcome
    return outcome


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def steps(model_dir):
    return checkpoints.Checkpoints(os.path.join(model_dir, "checkpoints")).steps()


def contents(folder):
    """Time of change and bytes of every file below."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                found[path] = (os.stat(path).st_mtime_ns, file.read())
    return found


@pytest.fixture(scope="module", autouse=True)
def determinism():
    """Switches off what `--deterministic` switches on for the whole process."""
    yield
    from tensorflow.python.framework import config

    config.disable_op_determinism()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that nothing stopped."""
    model_dir = tmp_path_factory.mktemp("finished")
    assert run(model_dir).exit_code == 0
    assert steps(model_dir) == [20, 40, 60]
    return model_dir


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of it that later runs may change."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def no_training(monkeypatch):
    def train(*_):
        raise AssertionError("it trains")

    monkeypatch.setattr(Loop, "train", train)


def send_after(monkeypatch, step, number):
    """Sends this process a signal during the call that reaches `step`."""
    train = Loop.train

    def train_and_send(self, batches, first_step, count):
        history = train(self, batches, first_step, count)
        if first_step < step <= first_step + count:
            os.kill(os.getpid(), number)
        return history

    monkeypatch.setattr(Loop, "train", train_and_send)


def test_two_parts_end_in_the_bits_of_one(finished, tmp_path, monkeypatch):
    # Calls of another length than those that the clock would give.
    monkeypatch.setattr(Pace, "next_count", lambda self, most: min(most, 7))
    run(tmp_path, mode="train", max_train_steps=37)
    assert steps(tmp_path) == [20, 37]
    assert "resuming from" in run(tmp_path, mode="train").stdout
    assert results(tmp_path)["resumed_from_steps"] == [37]
    assert results(tmp_path)["steps"] == 60
    kills.assert_same_checkpoint(finished, tmp_path)


def test_runs_in_one_process_are_as_in_two(finished, tmp_path):
    run(tmp_path / "second", mode="train")
    kills.assert_same_checkpoint(finished, tmp_path / "second")
    fresh = mains.run_process(MODULE, arguments(tmp_path / "fresh", mode="train"))
    assert fresh.exit_code == 0, fresh
    kills.assert_same_checkpoint(finished, tmp_path / "fresh")


def test_another_seed_ends_in_other_bits(finished, tmp_path):
    run(tmp_path, mode="train", seed=4)
    with pytest.raises(AssertionError, match="differ"):
        kills.assert_same_checkpoint(finished, tmp_path)


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".data-00000-of-00001", cut),
        (".index", cut),
        (".data-00000-of-00001", os.remove),
        (".data-00000-of-00001", empty),
        (".index", empty),
    ],
)
def test_damaged_newest_checkpoint_is_skipped(finished, copy, suffix, damage):
    damage(copy / "checkpoints" / f"ckpt-60{suffix}")
    os.remove(copy / "results.json")
    outcome = run(copy, mode="train")
    assert outcome.exit_code == 0
    warnings = [line for line in outcome.stderr.splitlines() if "ckpt-60" in line]
    assert len(warnings) == 1 and "is damaged and is skipped" in warnings[0]
    assert results(copy)["resumed_from_steps"] == [40]
    kills.assert_same_checkpoint(finished, copy)


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_signal_writes_a_checkpoint(finished, tmp_path, number, exit_code):
    with pytest.MonkeyPatch.context() as monkeypatch:
        send_after(monkeypatch, 27, number)
        outcome = run(tmp_path, mode="train")
    assert outcome.exit_code == exit_code
    stopped_at = steps(tmp_path)[-1]
    assert 27 <= stopped_at <= 40
    assert (
        f"stopped at step {stopped_at}; the same command with --model_dir="
        in outcome.stdout
    )
    assert not (tmp_path / "results.json").exists()
    assert run(tmp_path, mode="train").exit_code == 0
    assert results(tmp_path)["resumed_from_steps"] == [stopped_at]
    kills.assert_same_checkpoint(finished, tmp_path)


def test_signal_in_the_last_call_ends_the_run(finished, tmp_path):
    with pytest.MonkeyPatch.context() as monkeypatch:
        send_after(monkeypatch, 60, signal.SIGTERM)
        assert run(tmp_path, mode="train").exit_code == 143
    kills.assert_same_checkpoint(finished, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_the_last_checkpoint_is_written(tmp_path, monkeypatch, number):
    save = checkpoints.Checkpoints.save

    def save_and_send(self, variables, state):
        save(self, variables, state)
        if state["step"] == 4:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", save_and_send)
    outcome = run(tmp_path, mode="train", train_steps=4)
    assert outcome.exit_code == 128 + number
    assert steps(tmp_path) == [4]


@pytest.mark.parametrize("mode", ["train_and_eval", "train"])
def test_finished_run_changes_nothing(copy, no_training, mode):
    before = contents(copy)
    outcome = run(copy, mode=mode)
    assert outcome.exit_code == 0
    assert "is finished at step 60: nothing to do" in outcome.stdout
    assert contents(copy) == before


def test_killed_before_the_results_were_written(finished, copy, no_training):
    os.remove(copy / "results.json")
    shutil.move(copy / "saved_model", copy / "saved_model.tmp")
    assert run(copy).exit_code == 0
    assert results(copy)["metrics"] == results(finished)["metrics"]
    assert results(copy)["resumed_from_steps"] == [60]
    assert (copy / "saved_model" / "saved_model.pb").exists()
    assert not (copy / "saved_model.tmp").exists()
    kills.assert_same_checkpoint(finished, copy)


ACCURACIES = {10: 0.5, 20: 0.9, 30: 0.6, 40: 0.7, 50: 0.8, 60: 0.85}


@pytest.fixture
def evaluated(monkeypatch):
    """Gives each step an accuracy; notes the weights that each evaluation sees."""
    seen = []

    def evaluate(self, stream):
        seen.append(self.model.get_layer("logits").bias.numpy())
        step = int(self.optimizer.iterations.numpy())
        return {"loss": 1.0, "accuracy": ACCURACIES[step]}

    monkeypatch.setattr(Loop, "evaluate", evaluate)
    return seen


BEST = dict(ema_decay=0, steps_between_evals=10, keep_checkpoints=1)


def test_best_step_survives_a_resume(evaluated, tmp_path):
    with pytest.MonkeyPatch.context() as monkeypatch:
        send_after(monkeypatch, 35, signal.SIGTERM)
        assert run(tmp_path, **BEST, export_best=True).exit_code == 143
    stopped_at = steps(tmp_path)[-1]
    assert steps(tmp_path) == [20, stopped_at]
    assert run(tmp_path, **BEST, export_best=True).exit_code == 0
    assert steps(tmp_path) == [20, 60]
    best = checkpoints.read(str(tmp_path / "checkpoints" / "ckpt-20"))
    last = checkpoints.read(str(tmp_path / "checkpoints" / "ckpt-60"))
    assert json.loads(last["state"].item()) == dict(
        step=60, best_step=20, best_value=0.9, facts={}
    )
    # The best weights are the ones that test and validation metrics are reported of;
    # before that stands the evaluation at step 60.
    np.testing.assert_array_equal(evaluated[-1], best["model/logits/bias"])
    np.testing.assert_array_equal(evaluated[-2], best["model/logits/bias"])
    np.testing.assert_array_equal(evaluated[-3], last["model/logits/bias"])
    assert results(tmp_path)["metrics"]["accuracy"] == 0.9


def test_average_of_checkpoints_is_what_is_reported(evaluated, tmp_path):
    flags = dict(ema_decay=0, average_checkpoints=2, keep_checkpoints=1)
    assert run(tmp_path, **flags).exit_code == 0
    biases = [
        checkpoints.read(str(tmp_path / "checkpoints" / f"ckpt-{step}"))
        for step in (40, 60)
    ]
    mean = np.mean([values["model/logits/bias"] for values in biases], axis=0)
    # Validation and test at the end; the evaluation at step 60 was of the last weights.
    for weights in evaluated[-2:]:
        np.testing.assert_allclose(weights, mean, rtol=1e-6)
    np.testing.assert_array_equal(evaluated[-3], biases[1]["model/logits/bias"])
    for other, fragment in (
        (dict(export_best=True), "--export_best exclude each other"),
        (dict(checkpoint_steps=None), "needs --checkpoint_steps"),
    ):
        given = [
            f"{k}={v}" for k, v in (FLAGS | flags | other).items() if v is not None
        ]
        outcome = mains.run_main(
            mnist.define_flags,
            mnist.run,
            recipes.RECIPES,
            [f"--{each}" for each in [*given, f"model_dir={tmp_path / fragment[2:9]}"]],
        )
        assert outcome.exit_code == 1 and fragment in outcome.stderr


def test_missing_best_checkpoint_is_an_error(evaluated, tmp_path):
    assert run(tmp_path, **BEST, mode="train").exit_code == 0
    os.remove(tmp_path / "checkpoints" / "ckpt-20.data-00000-of-00001")
    flags = arguments(tmp_path, **BEST, mode="eval", export_best=True)
    outcome = mains.run_main(mnist.define_flags, mnist.run, recipes.RECIPES, flags)
    mains.assert_one_line_error(outcome, "ckpt-20", "without --export_best")


def test_stop_threshold_survives_a_resume(evaluated, tmp_path):
    run(tmp_path, **BEST, mode="train", stop_threshold=0.9)
    assert steps(tmp_path) == [20]
    os.remove(tmp_path / "results.json")
    run(tmp_path, **BEST, mode="train", stop_threshold=0.9)
    assert steps(tmp_path) == [20]
    assert results(tmp_path)["steps"] == 20
    # One that no evaluation reached.
    run(tmp_path, **BEST, mode="train", stop_threshold=0.95)
    assert results(tmp_path)["steps"] == 60


def kill_and_compare(tmp_path, flags, **options):
    """Returns the deaths of a run that ended as one without them."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    flags = [f"--{name}={value}" for name, value in flags.items()]
    outcome = mains.run_process(MODULE, [*flags, f"--model_dir={whole}"])
    assert outcome.exit_code == 0, outcome
    deaths = kills.run_with_kills(MODULE, flags, str(killed), **options)
    kills.assert_same_checkpoint(whole, killed)
    assert results(whole)["metrics"] == results(killed)["metrics"]
    assert results(whole)["resumed_from_steps"] == []
    assert results(killed)["resumed_from_steps"] == [death.step for death in deaths]
    # Nothing half written stays.
    assert sorted(os.listdir(killed / "checkpoints")) == sorted(
        ["checkpoint.resumes", *os.listdir(whole / "checkpoints")]
    )
    for name in ("train", "eval"):
        assert tf.io.gfile.listdir(str(killed / name))
    print(f"killed at {deaths}")
    return deaths


KILLED = dict(
    deterministic=True,
    checkpoint_steps=20,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.05,
    schedule="cosine",
    warmup_steps=20,
    gradient_accumulation_steps=2,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices",
    [{}, dict(distribution_strategy="mirrored", num_virtual_cpus=2)],
    ids=["one_device", "two_virtual_cpus"],
)
def test_killed_runs_end_in_the_same_bits(tmp_path, devices):
    flags = dict(KILLED, train_steps=300, batch_size=32, **devices)
    deaths = kill_and_compare(tmp_path, flags, last_step=300, kills=3)
    assert len(deaths) == 3
    assert any(death.unfinished for death in deaths)


def test_run_killed_while_it_writes_ends_in_the_same_bits(tmp_path):
    flags = dict(KILLED, train_steps=100, batch_size=16)
    (death,) = kill_and_compare(tmp_path, flags, last_step=100, kills=1)
    assert death.unfinished
