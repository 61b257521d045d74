import dataclasses

import pytest

from official.benchmark import suites
from official.utils.errors import UserError
from official.utils.recipes import Cost, Recipe

TOY = Recipe(
    name="small",
    model="toy",
    module="official.toy.train",
    size="quick",
    flags={"dataset": "toys", "batch_size": 8},
    bands={"accuracy": (0.9, 1.0)},
    seeds=(0, 1, 2),
    cost=Cost(seconds=40, memory_gib=1, machine="2 cores"),
    source="measured abc",
)
FULL = dataclasses.replace(TOY, name="real", size="full", cost=None)
TREES = dataclasses.replace(TOY, name="forest", model="trees", has_steps=False)


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(
        suites, "find_recipes", lambda: {"toy": [TOY, FULL], "r1/trees": [TREES]}
    )


def keys(suite, data_dir=None):
    return [job.key for job in suites.select(suite, data_dir)]


def test_names_of_a_suite(toys):
    assert keys("quick") == ["toy/small", "trees/forest"]
    assert keys("toy") == ["toy/small", "toy/real"]
    assert keys("toy/real, quick,toy") == ["toy/real", "toy/small", "trees/forest"]
    # Trees have no step that could be measured alone.
    assert keys("kernel") == ["kernel:toy/small"]
    assert keys("micro") == [
        f"{kind}:toy/small" for kind in ("loop", "input", "kernel")
    ]
    assert keys("loop:toy/real") == ["loop:toy/real"]


def test_names_that_name_nothing(toys):
    for suite, words in (
        ("quik", "is unknown; sizes are instant, quick"),
        ("toy/smal", r"no recipe toy/smal; did you mean toy/small"),
        ("loop:none/at", "there is no recipe none/at"),
        ("instant", "names no recipe"),
        (" , ", "names no recipe"),
    ):
        with pytest.raises(UserError, match=words):
            suites.select(suite)


def test_arguments_of_a_run(toys, tmp_path):
    (job,) = suites.select("toy/real", str(tmp_path))
    assert job.arguments(3, "/logs/run") == [
        *("-m", "official.toy.train", "--recipe=real", "--seed=3"),
        *("--model_dir=/logs/run", f"--data_dir={tmp_path}/toys"),
    ]
    (micro,) = suites.select("loop:toy/small", str(tmp_path))
    assert micro.arguments(0, "/logs/run") == [
        *("-m", "official.benchmark.loop", "--target=toy/small", "--seed=0"),
        "--model_dir=/logs/run",
    ]
    assert job.bands == {"accuracy": (0.9, 1.0)} and not micro.bands


def test_missing_data_is_named(toys, tmp_path):
    (embedded,) = suites.select("toy/small", str(tmp_path))
    assert suites.missing_data(embedded) == ""
    (nowhere,) = suites.select("toy/real")
    assert "needs the data set toys: give --data_dir" in suites.missing_data(nowhere)
    (empty,) = suites.select("toy/real", str(tmp_path))
    assert suites.missing_data(empty) == f"there is no folder {tmp_path}/toys"
    (tmp_path / "toys").mkdir()
    assert suites.missing_data(empty) == ""


def test_the_digest_follows_what_is_run(toys):
    (job,) = suites.select("toy/small")
    faster = dataclasses.replace(TOY, flags={**TOY.flags, "batch_size": 16})
    wider = dataclasses.replace(TOY, bands={"accuracy": (0.8, 1.0)}, source="other")
    assert suites.Job(job.key, faster).digest != job.digest
    assert suites.Job(job.key, wider).digest == job.digest
    assert suites.Job("loop:toy/small", TOY, "loop").digest != job.digest


def test_time_limits():
    assert suites.Job("toy/small", TOY).time_limit() == 400
    assert suites.Job("toy/real", FULL).time_limit() == 4 * 3600
    quick = dataclasses.replace(TOY, cost=dataclasses.replace(TOY.cost, seconds=2))
    assert suites.Job("toy/small", quick).time_limit() == 300


def test_two_recipes_of_one_name_are_a_mistake(monkeypatch):
    monkeypatch.setattr(suites, "find_recipes", lambda: {"a": [TOY], "b": [TOY]})
    with pytest.raises(AssertionError, match="two recipes are named toy/small"):
        suites.select("quick")


def test_the_garden_s_own_recipes_have_unique_names_and_known_models():
    assert "mnist/instant" in keys("instant")
    models = {r.model for found in suites.find_recipes().values() for r in found}
    assert models <= {
        *("mnist", "resnet", "bert", "transformer", "ncf"),
        *("boosted_trees", "wide_deep"),
    }
