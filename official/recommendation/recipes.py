"""What neural collaborative filtering should reach, by which command, at what cost."""

from official.utils.recipes import Cost, Recipe

_MODULE = "official.recommendation.ncf"
_MACHINE = "2 cores of an AMD EPYC with AVX512-BF16, fp32"


def _larger(dataset: str) -> Recipe:
    """Where the files were not here to measure on, a start that needs no tuning."""
    return Recipe(
        name=dataset,
        model="ncf",
        module=_MODULE,
        size="paper",
        flags=dict(
            dataset=dataset,
            train_epochs=20,
            batch_size=5000,
            optimizer="adam",
            learning_rate=2e-3,
            schedule="constant",
            num_factors=64,
            layers="32,16,8",
            mf_regularization=3e-3,
            mlp_regularization="0.003,0,0",
            export_best=True,
        ),
        bands={},
        seeds=(),
        cost=None,
        source="quoted arXiv:1708.05031: the network; hyperparameters as for ml-100k",
        is_default=True,
    )


RECIPES = (
    Recipe(
        name="instant",
        model="ncf",
        module=_MODULE,
        size="instant",
        flags=dict(
            dataset="clusters",
            train_epochs=3,
            epochs_between_evals=3,
            batch_size=5000,
            optimizer="adam",
            learning_rate=1e-2,
            schedule="cosine",
        ),
        # .749, .7523 and .7633.
        bands={"hr_at_10": (0.72, 0.781)},
        seeds=(0, 1, 2),
        cost=Cost(seconds=10, memory_gib=1.0, machine=_MACHINE),
        source="measured 64ee0b7",
    ),
    Recipe(
        name="clusters",
        model="ncf",
        module=_MODULE,
        size="quick",
        flags=dict(
            dataset="clusters",
            train_epochs=12,
            epochs_between_evals=4,
            batch_size=5000,
            optimizer="adam",
            learning_rate=3e-3,
            schedule="cosine",
        ),
        # .7673, .7633 and .7597; with seed 0 the best possible is .781.
        bands={"hr_at_10": (0.745, 0.785)},
        seeds=(0, 1, 2),
        cost=Cost(seconds=13, memory_gib=1.0, machine=_MACHINE),
        source="measured 64ee0b7",
        is_default=True,
    ),
    Recipe(
        name="ml-100k",
        model="ncf",
        module=_MODULE,
        size="full",
        flags=dict(
            dataset="ml-100k",
            train_epochs=16,
            batch_size=2000,
            optimizer="adam",
            learning_rate=2e-3,
            schedule="constant",
            num_factors=64,
            layers="32,16,8",
            mf_regularization=3e-3,
            mlp_regularization="0.003,0,0",
            export_best=True,
        ),
        # .6458, .649 and .6575; the standard error over 943 users is .016.
        bands={"hr_at_10": (0.625, 0.685)},
        seeds=(0, 1, 2),
        cost=Cost(seconds=20, memory_gib=1.0, machine=_MACHINE),
        source="measured 64ee0b7",
        is_default=True,
    ),
    Recipe(
        name="paper",
        model="ncf",
        module=_MODULE,
        size="paper",
        flags=dict(
            dataset="ml-20m",
            train_epochs=10,
            batch_size=99_000,
            eval_batch_size=160_000,
            num_eval_negatives=999,
            validation_users=0.05,
            optimizer="adam",
            learning_rate=0.00382059,
            beta1=0.783529,
            beta2=0.909003,
            epsilon=1.45439e-7,
            schedule="constant",
            num_factors=64,
            layers="256,256,128,64",
            lazy_tables=False,
        ),
        bands={"hr_at_10": (0.630, 0.645)},
        seeds=(),
        cost=None,
        source="quoted the benchmark bounds of TensorFlow's official models, 2019",
        is_default=True,
    ),
    *(_larger(name) for name in ("ml-1m", "ml-25m", "ml-32m", "csv")),
)
