import importlib

import pytest

from official.r1.wide_deep import census_main, movielens_main, recipes
from official.r1.wide_deep.recipes import RECIPES
from official.utils.flags import core as flags_core
from official.utils.testing.data import real_data

MAINS = {main.__name__: main for main in (census_main, movielens_main)}
FOLDERS = {"census": "adult", "ml-100k": "ml-100k"}


def run(recipe, folder, seed=0, **flags):
    main = importlib.import_module(recipe.module)
    if recipe.dataset in FOLDERS:
        flags["data_dir"] = str(real_data(FOLDERS[recipe.dataset]))
    found = main.run(
        flags_core.make_flags(
            main.define_flags,
            main.RECIPES,
            recipe=recipe.name,
            seed=seed,
            model_dir=str(folder),
            **flags,
        )
    )
    for metric, (low, high) in recipe.bands.items():
        assert low <= found[metric] <= high, (recipe.name, seed, found)
    return found


def by_name(name):
    return next(recipe for recipe in RECIPES if recipe.name == name)


def test_recipes_are_complete():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    assert RECIPES == (*recipes.CENSUS, *recipes.MOVIELENS)
    for recipe in RECIPES:
        main = MAINS[recipe.module]
        flags = flags_core.make_flags(
            main.define_flags, main.RECIPES, recipe=recipe.name
        )
        settings = flags_core.resolve(flags, main.RECIPES)
        for name, value in recipe.flags.items():
            assert settings[name] == value
        if recipe.bands:
            assert len(recipe.seeds) >= 3 and recipe.cost
        assert recipe.source.startswith(("measured ", "quoted "))
    for main in MAINS.values():
        defaults = [r.dataset for r in main.RECIPES if r.is_default]
        assert sorted(defaults) == sorted(main.DATASETS)


def test_instant_recipes_fall_into_their_bands(tmp_path):
    for recipe in RECIPES:
        if recipe.size == "instant":
            run(recipe, tmp_path / recipe.name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["census_like", "movielens_like"])
def test_mains_without_flags_come_near_to_the_best(tmp_path, name, seed):
    found = run(by_name(name), tmp_path / "run", seed)
    if name == "census_like":
        assert found["accuracy"] >= found["best_accuracy"] - 0.01
    else:
        assert found["rmse"] <= 1.02 * found["best_rmse"]


@pytest.mark.slow
def test_crosses_and_the_deep_part_see_what_columns_alone_do_not(tmp_path):
    recipe = by_name("census_like")
    metrics = {
        name: census_main.run(
            flags_core.make_flags(
                census_main.define_flags,
                census_main.RECIPES,
                recipe=recipe.name,
                model_dir=str(tmp_path / name),
                **flags,
            )
        )["accuracy"]
        for name, flags in {
            "columns": dict(model_type="wide", crosses="none"),
            "crosses": dict(model_type="wide"),
            "deep": dict(model_type="deep"),
        }.items()
    }
    assert metrics["crosses"] > metrics["columns"] + 0.03
    assert metrics["deep"] > metrics["columns"] + 0.03


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type, accuracy, auc",
    [("wide_deep", 0.857, 0.912), ("wide", 0.85, 0), ("deep", 0.852, 0)],
)
def test_census_reaches_its_bars(tmp_path, model_type, accuracy, auc):
    flags = dict(model_type=model_type, data_dir=str(real_data("adult")))
    runs = [
        census_main.run(
            flags_core.make_flags(
                census_main.define_flags,
                census_main.RECIPES,
                recipe="census",
                seed=seed,
                model_dir=str(tmp_path / str(seed)),
                **flags,
            )
        )
        for seed in range(3)
    ]
    assert sum(found["accuracy"] for found in runs) / 3 >= accuracy
    assert sum(found["auc"] for found in runs) / 3 >= auc


@pytest.mark.slow
@pytest.mark.parametrize("name", ["census", "ml-100k"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_real_recipes_fall_into_their_bands(tmp_path, name, dtype):
    run(by_name(name), tmp_path / "run", dtype=dtype)
