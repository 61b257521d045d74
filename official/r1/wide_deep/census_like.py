"""Made-up people and incomes, with a known best accuracy.

The columns are those of the census set. What an income depends on is written below; a
label is then drawn, so that no model can be right more often than `best_accuracy`. One
part of it, the match of education and occupation, is invisible in either column alone:
a linear model needs their cross.
"""

import numpy as np

from official.r1.wide_deep.tables import Table

NUM_TRAINING = 30_000
NUM_TEST = 10_000
_ROWS_SEED = {"train": 1, "test": 2}

_EDUCATIONS = (
    *("Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th"),
    *("HS-grad", "Some-college", "Assoc-voc", "Assoc-acdm", "Bachelors", "Masters"),
    *("Prof-school", "Doctorate"),
)
_EDUCATION_SHARES = (
    *(0.01, 0.01, 0.02, 0.03, 0.03, 0.04, 0.05, 0.03),
    *(0.27, 0.2, 0.05, 0.04, 0.13, 0.05, 0.02, 0.02),
)
_OCCUPATIONS = (
    *("Adm-clerical", "Craft-repair", "Exec-managerial", "Farming-fishing"),
    *("Handlers-cleaners", "Machine-op-inspct", "Other-service", "Prof-specialty"),
    *("Sales", "Tech-support", "Transport-moving", "Protective-serv"),
)
_WORKCLASSES = ("Private", "Self-emp-inc", "Self-emp-not-inc", "Local-gov", "State-gov")
_WORKCLASS_SHARES = (0.7, 0.06, 0.1, 0.08, 0.06)
_MARITAL = ("Never-married", "Married-civ-spouse", "Divorced", "Widowed")
_MARITAL_SHARES = (0.33, 0.46, 0.16, 0.05)
_MISSING_SHARE = 0.05


class _Draw:
    """Uniform numbers by PCG64's raw output, which NumPy promises never to change."""

    def __init__(self, seed: int, rows: int):
        self._bits = np.random.PCG64(seed)
        self._rows = rows

    def uniform(self) -> np.ndarray:
        """float64 [rows], from 0 up to, without, 1."""
        raw = self._bits.random_raw(self._rows)
        return (raw >> np.uint64(11)) * 2.0**-53

    def choice(self, words, shares=None) -> np.ndarray:
        """Index of one of `words` a row."""
        shares = np.full(len(words), 1.0) if shares is None else np.array(shares)
        edges = np.cumsum(shares / shares.sum())[:-1]
        return np.searchsorted(edges, self.uniform(), side="right")


def load() -> tuple[Table, Table]:
    """The training and the test part; always the same."""
    return generate("train", NUM_TRAINING), generate("test", NUM_TEST)


def generate(part: str, num_rows: int) -> Table:
    """Makes rows.

    Args:
        part: `train` or `test`.
        num_rows: so many.

    Returns:
        A table whose `probabilities` are those that the labels were drawn from.
    """
    draw = _Draw(_ROWS_SEED[part], num_rows)
    education = draw.choice(_EDUCATIONS, _EDUCATION_SHARES)
    occupation = draw.choice(_OCCUPATIONS)
    workclass = draw.choice(_WORKCLASSES, _WORKCLASS_SHARES)
    marital = draw.choice(_MARITAL, _MARITAL_SHARES)
    age = np.floor(17 + 60 * draw.uniform() * draw.uniform() ** 0.3)
    hours = np.where(
        draw.uniform() < 0.45, 40, np.clip(np.floor(10 + 65 * draw.uniform()), 10, 75)
    )
    gain = np.where(draw.uniform() < 0.1, np.floor(300 * 60 ** draw.uniform()), 0)
    loss = np.where(draw.uniform() < 0.06, np.floor(1200 + 1400 * draw.uniform()), 0)
    is_married = marital == 1
    is_missing = draw.uniform() < _MISSING_SHARE

    # The sign of the match has the mean 0 over either column: a chessboard, of which
    # neither the row nor the column alone says anything.
    match = np.where((education + occupation) % 2 == 0, 1.0, -1.0)
    logits = (
        -1.6
        + 0.22 * (education - 8)
        + 2.0 * match
        + np.where(is_married, 1.3, -0.8)
        - ((age - 48) / 14) ** 2
        + np.where(gain > 5000, 4.0, np.where(gain > 0, -1.2, 0.0))
        + np.where(loss > 1850, 2.2, np.where(loss > 0, -0.6, 0.0))
        + 0.05 * (hours - 40) * np.where((workclass == 1) | (workclass == 2), 1.4, 0.5)
        + np.where(is_missing, -1.5 - 2.0 * match, 0.0)
    )
    logits *= 1.5
    probabilities = 1 / (1 + np.exp(-logits))
    labels = draw.uniform() < probabilities

    def words(names, indices):
        return np.array(names, object)[indices]

    relationship = np.where(
        is_married,
        words(("Husband", "Wife"), draw.choice((0, 1), (0.8, 0.2))),
        words(("Not-in-family", "Own-child", "Unmarried"), draw.choice((0, 1, 2))),
    )
    columns = {
        "education": words(_EDUCATIONS, education),
        "marital_status": words(_MARITAL, marital),
        "relationship": relationship,
        "workclass": words(_WORKCLASSES, workclass),
        "occupation": np.where(is_missing, "?", words(_OCCUPATIONS, occupation)),
        "age": age,
        "education_num": education + 1.0,
        "capital_gain": gain,
        "capital_loss": loss,
        "hours_per_week": hours,
    }
    numbers = {n: v.astype(np.float32) for n, v in columns.items() if v.dtype != object}
    return Table(
        columns | numbers, labels.astype(np.float32), probabilities.astype(np.float32)
    )
