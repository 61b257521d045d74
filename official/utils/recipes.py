"""A recipe: a command, what it should reach, and what it costs.

Recipes are data. A main takes hyperparameters from them, the nightly suite runs them,
tests check their bands and the tables of the READMEs are drawn from them.
"""

import dataclasses
from collections.abc import Mapping, Sequence

SIZES = ("instant", "quick", "full", "paper")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run of a recipe takes.

    Attributes:
        seconds: wall time from process start to exit.
        memory_gib: peak resident memory in GiB.
        machine: the hardware it was measured on.
    """

    seconds: float
    memory_gib: float
    machine: str


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A command with the band that its metrics should fall in.

    Attributes:
        name: what `--recipe` takes; unique within a model.
        model: the model's name in tables: `<model>/<name>` names the recipe in the
            nightly suite. Several mains may share it.
        module: the main, as `python -m` takes it.
        size: `instant` (seconds), `quick` (minutes, embedded data), `full` (real data)
            or `paper` (the published recipe, for accelerators).
        flags: flag names and values of the command.
        bands: for each metric of `results.json` its lowest and highest good value.
        seeds: the seeds of the runs that the bands were set from.
        cost: what a run takes; None where no run was made here.
        source: `measured <commit>` or `quoted <source>`.
        has_steps: whether the model trains by gradient steps on the shared loop, so
            that one step can be measured alone.
        is_default: whether unset hyperparameters of a run on the same data set take
            their values from this recipe.
    """

    name: str
    model: str
    module: str
    size: str
    flags: Mapping[str, str | int | float | bool]
    bands: Mapping[str, tuple[float, float]]
    seeds: Sequence[int]
    cost: Cost | None
    source: str
    has_steps: bool = True
    is_default: bool = False

    def __post_init__(self):
        assert self.size in SIZES, self.size
        assert "dataset" in self.flags, f"recipe {self.name} names no data set"

    @property
    def dataset(self) -> str:
        """The data set of the recipe."""
        return str(self.flags["dataset"])

    def arguments(self) -> list[str]:
        """The flags as command-line arguments."""
        return [f"--{name}={value}" for name, value in self.flags.items()]

    def command(self) -> str:
        """The command line that runs the recipe."""
        return f"python -m {self.module} --recipe={self.name}"


def default_for(recipes: Sequence[Recipe], dataset: str) -> Recipe | None:
    """The recipe that unset hyperparameters of a run on `dataset` come from."""
    for recipe in recipes:
        if recipe.is_default and recipe.dataset == dataset:
            return recipe
    return None
