"""What a person sees on the terminal: a progress bar, a table, warnings."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

_seen_warnings: set[str] = set()


class SilentBar:
    """A progress bar that shows nothing, for output that is no terminal."""

    def update(self, n: int = 1) -> None:
        """Does nothing."""

    def set_postfix(self, **numbers: float) -> None:
        """Does nothing."""

    def set_description(self, text: str) -> None:
        """Does nothing."""

    def write(self, line: str) -> None:
        """Prints the line, as there is no bar that it could cut."""
        print(line, flush=True)

    def close(self) -> None:
        """Does nothing."""

    def __enter__(self) -> "SilentBar":
        return self

    def __exit__(self, *error) -> None:
        pass


def progress_bar(
    total: int | None,
    initial: int = 0,
    description: str = "",
    unit: str = "step",
    file: TextIO | None = None,
    scale: bool = False,
):
    """Returns a progress bar on stdout, or a silent one where that is no terminal.

    Args:
        total: how many units the work has; None where nobody knows.
        initial: how many are done already, as after a resume. They do not count in
            the rate shown.
        description: stands before the bar.
        unit: what is counted, in the singular.
        file: another stream than stdout.
        scale: show thousands and millions as k and M, for bytes.

    Returns:
        A context manager with `update(n)`, `set_postfix(**numbers)` (shown with three
        significant digits), `set_description(text)`, `write(line)` (above the bar) and
        `close()`.
    """
    file = sys.stdout if file is None else file
    if not file.isatty():
        return SilentBar()
    from tqdm import tqdm

    # A terminal that does not know its size (some containers) says 0 by 0, and tqdm
    # would cut the bar to that.
    size_is_known = _columns(file) != 0
    return tqdm(
        total=total,
        initial=initial,
        desc=description or None,
        unit=f" {unit}",  # "12.3 step/s"; tqdm puts no space of its own.
        unit_scale=scale,
        file=file,
        dynamic_ncols=size_is_known,
        ncols=None if size_is_known else 80,
        nrows=None if size_is_known else 24,
    )


def results_table(metrics: Mapping[str, float], facts: Mapping[str, str]) -> str:
    """Returns the table that a main prints at its end.

    Args:
        metrics: the final metrics by name, shown with four significant digits.
        facts: further lines by name, such as "model_dir" with its path.

    Returns:
        Lines of plain text, the second column aligned, without a newline at the end.
    """
    rows = [(name, _four_digits(value)) for name, value in metrics.items()]
    rows += [(name, str(value)) for name, value in facts.items()]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows of cells as lines, every column aligned on its left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def warn(message: str) -> None:
    """Prints `warning: <message>` on stderr, once for each message in a run."""
    if message in _seen_warnings:
        return
    _seen_warnings.add(message)
    print(f"warning: {message}", file=sys.stderr, flush=True)


def reset_warnings() -> None:
    """Lets every warning show once more: for a new run in the same process."""
    _seen_warnings.clear()


def _columns(file: TextIO) -> int | None:
    """Returns the width of a terminal; None where the stream has no file."""
    try:
        return os.get_terminal_size(file.fileno()).columns
    except OSError:
        return None


def _four_digits(value: float | None) -> str:
    """Returns a number with four significant digits, without an exponent if large."""
    if value is None:
        return "-"
    value = float(value)
    rounded = float(f"{value:.4g}")
    if math.isfinite(rounded) and 1e4 <= abs(rounded) < 1e15:
        return f"{rounded:,.0f}"
    # "#" keeps the zeros that are significant (0.9000) and a bare point (1234.).
    return f"{value:#.4g}".removesuffix(".")
