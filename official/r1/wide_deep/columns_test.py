import json

import numpy as np
import pytest

from official.r1.wide_deep import census, columns
from official.utils.errors import UserError


def test_vocabulary_leaves_out_missing_and_rare_words():
    values = np.array(["b", "a", "b", "?", "", "?", "c", "c"], object)
    assert columns.vocabulary(values, 1) == ["a", "b", "c"]
    assert columns.vocabulary(values, 2) == ["b", "c"]


def test_boundaries_give_a_common_value_its_own_bucket():
    values = np.array([0] * 90 + list(range(1, 11)), np.float32)
    # 0 alone; 10 rows left for 5 buckets of 2.
    assert columns.learn_boundaries(values, 6) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert columns.learn_boundaries(np.full(9, 3, np.float32), 6) == []
    with_missing = np.append(values, np.float32("nan"))
    assert len(columns.learn_boundaries(with_missing, 6)) == 5


def test_boundaries_never_exceed_the_buckets():
    generator = np.random.default_rng(0)
    for num_buckets in (2, 7, 32):
        for values in (
            generator.normal(size=1000),
            generator.integers(0, 5, 1000),
            np.exp(3 * generator.normal(size=1000)),
        ):
            values = values.astype(np.float32)
            found = columns.learn_boundaries(values, num_buckets)
            assert 1 <= len(found) <= num_buckets - 1, (num_buckets, len(found))
            assert found == sorted(set(found))


def test_facts_are_plain_json():
    rows = 30
    table = {name: np.array(["x", "?", "y"] * 10, object) for name in census.CATEGORIES}
    table |= {name: np.arange(rows, dtype=np.float32) for name in census.NUMBERS}
    for each in (census.COLUMNS, census.COLUMNS_2019):
        facts = columns.learn(each, table, columns.Limits(1, 8, 1000))
        assert json.loads(json.dumps(facts)) == facts
    assert facts["boundaries"] == {"age": list(census.AGE_BOUNDARIES)}
    assert facts["scales"]["age"] == [None, None, 0.0, 1.0]
    assert "occupation" not in facts["vocabularies"]


def test_crosses_of_the_flag():
    parse = columns.parse_crosses
    assert parse("none", census.COLUMNS) == ()
    assert parse("education*age, workclass*age*occupation", census.COLUMNS) == (
        ("education", "age"),
        ("workclass", "age", "occupation"),
    )
    wide = len(census.COLUMNS.wide)
    assert len(parse("pairs", census.COLUMNS)) == wide * (wide - 1) // 2
    for text, fragment in (
        ("education", "no cross"),
        ("education*", "no column ''"),
        ("education*salary", "no column 'salary'"),
    ):
        with pytest.raises(UserError, match=rf"--crosses=.*{fragment}"):
            parse(text, census.COLUMNS)
