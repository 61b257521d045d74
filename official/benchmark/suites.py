"""What the nightly can run: the recipes of every model, and the micro-benchmarks."""

import dataclasses
import difflib
import functools
import hashlib
import importlib
import json
import os
import pkgutil
from collections.abc import Sequence

import official
from official.utils.errors import UserError
from official.utils.recipes import SIZES, Recipe

# Recipes that train on data that is no part of the project.
_NEEDS_DATA = ("full", "paper")
MICRO_BENCHMARKS = ("loop", "input", "kernel")
# Where a recipe has no cost: no recipe of its size was seen to take as long.
_TIME_LIMITS = {"instant": 600, "quick": 1800, "full": 4 * 3600, "paper": 7 * 24 * 3600}


@dataclasses.dataclass(frozen=True)
class Job:
    """One line of the nightly's table.

    Attributes:
        key: `<model>/<recipe>`, or `<micro-benchmark>:<model>/<recipe>`.
        recipe: the recipe that is run or measured.
        micro: the micro-benchmark; empty for a run of the recipe itself.
        data_dir: folder of the data set, where the recipe needs one.
    """

    key: str
    recipe: Recipe
    micro: str = ""
    data_dir: str | None = None

    def arguments(self, seed: int, folder: str) -> list[str]:
        """What stands behind the interpreter.

        Args:
            seed: of the run.
            folder: where the run leaves its files, `results.json` among them.
        """
        data = [f"--data_dir={self.data_dir}"] if self.data_dir else []
        common = [f"--seed={seed}", f"--model_dir={folder}", *data]
        if self.micro:
            target = f"--target={self.recipe.model}/{self.recipe.name}"
            return ["-m", f"official.benchmark.{self.micro}", target, *common]
        return ["-m", self.recipe.module, f"--recipe={self.recipe.name}", *common]

    @property
    def bands(self):
        """The metrics that are checked, with their lowest and highest good value."""
        return {} if self.micro else self.recipe.bands

    @property
    def digest(self) -> str:
        """Names what is run: speeds are comparable only where it is the same."""
        content = [self.key, self.recipe.module, sorted(self.recipe.flags.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def time_limit(self) -> float:
        """Seconds after which a run is taken to hang."""
        if self.recipe.cost is None:
            return _TIME_LIMITS[self.recipe.size]
        # Ten times what it took once: another machine may be slower, not that slow.
        return max(300.0, 10 * self.recipe.cost.seconds)


@functools.cache
def find_recipes() -> dict[str, list[Recipe]]:
    """The recipes of every model, by the model's folder below `official`.

    A model is a package with a module `recipes` that has `RECIPES`. Nothing else of it
    is imported, so TensorFlow is not.
    """
    found = {}
    for module in pkgutil.walk_packages(official.__path__, "official."):
        folder, _, name = module.name.rpartition(".")
        if name == "recipes" and not folder.startswith("official.utils"):
            recipes = importlib.import_module(module.name).RECIPES
            found["/".join(folder.split(".")[1:])] = list(recipes)
    return found


def find(key: str) -> Recipe:
    """The recipe `<model>/<name>`.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    known = _by_key()
    if key not in known:
        near = difflib.get_close_matches(key, known, 3) or sorted(known)[:5]
        raise UserError(
            f"there is no recipe {key}; did you mean {', '.join(near)}? "
            "`official list` lists all"
        )
    return known[key]


def find_with_steps(target: str) -> Recipe:
    """The recipe that `--target` names, which trains by steps.

    Raises:
        UserError: there is none, or it trains in another way.
    """
    recipe = find(target)
    if not recipe.has_steps:
        raise UserError(
            f"--target={target} does not train by steps, which are what is measured; "
            "name another, `official list` lists them"
        )
    return recipe


def select(suite: str, data_dir: str | None = None) -> list[Job]:
    """The jobs that `--suite` names.

    Args:
        suite: names between commas: a size (`instant`, `quick`, `full`, `paper`), a
            model, a recipe `<model>/<name>`, a micro-benchmark (`loop`, `input`,
            `kernel`: of each model's quick recipes), or `micro` for all three.
        data_dir: a folder with a sub-folder for each real data set.

    Returns:
        Jobs in the order of the names, each once.

    Raises:
        UserError: a name is unknown or names nothing.
    """
    jobs = {}
    for name in filter(None, (part.strip() for part in suite.split(","))):
        for job in _named(name):
            if job.recipe.size in _NEEDS_DATA and data_dir:
                folder = os.path.join(os.path.expanduser(data_dir), job.recipe.dataset)
                job = dataclasses.replace(job, data_dir=os.path.abspath(folder))
            jobs[job.key] = job
    if not jobs:
        raise UserError(f"--suite={suite} names no recipe; `official list` lists them")
    return list(jobs.values())


def missing_data(job: Job) -> str:
    """Why a job cannot run for want of data; empty if it can."""
    if job.recipe.size not in _NEEDS_DATA:
        return ""
    if job.data_dir is None:
        return f"needs the data set {job.recipe.dataset}: give --data_dir"
    if not os.path.isdir(job.data_dir):
        return f"there is no folder {job.data_dir}"
    return ""


def _by_key() -> dict[str, Recipe]:
    known: dict[str, Recipe] = {}
    for recipe in (recipe for found in find_recipes().values() for recipe in found):
        key = f"{recipe.model}/{recipe.name}"
        assert key not in known, f"two recipes are named {key}"
        known[key] = recipe
    return known


def _named(name: str) -> Sequence[Job]:
    known = _by_key()
    if name in MICRO_BENCHMARKS or name == "micro":
        kinds = MICRO_BENCHMARKS if name == "micro" else (name,)
        quick = {key: recipe for key, recipe in known.items() if recipe.size == "quick"}
        return [
            Job(f"{kind}:{key}", recipe, kind)
            for kind in kinds
            for key, recipe in quick.items()
            if recipe.has_steps
        ]
    if name.partition(":")[0] in MICRO_BENCHMARKS and ":" in name:
        kind, _, key = name.partition(":")
        return [Job(name, find(key), kind)]
    if "/" in name:
        return [Job(name, find(name))]
    found = [
        Job(key, recipe)
        for key, recipe in known.items()
        if name in (recipe.size, recipe.model)
    ]
    if not found and name not in SIZES:
        models = sorted({recipe.model for recipe in known.values()})
        raise UserError(
            f"--suite={name} is unknown; sizes are {', '.join(SIZES)}, models "
            f"{', '.join(models)}, and micro-benchmarks "
            f"{', '.join(MICRO_BENCHMARKS)}"
        )
    return found
