"""Translates the lines of a file, or of the standard input."""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator

from official.transformer.translation import Translator
from official.utils.data import text_lines
from official.utils.errors import UserError
from official.utils.logs import console
from official.utils.logs.files import opened_output

# Lines that are sorted by length together: the memory that a long file needs.
_CHUNK = 4096


def translate_file(
    translator: Translator, path: str | None, output: str | None, n_best: int = 1
) -> None:
    """Writes a line for each line, in order; of an empty one an empty one.

    With `n_best` above 1 each line has as many: its number, the score and the
    translation, with tabs between them.

    Args:
        translator: what it is translated with.
        path: text, a sentence a line, maybe gzipped; None for the standard input.
        output: the file to write; None for the terminal.
        n_best: translations of each line.

    Raises:
        UserError: the file cannot be read, a line is no UTF-8, or the output exists.
    """
    number = 0
    with opened_output(output) as stream, _Lines(path) as lines:
        for chunk in _chunks(line for _, line in lines):
            for found in translator.translate(chunk, n_best):
                number += 1
                for text, score in found:
                    # A line break would move all lines behind it.
                    text = " ".join(text.split())
                    row = text if n_best == 1 else f"{number}\t{score:.4f}\t{text}"
                    stream.write(f"{row}\n")
            stream.flush()
    if translator.num_cut:
        console.warn(
            f"{translator.num_cut:,} lines were longer than --max_length pieces: cut"
        )
    if output:
        print(f"{number:,} lines: {output}", flush=True)


class _Lines:
    """The numbered lines of a file or of the standard input, while a context lasts."""

    def __init__(self, path: str | None):
        self._path = path
        self._copy = None

    def __enter__(self) -> Iterator[tuple[int, str]]:
        if self._path:
            return text_lines.read(os.path.expanduser(self._path))
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError(
                "there is nothing to translate: give --input_file=FILE, or lines by "
                "the standard input"
            )
        # Read to its end first, and by the same reader as files are.
        self._copy = tempfile.NamedTemporaryFile(prefix="stdin-")
        self._copy.write(sys.stdin.buffer.read())
        self._copy.flush()
        return text_lines.read(self._copy.name)

    def __exit__(self, *error) -> None:
        if self._copy is not None:
            self._copy.close()


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
