"""What a run's flags come to: the user's word, then the recipe, then the default."""

import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from absl import flags

from official.utils.errors import UserError
from official.utils.recipes import Recipe, default_for

# Where neither the command nor the data set's recipe says something.
FALLBACKS: Mapping[str, Any] = {
    "train_epochs": 1,
    "epochs_between_evals": 1,
    "batch_size": 32,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "constant",
    "warmup_steps": 0,
    "warmup_fraction": 0.0,
    "decay_points": "30/90,60/90,80/90",
    "decay_factor": 0.1,
    "momentum": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-7,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "ema_decay": 0.0,
    "average_checkpoints": 0,
    "gradient_accumulation_steps": 1,
}
# Two ways to say one thing: a recipe's value for either gives way to the user's other.
RIVALS = {
    "train_epochs": "train_steps",
    "train_steps": "train_epochs",
    "warmup_steps": "warmup_fraction",
    "warmup_fraction": "warmup_steps",
    "epochs_between_evals": "steps_between_evals",
    "steps_between_evals": "epochs_between_evals",
}
_PATHS = (
    "data_dir",
    "model_dir",
    "export_dir",
    "init_checkpoint",
    "benchmark_log_dir",
)


class Settings(Mapping[str, Any]):
    """The resolved value of every flag, as attributes; nothing changes them."""

    def __init__(
        self,
        values: Mapping[str, Any],
        given: frozenset[str],
        changed: frozenset[str],
        defaults: Mapping[str, Any],
    ):
        """Wraps values.

        Args:
            values: by flag name.
            given: flags that the user set.
            changed: those of them that are not set to their default.
            defaults: values of flags that nobody set.
        """
        self.__dict__.update(
            _values=dict(values),
            given=given,
            changed=changed,
            defaults=dict(defaults),
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"no flag is named {name}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"settings are read-only; {name} stays as it is")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def resolve(
    flag_values: flags.FlagValues,
    recipes: Sequence[Recipe],
    recorded: Mapping[str, str] | None = None,
) -> Settings:
    """Resolves every flag: the user's word, then the recipe, then the default.

    Args:
        flag_values: the parsed flags; they are not changed.
        recipes: the main's recipes.
        recorded: flags of an earlier run (`read_flags_file`) whose model is now
            evaluated, used to predict, or exported; they come before the recipe's.

    Returns:
        The settings of the run.

    Raises:
        UserError: a recorded flag has a value that it does not take.
    """
    given = frozenset(
        name for name in flag_values if not flag_values[name].using_default_value
    )
    values = {name: flag_values[name].value for name in flag_values}
    short_names = {flag_values[name].short_name for name in flag_values}
    for name in short_names & values.keys():
        del values[name]
    parsed = {}
    for name, text in (recorded or {}).items():
        if name in values and name not in given:
            try:
                parsed[name] = flag_values[name].parser.parse(text)
            except ValueError as error:
                raise UserError(
                    f"flags.txt in --model_dir={values['model_dir']} has "
                    f"--{name}={text}: {error}; mend or remove that line"
                ) from None
    values.update(parsed)
    recipe = default_for(recipes, values["dataset"]) if "dataset" in values else None
    for name, value in recipe.flags.items() if recipe else ():
        if not {name, RIVALS.get(name)} & (given | parsed.keys()):
            values[name] = flag_values[name].parser.parse(str(value))
    for name, value in FALLBACKS.items():
        if name in values and values[name] is None:
            values[name] = value
    # The shell leaves the ~ of --data_dir=~/mnist as it is.
    for name in _PATHS:
        if values.get(name):
            values[name] = os.path.expanduser(values[name])
    changed = {
        name for name in given if flag_values[name].value != flag_values[name].default
    }
    defaults = {name: flag_values[name].default for name in values}
    return Settings(values, given, frozenset(changed), defaults)


# What flags.txt leaves out: where the run is, and what is already resolved.
_NOT_RECORDED = ("model_dir", "clean", "recipe")


def flags_file_text(settings: Settings) -> str:
    """The resolved flags as the text of an absl flag file."""
    lines = [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(settings.items())
        if name not in _NOT_RECORDED and value is not None
    ]
    return "\n".join(lines) + "\n"


def read_flags_file(text: str) -> dict[str, str]:
    """Flags and their values as text, from the text of a `flags.txt`."""
    pairs = (line[2:].partition("=") for line in text.splitlines() if line[:2] == "--")
    return {name: value for name, _, value in pairs}


def step_window(text: str) -> tuple[int, int] | None:
    """The numbers of `start,stop` with 0 <= start < stop; None for any other text."""
    start, _, stop = text.partition(",")
    try:
        window = int(start), int(stop)
    except ValueError:
        return None
    return window if 0 <= window[0] < window[1] else None


def run_fractions(text: str) -> tuple[float, ...] | None:
    """The ascending points of `30/90,.8`, each within (0, 1]; None for other text."""
    try:
        points = tuple(float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        return None
    is_within = all(0 < point <= 1 for point in points)
    return points if is_within and list(points) == sorted(set(points)) else None


def profile_window(settings: Settings) -> tuple[int, int] | None:
    """First and last step of `--profile_steps`, or None."""
    return step_window(settings.profile_steps) if settings.profile_steps else None
