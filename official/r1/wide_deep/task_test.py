import json

import numpy as np
import pytest

from official.r1.wide_deep import census_main, movielens_main
from official.utils.flags import core as flags_core
from official.utils.testing import kills
from official.utils.testing.tasks import assert_step_compiles, make_loop
from official.utils.training import precision

MAINS = {"census": census_main, "movielens": movielens_main}
# The loop is the same; the second main takes as long again.
CENSUS_AND_SLOW_RATINGS = [
    "census",
    pytest.param("movielens", marks=pytest.mark.slow),
]
SMALL = dict(
    batch_size=60,
    optimizer="adamw",
    learning_rate=2e-3,
    schedule="constant",
    hidden_units="32,16",
    wide_learning_rate=0.5,
    dropout=0.0,
)


@pytest.fixture(scope="module")
def make_task():
    """Makes tasks whose tables are loaded once for all tests."""
    loaded = {}

    def make(name, **flags):
        main = MAINS[name]
        values = flags_core.make_flags(
            main.define_flags, main.RECIPES, **(SMALL | flags)
        )
        task = main.task_class()(flags_core.resolve(values, main.RECIPES))
        if name not in loaded:
            task.load()
            loaded[name] = task
        for attribute in ("facts", "parts", "arrays"):
            if hasattr(loaded[name], attribute):
                setattr(task, attribute, getattr(loaded[name], attribute))
        return task

    return make


def losses(task, steps=20, replicas=1):
    loop = make_loop(task, replicas, total_steps=steps)
    return loop.train(loop.batches(task.training_stream(), 0), 0, steps)["loss"]


@pytest.mark.parametrize("name", CENSUS_AND_SLOW_RATINGS)
def test_step_compiles_with_static_shapes(make_task, name):
    assert_step_compiles(make_task(name, enable_xla=True))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("census", [0.563307, 0.548324, 0.537697]),
        ("movielens", [1.357151, 0.952316, 1.30453]),
    ],
)
def test_first_losses_are_pinned(make_task, name, expected):
    """A change of data, features, network, optimizers or order shows here."""
    task = make_task(name)
    found = losses(task, steps=3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAINS)
def test_replicas_follow_one_loss_and_evaluate_alike(make_task, name):
    curves, metrics = [], []
    for replicas in (1, 3):
        task = make_task(name, batch_size=300)
        loop = make_loop(task, replicas, total_steps=50)
        batches = loop.batches(task.training_stream(), 0)
        curves.append(loop.train(batches, 0, 50)["loss"])
        metrics.append(loop.evaluate(task.evaluation_stream("validation")))
    assert curves[0][-10:].mean() < 0.97 * curves[0][:10].mean()
    for curve, found in zip(curves[1:], metrics[1:], strict=True):
        np.testing.assert_allclose(curve, curves[0], rtol=1e-4)
        assert found == pytest.approx(metrics[0], rel=1e-3)


@pytest.mark.parametrize(
    "dtype", ["bf16", pytest.param("fp16", marks=pytest.mark.slow)]
)
def test_reduced_precision_follows_fp32(make_task, dtype):
    exact = losses(make_task("census"))
    with precision.policy(dtype):
        reduced = losses(make_task("census", dtype=dtype))
    np.testing.assert_allclose(reduced, exact, rtol=0.05)


@pytest.mark.parametrize("model_type", ["wide", "deep"])
@pytest.mark.parametrize("name", MAINS)
def test_parts_learn_alone(make_task, name, model_type):
    task = make_task(name, model_type=model_type, batch_size=500)
    found = losses(task, steps=60)
    assert found[-10:].mean() < 0.97 * found[:10].mean()


def test_synthetic_rows_have_the_sizes_and_ranges_of_the_real(make_task):
    real = make_task("census")
    made = make_task("census", use_synthetic_data=True)
    del made.arrays
    assert "made-up rows" in made.load()
    for split, arrays in real.arrays.items():
        for name, values in arrays.items():
            found = made.arrays[split][name]
            assert found.shape == values.shape and found.dtype == values.dtype
            if name.endswith("_ids"):
                assert (found >= values.min(axis=0)).all()
                assert (found <= values.max(axis=0)).all()
                assert not np.array_equal(found, values)


def run(name, folder, **flags):
    main = MAINS[name]
    flags = dict(SMALL, train_steps=40, steps_between_evals=20, dropout=0.2) | flags
    return main.run(
        flags_core.make_flags(
            main.define_flags,
            main.RECIPES,
            model_dir=str(folder),
            mode="train",
            deterministic=True,
            **flags,
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MAINS)
def test_two_parts_end_in_the_bits_of_one(tmp_path, name):
    run(name, tmp_path / "whole")
    run(name, tmp_path / "parts", max_train_steps=17)
    run(name, tmp_path / "parts")
    found = json.loads((tmp_path / "parts" / "results.json").read_text())
    assert found["resumed_from_steps"] == [17]
    kills.assert_same_checkpoint(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize("name", MAINS)
def test_killed_runs_end_in_the_same_bits(tmp_path, name):
    run(name, tmp_path / "whole", train_steps=2000, checkpoint_steps=100)
    flags = dict(
        SMALL,
        mode="train",
        deterministic=True,
        train_steps=2000,
        steps_between_evals=20,
        dropout=0.2,
        checkpoint_steps=100,
    )
    deaths = kills.run_with_kills(
        MAINS[name].__name__,
        [f"--{key}={value}" for key, value in flags.items()],
        str(tmp_path / "killed"),
        last_step=2000,
    )
    assert len(deaths) == 3
    kills.assert_same_checkpoint(tmp_path / "whole", tmp_path / "killed")
