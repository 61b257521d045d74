"""HIGGS (Baldi, Sadowski and Whiteson, 2014): 11 million events, half of them signals.

`HIGGS.csv.gz` of the UCI repository (2.8 GB) is turned into `HIGGS.npy` once: label and
28 features, float32 [rows, 29], of which any rows can be read without the others.
"""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv
import tensorflow as tf

from official.r1.boosted_trees.higgs_columns import COLUMNS
from official.utils.data import arrow_files, files
from official.utils.data.download import require_local
from official.utils.data.files import reading
from official.utils.errors import UserError, one_line, writing
from official.utils.logs import console

NAME = "HIGGS.npy"
_WIDTH = len(COLUMNS) + 1
_BLOCK_BYTES = 8 << 20
_DOWNLOAD = "--download makes it, or python -m official.r1.boosted_trees.data_download"


def convert(csv_path: str, path: str) -> int:
    """Turns the text into `HIGGS.npy`, block by block.

    Args:
        csv_path: `HIGGS.csv.gz`, or another table of these columns without a header.
        path: the file to write; it has its name only when all of it is there.

    Returns:
        The number of rows.

    Raises:
        UserError: the text is damaged, is of another form, or the disk is full.
    """
    require_local(path)
    temporary = f"{path}.tmp"
    rows = 0
    with (
        writing(temporary),
        open(temporary, "wb") as target,
        console.progress_bar(None, description=NAME, unit="row", scale=True) as bar,
    ):
        target.write(_header(0))
        for block in _blocks(csv_path):
            target.write(block.tobytes())
            rows += len(block)
            bar.update(len(block))
        if not rows:
            raise UserError(f"{csv_path} has no row; delete it and fetch it again")
        target.seek(0)
        target.write(_header(rows))
    os.replace(temporary, path)
    return rows


def _blocks(csv_path: str):
    """float32 [some rows, 29], one after the other."""
    names = ["label", *COLUMNS]
    done = 0
    try:
        with arrow_files.opened(csv_path) as stream:
            batches = pa.csv.open_csv(
                stream,
                pa.csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
                convert_options=pa.csv.ConvertOptions(
                    column_types={name: pa.float64() for name in names}
                ),
            )
            for batch in batches:
                block = np.empty([batch.num_rows, _WIDTH], np.float32)
                for position in range(_WIDTH):
                    block[:, position] = batch.column(position).to_numpy()
                is_wrong = ~np.isin(block[:, 0], (0, 1)) | ~np.isfinite(block).all(1)
                if is_wrong.any():
                    row = done + int(is_wrong.argmax())
                    raise UserError(
                        f"{csv_path}: row {row} (from 0) has a label that is not 0 or "
                        "1, or a number that is not finite; delete it and fetch it "
                        "again"
                    )
                done += len(block)
                yield block
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{csv_path} cannot be read as HIGGS after row {done} ({one_line(error)}); "
            "delete it and fetch it again"
        ) from None


def _header(rows: int) -> bytes:
    """The head of a .npy file; of one length, whatever the number of rows."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {_WIDTH}), }}"
    return b"\x93NUMPY\x01\x00\x76\x00" + f"{text:<117}\n".encode()


_HEADER_BYTES = 128


def read(data_dir: str | None, start: int, count: int, flag: str) -> np.ndarray:
    """Reads rows of `HIGGS.npy`.

    Args:
        data_dir: its folder.
        start: the first row.
        count: how many.
        flag: `train` or `eval`, for the message.

    Returns:
        float32 [count, 29], the label first.

    Raises:
        UserError: the file is missing, is of another form or cut, or has fewer rows.
    """
    path = find(data_dir)
    rows = num_rows(path)
    if start + count > rows:
        raise UserError(
            f"--{flag}_start={start} --{flag}_count={count} reach beyond the {rows:,} "
            f"rows of {path}; lower them"
        )
    with reading(path), tf.io.gfile.GFile(path, "rb") as file:
        file.seek(_HEADER_BYTES + 4 * _WIDTH * start)
        content = file.read(4 * _WIDTH * count)
    return np.frombuffer(content, "<f4").reshape(count, _WIDTH)


def find(data_dir: str | None) -> str:
    """The path of `HIGGS.npy` in a folder.

    Raises:
        UserError: it is not there.
    """
    try:
        return files.find(data_dir, [NAME], "higgs")
    except UserError as error:
        raise UserError(f"{error}; {_DOWNLOAD}") from None


def num_rows(path: str) -> int:
    """The number of rows of a `HIGGS.npy`.

    Raises:
        UserError: it is none, or is cut.
    """
    remedy = f"delete it; {_DOWNLOAD}"
    with reading(path), tf.io.gfile.GFile(path, "rb") as file:
        size = file.size()
        head = io.BytesIO(file.read(_HEADER_BYTES))
    try:
        np.lib.format.read_magic(head)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(head)
    except ValueError as error:
        raise UserError(
            f"{path} is no .npy file ({one_line(error)}); {remedy}"
        ) from None
    is_ours = len(shape) == 2 and shape[1] == _WIDTH and dtype == np.dtype("<f4")
    if not is_ours or is_fortran or head.tell() != _HEADER_BYTES:
        raise UserError(
            f"{path} is {dtype} {list(shape)}, not float32 [rows, {_WIDTH}]; {remedy}"
        )
    if size != _HEADER_BYTES + 4 * _WIDTH * shape[0]:
        raise UserError(
            f"{path} has {size:,} bytes, which is not {shape[0]:,} rows: it is cut; "
            f"{remedy}"
        )
    return shape[0]
