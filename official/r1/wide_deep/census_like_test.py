import hashlib

import numpy as np

from official.r1.wide_deep import census, census_like


def test_rows_are_pinned():
    """Another generator would be another data set."""
    table = census_like.generate("test", 2000)
    text = "".join(
        f"{name} {values.tolist()}" for name, values in sorted(table.columns.items())
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest[:16] == "f6167dfefc6d4a89"
    assert table.labels.sum() == 393


def test_parts_have_the_columns_and_share_no_rows():
    train, test = census_like.load()
    assert set(train.columns) == set(census.COLUMNS.names)
    assert len(train) == 30_000 and len(test) == 10_000
    assert not np.array_equal(train.columns["age"][:10_000], test.columns["age"])


def test_labels_follow_their_probabilities():
    table = census_like.generate("train", 30_000)
    for low in np.arange(0, 1, 0.1):
        rows = (table.probabilities >= low) & (table.probabilities < low + 0.1)
        error = table.labels[rows].mean() - table.probabilities[rows].mean()
        assert abs(error) < 3 * 0.5 / np.sqrt(rows.sum())


def test_match_is_invisible_in_one_column():
    """The sign of the match has the mean 0 in each row and column of its board."""
    board = np.add.outer(
        np.arange(len(census_like._EDUCATIONS)),
        np.arange(len(census_like._OCCUPATIONS)),
    )
    signs = np.where(board % 2 == 0, 1, -1)
    assert not signs.mean(axis=0).any() and not signs.mean(axis=1).any()
