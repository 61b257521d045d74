"""Training by LightGBM: its parameters, and what happens between two trees."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from official.r1.boosted_trees import metrics
from official.r1.boosted_trees.dataset import Part
from official.r1.boosted_trees.machines import MACHINE_IS_GONE
from official.utils.errors import UserError, one_line
from official.utils.flags.settings import Settings

try:
    import lightgbm
except ImportError:
    lightgbm = None


@dataclasses.dataclass
class State:
    """What a checkpoint holds beside the trees; plain JSON.

    Attributes:
        step: trees so far.
        best_step: trees with which the AUC on validation rows was best.
        best_value: that AUC.
        validated_step: trees at the last look at the validation rows.
        is_exhausted: whether no split gains anything any more.
        facts: of the data: `names` of the features.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    validated_step: int = 0
    is_exhausted: bool = False
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def check_installed() -> None:
    """Raises a `UserError` where LightGBM is missing."""
    if lightgbm is None:
        raise UserError(
            "boosted trees are trained by LightGBM, which is missing: run "
            "`pip install 'official-models[trees]'`"
        )


def num_leaves(settings: Settings) -> int:
    """The most leaves of a tree: no more than its depth allows."""
    by_depth = 2**settings.max_depth if 0 < settings.max_depth < 17 else 131_072
    return max(2, min(settings.num_leaves, by_depth))


def is_sampling(settings: Settings) -> bool:
    """Whether trees are grown on drawn rows or columns."""
    return min(settings.bagging_fraction, settings.feature_fraction) < 1


def parameters(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    """LightGBM's parameters of a run.

    Args:
        settings: resolved flags.
        names: of the features.

    Raises:
        UserError: flags contradict each other, or name unknown columns.
    """
    if settings.boosting == "rf" and settings.bagging_fraction == 1:
        raise UserError(
            "--boosting=rf grows each tree on drawn rows; set --bagging_fraction below "
            "1, such as .632"
        )
    found = {
        "objective": "binary",
        "boosting": settings.boosting,
        "learning_rate": settings.learning_rate,
        "max_depth": settings.max_depth,
        "num_leaves": num_leaves(settings),
        "min_data_in_leaf": settings.min_data_in_leaf,
        "lambda_l1": settings.lambda_l1,
        "lambda_l2": settings.lambda_l2,
        "max_bin": settings.max_bin,
        "bagging_fraction": settings.bagging_fraction,
        "bagging_freq": int(settings.bagging_fraction < 1),
        "feature_fraction": settings.feature_fraction,
        "seed": settings.seed,
        "num_threads": settings.intra_op_parallelism_threads,
        # Ours are computed between trees, and only where they are wanted.
        "metric": "None",
        "verbosity": -1,
    }
    if settings.monotone_constraints:
        found["monotone_constraints"] = _constraints(
            settings.monotone_constraints, names
        )
    if settings.deterministic:
        # LightGBM else times both ways of counting, and takes the faster one.
        found |= {"deterministic": True, "force_row_wise": True}
    return found


def _constraints(text: str, names: tuple[str, ...]) -> list[int]:
    """The constraint of each column, from `name:1,name:-1`."""
    signs = [0] * len(names)
    for pair in text.split(","):
        column, _, sign = pair.strip().rpartition(":")
        if sign not in ("1", "+1", "-1"):
            raise UserError(
                f"--monotone_constraints={text}: {pair!r} should be a column, a colon "
                "and 1 (rising) or -1 (falling), as in m_bb:1"
            )
        signs[feature_position(column, names, "--monotone_constraints")] = int(sign)
    return signs


def feature_position(column: str, names: tuple[str, ...], flag: str) -> int:
    """The position of a feature that a flag names.

    Args:
        column: its name, or its number among the features from 0 on.
        names: of the features.
        flag: that names it.

    Raises:
        UserError: there is none.
    """
    if column in names:
        return names.index(column)
    if column.isdecimal() and int(column) < len(names):
        return int(column)
    raise UserError(
        f"{flag}: there is no feature {column!r}; there are {len(names)}, "
        f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
    )


def categorical_positions(settings: Settings, names: tuple[str, ...]) -> list[int]:
    """Positions of the columns of `--categorical_columns`."""
    columns = filter(None, (settings.categorical_columns or "").split(","))
    return [
        feature_position(column.strip(), names, "--categorical_columns")
        for column in columns
    ]


@dataclasses.dataclass
class Boosting:
    """One training.

    Attributes:
        parameters: of LightGBM.
        categorical: positions of categorical columns.
        num_trees: with which it ends.
        state: where it stands; changed as it goes on.
        between_trees: called after each tree with the booster and what the tree took in
            seconds. It returns whether to stop.
    """

    parameters: dict[str, Any]
    categorical: list[int]
    num_trees: int
    state: State
    between_trees: Callable[[Any, float], bool]

    def run(self, train: Part, validation: Part | None, model: str | None) -> str:
        """Grows the trees that are left.

        Args:
            train: training rows.
            validation: rows that `evaluate_validation` sees.
            model: LightGBM's text of the trees so far.

        Returns:
            LightGBM's text of all trees.

        Raises:
            UserError: LightGBM refuses the data or its parameters.
        """
        with _messages():
            start = lightgbm.Booster(model_str=model) if model else None
            rows = lightgbm.Dataset(
                train.features,
                train.labels,
                categorical_feature=self.categorical,
                free_raw_data=True,
                params=self.parameters,
            )
            held_out = [
                rows.create_valid(part.features, part.labels)
                for part in (validation,)
                if part is not None
            ]
            booster = lightgbm.train(
                self.parameters,
                rows,
                num_boost_round=self.num_trees - self.state.step,
                valid_sets=held_out or None,
                init_model=start,
                callbacks=[self._after_tree()],
            )
            return booster.model_to_string(num_iteration=-1)

    def _after_tree(self) -> Callable[[Any], None]:
        last = [time.monotonic()]

        def after_tree(env) -> None:
            now = time.monotonic()
            seconds, last[0] = now - last[0], now
            grown = env.model.current_iteration()
            # LightGBM goes on asking where no split gains anything.
            is_at_end = grown < env.iteration + 1
            self.state.step = max(grown, 1)
            self.state.is_exhausted |= is_at_end
            is_stopped = self.between_trees(env.model, seconds)
            last[0] = time.monotonic()
            if is_at_end or is_stopped:
                raise lightgbm.EarlyStopException(env.iteration, [])

        after_tree.order = 0
        return after_tree


def evaluate_validation(booster: Any) -> dict[str, float]:
    """Metrics on the validation rows, under the trees so far."""
    return _evaluate(booster.eval_valid, metrics.evaluate)


def training_loss(booster: Any) -> float:
    """Log loss on the training rows, under the trees so far."""
    return _evaluate(
        booster.eval_train,
        lambda labels, chances: {"loss": metrics.log_loss(labels, chances)},
    )["loss"]


def _evaluate(evaluate: Callable, compute: Callable) -> dict[str, float]:
    def function(chances, rows):
        found = compute(np.asarray(rows.get_label()), chances)
        return [(name, value, True) for name, value in found.items()]

    return {name: value for _, name, value, _ in evaluate(function)}


def predict(model: str, features: np.ndarray, num_trees: int, threads: int):
    """Chances of 1, float64 [N], by LightGBM itself.

    Args:
        model: LightGBM's text.
        features: float [N, features].
        num_trees: the first so many trees are used.
        threads: 0 for all cores.
    """
    with _messages():
        booster = lightgbm.Booster(model_str=model)
        return booster.predict(
            features,
            num_iteration=num_trees,
            num_threads=threads,
            validate_features=False,
        )


def importance(model: str) -> tuple[np.ndarray, np.ndarray]:
    """What the splits at each feature gained, and how many there are."""
    booster = lightgbm.Booster(model_str=model)
    return tuple(booster.feature_importance(kind) for kind in ("gain", "split"))


def versions() -> dict[str, str]:
    """LightGBM's version."""
    return {"lightgbm": lightgbm.__version__}


def cut(model: str, num_trees: int) -> str:
    """LightGBM's text of the first trees of a model."""
    booster = lightgbm.Booster(model_str=model)
    return booster.model_to_string(num_iteration=num_trees)


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    try:
        yield
    except lightgbm.basic.LightGBMError as error:
        text = one_line(error)
        if text.startswith("Socket"):
            raise UserError(f"{MACHINE_IS_GONE} (LightGBM: {text})") from None
        raise UserError(
            f"LightGBM: {text}; change the flag or the data it names"
        ) from None
