import datetime
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from official.utils.errors import UserError
from official.utils.logs import metric_log
from official.utils.logs.metric_log import MetricLog


@pytest.fixture
def warnings(monkeypatch):
    messages = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *values: messages.append(text % values)
    )
    return messages


def strict_lines(path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return [
        json.loads(line, parse_constant=refuse)
        for line in path.read_text().splitlines()
    ]


def test_a_record_has_the_six_fields(tmp_path):
    path = tmp_path / "run" / "metric.log"
    before = datetime.datetime.now(datetime.timezone.utc)
    with MetricLog(str(path)) as log:
        log.log(
            "examples_per_second",
            1250.5,
            global_step=np.int64(100),
            unit="examples/s",
            extras={"warm": True, "average": np.float32(0.25), "note": "b"},
        )
        log.log("loss", 2)
    first, second = strict_lines(path)
    timestamp = first.pop("timestamp")
    assert first == {
        "name": "examples_per_second",
        "value": 1250.5,
        "unit": "examples/s",
        "global_step": 100,
        "extras": [
            {"name": "average", "value": 0.25},
            {"name": "note", "value": "b"},
            {"name": "warm", "value": True},
        ],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", timestamp)
    written = datetime.datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs(written - before) < datetime.timedelta(minutes=1)
    assert second["value"] == 2.0 and isinstance(second["value"], float)
    assert second["unit"] is None and second["global_step"] is None
    assert second["extras"] == []


def made(value):
    """Tensors are made in the test: at import they would start TensorFlow."""
    return value() if callable(value) else value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        (np.bool_(False), 0.0),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.array(1.5), 1.5),
        (lambda: tf.constant(2.5), 2.5),
        (lambda: tf.constant(1.5, tf.bfloat16), 1.5),
        (lambda: tf.Variable(3), 3.0),
    ],
)
def test_scalars_of_every_kind_are_numbers(tmp_path, value, expected):
    value = made(value)
    path = tmp_path / "metric.log"
    with MetricLog(str(path)) as log:
        log.log("x", value)
    assert [record["value"] for record in strict_lines(path)] == [expected]


@pytest.mark.parametrize(
    "value",
    [
        "3.5",
        b"1",
        None,
        object(),
        [1.0],
        1j,
        10**400,
        np.array([1.0]),
        lambda: tf.zeros([2]),
    ],
)
def test_other_values_are_dropped_with_one_warning(tmp_path, warnings, value):
    value = made(value)
    path = tmp_path / "metric.log"
    with MetricLog(str(path)) as log:
        log.log("odd", value)
        log.log("odd", value)
        log.log("even", 2)
    assert [record["name"] for record in strict_lines(path)] == ["even"]
    assert len(warnings) == 1
    assert "odd" in warnings[0]


def test_numbers_that_are_not_finite_stay_readable(tmp_path):
    path = tmp_path / "metric.log"
    with MetricLog(str(path)) as log:
        log.log("loss", float("nan"), extras={"replica": 1})
        log.log("loss", np.float32("inf"))
        log.log("loss", 1.0, extras={"limit": float("-inf")})
    nan, infinity, finite = strict_lines(path)
    assert nan["value"] is None and infinity["value"] is None
    assert nan["extras"] == [
        {"name": "nonfinite", "value": "nan"},
        {"name": "replica", "value": 1},
    ]
    assert infinity["extras"] == [{"name": "nonfinite", "value": "inf"}]
    assert finite["extras"] == [{"name": "limit", "value": None}]


def test_buffering(tmp_path):
    path = tmp_path / "metric.log"
    log = MetricLog(str(path))
    assert not path.exists()
    log.log("a", 1)
    assert not path.exists()
    log.flush()
    assert len(strict_lines(path)) == 1
    for _ in range(300):
        log.log("a", 2)
    log.flush()
    assert len(strict_lines(path)) == 301
    log.log("b", 3)
    log.close()
    log.close()
    assert len(strict_lines(path)) == 302
    with pytest.raises(ValueError, match="closed"):
        log.log("c", 4)


def test_a_log_without_records_leaves_no_file(tmp_path):
    with MetricLog(str(tmp_path / "metric.log")):
        pass
    assert not list(tmp_path.iterdir())


def test_appending_keeps_what_is_there():
    path = "ram://metric_log_test/metric.log"
    for value in range(3):
        with MetricLog(path) as log:
            log.log("a", value)
    assert [record["value"] for record in metric_log.read(path)] == [0, 1, 2]


def test_every_cut_of_the_last_line_is_survived(tmp_path, warnings):
    path = tmp_path / "metric.log"
    with MetricLog(str(path)) as log:
        log.log("first", 1)
        log.log("second", 2)
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for end in range(start + 1, len(content)):
        path.write_bytes(content[:end])
        # The last cut takes only the newline.
        whole = ["first", "second"] if end == len(content) - 1 else ["first"]
        warnings.clear()
        names = [record["name"] for record in metric_log.read(str(path))]
        assert names == whole
        assert len(warnings) == 2 - len(whole)
        with MetricLog(str(path)) as log:
            log.log("third", 3)
        assert [record["name"] for record in strict_lines(path)] == [*whole, "third"]
    assert [child.name for child in tmp_path.iterdir()] == ["metric.log"]


def test_a_log_of_one_cut_line(tmp_path, warnings):
    path = tmp_path / "metric.log"
    path.write_bytes(b'{"name": "a')
    assert metric_log.read(str(path)) == []
    with MetricLog(str(path)) as log:
        log.log("b", 1)
    assert [record["name"] for record in strict_lines(path)] == ["b"]
    assert len(warnings) == 2


@pytest.mark.parametrize("damage", [b"{broken", b"[1]", b"", b"\xff\xfe", b"{}"])
def test_a_damaged_line_is_named(tmp_path, damage):
    path = tmp_path / "metric.log"
    with MetricLog(str(path)) as log:
        log.log("a", 1)
    path.write_bytes(path.read_bytes() + damage + b"\n" + path.read_bytes())
    with pytest.raises(UserError) as error:
        metric_log.read(str(path))
    assert f"{path}, line 2," in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.log"):
        metric_log.read(str(tmp_path / "absent.log"))
