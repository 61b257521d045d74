import json

import lightgbm
import numpy as np
import pytest
import tensorflow as tf

from official.r1.boosted_trees import lightgbm_model, xgboost_model
from official.r1.boosted_trees.forest import Forest
from official.utils.testing.errors import message_of

COLUMNS = 6
# Beside random parameters, what each of the first models must have.
KINDS = (
    {"objective": "binary"},
    {"objective": "multiclass", "num_class": 3},
    {"objective": "binary", "boosting": "rf"},
    {"objective": "multiclassova", "num_class": 4, "sigmoid": 0.7},
    {"objective": "regression"},
    {"objective": "binary", "zero_as_missing": True},
    {"objective": "binary", "use_missing": False, "sigmoid": 2.0},
    {"objective": "poisson"},
    {"objective": "binary", "boosting": "dart"},
    {"objective": "cross_entropy"},
)


def made_rows(random, number):
    """Columns: three of numbers, one with many zeros, two of categories."""
    rows = random.normal(size=(number, COLUMNS))
    rows[:, 2] = np.round(rows[:, 2], 1)
    rows[random.random(number) < 0.4, 3] = 0
    rows[:, 4] = random.integers(0, 5, number)
    rows[:, 5] = random.integers(0, 90, number)
    rows[random.random(rows.shape) < 0.15] = np.nan
    return rows


def hard_rows(random, rows, thresholds):
    """Rows that lie on thresholds, beside them, or outside of all that was seen."""
    hard = rows[:600].copy()
    numbers = np.array(thresholds)
    for column in range(4):
        picked = random.choice(numbers, 600)
        shift = random.integers(-1, 2, 600)
        picked = np.where(shift < 0, np.nextafter(picked, -np.inf), picked)
        picked = np.where(shift > 0, np.nextafter(picked, 1e308), picked)
        hard[:, column] = picked
    hard[:40, :4] = random.choice(
        [0.0, -0.0, 1e-35, -1e-35, 1.1e-35, 5e-324, np.inf, -np.inf, np.nan], (40, 4)
    )
    hard[40:80, 4:] = random.choice([-3.0, -0.5, 2.7, 91, 3e9, 1e300, np.nan], (40, 2))
    return np.concatenate([hard, rows[600:900]])


def labels_of(random, rows, parameters):
    seen = np.nan_to_num(rows)
    score = seen[:, 0] * seen[:, 1] + (seen[:, 5] % 7 == 3) + (seen[:, 4] == 2)
    score = score + (seen[:, 3] == 0) + 0.5 * random.normal(size=len(rows))
    classes = parameters.get("num_class", 2)
    if parameters["objective"] in ("regression", "poisson"):
        return np.exp(score / 4)
    edges = np.quantile(score, np.arange(1, classes) / classes)
    return np.searchsorted(edges, score).astype(float)


def first_of(number, unmarked):
    """Seeds, of which all but the first few are slow together."""
    return [
        seed if seed < unmarked else pytest.param(seed, marks=pytest.mark.slow)
        for seed in range(number)
    ]


@pytest.mark.parametrize("seed", first_of(50, 10))
def test_lightgbm_leaves_and_predictions(seed):
    random = np.random.default_rng(seed)
    rows = made_rows(random, 1500)
    parameters = {
        "num_leaves": int(random.integers(2, 60)),
        "max_depth": int(random.choice([-1, 2, 5, 12])),
        "min_data_in_leaf": int(random.integers(1, 20)),
        "max_cat_to_onehot": int(random.choice([1, 4])),
        "min_data_per_group": 5,
        "max_bin": int(random.choice([15, 255])),
        "learning_rate": float(random.uniform(0.05, 0.5)),
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "verbosity": -1,
        "num_threads": 1,
        "seed": seed,
        **KINDS[seed % len(KINDS)],
    }
    categorical = [[4, 5], [], [5]][seed % 3]
    data = lightgbm.Dataset(
        rows,
        labels_of(random, rows, parameters),
        categorical_feature=categorical,
        params={"verbosity": -1},
    )
    booster = lightgbm.train(parameters, data, int(random.integers(1, 12)))
    ensemble = lightgbm_model.read(booster.model_to_string())
    thresholds = np.concatenate([[0.5], *(tree.threshold for tree in ensemble.trees)])
    forest = Forest(ensemble)
    hard = hard_rows(random, rows, thresholds)
    leaves = booster.predict(hard, pred_leaf=True).reshape(len(hard), -1)
    np.testing.assert_array_equal(forest.leaves(hard), leaves)
    expected = booster.predict(hard).reshape(len(hard), -1)
    found = forest.predictions(tf.constant(hard)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", first_of(16, 6))
def test_xgboost_leaves_and_predictions(seed):
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    random = np.random.default_rng(1000 + seed)
    rows = made_rows(random, 1500)
    parameters = {
        "max_depth": int(random.choice([1, 3, 6])),
        "max_cat_to_onehot": int(random.choice([1, 100])),
        "booster": "dart" if seed % 5 == 4 else "gbtree",
        "num_parallel_tree": 3 if seed % 4 == 3 else 1,
        "subsample": 0.8,
        "nthread": 1,
        "seed": seed,
        **[
            {"objective": "binary:logistic"},
            {"objective": "multi:softprob", "num_class": 3},
            {"objective": "reg:squarederror"},
            {"objective": "count:poisson"},
        ][seed % 4],
    }
    if parameters["booster"] == "dart":
        parameters |= {"rate_drop": 0.3, "one_drop": 1}
    kinds = {"objective": "regression" if seed % 4 > 1 else "binary"}
    labels = labels_of(random, rows, parameters | kinds)
    kinds = ["q"] * 4 + [["c", "c"], ["q", "c"], ["q", "q"]][seed % 3]
    data = xgboost.DMatrix(rows, labels, feature_types=kinds, enable_categorical=True)
    booster = xgboost.train(parameters, data, int(random.integers(1, 8)))
    text = booster.save_raw("json").decode()
    ensemble = xgboost_model.read(text)
    forest = Forest(ensemble)
    thresholds = np.concatenate([[0.5], *(tree.threshold for tree in ensemble.trees)])
    # float64 numbers beside a float32 threshold are rounded to it.
    hard = hard_rows(random, rows, thresholds.astype(np.float32))
    # XGBoost refuses infinite numbers and negative categories.
    hard[~np.isfinite(hard)] = np.nan
    hard[:, 4:] = np.where(
        (hard[:, 4:] < 0) | (hard[:, 4:] > 2**24), np.nan, np.trunc(hard[:, 4:])
    )
    data = xgboost.DMatrix(hard, feature_types=kinds, enable_categorical=True)
    leaves = booster.predict(data, pred_leaf=True, strict_shape=True)
    np.testing.assert_array_equal(forest.leaves(hard), leaves.reshape(len(hard), -1))
    expected = booster.predict(data).reshape(len(hard), -1)
    found = forest.predictions(tf.constant(hard)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """A booster with missing values and categories, and rows."""
    random = np.random.default_rng(3)
    rows = made_rows(random, 2000)
    labels = labels_of(random, rows, {"objective": "binary"})
    data = lightgbm.Dataset(rows, labels, categorical_feature=[4, 5])
    parameters = dict(objective="binary", verbosity=-1, num_threads=1)
    return lightgbm.train(parameters, data, 20), rows


def test_xla_gives_the_same(trained):
    booster, rows = trained
    forest = Forest(lightgbm_model.read(booster.model_to_string()))
    assert any(tree.categories for tree in forest.ensemble.trees)
    assert any(tree.missing.any() for tree in forest.ensemble.trees)
    compiled = tf.function(forest, jit_compile=True)
    found = compiled(tf.constant(rows)).numpy()[:, 0]
    expected = booster.predict(rows, raw_score=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_other_float_types_and_keras_calls(trained):
    booster, rows = trained
    forest = Forest(lightgbm_model.read(booster.model_to_string()))
    rounded = rows.astype(np.float32)
    expected = booster.predict(rounded.astype(np.float64), raw_score=True)
    np.testing.assert_allclose(forest(rounded).numpy()[:, 0], expected, rtol=1e-12)
    found = forest.predict(rows, batch_size=300, verbose=0)
    assert found.dtype == np.float64
    expected = booster.predict(rows, raw_score=True)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12, atol=1e-12)
    assert not forest.trainable_variables


def test_first_numbers_of_a_tree_made_by_hand():
    text = "\n".join(
        [
            "tree",
            "version=v4",
            "num_class=1",
            "num_tree_per_iteration=1",
            "max_feature_idx=1",
            "objective=binary sigmoid:1",
            "",
            "Tree=0",
            "num_leaves=3",
            "num_cat=0",
            "split_feature=0 1",
            "threshold=0.5 -1.5",
            "decision_type=2 8",
            "left_child=1 -1",
            "right_child=-3 -2",
            "leaf_value=0.1 0.2 0.3",
            "is_linear=0",
            "",
            "end of trees",
        ]
    )
    forest = Forest(lightgbm_model.read(text))
    nan = np.nan
    rows = np.array([[0.5, -1.5], [0.5, -1.4], [0.6, 0], [nan, nan], [0, nan]])
    # Missing is 0 at the first split, and goes right at the second.
    np.testing.assert_allclose(forest(rows).numpy()[:, 0], [0.1, 0.2, 0.3, 0.2, 0.2])
    assert len(forest.variables) == 7
    assert [weight.name for weight in forest.weights][:3] == [
        "column",
        "threshold",
        "child",
    ]


def test_texts_that_are_no_model(trained):
    text = trained[0].model_to_string()
    read = lightgbm_model.read
    assert "no text of LightGBM" in message_of(read, "nothing")
    assert "no text of LightGBM" in message_of(read, text.replace("=v4", "=v9", 1))
    assert "is cut" in message_of(read, text[: len(text) // 3])
    damaged = text.replace("left_child=", "left_child=9 ", 1)
    message = message_of(read, damaged, "model.txt")
    assert message.startswith("model.txt is damaged in tree 0 (left_child has ")
    message = message_of(read, text.replace("leaf_value=", "leaf_value=x ", 1))
    assert "damaged in tree 0" in message
    message = message_of(read, text.replace("objective=binary", "objective=new"))
    assert "the objective 'new sigmoid:1'" in message
    linear = text.replace("is_linear=0", "is_linear=1", 1)
    assert "linear leaves" in message_of(read, linear)


def test_json_that_is_no_model():
    read = xgboost_model.read
    assert "no JSON of XGBoost" in message_of(read, "{")
    assert "no JSON of XGBoost" in message_of(read, "[]")
    linear = {"learner": {"gradient_booster": {"name": "gblinear"}}}
    assert "the booster gblinear" in message_of(read, json.dumps(linear))
