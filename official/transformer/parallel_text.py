"""Sentences and their translations, in files that go line by line."""

import itertools
from collections.abc import Iterator, Sequence

from official.utils.data import text_lines
from official.utils.errors import UserError

_END = object()


def find(
    source: str | None, target: str | None, data_dir: str | None, part: str
) -> tuple[list[str], list[str]]:
    """Finds the files of a part.

    Args:
        source: the flag `--<part>_source`: files or patterns with commas between them.
        target: the flag `--<part>_target`.
        data_dir: the folder that they are looked for in, if they have none of their
            own.
        part: `train`, `validation` or `eval`.

    Returns:
        The files of both sides, as many of one as of the other.

    Raises:
        UserError: a flag is missing, a pattern matches nothing, or there are more files
            on one side.
    """
    found = []
    for side, value in (("source", source), ("target", target)):
        flag = f"--{part}_{side}"
        if not value:
            raise UserError(f"{flag} is missing: files or patterns between commas")
        patterns = [_below(data_dir, pattern.strip()) for pattern in value.split(",")]
        found.append(text_lines.find(patterns, flag))
    sources, targets = found
    if len(sources) != len(targets):
        raise UserError(
            f"--{part}_source has {len(sources)} files and --{part}_target "
            f"{len(targets)}; give them in pairs"
        )
    return sources, targets


def _below(data_dir, pattern):
    import tensorflow as tf

    return tf.io.gfile.join(data_dir, pattern) if data_dir else pattern


def pairs(sources: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Reads pairs of lines.

    Args:
        sources: files, plain or gzipped.
        targets: as many, with as many lines each.

    Yields:
        A line and its translation, without white space around them; either may be
        empty.

    Raises:
        UserError: two files have different numbers of lines, or one cannot be read.
    """
    for source, target in zip(sources, targets, strict=True):
        lines = itertools.zip_longest(
            text_lines.read(source), text_lines.read(target), fillvalue=_END
        )
        for first, second in lines:
            if first is _END or second is _END:
                raise _uneven(source, target)
            yield first[1].strip(), second[1].strip()


def _uneven(source: str, target: str) -> UserError:
    numbers = [sum(1 for _ in text_lines.read(path)) for path in (source, target)]
    return UserError(
        f"{source} has {numbers[0]:,} lines and {target} {numbers[1]:,}; line n of "
        "one has to be the translation of line n of the other"
    )
