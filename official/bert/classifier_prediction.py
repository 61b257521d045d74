"""Labels for the lines of a file."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from official.utils.data import files
from official.utils.errors import UserError
from official.utils.logs.files import opened_output


def predict(
    classify: Callable[..., Mapping[str, Any]],
    path: str,
    output: str | None,
    label_names: Sequence[str],
    num_texts: int,
    batch_size: int,
) -> None:
    """Writes a row for each line of a file: number of the line, label, probabilities.

    Args:
        classify: the signature `serving_default`.
        path: a text a line, or two with a tab between them.
        output: CSV file; None for the terminal.
        label_names: of the classes; empty where the network gives a score.
        num_texts: of a line, 1 or 2.
        batch_size: lines at a time.

    Raises:
        UserError: the file cannot be read, is empty, or a line is none of the form; or
            the output exists.
    """
    lines = read_lines(path, num_texts)
    with opened_output(output) as stream:
        table = csv.writer(stream, lineterminator="\n")
        header = ["label", *label_names] if label_names else ["score"]
        table.writerow(["line", *header])
        for first in range(0, len(lines), batch_size):
            chunk = lines[first : first + batch_size]
            found = classify(
                *(tf.constant(column) for column in zip(*chunk, strict=True))
            )
            for row in range(len(chunk)):
                number = first + row + 1
                if not label_names:
                    table.writerow([number, f"{found['score'][row].numpy():.4f}"])
                    continue
                cells = [f"{p:.4f}" for p in found["probabilities"][row].numpy()]
                label = found["labels"][row].numpy().decode()
                table.writerow([number, label, *cells])
    if output:
        print(f"{len(lines)} lines: {output}", flush=True)


def read_lines(path: str, num_texts: int) -> list[tuple[str, ...]]:
    """The texts of a file, line by line.

    Args:
        path: UTF-8 text, maybe gzipped.
        num_texts: of a line; two have a tab between them.

    Raises:
        UserError: the file cannot be read, is empty, or a line is empty, no UTF-8 or
            has another number of texts.
    """
    content = files.read_bytes(os.path.expanduser(path))
    lines = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            texts = (
                tuple(line.decode("utf-8").split("\t"))
                if num_texts == 2
                else (line.decode("utf-8"),)
            )
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: line {number} is not UTF-8 ({error.reason} at byte "
                f"{error.start}); convert the file"
            ) from None
        if len(texts) != num_texts:
            raise UserError(
                f"{path}: line {number} has {len(texts)} texts where {num_texts} are "
                "expected, with a tab between them"
            )
        if not all(text.strip() for text in texts):
            raise UserError(
                f"{path}: line {number} has an empty text; fill or remove it"
            )
        lines.append(texts)
    return lines
