"""Draws the tables of results in the READMEs from recorded runs.

    python -m official.benchmark.readme           # writes every table anew
    python -m official.benchmark.readme --check   # fails where one differs

A table stands between two comments in a Markdown file:

    <!-- table: runs official/mnist/results.jsonl accuracy loss -->
    <!-- end of table -->

The first names the kind of table, the file of records (JSON lines, from `history
--export --publish`; its path counts from the project's root), and the metrics shown.
`runs` has a row a run, `metrics` a row a micro-benchmark. Records that have none of the
metrics are left out.
"""

import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence

from absl import flags

from official.benchmark import exchange, gate, machines
from official.benchmark.exchange import Record
from official.utils import app
from official.utils.errors import UserError

_BEGIN = re.compile(r"<!-- table: (\w+) (\S+)((?: [\w.]+)*) -->")
_END = "<!-- end of table -->"


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="readme")
    flags.DEFINE_boolean(
        "check", False, "Writes nothing; exits with 1 if stale.", **own
    )
    flags.DEFINE_string(
        "root", str(machines.PROJECT_ROOT), "Folder with the Markdown files.", **own
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Writes or checks all tables below `--root`.

    Returns:
        `tables` and `stale`, their numbers.

    Raises:
        UserError: a comment or a file of records is wrong.
        SystemExit: with 1, where `--check` finds a stale table.
    """
    root = pathlib.Path(flags_obj.root)
    tables, stale = 0, 0
    for path in _markdown_files(root):
        text = path.read_text(encoding="utf-8")
        drawn, lines = draw(text, path, root)
        tables += len(lines)
        changed = [line for line, is_stale in lines if is_stale]
        stale += len(changed)
        for line in changed:
            place = f"{path.relative_to(root)}, line {line}"
            if flags_obj.check:
                print(
                    f"error: {place}: the table differs from its records; run "
                    "`python -m official.benchmark.readme`",
                    file=sys.stderr,
                )
            else:
                print(f"{place}: written anew")
        if changed and not flags_obj.check:
            temporary = path.with_name(f"{path.name}.tmp")
            temporary.write_text(drawn, encoding="utf-8")
            os.replace(temporary, path)
    print(f"{tables} tables, {stale} {'stale' if flags_obj.check else 'written anew'}")
    if flags_obj.check and stale:
        sys.exit(1)
    return {"tables": tables, "stale": stale}


def _markdown_files(root: pathlib.Path) -> list[pathlib.Path]:
    """README.md at the top, and all below docs/ and official/."""
    below = [root / "docs", root / "official"]
    return sorted([*root.glob("*.md"), *(f for d in below for f in d.rglob("*.md"))])


def draw(
    text: str, path: pathlib.Path, root: pathlib.Path
) -> tuple[str, list[tuple[int, bool]]]:
    """Draws the tables of one file.

    Args:
        text: its content.
        path: the file, for messages.
        root: where paths of records count from.

    Returns:
        The content with all tables as their records have them, and for each table its
        line (counted from 1) and whether it was stale.

    Raises:
        UserError: a comment is not closed, or its records cannot be read or shown.
    """
    lines = text.split("\n")
    drawn: list[str] = []
    found: list[tuple[int, bool]] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        drawn.append(line)
        position += 1
        match = _BEGIN.fullmatch(line.strip())
        if match is None:
            if line.strip().startswith("<!-- table:"):
                raise UserError(
                    f"{path}, line {position}: a table is named as "
                    "<!-- table: KIND FILE [METRIC ...] -->"
                )
            continue
        where = f"{path}, line {position}"
        if _END not in lines[position:]:
            raise UserError(f"{where}: the table has no {_END}")
        end = lines.index(_END, position)
        kind, source, metrics = match[1], match[2], match[3].split()
        if kind not in _KINDS:
            raise UserError(f"{where}: the table's kind is {', '.join(_KINDS)}")
        records = [
            record
            for record in exchange.read_lines(str(root / source))
            if record["kind"] == "run"
            and record["status"] == "ok"
            and set(metrics) & set(record["results"]["metrics"])
        ]
        if not records:
            raise UserError(
                f"{where}: {source} has no run that ended well and has these metrics"
            )
        table = [*_KINDS[kind](records, metrics), "", _caption(records)]
        found.append((position, table != lines[position:end]))
        drawn += table
        position = end
    return "\n".join(drawn), found


def _runs_table(records: Sequence[Record], metrics: Sequence[str]) -> list[str]:
    """A row a run."""
    head = ["recipe", "seed", *metrics, "steps", "examples/s", "memory", "seconds"]
    rows = []
    for record in sorted(records, key=lambda r: (r["job"], r["seed"], r["time"])):
        found = record["results"]
        rows.append(
            [
                record["job"],
                str(record["seed"]),
                *(_number(found["metrics"].get(name)) for name in metrics),
                f"{found['steps']:,}",
                gate.shown("examples_per_second", found["examples_per_second"]),
                gate.shown("peak_memory_bytes", found["peak_memory_bytes"]),
                f"{record['seconds']:.0f}",
            ]
        )
    return markdown_table([head, *rows])


def _metrics_table(records: Sequence[Record], metrics: Sequence[str]) -> list[str]:
    """A row a micro-benchmark; of several runs the last."""
    last = {
        record["job"]: record for record in sorted(records, key=lambda r: r["time"])
    }
    rows = [
        [job, *(_number(record["results"]["metrics"].get(name)) for name in metrics)]
        for job, record in last.items()
    ]
    head = ["benchmark", *(name.replace("_", " ") for name in metrics)]
    return markdown_table([head, *rows])


_KINDS: dict[str, Callable[[Sequence[Record], Sequence[str]], list[str]]] = {
    "runs": _runs_table,
    "metrics": _metrics_table,
}


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as the lines of a Markdown table, the first as its head."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head, *rest = rows
    return [line(head), "|" + "---|" * len(head), *map(line, rest)]


def _caption(records: Sequence[Record]) -> str:
    """Where, when and with what the runs were made."""

    def distinct(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    days = sorted({record["time"][:10] for record in records})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    commits = distinct(record["project"] or "unknown" for record in records)
    builds = distinct(record["build"]["text"] for record in records)
    places = distinct(record["machine"]["text"] for record in records)
    return f"Measured {when} at commit {commits}, with {builds}, on {places}."


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
