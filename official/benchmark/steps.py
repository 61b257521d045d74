"""The training step of a main, for benchmarks that need no run around it."""

import dataclasses
import importlib
import tempfile
from collections.abc import Iterator

from official.utils.flags import core as flags_core
from official.utils.flags.settings import Settings
from official.utils.recipes import Recipe
from official.utils.training.loop import Loop
from official.utils.training.task import Task


@dataclasses.dataclass
class Training:
    """A main at its first step.

    Attributes:
        task: the model's part, its data loaded.
        loop: the loop with the network.
        description: which data set it trains on.
        total_steps: the length of the learning rate's schedule.
        folder: of what the task prepares, gone with this object.
    """

    task: Task
    loop: Loop
    description: str
    total_steps: int
    folder: tempfile.TemporaryDirectory | None = None

    def batches(self) -> Iterator:
        """The batches of the training, from the first on."""
        return self.loop.batches(self.task.training_stream(), 0)

    def sizes(self) -> dict[str, int]:
        """What the network and the batches of a peer have to be like.

        Returns:
            `image_size` for pictures; `vocab_size` for text, and `sequence_length`
            where that is fixed.
        """
        if "vocabulary" in self.task.facts:
            found = {"vocab_size": self.task.facts["config"]["vocab_size"]}
            if "max_seq_length" in self.task.settings:
                found["sequence_length"] = self.task.settings.max_seq_length
            return found
        return {"image_size": self.loop.model.input_shape[1]}


def settings_of(recipe: Recipe, **values: object) -> Settings:
    """The resolved flags of `recipe`'s main, with `values` beside those of the recipe.

    Raises:
        UserError: a flag has a bad value.
    """
    module = importlib.import_module(recipe.module)
    recipes = [each for each in module.recipes.RECIPES if each.module == recipe.module]
    flags = flags_core.make_flags(
        module.define_flags, recipes, recipe=recipe.name, **values
    )
    return flags_core.resolve(flags, recipes)


def prepare(recipe: Recipe, settings: Settings) -> Training:
    """Loads the data of a main and builds its loop, as a run of it would.

    Args:
        recipe: one whose model has steps.
        settings: from `settings_of`; the process must not have used TensorFlow yet if
            they set threads, devices or determinism.

    Raises:
        UserError: data or flags are wrong.
    """
    import keras

    from official.utils.distribution import strategies
    from official.utils.training import loop, optimizers, precision

    strategies.apply_process_settings(settings)
    keras.utils.set_random_seed(settings.seed)
    strategy = strategies.make_strategy(settings)
    task = importlib.import_module(recipe.module).task_class()(settings)
    folder = tempfile.TemporaryDirectory(prefix="official-")
    task.folder = settings.model_dir or folder.name
    description = task.load()
    steps = optimizers.schedule_steps(settings, task.training_stream().steps_per_epoch)
    with precision.policy(precision.resolve_dtype(settings.dtype)):
        built = loop.build_loop(task, strategy, steps)
    return Training(task, built, description, steps, folder)
