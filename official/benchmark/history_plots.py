"""The part of the report that shows every quantity of every recipe over the nights."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from official.benchmark import charts, findings, gate, verdicts
from official.benchmark.charts import Point
from official.benchmark.exchange import Record
from official.benchmark.findings import Findings
from official.benchmark.markup import badge, element
from official.benchmark.markup import section as page_section

# The unit of an axis, and what a value is divided by.
_UNITS = {
    "examples_per_second": ("examples/s", 1.0),
    "startup_seconds": ("seconds", 1.0),
    "peak_memory_bytes": ("GiB", 2.0**30),
}
_LEGEND = (
    ("dot", "a night"),
    ("alarm", "a regression"),
    ("cross", "no value"),
    ("diamond", "accepted: the limits begin anew"),
    ("zone", "band or limits"),
)


def anchor(key: str) -> str:
    """The name of a recipe's part."""
    return "history-" + re.sub(r"[^\w.-]+", "_", key)


def section(found: Findings) -> ET.Element | None:
    """The part; None where no recipe that is shown was in a night."""
    keys = [key for key in found.shown["jobs"] if found.course(key)]
    if not keys:
        return None
    marks = [
        element("span", charts.key_mark(kind), f" {text}") for kind, text in _LEGEND
    ]
    note = (
        f"Up to {findings.MAX_NIGHTS_SHOWN} nights on this machine. A line breaks off "
        "where the recipe was changed."
    )
    children = [
        element("p", note, class_="muted"),
        element("div", *marks, class_="keys"),
        *(_recipe(found, key) for key in keys),
    ]
    return page_section("Over the nights", "nights", children)


def _recipe(found: Findings, key: str) -> ET.Element:
    """The plots of a recipe; they stand open where it is not good."""
    course = found.course(key)
    accepted = _accepted(found, key, course)
    _, last = course[-1]
    rows = []
    for quantity in verdicts.QUANTITIES:
        name = quantity.name
        value = gate.shown(name, last["values"].get(name))
        allowed = last["limits"].get(name)
        ends = (
            [gate.shown(name, allowed[e]) for e in ("low", "high")] if allowed else []
        )
        limits = f"limits {' to '.join(ends)}" if allowed else "no limits yet"
        points = _speed_points(course, name)
        rows.append((quantity.title, value, limits, points, _UNITS[name][0]))
    for name, band in last["bands"].items():
        metric = last["metrics"].get(name)
        value = "-" if metric is None else f"{metric:.4g}"
        limits = "band {:g} to {:g}".format(*band)
        rows.append((name, value, limits, _metric_points(course, name), name))
    figures = [
        element(
            "figure",
            element(
                "figcaption",
                element("b", title),
                f" {value}",
                element("div", limits, class_="muted"),
            ),
            _plot(f"{key}: {title} {value}, {limits}", points, accepted, unit),
        )
        for title, value, limits, points, unit in rows
    ]
    verdict = found.shown["jobs"][key]["verdict"]
    part = element(
        "details",
        element("summary", badge(verdict), " ", element("b", key)),
        element("div", *figures, class_="plots", id=anchor(key)),
    )
    if findings.tone(verdict) != "good":
        part.set("open", "")
    return part


def _plot(
    label: str, points: Sequence[Point], accepted: Sequence[tuple[int, str]], unit: str
) -> ET.Element:
    if all(point.value is None for point in points):
        return element("p", "No night has a value.", class_="muted")
    return charts.history(points, accepted, unit, label)


def _accepted(found: Findings, key: str, course: Sequence) -> list[tuple[int, str]]:
    """The acceptances of a recipe: after how many of the nights, and the tooltip."""
    marks = []
    for each in found.acceptances:
        after = sum(night["time"] < each["time"] for night, _ in course)
        # Before the first night that is shown, it changed nothing that is shown.
        if each["job"] == key and after:
            note = f"accepted {findings.date_time(each)}: {each['reason']}"
            marks.append((after, note))
    return marks


def _speed_points(course: Sequence[tuple[Record, dict]], name: str) -> list[Point]:
    _, divisor = _UNITS[name]
    points = []
    for number, (night, entry) in enumerate(course):
        value = entry["values"].get(name)
        allowed = entry["limits"].get(name, {})
        low, high = (
            allowed[end] / divisor if allowed else None for end in ("low", "high")
        )
        points.append(
            Point(
                night["time"][:10],
                None if value is None else value / divisor,
                _note(night, entry, gate.shown(name, value)),
                low,
                high,
                name in entry["regressions"],
                _begins(course, number),
            )
        )
    return points


def _metric_points(course: Sequence[tuple[Record, dict]], name: str) -> list[Point]:
    points = []
    for number, (night, entry) in enumerate(course):
        value = entry["metrics"].get(name)
        points.append(
            Point(
                night["time"][:10],
                value,
                _note(night, entry, "-" if value is None else f"{value:.4g}"),
                *entry["bands"].get(name, (None, None)),
                name in entry["missed"],
                _begins(course, number),
            )
        )
    return points


def _begins(course: Sequence[tuple[Record, dict]], number: int) -> bool:
    """Whether the recipe is another one than the night before."""
    before = course[max(number - 1, 0)]
    return course[number][1]["digest"] != before[1]["digest"]


def _note(night: Record, entry: dict, value: str) -> str:
    build = night["build"]["text"]
    return f"{value}, {entry['verdict']}\n{findings.date_time(night)}\n{build}"
