"""What the MNIST model should reach, by which command, at what cost."""

from official.utils.recipes import Recipe

_MODULE = "official.mnist.mnist"

RECIPES = (
    Recipe(
        name="digits",
        module=_MODULE,
        size="quick",
        flags=dict(
            dataset="digits",
            train_epochs=40,
            epochs_between_evals=5,
            batch_size=32,
            optimizer="adam",
            learning_rate=1e-3,
            schedule="cosine",
        ),
        bands={"accuracy": (0.97, 1.0)},
        seeds=(0, 1, 2),
        cost=None,
        source="",
        is_default=True,
    ),
    Recipe(
        name="mnist",
        module=_MODULE,
        size="full",
        flags=dict(
            dataset="mnist",
            train_epochs=4,
            batch_size=128,
            optimizer="adam",
            learning_rate=1e-3,
            schedule="cosine",
            eval_batch_size=500,
        ),
        bands={"accuracy": (0.991, 1.0)},
        seeds=(0, 1, 2),
        cost=None,
        source="",
        is_default=True,
    ),
)
