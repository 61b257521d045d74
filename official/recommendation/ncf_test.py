import json
import os
import subprocess
import sys

import numpy as np
import pytest

from official.mnist import flags_test as mnist_flags
from official.recommendation import clusters, ncf, recipes, recommend
from official.recommendation.recommendations import asked
from official.recommendation.task import NcfTask
from official.utils.data.streams import Share
from official.utils.flags import core as flags_core
from official.utils.testing import kills, mains
from official.utils.testing.errors import message_of
from official.utils.testing.tasks import make_loop
from official.utils.training import precision

SHARED = {name: text for name, text in mnist_flags.FLAGS.items() if name != "mnist"}
OWN = (
    "hr_threshold item_column layers lazy_tables mf_regularization min_rating "
    "mlp_regularization model_type num_eval_negatives num_factors num_neg output_file "
    "rating_column ratings_file separate_tables time_column top_k user_column users "
    "users_file validation_users"
)
# A client: TensorFlow alone, and any attempt to import this project fails.
CLIENT = """
import sys
sys.modules["official"] = None
import numpy as np
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
users = np.array([1, 2, 3, 99], np.int64)
found = signatures["serving_default"](user_id=tf.constant(users))
flat = tf.reshape(found["item_id"], [-1])
pairs = signatures["score"](user_id=tf.constant(np.repeat(users, 4)), item_id=flat)
found = {name: np.array(values.numpy().tolist()) for name, values in found.items()}
np.savez(sys.argv[2], pairs=pairs["score"], **found)
"""


def run(**flags):
    return ncf.run(flags_core.make_flags(ncf.define_flags, recipes.RECIPES, **flags))


def make_task(**flags):
    flag_values = flags_core.make_flags(ncf.define_flags, recipes.RECIPES, **flags)
    task = NcfTask(flags_core.resolve(flag_values, recipes.RECIPES))
    task.load()
    return task


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """60 users and 40 items in two groups; a user takes 12 of the 20 of the group."""
    generator = np.random.default_rng(0)
    lines = ["user,item,rating,time"]
    for user in range(1, 61):
        for time, item in enumerate(generator.permutation(20)[:12]):
            lines.append(f"{user},film {item + 20 * (user % 2)},5,{time}")
    path = tmp_path_factory.mktemp("table") / "ratings.csv"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture(scope="module")
def small(table):
    return dict(
        dataset="csv",
        ratings_file=table,
        time_column="time",
        batch_size=300,
        num_eval_negatives=20,
        optimizer="adam",
        learning_rate=0.02,
        train_steps=120,
        steps_between_evals=60,
        top_k=4,
    )


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The folder of a run, and its metrics."""
    folder = str(tmp_path_factory.mktemp("trained") / "run")
    return folder, run(model_dir=folder, **small)


def test_flags_are_frozen():
    found = flags_core.flags_by_set(ncf.define_flags())
    expected = {**SHARED, "ncf": OWN}
    assert found == {name: sorted(text.split()) for name, text in expected.items()}


@pytest.mark.parametrize(
    ("flag", "fragment"),
    [
        ("--layers=63,8", "first one even"),
        ("--layers=64", "two sizes"),
        ("--mlp_regularization=0,x", "numbers from 0 on"),
        ("--num_eval_negatives=0", "-1 for all"),
        ("--dataset=csv", "--ratings_file"),
        ("--dataset=ml-1m", "--data_dir"),
        ("--batch_size=4", "--num_neg=4"),
    ],
)
def test_wrong_flags(flag, fragment, tmp_path):
    outcome = mains.run_main(
        ncf.define_flags, ncf.run, recipes.RECIPES, [flag, f"--model_dir={tmp_path}"]
    )
    mains.assert_one_line_error(outcome, fragment)


def test_it_learns_the_two_groups(trained):
    folder, metrics = trained
    # 8 untaken items are of the user's group; popularity cannot tell which.
    assert metrics["hr_at_10"] > 0.9 > 0.8 > metrics["baseline_hr_at_10"]
    assert 0 < metrics["loss"] < 1
    with open(os.path.join(folder, "results.json")) as file:
        assert json.load(file)["metrics"] == metrics


@pytest.mark.parametrize("num_eval_negatives", [20, -1])
def test_a_checkpoint_is_evaluated(trained, num_eval_negatives):
    folder, metrics = trained
    found = run(model_dir=folder, mode="eval", num_eval_negatives=num_eval_negatives)
    if num_eval_negatives > 0:
        for name in ("hr_at_10", "ndcg_at_10", "loss", "baseline_hr_at_10"):
            assert found[name] == pytest.approx(metrics[name], rel=1e-5)
    else:
        assert 0.6 < found["hr_at_10"] <= metrics["hr_at_10"]


def test_the_saved_model_recommends_what_the_checkpoint_does(trained, table, tmp_path):
    folder, _ = trained
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, f"{folder}/saved_model", tmp_path / "found.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert client.returncode == 0, client.stderr
    found = np.load(tmp_path / "found.npz")
    lines = open(table).read().splitlines()[1:]
    taken = {tuple(line.split(",")[:2]) for line in lines}
    text = ""
    for user, items, scores in zip(
        (1, 2, 3), found["item_id"], found["score"], strict=False
    ):
        names = [item.decode() for item in items]
        assert len(set(names)) == 4
        assert not {(str(user), name) for name in names} & taken
        # All are of the user's group, of which 8 are left.
        assert {int(name.split()[1]) // 20 for name in names} == {user % 2}
        assert (np.diff(scores) <= 0).all()
        for name, score in zip(names, scores, strict=True):
            text += f"{user}\t{name}\t{score:.4f}\n"
    np.testing.assert_allclose(found["pairs"], found["score"].ravel(), rtol=1e-5)
    assert found["is_known"].tolist() == [True, True, True, False]
    # The unknown user gets what most took.
    counts = {}
    for _, name in (line.split(",")[:2] for line in lines):
        counts[name] = counts.get(name, 0) + 1
    best = sorted(counts.values())[-4:]
    assert sorted(counts[item.decode()] for item in found["item_id"][3]) == best
    np.testing.assert_allclose(found["score"][3], np.array(best[::-1]) / 60, rtol=1e-6)

    for source in (f"--model_dir={folder}", f"--saved_model={folder}/saved_model"):
        output = tmp_path / "output.tsv"
        outcome = mains.run_main(
            recommend.define_flags,
            recommend.run,
            (),
            [source, "--users=1,2,3", "--top_k=4", f"--output_file={output}"],
        )
        assert outcome.exit_code == 0, outcome
        assert output.read_text() == text
        output.unlink()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--users=1"], ["--model_dir", "--saved_model"]),
        (["--saved_model={folder}", "--users=1"], ["no SavedModel"]),
        (["--saved_model={folder}/saved_model"], ["--users", "--users_file"]),
        (["--saved_model={folder}/saved_model", "--users=ann"], ["'ann'", "number"]),
        (["--saved_model={folder}/saved_model", "--users=1", "--top_k=9"], ["gives 4"]),
        (["--model_dir={folder}", "--users=,"], ["names no user"]),
    ],
)
def test_wrong_requests(trained, arguments, fragments):
    outcome = mains.run_main(
        recommend.define_flags,
        recommend.run,
        (),
        [argument.format(folder=trained[0]) for argument in arguments],
    )
    mains.assert_one_line_error(outcome, *fragments)


def test_an_unknown_user_is_warned_of(trained, capsys):
    flags = dict(saved_model=f"{trained[0]}/saved_model", users="77")
    recommend.run(flags_core.make_flags(recommend.define_flags, **flags))
    captured = capsys.readouterr()
    assert "the user 77 is unknown" in captured.err
    assert len([line for line in captured.out.splitlines() if "\t" in line]) == 4


def test_users_from_a_file(tmp_path):
    (tmp_path / "users").write_text("ann\n\nben smith\n")
    assert asked(None, str(tmp_path / "users")) == ["ann", "ben smith"]
    assert asked("ann, ben smith", None) == ["ann", "ben smith"]
    assert "one of the two" in message_of(asked, "ann", "file")


def test_two_parts_end_in_the_bits_of_one(small, tmp_path):
    flags = {**small, "mode": "train", "deterministic": True, "checkpoint_steps": 40}
    try:
        run(model_dir=str(tmp_path / "whole"), **flags)
        run(model_dir=str(tmp_path / "parts"), max_train_steps=60, **flags)
        run(model_dir=str(tmp_path / "parts"), **flags)
    finally:
        from tensorflow.python.framework import config

        config.disable_op_determinism()
    kills.assert_same_checkpoint(tmp_path / "whole", tmp_path / "parts")


def losses(small, replicas=1, steps=30, **flags):
    task = make_task(**{**small, **flags})
    loop = make_loop(task, replicas, total_steps=steps)
    found = loop.train(loop.batches(task.training_stream(), 0), 0, steps)["loss"]
    return found, loop.evaluate(task.evaluation_stream("test"))


@pytest.mark.parametrize("replicas", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_replicas_follow_the_losses_of_one(small, replicas):
    one, one_metrics = losses(small)
    other, metrics = losses(small, replicas)
    assert one[-1] < 0.8 * one[0]
    np.testing.assert_allclose(other, one, rtol=1e-4)
    assert metrics == pytest.approx(one_metrics, rel=1e-4)


def test_micro_batches_follow_the_losses_of_one(small):
    one, _ = losses(small)
    other, _ = losses(small, gradient_accumulation_steps=3)
    np.testing.assert_allclose(other, one, rtol=1e-4)


def test_reduced_precision_follows_fp32(small):
    exact, _ = losses(small)
    with precision.policy("bf16"):
        reduced, _ = losses(small, dtype="bf16")
    np.testing.assert_allclose(reduced, exact, rtol=0.1)


def test_regularisation_counts_the_rows_of_a_batch(small):
    sizes = {**small, "layers": "8,4"}
    free, paid = (make_task(**sizes, mf_regularization=mf) for mf in (0, 0.5))
    network = make_loop(paid).model
    (batch,) = paid.training_stream().dataset(0, Share(1, 0, 1)).take(1)
    users, items = (
        rows[0].numpy()
        for rows in (
            network.user_rows(batch["user"]),
            network.item_rows(batch["item"]),
        )
    )
    expected = 0.5 * (np.square(users).sum(-1).mean() + np.square(items).sum(-1).mean())
    one, other = (task.loss(network, batch, training=True) for task in (free, paid))
    found = (other.total - one.total) / one.weight
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


def test_the_law_of_the_embedded_set_is_the_best_there_is():
    task = make_task()
    found = task.more_metrics(None, "test")
    assert found["best_hr_at_10"] == pytest.approx(0.781, abs=1e-3)
    assert found["baseline_hr_at_10"] < 0.3
    ratings = clusters.make().ratings
    assert ratings.items[:5].tolist() == [696, 878, 436, 920, 154]


def test_synthetic_data_has_the_sizes_of_the_real():
    real, made = make_task(), make_task(use_synthetic_data=True)
    assert "made-up" in made.load()
    assert made.facts == real.facts
    assert made.more_metrics(None, "test")["baseline_hr_at_10"] < 0.3
