"""Reads files of ratings: those of MovieLens as published, and tables of your own."""

import contextlib
import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from pyarrow import csv

from official.utils.data import arrow_files
from official.utils.data.files import reading
from official.utils.errors import UserError

USER, ITEM, RATING, TIME = "user", "item", "rating", "time"
_BLOCK_BYTES = 16 << 20
_FETCH = "fetch the original file again"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a file of ratings is laid out.

    Attributes:
        columns: name in the file by meaning (`USER` and so on); of files without a
            header, the names that the columns get are those of `names`.
        delimiter: one character.
        names: of all columns, where the file has no header.
    """

    columns: dict[str, str]
    delimiter: str = ","
    names: tuple[str, ...] = ()

    @property
    def first_line(self) -> int:
        """Number of the line of the first rating."""
        return 1 if self.names else 2


_PLAIN = {USER: USER, ITEM: ITEM, RATING: RATING, TIME: TIME}
_CSV = Layout({USER: "userId", ITEM: "movieId", RATING: "rating", TIME: "timestamp"})
# The file of each data set of MovieLens below its folder, and its layout. In ml-1m two
# colons part the columns: one colon, and an empty column between two of them.
MOVIELENS = {
    "ml-100k": ("u.data", Layout(_PLAIN, "\t", (USER, ITEM, RATING, TIME))),
    "ml-1m": (
        "ratings.dat",
        Layout(_PLAIN, ":", (USER, "", ITEM, "", RATING, "", TIME)),
    ),
    "ml-20m": ("ratings.csv", _CSV),
    "ml-25m": ("ratings.csv", _CSV),
    "ml-32m": ("ratings.csv", _CSV),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings in the order of their file.

    Attributes:
        users: int32 [N], rows of `user_ids`.
        items: int32 [N], rows of `item_ids`.
        times: float64 or int64 [N]; None where the file has none.
        user_ids: int64 or object (text) [users], ascending.
        item_ids: int64 or object (text) [items], ascending.
        ratings: float32 [N]; None where they were not asked for.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    user_ids: np.ndarray
    item_ids: np.ndarray
    ratings: np.ndarray | None = None


def read(
    path: str,
    layout: Layout,
    min_rating: float | None = None,
    keep_ratings: bool = False,
) -> Ratings:
    """Reads a file, maybe gzipped.

    Args:
        path: the file.
        layout: its columns; rating and time may be left out.
        min_rating: lower ratings are left out.
        keep_ratings: whether the ratings themselves are wanted.

    Returns:
        What it holds.

    Raises:
        UserError: the file cannot be read, is empty, lacks a column, or a line has a
            wrong number of columns, an empty id, or a time or rating that is no number.
    """
    table = _read_table(path, layout)
    if not table.num_rows:
        raise UserError(f"{path} holds no rating; {_FETCH}")
    columns = layout.columns
    keep = None
    if min_rating is not None:
        if RATING not in columns:
            raise UserError(
                f"--min_rating={min_rating:g} needs --rating_column, the name of the "
                f"column of ratings in {path}"
            )
        keep = _numbers(path, layout, table, RATING) >= min_rating
        if not keep.any():
            raise UserError(
                f"{path} has no rating of --min_rating={min_rating:g} or more; lower it"
            )
    times = _numbers(path, layout, table, TIME) if TIME in columns else None
    users, user_ids = _codes(path, layout, table, USER, keep)
    items, item_ids = _codes(path, layout, table, ITEM, keep)
    if times is not None and keep is not None:
        times = times[keep]
    ratings = None
    if keep_ratings:
        ratings = _numbers(path, layout, table, RATING).astype(np.float32)
        ratings = ratings if keep is None else ratings[keep]
    return Ratings(users, items, times, user_ids, item_ids, ratings)


def _read_table(path: str, layout: Layout) -> pa.Table:
    try:
        return _parsed(path, layout, True)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        pass
    except OSError as error:
        raise UserError(
            f"{path} is a damaged gzip file, or ends too early ({error}); {_FETCH}"
        ) from None
    # Once more in order: only then does pyarrow count the lines.
    try:
        return _parsed(path, layout, False)
    except pa.ArrowKeyError as error:
        missing = re.search(r"Column '(.*?)' in", str(error))
        header = _header(path)
        raise UserError(
            f"{path} has no column {missing[1] if missing else error}; its first line "
            f"is {header!r}"
        ) from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: {_reason(str(error), layout)}") from None


def _reason(message: str, layout: Layout) -> str:
    """What pyarrow says of a damaged file, with the number of the line."""
    if message.startswith("Empty CSV file"):
        return f"the file is empty; {_FETCH}"
    row = re.search(r"Row #(\d+)", message)
    # pyarrow counts the header's line as one where there is one.
    line = f"line {row[1]}: " if row else ""
    expected = re.search(r"Expected (\d+) columns, got (\d+)", message)
    if expected:
        what = f"{expected[2]} columns where {expected[1]} are expected"
    else:
        what = " ".join(message.split())[:200]
    return f"{line}{what}; check the file, or {_FETCH}"


def _parsed(path: str, layout: Layout, use_threads: bool) -> pa.Table:
    with arrow_files.opened(path) as source:
        text = pa.dictionary(pa.int32(), pa.string())
        columns = layout.columns
        ids = pa.int64() if layout in _LAYOUTS_OF_NUMBERS else text
        types = {columns[USER]: ids, columns[ITEM]: ids}
        # Numbers are converted later, where the line of a wrong one can be told.
        types |= {
            columns[name]: pa.string() for name in (RATING, TIME) if name in columns
        }
        if layout in _LAYOUTS_OF_NUMBERS:
            types |= {columns[RATING]: pa.float32(), columns[TIME]: pa.int64()}
        return csv.read_csv(
            source,
            read_options=csv.ReadOptions(
                use_threads=use_threads,
                block_size=_BLOCK_BYTES,
                column_names=_unique(layout.names) or None,
            ),
            parse_options=csv.ParseOptions(delimiter=layout.delimiter),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(dict.fromkeys(types))
            ),
        )


_LAYOUTS_OF_NUMBERS = [layout for _, layout in MOVIELENS.values()]


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with one of their own for those that are empty."""
    return [name or f"empty_{i}" for i, name in enumerate(names)]


def _header(path: str) -> str:
    with reading(path), tf.io.gfile.GFile(path, "rb") as stream:
        return stream.read(200).split(b"\n")[0].decode(errors="replace").strip()


def _numbers(path, layout, table, name) -> np.ndarray:
    """A column of numbers."""
    column = table[layout.columns[name]]
    if pa.types.is_string(column.type):
        with contextlib.suppress(pa.ArrowInvalid):
            return _whole(path, layout, name, column.cast(pa.int64()))
        with contextlib.suppress(pa.ArrowInvalid):
            return _whole(path, layout, name, column.cast(pa.float64()))
        raise _no_number(path, layout, name, column)
    return _whole(path, layout, name, column)


def _whole(path, layout, name, column) -> np.ndarray:
    """A column of numbers without a gap."""
    values = column.to_numpy()
    is_wrong = ~np.isfinite(values) if values.dtype.kind == "f" else None
    if is_wrong is not None and is_wrong.any():
        line = layout.first_line + int(np.argmax(is_wrong))
        raise UserError(
            f"{path}: line {line} has no number in its column {layout.columns[name]}; "
            "complete it, or leave the line out"
        )
    return values


def _no_number(path, layout, name, column) -> UserError:
    row, value = next(
        (row, value) for row, value in enumerate(column) if not _is_number(value)
    )
    remedy = (
        "write times as numbers, such as seconds since 1970"
        if name == TIME
        else "mend the line"
    )
    return UserError(
        f"{path}: line {layout.first_line + row} has the {name} {value.as_py()!r} "
        f"where a number is expected; {remedy}"
    )


def _is_number(value: pa.Scalar) -> bool:
    try:
        float(value.as_py())
    except (TypeError, ValueError):
        return False
    return True


def _codes(path, layout, table, name, keep) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of ids from 0 on, int32 [N], and the ids, ascending."""
    column = table[layout.columns[name]]
    if keep is not None:
        column = column.filter(pa.array(keep))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    codes = column.indices
    ids = column.dictionary
    if codes.null_count or pc.any(pc.equal(ids, _nothing(ids))).as_py():
        raise _empty_id(path, layout, table, name)
    codes, ids = codes.to_numpy(), ids.to_numpy(zero_copy_only=False)
    if ids.dtype == object and all(map(_is_whole_number, ids)):
        ids = ids.astype(np.int64)
    # A filter may leave ids that nothing refers to.
    used = np.bincount(codes, minlength=len(ids)) > 0
    order = np.argsort(ids, kind="stable")
    order = order[used[order]]
    places = np.zeros(len(ids), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return places[codes], ids[order]


def _nothing(ids):
    """What an empty field is read as."""
    return pa.scalar("" if pa.types.is_string(ids.type) else None, ids.type)


def _empty_id(path, layout, table, name) -> UserError:
    column = table[layout.columns[name]]
    row = next(i for i, value in enumerate(column) if value.as_py() in (None, ""))
    return UserError(
        f"{path}: line {layout.first_line + row} has an empty {name} "
        f"({layout.columns[name]}); complete it, or leave the line out"
    )


def _is_whole_number(text: str) -> bool:
    """Whether an id is a whole number, written as one: 007 is a text."""
    return re.fullmatch(r"0|-?[1-9]\d{0,17}", text) is not None
