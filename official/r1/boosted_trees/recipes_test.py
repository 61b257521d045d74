from official.r1.boosted_trees import train_higgs
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.flags import core as flags_core


def test_recipes_are_complete():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    for recipe in RECIPES:
        assert recipe.bands and not recipe.has_steps
        assert recipe.source.startswith(("measured ", "quoted "))
        flags = flags_core.make_flags(
            train_higgs.define_flags, RECIPES, recipe=recipe.name
        )
        settings = flags_core.resolve(flags, RECIPES)
        for name, value in recipe.flags.items():
            assert settings[name] == value


def test_instant_recipe_falls_into_its_band(tmp_path):
    recipe = next(recipe for recipe in RECIPES if recipe.name == "instant")
    flags = flags_core.make_flags(
        train_higgs.define_flags,
        RECIPES,
        recipe="instant",
        model_dir=str(tmp_path / "run"),
    )
    metrics = train_higgs.run(flags)
    for name, (low, high) in recipe.bands.items():
        assert low <= metrics[name] <= high
    assert metrics["auc"] >= 0.97 * metrics["best_auc"]
