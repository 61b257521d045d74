import importlib.util
import subprocess
import sys

import pytest

import official
from official import cli
from official.benchmark import suites
from official.utils.recipes import Cost, Recipe
from official.utils.testing.data import PROJECT_ROOT


def _recipe(name, module, cost=None):
    return Recipe(
        name=name,
        model="toy",
        module=module,
        size="quick",
        flags={"dataset": "toy"},
        bands={"accuracy": (0.9, 1.0), "loss": (0.125, 0.5)},
        seeds=(0,),
        cost=cost,
        source="",
    )


def test_every_model_with_recipes_is_found():
    folders = {
        path.parent.relative_to(PROJECT_ROOT / "official").as_posix()
        for path in (PROJECT_ROOT / "official").rglob("recipes.py")
    }
    models = suites.find_recipes()
    assert set(models) == folders - {"utils"}
    assert "mnist" in models
    for recipes in models.values():
        for recipe in recipes:
            assert importlib.util.find_spec(recipe.module) is not None, recipe


def test_listing_groups_recipes_by_main():
    cost = Cost(seconds=33.4, memory_gib=0.84, machine="2 cores")
    models = {
        "vision/toy": [
            _recipe("small", "official.vision.toy.train", cost),
            _recipe("other", "official.vision.toy.search"),
            _recipe("larger", "official.vision.toy.train"),
        ]
    }
    bands = "accuracy 0.9 to 1, loss 0.125 to 0.5"
    assert cli.listing(models).splitlines() == [
        "vision/toy",
        "  python -m official.vision.toy.train",
        f"    recipe  size   data set  {'bands':{len(bands)}}  cost",
        f"    small   quick  toy       {bands}  33 s, 0.8 GiB, 2 cores",
        f"    larger  quick  toy       {bands}  not measured",
        "  python -m official.vision.toy.search",
        f"    recipe  size   data set  {'bands':{len(bands)}}  cost",
        f"    other   quick  toy       {bands}  not measured",
    ]


def test_list_prints_the_listing(capsys):
    cli.main(["list"])
    captured = capsys.readouterr()
    assert captured.out == cli.listing(suites.find_recipes()) + "\n"
    assert captured.err == ""


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"official-models {official.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["lst"], ["list", "mnist"], ["--verbose"]])
def test_wrong_use_is_one_line_and_exit_code_1(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_another_package_of_the_same_name_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(official, "__file__", "/elsewhere/official/__init__.py")
    with pytest.raises(SystemExit) as ended:
        cli.main(["list"])
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith("error: Python imports `official` from /elsewhere/")
    assert captured.err.count("\n") == 1


def test_neither_the_package_nor_list_imports_tensorflow():
    code = (
        "import sys, official\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'absl'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from official import cli\n"
        "cli.main(['list'])\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "python -m official.mnist.mnist" in process.stdout
