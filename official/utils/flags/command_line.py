"""From a command line, or a notebook's keywords, to parsed flags."""

from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from official.utils.errors import UserError
from official.utils.flags.settings import RIVALS
from official.utils.recipes import Recipe


def make_flags(
    define_flags: Callable[[], flags.FlagValues],
    recipes: Sequence[Recipe] = (),
    **values: Any,
) -> flags.FlagValues:
    """Flags for a `run` called from a notebook or a test.

    Args:
        define_flags: that of the main.
        recipes: what `recipe` may name.
        **values: flag names and values, as `train_epochs=2`.

    Returns:
        Parsed flags.

    Raises:
        UserError: no such flag, or a value it does not take.
    """
    return parse(
        define_flags(),
        [f"--{name}={value}" for name, value in values.items() if value is not None],
        recipes,
    )


def parse(
    flag_values: flags.FlagValues, arguments: Sequence[str], recipes: Sequence[Recipe]
) -> flags.FlagValues:
    """Parses a command line, with flag files and `--recipe` expanded first.

    Args:
        flag_values: the flags of a main; they take the parsed values.
        arguments: the command line without the program's name.
        recipes: what `--recipe` may name.

    Returns:
        `flag_values`.

    Raises:
        UserError: an unknown flag, a bad value, a stray argument, an unknown recipe or
            a flag file that cannot be read.
    """
    try:
        expanded = flag_values.read_flags_from_files(list(arguments))
        recipe_name = _recipe_name(expanded)
        if recipe_name is not None:
            known = {recipe.name: recipe for recipe in recipes}
            if recipe_name not in known:
                raise UserError(
                    f"--recipe={recipe_name} is unknown; this main has "
                    f"{', '.join(known) or 'none'}"
                )
            # Before the user's flags, so that those win.
            rivals = {RIVALS.get(_flag_name(argument)) for argument in expanded}
            expanded = [
                argument
                for argument in known[recipe_name].arguments()
                if _flag_name(argument) not in rivals
            ] + expanded
        stray = flag_values(["main", *expanded])[1:]
    except flags.Error as error:
        raise UserError(_plain_message(error)) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"--flagfile cannot be read: it is no text ({error}); name a text file "
            "with one --name=value a line"
        ) from None
    if stray:
        raise UserError(
            f"stray argument {stray[0]!r}: flags are written --name=value"
            + (f", here --{stray[0]}" if "=" in stray[0] else "")
        )
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("-") and equals and not value:
            raise UserError(f"{name}= has no value; give one, or leave the flag out")
    return flag_values


def _plain_message(error: flags.Error) -> str:
    """What absl says of a flag, on one line and with a remedy."""
    message = " ".join(str(error).split())
    if message.startswith("ERROR:: Unable to open flagfile: "):
        reason = message.partition("flagfile: ")[2]
        return f"--flagfile cannot be read ({reason}); check the path"
    if "Non-boolean argument" in message:
        return f"{message.partition(': (')[0]}: should be true or false"
    if message.startswith("Unknown command line flag"):
        return f"{message.removesuffix(' ?')}; --help lists the flags"
    return message


def _flag_name(argument: str) -> str:
    return argument.lstrip("-").partition("=")[0]


def _recipe_name(arguments: Sequence[str]) -> str | None:
    name = None
    for position, argument in enumerate(arguments):
        if argument in ("--recipe", "-recipe"):
            name = arguments[position + 1] if position + 1 < len(arguments) else None
        elif argument.startswith(("--recipe=", "-recipe=")):
            name = argument.partition("=")[2]
    return name
