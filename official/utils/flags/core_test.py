import pytest

from official.utils import app
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.flags.settings import flags_file_text, read_flags_file
from official.utils.recipes import Recipe


def recipe(name, is_default=False, **flags):
    return Recipe(
        model="toy",
        name=name,
        module="official.toy.toy",
        size="quick",
        flags=flags,
        bands={},
        seeds=(),
        cost=None,
        source="",
        is_default=is_default,
    )


RECIPES = (
    recipe("toy", True, dataset="toy", train_epochs=7, batch_size=64, momentum=0.5),
    recipe("big", dataset="big", train_epochs=9, batch_size=128, schedule="cosine"),
)


def settings(*arguments, recorded=None):
    flag_values = flags_core.shared_flags(("toy", "big"), "toy")
    flags_core.parse(flag_values, arguments, RECIPES)
    return flags_core.resolve(flag_values, RECIPES, recorded)


def test_unset_flags_come_from_the_recipe_of_the_data_set_then_from_defaults():
    found = settings()
    assert (found.train_epochs, found.batch_size, found.momentum) == (7, 64, 0.5)
    assert (found.optimizer, found.schedule, found.dtype) == ("sgd", "constant", "fp32")
    found = settings("--dataset=big")  # Its recipe is no default.
    assert (found.train_epochs, found.batch_size) == (1, 32)


def test_the_users_word_wins():
    found = settings("--batch_size=8", "-te", "2")
    assert (found.batch_size, found.train_epochs) == (8, 2)
    assert found.given >= {"batch_size", "train_epochs"}


def test_train_steps_wins_over_the_epochs_of_a_recipe():
    found = settings("--recipe=big", "--train_steps=3")
    assert (found.train_steps, found.batch_size) == (3, 128)
    assert "train_epochs" not in found.given


def test_recipe_is_expanded_and_flags_beside_it_win(tmp_path):
    found = settings("--batch_size=16", "--recipe=big")
    assert (found.dataset, found.batch_size, found.schedule) == ("big", 16, "cosine")
    file = tmp_path / "flags.txt"
    file.write_text("--recipe=big\n--batch_size=4\n")
    found = settings(f"--flagfile={file}")
    assert (found.dataset, found.batch_size, found.train_epochs) == ("big", 4, 9)


def test_flags_file_repeats_the_settings(tmp_path):
    first = settings("--recipe=big", "--model_dir=/x", "--deterministic", "--seed=3")
    text = flags_file_text(first)
    assert "model_dir" not in text and "recipe" not in text and "clean" not in text
    file = tmp_path / "flags.txt"
    file.write_text(text)
    again = settings(f"--flagfile={file}")
    assert dict(again) == {**first, "model_dir": None, "recipe": None}
    assert read_flags_file(text)["deterministic"] == "true"
    # Defaults that stand in the file are no wish of the user.
    assert "num_packs" in again.given and "num_packs" not in again.changed
    assert {"dataset", "deterministic", "seed", "schedule"} <= again.changed


def test_recorded_flags_come_before_the_recipe_and_after_the_user():
    recorded = {"batch_size": "12", "momentum": "0.25", "dtype": "bf16", "gone": "1"}
    found = settings("--momentum=0.75", recorded=recorded)
    assert (found.batch_size, found.momentum, found.dtype) == (12, 0.75, "bf16")
    assert found.train_epochs == 7


def test_settings_are_read_only():
    found = settings()
    with pytest.raises(AttributeError, match="read-only"):
        found.batch_size = 1
    with pytest.raises(AttributeError, match="no flag is named batch"):
        _ = found.batch


def test_make_flags_takes_keywords():
    def define():
        return flags_core.shared_flags(("toy", "big"), "toy")

    flag_values = flags_core.make_flags(define, RECIPES, recipe="big", clean=True)
    assert flag_values.dataset == "big" and flag_values.clean
    with pytest.raises(UserError, match="batch_size"):
        flags_core.make_flags(define, batch_size=0)


def test_help_is_grouped_by_set():
    flag_values = flags_core.shared_flags(("toy",), "toy")
    text = app.help_text(flag_values, "A toy.", short=False)
    places = [
        text.index(name)
        for name in ("--batch_size", "--optimizer", "--dtype", "--num_gpus")
    ]
    assert text.startswith("A toy.") and places == sorted(places)
    short = app.help_text(flag_values, "A toy.", short=True)
    assert "--batch_size" in short and "--optimizer" not in short
