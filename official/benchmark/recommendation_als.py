"""Compares NCF with matrix factorisation by alternating least squares.

    python -m official.benchmark.recommendation_als --data_dir=ML_100K

Both learn from the same pairs and are ranked among the same items. NCF is trained by
the data set's recipe, its epoch chosen on the validation rating. ALS is the one of Hu,
Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008,
https://doi.org/10.1109/ICDM.2008.22, in plain NumPy: once as it comes, and once with
the settings of a small grid that are best on the validation rating. The test rating
chooses nothing.
"""

import statistics
import tempfile
from collections.abc import Iterator

import numpy as np
from absl import flags

from official.recommendation import ncf, recipes
from official.utils import app
from official.utils.flags import core as flags_core
from official.utils.logs import console

# Factors, regularisation, and the weight of a pair that is there beside one that is
# not; the first is what is used where nothing is chosen.
GRID = ((32, 0.1, 1.0), (32, 10.0, 1.0), (64, 10.0, 1.0), (16, 10.0, 5.0))
_SWEEPS = 15
_RIVALS = (99, 999, -1)


def define_flags() -> flags.FlagValues:
    """Flags of the comparison."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="recommendation_als")
    flags.DEFINE_string("dataset", "ml-100k", "Of `ncf`.", **own)
    flags.DEFINE_string("data_dir", None, "Folder of its files.", **own)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the runs.", **own)
    flags.DEFINE_list("flags", [], "Flags of `ncf` beside the recipe's.", **own)
    return flag_values


def factorise(
    users: np.ndarray,
    items: np.ndarray,
    shape: tuple[int, int],
    factors: int,
    regularisation: float,
    weight: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Factors of a matrix that is 1 at some pairs and 0 elsewhere.

    Args:
        users: int [N].
        items: int [N].
        shape: users and items.
        factors: numbers of a user or an item.
        regularisation: L2 of each row.
        weight: a pair that is there counts 1 + `weight`, another 1.
        seed: of the first factors.

    Returns:
        float64 [users, factors] and [items, factors].
    """
    generator = np.random.default_rng(seed)
    left, right = (generator.normal(0, 0.1, [size, factors]) for size in shape)
    by_user = _groups(users, items, shape[0])
    by_item = _groups(items, users, shape[1])
    for _ in range(_SWEEPS):
        _solve(left, right, by_user, regularisation, weight)
        _solve(right, left, by_item, regularisation, weight)
    return left, right


def _groups(keys, values, number) -> list[np.ndarray]:
    order = np.argsort(keys, kind="stable")
    ends = np.cumsum(np.bincount(keys, minlength=number))
    return np.split(values[order], ends[:-1])


def _solve(rows, others, groups, regularisation, weight) -> None:
    """The best rows for the factors of the other side."""
    everything = others.T @ others + regularisation * np.eye(others.shape[1])
    for row, members in zip(rows, groups, strict=True):
        own = others[members]
        row[:] = np.linalg.solve(
            everything + weight * own.T @ own, (1 + weight) * own.sum(0)
        )


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints HR@10 of both, and of popularity.

    Args:
        flags_obj: parsed flags.

    Returns:
        `hr_at_10_<who>_<number of others>`, means over the seeds; -1 is all items.

    Raises:
        UserError: a flag or the data are wrong.
    """
    found: dict[str, list[float]] = {}
    for seed in map(int, flags_obj.seeds):
        for name, value in _of_seed(flags_obj, seed):
            found.setdefault(name, []).append(value)
            print(f"seed {seed}: {name} {value:.4f}", flush=True)
    means = {name: statistics.mean(values) for name, values in found.items()}
    print(table(means))
    return {f"hr_at_10_{name.replace(' ', '_')}": mean for name, mean in means.items()}


def table(means: dict[str, float]) -> str:
    """A line for each contender.

    Args:
        means: HR@10 by `<who> <number of others>`.
    """
    names = dict.fromkeys(name.rpartition(" ")[0] for name in means)
    head = ["HR@10", *(f"{n} others" if n > 0 else "all items" for n in _RIVALS)]
    rows = [[who, *(f"{means[f'{who} {n}']:.4f}" for n in _RIVALS)] for who in names]
    return "\n".join(console.table([head, *rows]))


def _of_seed(flags_obj, seed) -> Iterator[tuple[str, float]]:
    values = dict(
        dataset=flags_obj.dataset,
        data_dir=flags_obj.data_dir,
        seed=seed,
    ) | dict(flag.lstrip("-").split("=", 1) for flag in flags_obj.flags)

    with tempfile.TemporaryDirectory() as folder:

        def parsed(**more):
            return flags_core.make_flags(
                ncf.define_flags, recipes.RECIPES, **values, **more
            )

        ncf.run(parsed(model_dir=folder))
        for rivals in _RIVALS:
            metrics = ncf.run(
                parsed(model_dir=folder, mode="eval", num_eval_negatives=rivals)
            )
            yield f"ncf {rivals}", metrics["hr_at_10"]
            yield f"popularity {rivals}", metrics["baseline_hr_at_10"]
        tasks = {rivals: _task(parsed(num_eval_negatives=rivals)) for rivals in _RIVALS}
    interactions = tasks[_RIVALS[0]].data.interactions
    shape = interactions.num_users, interactions.num_items
    fits = {
        settings: factorise(
            interactions.users, interactions.items, shape, *settings, seed
        )
        for settings in GRID
    }
    chosen = max(
        GRID, key=lambda s: _hit_rate(tasks[_RIVALS[0]], "validation", *fits[s])
    )
    print(f"seed {seed}: chosen for ALS (factors, L2, weight): {chosen}", flush=True)
    for rivals, task in tasks.items():
        yield f"als {rivals}", _hit_rate(task, "test", *fits[GRID[0]])
        yield f"tuned als {rivals}", _hit_rate(task, "test", *fits[chosen])


def _task(flag_values):
    task = ncf.task_class()(flags_core.resolve(flag_values, recipes.RECIPES))
    task.load()
    return task


def _hit_rate(task, split, left, right) -> float:
    import tensorflow as tf

    scores = tf.constant((left @ right.T).astype(np.float32))
    return task.hit_rate(
        split,
        lambda users, items: tf.gather(tf.gather(scores, users), items, batch_dims=1),
        lambda users: tf.gather(scores, users),
    )


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
