import pytest

from official.mnist import mnist
from official.mnist.recipes import RECIPES
from official.utils.flags import core as flags_core
from official.utils.testing.data import real_data


def run(recipe, folder, seed=0, **flags):
    found = mnist.run(
        flags_core.make_flags(
            mnist.define_flags,
            RECIPES,
            recipe=recipe.name,
            seed=seed,
            model_dir=str(folder),
            **flags,
        )
    )
    for metric, (low, high) in recipe.bands.items():
        assert low <= found[metric] <= high, (recipe.name, seed, found)


def by_name(name):
    return next(recipe for recipe in RECIPES if recipe.name == name)


def test_recipes_are_complete():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    for recipe in RECIPES:
        assert recipe.bands and len(recipe.seeds) >= 3 and recipe.cost
        assert recipe.source.startswith(("measured ", "quoted "))
        flags = flags_core.make_flags(mnist.define_flags, RECIPES, recipe=recipe.name)
        settings = flags_core.resolve(flags, RECIPES)
        for name, value in recipe.flags.items():
            assert settings[name] == value
    defaults = [recipe.dataset for recipe in RECIPES if recipe.is_default]
    assert sorted(defaults) == sorted(mnist.DATASETS)


def test_instant_recipe_falls_into_its_band(tmp_path):
    run(by_name("instant"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_recipe_falls_into_its_band(tmp_path, seed):
    run(by_name("digits"), tmp_path / "run", seed)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_mnist_recipe_falls_into_its_band(tmp_path, dtype):
    data_dir = real_data("mnist")
    run(by_name("mnist"), tmp_path / "run", data_dir=data_dir, dtype=dtype)
