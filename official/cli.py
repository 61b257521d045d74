"""The console command `official`: what the garden holds.

`official list` lists the models with their mains and recipes.
"""

import argparse
import sys
from collections.abc import Sequence

import official
from official.benchmark import suites
from official.utils import package
from official.utils.errors import UserError
from official.utils.logs import console
from official.utils.recipes import Recipe

_COLUMNS = ("recipe", "size", "data set", "bands", "cost")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; prints one line on stderr and exits with 1 on wrong use."""
    parser = _Parser(prog="official", description="Reference models on TensorFlow.")
    try:
        package.check()
    except UserError as error:
        parser.error(str(error))
    parser.add_argument(
        "--version", action="version", version=f"official-models {official.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("list", help="list the models, their mains and recipes")
    parser.parse_args(arguments)
    print(listing(suites.find_recipes()))


class _Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors look like those of the mains."""

    def error(self, message):
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


def listing(models: dict[str, list[Recipe]]) -> str:
    """The text of `official list`.

    Args:
        models: as `suites.find_recipes` gives them.

    Returns:
        Model by model its mains, each with a table of its recipes.
    """
    lines = []
    for model, recipes in models.items():
        lines.append(model)
        for main_module in dict.fromkeys(recipe.module for recipe in recipes):
            rows = [_row(recipe) for recipe in recipes if recipe.module == main_module]
            lines.append(f"  python -m {main_module}")
            lines += [f"    {line}" for line in console.table([_COLUMNS, *rows])]
    return "\n".join(lines)


def _row(recipe: Recipe) -> tuple[str, ...]:
    bands = ", ".join(
        f"{metric} {low:g} to {high:g}" for metric, (low, high) in recipe.bands.items()
    )
    cost = recipe.cost
    return (
        recipe.name,
        recipe.size,
        recipe.dataset,
        bands,
        f"{cost.seconds:.0f} s, {cost.memory_gib:.1f} GiB, {cost.machine}"
        if cost
        else "not measured",
    )


if __name__ == "__main__":
    main()
