"""Charts of the report: SVG elements by hand, which need no script and no file."""

import dataclasses
import math
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from official.benchmark.markup import element

# The plot of a history, in units of its view box.
_WIDTH, _HEIGHT = 320, 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 8, 22, 24
# A sparkline spans at least this part of its median, so that noise looks like noise.
_LEAST_SPAN = 0.1
# The part of an interval plot beside 1, as a ratio, that is always shown.
_LEAST_RATIO = 1.12
_INTERVAL_WIDTH, _INTERVAL_HEIGHT = 200, 22

_ICONS = {
    "good": "M4 12.5 L10 18 L20 6.5",
    "regression": "M12 3 L22 20.5 H2 Z M12 9.5 V14 M12 16 V18",
    "could not run": "M12 2.5 A9.5 9.5 0 1 0 12.01 2.5 M6 12 H18",
    "unfinished": "M12 2.5 A9.5 9.5 0 1 0 12.01 2.5 M12 6.5 V12 L16 15",
}


@dataclasses.dataclass(frozen=True)
class Point:
    """A night in the history of one quantity.

    Attributes:
        date: for the axis.
        value: in the unit of the axis; None where the night has none.
        note: what the tooltip says.
        low: smallest good value; None where there is no limit.
        high: largest good value.
        is_regression: whether the night's value was one.
        begins: whether it cannot be compared with the night before.
    """

    date: str
    value: float | None
    note: str
    low: float | None = None
    high: float | None = None
    is_regression: bool = False
    begins: bool = False


def icon(verdict: str) -> ET.Element:
    """The sign of a verdict on a whole night."""
    path = element("path", class_="icon", d=_ICONS[verdict])
    return element("svg", path, viewBox="0 0 24 24", class_="sign", aria_hidden="true")


def mark(kind: str, x: float = 8.0, y: float = 8.0) -> ET.Element:
    """A mark of a plot: `dot`, `alarm`, `cross` or `diamond`."""
    if kind == "dot":
        return element("circle", class_="dot", cx=x, cy=y, r="2.5")
    shapes = {
        "alarm": f"M{x - 6:.1f} {y - 5:.1f} h12 l-6 10 Z",
        "cross": f"M{x - 4:.1f} {y - 4:.1f} l8 8 m0 -8 l-8 8",
        "diamond": f"M{x:.1f} {y - 5:.1f} l5 5 l-5 5 l-5 -5 Z",
    }
    return element("path", class_=kind, d=shapes[kind])


def key_mark(kind: str) -> ET.Element:
    """A mark by itself, for the legend; `zone` too."""
    shape = mark(kind) if kind != "zone" else _zone(0, 2, 16, 12)
    return element("svg", shape, viewBox="0 0 16 16", class_="key", aria_hidden="true")


def sparkline(values: Sequence[float | None], alarms: Sequence[bool], label: str):
    """The course of a quantity, without axes.

    Args:
        values: one a night; None where there is none.
        alarms: whether the night's value was a regression.
        label: what a screen reader says.
    """
    width, height, margin = 120, 28, 6
    found = [value for value in values if value is not None]
    if not found:
        return element("span", "-")
    middle = statistics.median(found)
    reach = abs(middle) * _LEAST_SPAN / 2
    low, high = min(*found, middle - reach), max(*found, middle + reach)
    step = (width - 2 * margin) / max(len(values) - 1, 1)
    scale = (height - 2 * margin) / ((high - low) or 1.0)
    places = [
        (margin + number * step, height - margin - (value - low) * scale, alarm)
        for number, (value, alarm) in enumerate(zip(values, alarms, strict=True))
        if value is not None
    ]
    children = [_curve([(x, y) for x, y, _ in places])]
    x, y, _ = places[-1]
    children.append(mark("dot", x, y))
    children += [mark("alarm", x, y) for x, y, alarm in places if alarm]
    return _image("spark", width, height, label, children)


def interval_limit(ratios: Sequence[float]) -> float:
    """The ratio at the right end of interval plots that show all of `ratios`."""
    far = max((abs(math.log(ratio)) for ratio in ratios), default=0.0)
    return max(_LEAST_RATIO, math.exp(far) * 1.03)


def interval(
    low: float, median: float, high: float, limit: float, zone: float
) -> ET.Element:
    """A ratio with its interval, on a logarithmic axis around 1.

    Args:
        low: lower end of the interval.
        median: the ratio.
        high: upper end of the interval.
        limit: the ratio at the right end, see `interval_limit`.
        zone: the part of 1 that counts as no change.
    """
    left, one, right = (
        _interval_x(ratio, limit) for ratio in (1 - zone, 1.0, 1 / (1 - zone))
    )
    y = _INTERVAL_HEIGHT / 2
    start, middle, end = (_interval_x(ratio, limit) for ratio in (low, median, high))
    children = [
        _zone(left, 0, right - left, _INTERVAL_HEIGHT),
        _line("axis", one, 0, one, _INTERVAL_HEIGHT),
        _line("span", start, y, end, y),
        mark("diamond", middle, y),
    ]
    label = f"ratio {median:.3f}, interval {low:.3f} to {high:.3f}"
    return _image("interval", _INTERVAL_WIDTH, _INTERVAL_HEIGHT, label, children)


def interval_axis(limit: float) -> ET.Element:
    """The axis over interval plots of the same `limit`."""
    ends = {"slower": 1 / limit, "1": 1.0, "faster": limit}
    kinds = ("", "middle", "end")
    texts = [
        element(
            "text",
            word if ratio == 1 else f"{word} {ratio:.2f}",
            class_=kind,
            x=_INTERVAL_WIDTH * place,
            y="11",
        )
        for (word, ratio), kind, place in zip(
            ends.items(), kinds, (0.0, 0.5, 1.0), strict=True
        )
    ]
    label = f"axis from {1 / limit:.2f} to {limit:.2f}"
    return _image("interval", _INTERVAL_WIDTH, 14, label, texts)


def _interval_x(ratio: float, limit: float) -> float:
    half = _INTERVAL_WIDTH / 2
    return half + half * math.log(ratio) / math.log(limit)


def history(
    points: Sequence[Point],
    accepted: Sequence[tuple[int, str]],
    unit: str,
    label: str,
) -> ET.Element:
    """A quantity over nights with its limits, regressions and acceptances.

    Args:
        points: the nights, oldest first; at least one has a value.
        accepted: acceptances: after how many nights, and what the tooltip says.
        unit: of the values.
        label: what a screen reader says.
    """
    step = (_WIDTH - _LEFT - _RIGHT) / len(points)
    low, high = _domain(points)
    scale = (_HEIGHT - _TOP - _BOTTOM) / (high - low)

    def place(number: float, value: float) -> tuple[float, float]:
        value = min(max(value, low), high)
        return _LEFT + (number + 0.5) * step, _TOP + (high - value) * scale

    children = [
        _band(points, place, step, (low, high)),
        element("text", unit, x="0", y="10"),
    ]
    for tick, text in _ticks(low, high):
        _, y = place(0, tick)
        children.append(_line("grid", _LEFT, y, _WIDTH - _RIGHT, y))
        children.append(element("text", text, class_="end", x=_LEFT - 6.0, y=y + 4))
    bottom = _HEIGHT - _BOTTOM
    children.append(_line("axis", _LEFT, bottom, _WIDTH - _RIGHT, bottom))
    children += _dates(points)
    children += [
        _curve([place(number, point.value) for number, point in segment])
        for segment in _segments(points)
    ]
    for after, note in accepted:
        x, _ = place(after - 0.5, low)
        line = _line("accepted", x, _TOP, x, bottom)
        diamond = mark("diamond", x, float(_TOP))
        children.append(element("g", element("title", note), line, diamond))
    for number, point in enumerate(points):
        x, y = place(number, low if point.value is None else point.value)
        kind = "cross" if point.value is None else "dot"
        y -= 8 if point.value is None else 0
        shape = mark("alarm" if point.is_regression else kind, x, y)
        hit = element("circle", class_="hit", cx=x, cy=y, r="8")
        children.append(element("g", element("title", point.note), shape, hit))
    return _image("plot", _WIDTH, _HEIGHT, label, children)


def _domain(points: Sequence[Point]) -> tuple[float, float]:
    """The ends of the vertical axis, around all values and the limits near to them."""
    values = [point.value for point in points if point.value is not None]
    edges = [
        edge
        for point in points
        for edge in (point.low, point.high)
        if edge is not None and math.isfinite(edge)
    ]
    # At least the nearest limit; one that is far away would press the values flat.
    middle = statistics.median(values)
    nearest = sorted(edges, key=lambda edge: abs(edge - middle))[:1]
    low, high = min(values + nearest), max(values + nearest)
    reach = high - low
    low = max(min([low, *edges]), low - reach)
    high = min(max([high, *edges]), high + reach)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers between two, two to five of them, with their text."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    decimals = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [(n * step, f"{n * step:,.{decimals}f}") for n in range(first, last + 1)]


def _dates(points: Sequence[Point]) -> list[ET.Element]:
    y = str(_HEIGHT - 6)
    count = "1 night" if len(points) == 1 else f"{len(points)} nights"
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    texts = [element("text", points[0].date, x=str(_LEFT), y=y)]
    if len(points) > 1:
        right = str(_WIDTH - _RIGHT)
        last = points[-1].date
        texts.append(element("text", last, class_="end", x=right, y=y))
    return [*texts, element("text", count, class_="middle", x=middle, y=y)]


def _segments(points: Sequence[Point]) -> list[list[tuple[int, Point]]]:
    """Nights with values that may be joined by a line, with their numbers."""
    segments: list[list[tuple[int, Point]]] = []
    for number, point in enumerate(points):
        if point.begins or not segments:
            segments.append([])
        if point.value is not None:
            segments[-1].append((number, point))
    return [segment for segment in segments if segment]


def _band(points, place, step: float, ends: tuple[float, float]) -> ET.Element:
    """The good values, a step wide for each night; one path, so that no seam shows."""
    path = []
    run: list[tuple[float, float, float]] = []
    for number, point in enumerate([*points, None]):
        if point is None or point.low is None or point.high is None:
            if run:
                upper = [f"V{top:.1f} H{x + step / 2:.1f}" for x, top, _ in run]
                lower = [
                    f"V{bottom:.1f} H{x - step / 2:.1f}" for x, _, bottom in run[::-1]
                ]
                start = f"M{run[0][0] - step / 2:.1f} {run[0][2]:.1f}"
                path += [start, *upper, *lower, "Z"]
            run = []
            continue
        x, top = place(number, min(point.high, ends[1]))
        _, bottom = place(number, max(point.low, ends[0]))
        run.append((x, top, bottom))
    return element("path", class_="zone", d=" ".join(path))


def _curve(places: Sequence[tuple[float, float]]) -> ET.Element:
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return element("polyline", class_="curve", points=text)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> ET.Element:
    ends = dict(x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2))
    return element("line", class_=kind, **ends)


def _zone(x: float, y: float, width: float, height: float) -> ET.Element:
    box = dict(x=float(x), y=float(y), width=float(width), height=float(height))
    return element("rect", class_="zone", **box)


def _image(
    kind: str, width: int, height: int, label: str, children: Sequence[ET.Element]
) -> ET.Element:
    return element(
        "svg",
        *children,
        class_=kind,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=label,
    )
