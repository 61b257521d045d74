"""Elements of the report's page, and how they look."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from official.benchmark.findings import tone

# What terminals take for colours and for moving the cursor.
_TERMINAL_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# What neither HTML nor UTF-8 can hold as a character.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
)

STYLE = """
:root { color-scheme: light dark;
  --page: #f4f5f7; --surface: #ffffff; --text: #1b2027; --muted: #57606a;
  --line: #d9dde2; --curve: #0b5fb8; --zone: #0b5fb81f; --link: #0b57a8;
  --good: #116329; --good-soft: #dcf5e2; --bad: #a8101f; --bad-soft: #fde7e7;
  --warn: #6b4400; --warn-soft: #fdf0cd; }
@media (prefers-color-scheme: dark) { :root {
  --page: #0e1116; --surface: #171b21; --text: #e6e9ed; --muted: #a0a9b4;
  --line: #323941; --curve: #6cb2ff; --zone: #6cb2ff2b; --link: #7cbaff;
  --good: #63d47f; --good-soft: #12301c; --bad: #ff938c; --bad-soft: #431a1c;
  --warn: #e8ba4c; --warn-soft: #382a06; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 16px; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; display: flex; gap: 12px;
  align-items: center; }
h2 { font-size: 20px; margin: 36px 0 10px; } h3 { font-size: 15px; margin: 0 0 4px; }
p { margin: 8px 0; } ul { margin: 4px 0; padding-left: 20px; }
a { color: var(--link); } nav { display: flex; flex-wrap: wrap; gap: 4px 18px; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0; }
dt, .muted { color: var(--muted); } dd { margin: 0; min-width: 0; }
header, .card, details { background: var(--surface); border-radius: 8px;
  border: 1px solid var(--line); padding: 12px 16px; margin: 10px 0; }
header { padding: 20px; border-left-width: 8px; margin-top: 0; }
header dl { margin-top: 14px; }
header.good { border-left-color: var(--good); }
header.bad, .card.bad { border-left-color: var(--bad); }
header.warn, .card.warn { border-left-color: var(--warn); }
.card.bad, .card.warn { border-left-width: 4px; }
h1.good { color: var(--good); } h1.bad { color: var(--bad); }
h1.warn { color: var(--warn); }
.sign { width: 36px; height: 36px; flex: none; }
.badge { display: inline-block; padding: 0 9px; border-radius: 10px; font-size: 13px;
  font-weight: 600; white-space: nowrap; }
.badge.good { color: var(--good); background: var(--good-soft); }
.badge.bad { color: var(--bad); background: var(--bad-soft); }
.badge.warn { color: var(--warn); background: var(--warn-soft); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px;
  background: var(--surface); }
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 11px; text-align: left; vertical-align: middle;
  white-space: nowrap; }
th { font-weight: 600; } thead th { color: var(--muted); font-size: 13px; }
tbody tr { border-top: 1px solid var(--line); }
.scroll th:first-child { position: sticky; left: 0; background: var(--surface);
  border-right: 1px solid var(--line); z-index: 1; }
.over { color: var(--bad); font-weight: 600; }
.spark { width: 120px; height: 28px; }
.interval { width: 200px; }
.key { display: inline-block; width: 14px; height: 14px; vertical-align: -2px; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; }
summary { cursor: pointer; } details[open] > summary { margin-bottom: 10px; }
.plots { display: grid; gap: 18px; scroll-margin-top: 60px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); }
figure { margin: 0; min-width: 0; } figcaption { font-size: 13px; }
figcaption b { font-size: 14px; }
pre { margin: 8px 0 0; padding: 12px; max-height: 420px; overflow: auto;
  border: 1px solid var(--line); border-radius: 6px; background: var(--page); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
svg { display: block; }
.plot { width: 100%; height: auto; }
.plot text, .interval text { font-size: 12px; fill: var(--muted); }
.interval text { font-weight: 400; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: var(--line); }
.axis { stroke: var(--muted); }
.zone { fill: var(--zone); }
.curve { fill: none; stroke: var(--curve); stroke-width: 1.5; }
.dot { fill: var(--curve); }
.alarm { fill: var(--bad); }
.cross { fill: none; stroke: var(--warn); stroke-width: 2; }
.accepted { stroke: var(--text); stroke-dasharray: 3 3; }
.diamond { fill: var(--text); }
/* The pointer need not hit the mark itself to show its title. */
.hit { fill: transparent; }
.span { stroke: var(--curve); stroke-width: 3; }
.icon { fill: none; stroke: currentColor; stroke-width: 2.5; }
@media (max-width: 600px) {
  body { padding: 10px; } h1 { font-size: 24px; } header { padding: 14px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 6px; }
  th, td { padding: 6px 9px; } .scroll th:first-child { max-width: 150px;
    white-space: normal; } }
"""


def element(
    tag: str, *children: ET.Element | str | None, **attributes: str | float
) -> ET.Element:
    """An element of HTML or SVG; whatever it holds is escaped when it is written.

    Args:
        tag: its name.
        *children: elements and text; None is left out.
        **attributes: `class_` is written `class`, `aria_label` is `aria-label`; a float
            is written with one decimal.
    """
    made = ET.Element(tag)
    for name, value in attributes.items():
        text = f"{value:.1f}" if isinstance(value, float) else str(value)
        made.set(name.rstrip("_").replace("_", "-"), printable(text))
    for child in children:
        if isinstance(child, str):
            if len(made):
                made[-1].tail = (made[-1].tail or "") + printable(child)
            else:
                made.text = (made.text or "") + printable(child)
        elif child is not None:
            made.append(child)
    return made


def printable(text: str) -> str:
    """Text without what a terminal takes for colours, control characters made seen."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE.sub(_picture, _TERMINAL_CODES.sub("", text))


def _picture(found: re.Match) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of the control characters.
    return "\u2421" if code == 0x7F else "\ufffd"


def definitions(facts: Sequence[tuple[str, str]]) -> ET.Element:
    """Terms with what they are."""
    return element(
        "dl",
        *(
            element(tag, text)
            for fact in facts
            for tag, text in zip(("dt", "dd"), fact, strict=True)
        ),
    )


def table(label: str, head: Sequence, rows: Sequence[Sequence]) -> ET.Element:
    """A table that scrolls in its own frame; the first column heads the rows.

    Args:
        label: what the table is.
        head: texts or elements.
        rows: texts, elements, or pairs of these with a class.
    """
    columns = [element("th", title, scope="col") for title in head]
    body = []
    for first, *others in rows:
        cells = [element("th", first, scope="row")]
        for cell in others:
            content, kind = cell if isinstance(cell, tuple) else (cell, "")
            cells.append(element("td", content, **({"class_": kind} if kind else {})))
        body.append(element("tr", *cells))
    table = element(
        "table", element("thead", element("tr", *columns)), element("tbody", *body)
    )
    # With the keyboard too, one must be able to scroll it.
    return element(
        "div", table, class_="scroll", role="region", aria_label=label, tabindex="0"
    )


def section(title: str, name: str, children: Sequence[ET.Element | None]) -> ET.Element:
    """A part of the page.

    Args:
        title: its head, the first child.
        name: its anchor.
        children: what follows.
    """
    return element("section", element("h2", title), *children, id=name)


def badge(verdict: str) -> ET.Element:
    """A verdict on its colour."""
    return element("span", verdict, class_=f"badge {tone(verdict)}")
