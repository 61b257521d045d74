import pytest

from official.recommendation import ncf
from official.recommendation.recipes import RECIPES
from official.utils.flags import core as flags_core
from official.utils.testing.data import real_data


def run(name, folder, seed=0, **flags):
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    found = ncf.run(
        flags_core.make_flags(
            ncf.define_flags,
            RECIPES,
            recipe=name,
            seed=seed,
            model_dir=str(folder),
            **flags,
        )
    )
    for metric, (low, high) in recipe.bands.items():
        assert low <= found[metric] <= high, (name, seed, found)
    return found


def test_recipes_are_complete():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    for recipe in RECIPES:
        assert recipe.source.startswith(("measured ", "quoted "))
        assert recipe.size == "paper" or recipe.seeds
        flags = flags_core.make_flags(ncf.define_flags, RECIPES, recipe=recipe.name)
        settings = flags_core.resolve(flags, RECIPES)
        for name, value in recipe.flags.items():
            assert settings[name] == value
    defaults = [recipe.dataset for recipe in RECIPES if recipe.is_default]
    assert sorted(defaults) == sorted(ncf.DATASETS)


def test_instant_recipe_falls_into_its_band(tmp_path):
    run("instant", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_embedded_set_comes_near_the_best_there_is(tmp_path, dtype):
    found = run("clusters", tmp_path / "run", dtype=dtype)
    assert found["hr_at_10"] >= 0.95 * found["best_hr_at_10"]
    assert found["hr_at_10"] >= 2 * found["baseline_hr_at_10"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_movielens_100k_falls_into_its_band(tmp_path, seed):
    run("ml-100k", tmp_path / "run", seed, data_dir=real_data("ml-100k"))
