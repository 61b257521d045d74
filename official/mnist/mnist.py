"""Trains, evaluates and exports the MNIST model.

    python -m official.mnist.mnist
    python -m official.mnist.mnist --dataset=mnist --data_dir=DIR

README.md beside this file is the model's card.
"""

from absl import flags

from official.mnist import recipes
from official.utils import app
from official.utils.flags import core as flags_core

DATASETS = ("digits", "mnist")


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, default_dataset="digits")
    own = dict(flag_values=flag_values, module_name="mnist")
    flags.DEFINE_string(
        "input",
        None,
        "Images to classify with --mode=predict: files or patterns between commas.",
        **own,
    )
    flags.DEFINE_boolean(
        "invert", False, "The images of --input have dark ink on light paper.", **own
    )
    return flag_values


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.mnist.task import MnistTask

    return MnistTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics, `accuracy` and `loss` among them.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, recipes.RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, recipes.RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
