"""Shows a night or a comparison of the history as one HTML page, and as Markdown.

    python -m official.benchmark.report --output=report.html
    python -m official.benchmark.report --markdown=- --night=20261125-033518-49a0

The page needs no network and no other file. Exit codes: 0 written; 2 it could not be.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence

from absl import flags

from official.benchmark import command, compare, findings, page, verdicts
from official.benchmark import run as run_command
from official.benchmark.exchange import Record
from official.benchmark.findings import Findings
from official.benchmark.history import DEFAULT_PATH, History
from official.benchmark.markup import printable
from official.utils.errors import UserError, writing

# What the Markdown begins with; a file that does not is not replaced.
_MARKDOWN_BEGINNING = "## TensorFlow build: "
_SPECIAL = re.compile(r"[\\`*_\[\]|~]")


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="report")
    flags.DEFINE_string("history", DEFAULT_PATH, "File of all records.", **own)
    flags.DEFINE_string("output", "report.html", "The page to write.", **own)
    flags.DEFINE_string(
        "markdown", None, "A file for a summary in Markdown; - for stdout.", **own
    )
    flags.DEFINE_string(
        "night", None, "A night or a comparison. Default: the last night.", **own
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Writes the page, and the summary if asked for.

    Raises:
        UserError: a flag or the history is wrong, or a file cannot be written.
    """
    history = History(flags_obj.history, create=False)
    output = os.path.abspath(os.path.expanduser(flags_obj.output))
    found = findings.gather(history, flags_obj.night, os.path.dirname(output))
    _write("--output", output, page.render(found), page.BEGINNING)
    if flags_obj.markdown == "-":
        print(markdown(found), end="", flush=True)
    else:
        print(f"{findings.headline(found.shown)}\npage: {flags_obj.output}")
        if flags_obj.markdown:
            path = os.path.abspath(os.path.expanduser(flags_obj.markdown))
            _write("--markdown", path, markdown(found), _MARKDOWN_BEGINNING)
            print(f"summary: {flags_obj.markdown}")
    return {"recipes": len(found.shown["jobs"])}


def _write(flag: str, path: str, content: str, beginning: str) -> None:
    """Writes a file whole; replaces none but one that an earlier report has left."""
    temporary = os.path.join(os.path.dirname(path), f".report-{uuid.uuid4().hex}.tmp")
    with writing(f"{flag}={path}", "name another file"):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                head = file.read(len(beginning))
            if head and head != beginning.encode():
                raise UserError(
                    f"{flag}={path} is a file that no report has written; remove it, "
                    "or name another"
                )
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(content)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.remove(temporary)


def markdown(found: Findings) -> str:
    """A summary for a chat or an issue.

    Args:
        found: what is shown; of further comparisons the newest is summed up too.
    """
    shown = found.shown
    if not found.is_night:
        return "\n".join([*_head(shown), *_comparison(shown)]) + "\n"
    lines = [*_head(shown), *_night(found)]
    if found.comparisons:
        last = found.comparisons[0]
        lines += ["", f"### Last comparison: {_escaped(findings.headline(last))}", ""]
        lines += [*_facts(last), *_comparison(last)]
    return "\n".join(lines) + "\n"


def _head(record: Record) -> list[str]:
    headline = _escaped(findings.headline(record))
    return [f"{_MARKDOWN_BEGINNING}{headline}", "", *_facts(record)]


def _facts(record: Record) -> list[str]:
    builds = (
        [("build", record["build"])]
        if record["kind"] == "night"
        else zip(compare.SIDES, record["builds"], strict=True)
    )
    facts = [(name, build["text"]) for name, build in builds]
    facts += [
        ("machine", record["machine"]["text"]),
        (record["kind"], f"{record['night']}, {findings.date_time(record)}"),
        ("project", record["project"] or "unknown commit"),
    ]
    return [f"- {name}: {_escaped(text)}" for name, text in facts]


def _night(found: Findings) -> Iterator[str]:
    titles = [quantity.title for quantity in verdicts.QUANTITIES]
    rows: list[Sequence[str]] = [("recipe", "verdict", "runs", "quality", *titles)]
    for key, entry in found.shown["jobs"].items():
        quality = [text for text, _ in findings.quality(entry)]
        rows.append(
            (
                key,
                entry["verdict"],
                f"{entry['good_runs']}/{entry['runs']}",
                ", ".join(quality) or "-",
                *(
                    run_command.shown_against(quantity.name, entry)
                    for quantity in verdicts.QUANTITIES
                ),
            )
        )
    yield from _table(rows)
    yield from _reasons(found.shown)
    for phrase in findings.lineup(found.shown):
        yield f"- {_escaped(phrase)}"


def _comparison(record: Record) -> Iterator[str]:
    yield from _table(compare.table_rows(record))
    yield from _reasons(record)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    for number, row in enumerate(rows):
        yield f"| {' | '.join(map(_escaped, row))} |"
        if number == 0:
            yield f"|{' --- |' * len(row)}"
    yield ""


def _reasons(record: Record) -> Iterator[str]:
    for key, entry in record["jobs"].items():
        for reason in entry["reasons"]:
            line = _escaped(f"{key} {entry['verdict']}: {reason}")
            yield f"- {line}"


def _escaped(text: str) -> str:
    """Text on one line that Markdown shows as it is."""
    text = " ".join(printable(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\g<0>", text)


def main() -> None:
    """The command line."""
    command.main(define_flags, run, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
