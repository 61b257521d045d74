"""Pictures in, a table of their most likely classes out."""

import csv
import glob
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from official.utils.data.files import reading
from official.utils.errors import UserError
from official.utils.logs import console, files
from official.vision.image_classification import picture_check, picture_tree


def write(
    classify: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    class_names: Sequence[str],
    inputs: str | None,
    output: str | None,
    top_k: int,
    batch_size: int,
) -> None:
    """Classifies pictures and writes CSV.

    Columns are `file`, and for each of the most likely classes `class_1`,
    `probability_1`, ... A file that cannot be decoded is named in a warning.

    Args:
        classify: maps the bytes of pictures, string [N], to `probabilities`, float32
            [N, classes].
        class_names: the name of each class.
        inputs: files, folders or patterns between commas.
        output: the file to write; None for stdout.
        top_k: classes a picture, or all that there are.
        batch_size: pictures at a time.

    Raises:
        UserError: an input matches nothing, no file of them can be decoded, or the
            output exists or cannot be written.
    """
    paths = find_files(inputs)
    top_k = min(top_k, len(class_names))
    num_written = 0
    with files.opened_output(output) as stream:
        table = csv.writer(stream, lineterminator="\n")
        ranks = range(1, top_k + 1)
        table.writerow(
            [
                "file",
                *(f"{what}_{i}" for i in ranks for what in ("class", "probability")),
            ]
        )
        for start in range(0, len(paths), batch_size):
            group, contents = [], []
            for path in paths[start : start + batch_size]:
                content = _read(path)
                if content is not None:
                    group.append(path)
                    contents.append(content)
            if not group:
                continue
            found = classify(tf.constant(contents))["probabilities"].numpy()
            for path, probabilities in zip(group, found, strict=True):
                best = np.argsort(-probabilities, kind="stable")[:top_k]
                cells = [(class_names[i], f"{probabilities[i]:.4f}") for i in best]
                table.writerow([path, *(cell for pair in cells for cell in pair)])
            num_written += len(group)
        if not num_written:
            raise UserError(
                f"--input={inputs}: none of {len(paths)} files is a picture that can "
                "be decoded; give jpg, png, gif, bmp or webp files"
            )
    if output:
        print(f"{num_written} of {len(paths)} pictures: {output}", flush=True)


def find_files(inputs: str | None) -> list[str]:
    """The files that `--input` names, each once; those of a folder by their endings.

    Raises:
        UserError: nothing is named, a name matches no picture, or a folder cannot be
            read.
    """
    if not inputs:
        raise UserError(
            "--mode=predict needs --input=FILES: pictures, folders or patterns between "
            "commas"
        )
    paths: dict[str, None] = {}
    for pattern in inputs.split(","):
        with reading(f"--input={pattern}"):
            found = _match(os.path.expanduser(pattern))
        if not found:
            raise UserError(f"--input={pattern} matches no picture; check the path")
        paths.update(dict.fromkeys(found))
    return list(paths)


def _match(pattern: str) -> list[str]:
    """The files that a pattern matches, and the pictures of the folders."""
    found = []
    for path in sorted(tf.io.gfile.glob(pattern)) or (
        # A name that is also a pattern, such as `a[1].jpg`.
        tf.io.gfile.glob(glob.escape(pattern))
    ):
        if tf.io.gfile.isdir(path):
            found += picture_tree.find_pictures(path)
        else:
            found.append(path)
    return found


def find_damaged(paths: Iterable[str | bytes]) -> UserError | None:
    """The first file that cannot be read or decoded, as an error; None if all can."""
    for path in paths:
        path = os.fsdecode(path)
        if reason := picture_check.reason(path):
            return UserError(
                f"{path} can no longer be decoded ({reason}); restore or remove it, "
                "and start again"
            )
    return None


def _read(path: str) -> bytes | None:
    """The bytes of a picture, or None and a warning."""
    if reason := picture_check.reason(path):
        console.warn(f"{path} is left out: {reason}")
        return None
    with tf.io.gfile.GFile(path, "rb") as stream:
        return stream.read()
