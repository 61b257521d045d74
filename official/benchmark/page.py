"""The report as one HTML page that asks nothing of a network or of another file."""

import re
import xml.etree.ElementTree as ET

from official.benchmark import charts, compare, findings, history_plots, verdicts
from official.benchmark import run as run_command
from official.benchmark.exchange import Record
from official.benchmark.findings import Failure, Findings
from official.benchmark.markup import (
    STYLE,
    badge,
    definitions,
    element,
    section,
    table,
)

# What the report looks for before it replaces a file.
BEGINNING = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="generator" content="official.benchmark.report">'
)
# Nothing is loaded and no script runs, even if a log's text got through as markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HOW_TO_READ = (
    "A recipe is good if all its runs end well, every metric lies in the recipe's band "
    "and no speed, start-up or memory passes its limits, which come from the last "
    f"{verdicts.MAX_NIGHTS} nights on this machine. A comparison runs both builds in "
    "turns and calls the candidate slower only where the median of the paired speed "
    f"ratios lies more than {verdicts.MEDIAN_THRESHOLD:.0%} below 1 and the whole "
    f"{verdicts.CONFIDENCE:.0%} interval more than {verdicts.INTERVAL_THRESHOLD:.0%}. "
    "Where a change is wanted, let the limits begin anew: "
)
_HOW_TO_ACCEPT = "python -m official.benchmark.history --accept=RECIPE --reason=WHY"


def render(found: Findings) -> str:
    """The page as text."""
    shown = found.shown
    word = shown["verdict"].capitalize()
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="generator", content="official.benchmark.report"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element(
                "meta", name="viewport", content="width=device-width, initial-scale=1"
            ),
            element("meta", name="color-scheme", content="light dark"),
            element("title", f"{word}: {found.build}, {findings.date_time(shown)}"),
            element("style", STYLE),
        ),
        element(
            "body",
            _header(found),
            element("main", *_sections(found)),
        ),
        lang="en",
    )
    text = "<!DOCTYPE html>\n" + ET.tostring(page, encoding="unicode", method="html")
    assert text.startswith(BEGINNING)
    return text


def _header(found: Findings) -> ET.Element:
    shown = found.shown
    tone = findings.tone(shown["verdict"])
    if found.is_night:
        facts = [("build", found.build)]
    else:
        facts = _builds(shown)
    facts += [
        ("machine", shown["machine"]["text"]),
        ("time", findings.date_time(shown)),
        ("project", shown["project"] or "unknown commit"),
        ("suite", f"{shown['suite']}, {shown['kind']} {shown['night']}"),
    ]
    comparison = None
    if found.is_night and found.comparisons:
        last = found.comparisons[0]
        comparison = element(
            "p",
            "Last comparison of two builds: ",
            element("a", findings.headline(last), href="#comparisons"),
            f", {findings.date_time(last)}",
        )
    title = element(
        "h1",
        charts.icon(shown["verdict"]),
        element("span", findings.headline(shown)),
        class_=tone,
    )
    return element("header", title, definitions(facts), comparison, class_=tone)


def _builds(comparison: Record) -> list[tuple[str, str]]:
    return [
        (side, build["text"])
        for side, build in zip(compare.SIDES, comparison["builds"], strict=True)
    ]


def _sections(found: Findings) -> list[ET.Element]:
    """Everything below the verdict; a section without content is left out."""
    night = [_not_good(found), _recipes(found)] if found.is_night else []
    reading = element("p", _HOW_TO_READ, element("code", _HOW_TO_ACCEPT))
    parts = [
        *night,
        _comparisons(found),
        history_plots.section(found),
        _failures(found),
        _versions(found),
        section("How to read this", "reading", [reading]),
    ]
    shown = [part for part in parts if part is not None]
    links = [
        element("a", part[0].text or "", href=f"#{part.get('id')}") for part in shown
    ]
    return [element("nav", *links, aria_label="sections"), *shown]


def _not_good(found: Findings) -> ET.Element | None:
    cards = [
        _card(found, found.shown, key, entry)
        for key, entry in findings.not_good(found.shown).items()
        if entry["verdict"] != findings.NOT_RUN
    ]
    lineup = [element("p", phrase) for phrase in findings.lineup(found.shown)]
    if not cards and not lineup:
        return None
    return section("What to look at", "not-good", cards + lineup)


def _card(found: Findings, record: Record, key: str, entry: dict) -> ET.Element:
    """A recipe that is not good, with its reasons."""
    items = [element("li", reason) for reason in entry["reasons"]]
    items += [
        element("li", f"accepted on {findings.date_time(each)}: {each['reason']}")
        for each in found.accepted_since(key)
        if record is found.shown
    ]
    logs = [
        element("a", each.title, href=f"#{_run_name(each)}")
        for each in found.failures
        if (each.job, each.night) == (key, record["night"])
    ]
    if logs:
        items.append(element("li", "logs:", *(part for a in logs for part in (" ", a))))
    return element(
        "div",
        element("h3", badge(entry["verdict"]), " ", _link_to_history(found, key)),
        element("ul", *items) if items else None,
        class_=f"card {findings.tone(entry['verdict'])}",
    )


def _run_name(failure: Failure) -> str:
    return f"run-{failure.id}"


def _link_to_history(found: Findings, key: str) -> ET.Element:
    # Where a narrow column may break the name, which stays whole when it is copied.
    first, *others = re.split(r"(?<=[/_:])", key)
    name = [first, *(part for other in others for part in (element("wbr"), other))]
    if not found.course(key):
        return element("span", *name)
    return element("a", *name, href=f"#{history_plots.anchor(key)}")


def _over(text: str, is_over: bool) -> ET.Element:
    """A number of a table; one that is over its limit is marked."""
    if not is_over:
        return element("div", text)
    return element("div", charts.key_mark("alarm"), f" {text}", class_="over")


def _recipes(found: Findings) -> ET.Element:
    speed, *others = verdicts.QUANTITIES
    head = ["recipe", "verdict", "runs", "quality (band)", speed.title, "nights"]
    head += [quantity.title for quantity in others]
    rows = []
    for key, entry in found.shown["jobs"].items():
        phrases = findings.quality(entry)
        speed_cell, *other_cells = (
            _over(
                run_command.shown_against(quantity.name, entry),
                quantity.name in entry["regressions"],
            )
            for quantity in verdicts.QUANTITIES
        )
        rows.append(
            (
                _link_to_history(found, key),
                badge(entry["verdict"]),
                f"{entry['good_runs']}/{entry['runs']}",
                element("div", *(_over(*phrase) for phrase in phrases)),
                speed_cell,
                _sparkline(found, key),
                *other_cells,
            )
        )
    note = element(
        "p",
        "In brackets behind a number: its change from the median of the nights before. "
        "The line shows examples/s.",
        class_="muted",
    )
    return section("All recipes", "recipes", [table("all recipes", head, rows), note])


def _sparkline(found: Findings, key: str) -> ET.Element:
    course = found.course(key)
    name = "examples_per_second"
    return charts.sparkline(
        [entry["values"].get(name) for _, entry in course],
        [name in entry["regressions"] for _, entry in course],
        f"{key}: examples/s over {len(course)} nights",
    )


# ---- Comparisons ----


def _comparisons(found: Findings) -> ET.Element | None:
    if not found.comparisons:
        return None
    parts = [_comparison(found, each) for each in found.comparisons]
    # Only the newest stands open.
    parts[0].set("open", "")
    return section("Comparisons of two builds", "comparisons", parts)


def _comparison(found: Findings, record: Record) -> ET.Element:
    speeds = [entry["speed"] for entry in record["jobs"].values() if entry["speed"]]
    zone = verdicts.MEDIAN_THRESHOLD
    limit = charts.interval_limit(
        [speed[end] for speed in speeds for end in ("low", "high")]
    )
    title, *lines = compare.table_rows(record)
    # Model and recipe are one column here; the verdict has a form of its own.
    first = title.index("verdict") + 1
    rows = []
    for (key, entry), line in zip(record["jobs"].items(), lines, strict=True):
        speed, *others = line[first:]
        ends = entry["speed"] and [entry["speed"][e] for e in ("low", "median", "high")]
        plot = charts.interval(*ends, limit, zone) if ends else None
        rows.append(
            (
                _link_to_history(found, key),
                badge(entry["verdict"]),
                element("div", plot, speed),
                *others,
            )
        )
    axis = element("div", title[first], charts.interval_axis(limit))
    head = ["recipe", "verdict", axis, *title[first + 1 :]]
    reasons = [
        _card(found, record, key, entry)
        for key, entry in record["jobs"].items()
        if entry["reasons"]
    ]
    return element(
        "details",
        element(
            "summary",
            badge(record["verdict"]),
            f" {findings.headline(record)}, {findings.date_time(record)}, "
            f"suite {record['suite']}",
        ),
        definitions([*_builds(record), ("machine", record["machine"]["text"])]),
        *reasons,
        table(f"comparison {record['night']}", head, rows),
        element(
            "p",
            f"Ratios are candidate to baseline, the speed's with its "
            f"{verdicts.CONFIDENCE:.0%} interval; within ±{zone:.0%}, the shaded zone, "
            "speed counts as the same. Quality has its difference in brackets; drift "
            "is the largest difference of the first ten losses.",
            class_="muted",
        ),
    )


# ---- Failed runs, and what all ran on ----


def _failures(found: Findings) -> ET.Element | None:
    if not found.failures:
        return None
    parts = []
    for failure in found.failures:
        link: ET.Element | str = "The log's file is not on this machine."
        if failure.link:
            link = element("a", "The whole log", href=failure.link)
        parts.append(
            element(
                "details",
                element(
                    "summary",
                    element("b", f"{failure.job}, {failure.title}"),
                    f": {failure.detail}",
                ),
                # Within the details, so that a link to it opens them.
                element("p", element("code", failure.command), id=_run_name(failure)),
                element("p", link),
                element("pre", failure.tail or "(empty)", tabindex="0"),
            )
        )
    return section("Failed runs", "failed", parts)


def _versions(found: Findings) -> ET.Element:
    """What the builds consist of, beside the night before or the other build."""
    shown = found.shown
    if found.is_night:
        finished = [night for night in found.nights[:-1] if "verdict" in night]
        columns = [(n["night"], n["build"]) for n in (*finished[-1:], shown)]
    else:
        columns = list(zip(compare.SIDES, shown["builds"], strict=True))
    names = dict.fromkeys(name for _, build in columns for name in build["versions"])
    rows = []
    for name in names:
        versions = [build["versions"].get(name, "-") for _, build in columns]
        changed = len(set(versions)) > 1
        rows.append((name, *versions, "changed" if changed else ""))
    head = ["package", *(title for title, _ in columns), "change"]
    machine = element("p", "Machine: ", shown["machine"]["text"])
    return section(
        "Machine and versions", "machine", [machine, table("versions", head, rows)]
    )
