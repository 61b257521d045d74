"""Defines the flags of a set, with bounds and choices that say what is wrong."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from absl import flags


@dataclasses.dataclass(frozen=True)
class Definer:
    """Defines flags of one set; the set is the heading under which help lists them.

    Methods take a flag's name, its default, its help and maybe a short name; `low` and
    `high` are bounds that belong to the range.

    Attributes:
        flag_values: what the flags are added to.
        set_name: of the set.
    """

    flag_values: flags.FlagValues
    set_name: str

    def _keywords(self, short_name):
        return dict(
            short_name=short_name,
            flag_values=self.flag_values,
            module_name=self.set_name,
        )

    def boolean(self, name, default, help_text, short=None):
        """A flag that is on or off."""
        flags.DEFINE_boolean(name, default, help_text, **self._keywords(short))

    def string(self, name, default, help_text, short=None):
        """A flag that takes text."""
        flags.DEFINE_string(name, default, help_text, **self._keywords(short))

    def integer(self, name, default, help_text, short=None, low=None, high=None):
        """A whole number."""
        flags.DEFINE_integer(
            name,
            default,
            help_text,
            lower_bound=low,
            upper_bound=high,
            **self._keywords(short),
        )

    def number(self, name, default, help_text, short=None, low=None, high=None):
        """A finite number."""
        flags.DEFINE(
            _NumberParser(low, high),
            name,
            default,
            help_text,
            serializer=flags.ArgumentSerializer(),
            **self._keywords(short),
        )

    def choice(self, name, default, values, help_text, short=None, refused=None):
        """One of `values`; `refused` words are answered with a reason each."""
        flags.DEFINE(
            _ChoiceParser(values, refused or {}),
            name,
            default,
            f"<{'|'.join(values)}>: {help_text}",
            serializer=flags.ArgumentSerializer(),
            **self._keywords(short),
        )


class _NumberParser(flags.FloatParser):
    """A number within bounds, neither infinite nor NaN."""

    def convert(self, argument: str) -> float:
        number = super().convert(argument)
        if not math.isfinite(number):
            raise ValueError("should be a finite number")
        return number


class _ChoiceParser(flags.ArgumentParser):
    """One of a few words; a refused word is answered with its reason."""

    def __init__(self, values: Sequence[str], refused: Mapping[str, str]):
        self._values = values
        self._refused = refused

    def parse(self, argument: str) -> str:
        if argument in self._refused:
            raise ValueError(f"refused: {self._refused[argument]}")
        if argument not in self._values:
            raise ValueError(f"should be one of {', '.join(self._values)}")
        return argument

    def flag_type(self) -> str:
        return "string enum"
