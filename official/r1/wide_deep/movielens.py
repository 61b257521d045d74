"""MovieLens ratings as GroupLens gives them.

Harper and Konstan, "The MovieLens Datasets: History and Context", 2015,
https://doi.org/10.1145/2827872. For research; not to be redistributed.

    name     ratings                              movies
    ml-100k  u.data, tabs                         u.item, a flag a genre
    ml-1m    ratings.dat, `::`                    movies.dat, genres with `|`
    ml-20m   ratings.csv, commas and a header     movies.csv, genres with `|`
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from official.utils.data import files, ratings_files, splits
from official.utils.errors import UserError

# Those of u.item, in the order of its flags.
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_NO_GENRES = ("", "(no genres listed)")
_MOVIE_CELLS_100K = 24
_LOWEST, _HIGHEST = 0.5, 5.0
_FETCH = "fetch the original file again"
# Whatever the seed of a run, it is tested on the same fifth, as in 2019.
_TEST_SEED = 0
_TEST_DIVISOR = 5
_VALIDATION_DIVISOR = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of movies by users.

    Attributes:
        columns: `user_id` and `item_id`, str [N], and `timestamp`, float32 [N], seconds
            since 1970.
        ratings: float32 [N], in stars.
        expected: float32 [N], the mean of what the rating was drawn from, where it is
            known.
    """

    columns: Mapping[str, np.ndarray]
    ratings: np.ndarray
    expected: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ratings)

    def rows(self, indices: np.ndarray) -> "Ratings":
        """Some of the rows."""
        known = self.expected
        return Ratings(
            {name: values[indices] for name, values in self.columns.items()},
            self.ratings[indices],
            None if known is None else known[indices],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A data set in its three parts, which share no rating.

    Attributes:
        train: what is trained on.
        validation: what choices are made on; drawn from the training part by the seed.
        test: what is reported; the same ratings whatever the seed.
        genres: of each movie by its id.
    """

    train: Ratings
    validation: Ratings
    test: Ratings
    genres: Mapping[str, Sequence[str]]


def split(
    ratings: Ratings, genres: Mapping[str, Sequence[str]], seed: int, source: str
) -> Parts:
    """Splits ratings at random into three parts.

    Raises:
        UserError: there are too few.
    """
    if len(ratings) < _TEST_DIVISOR * _VALIDATION_DIVISOR:
        raise UserError(
            f"{source} has {len(ratings)} ratings, too few to train, validate and test "
            f"on; give at least {_TEST_DIVISOR * _VALIDATION_DIVISOR}"
        )
    train, test = (
        ratings.rows(part)
        for part in splits.split_indices(
            len(ratings), len(ratings) // _TEST_DIVISOR, _TEST_SEED
        )
    )
    kept, held_out = (
        train.rows(part)
        for part in splits.split_indices(
            len(train), len(train) // _VALIDATION_DIVISOR, seed
        )
    )
    return Parts(kept, held_out, test, genres)


def load(name: str, data_dir: str | None, seed: int) -> Parts:
    """Reads a data set.

    Args:
        name: `ml-100k`, `ml-1m` or `ml-20m`.
        data_dir: the folder of its files.
        seed: of the validation part.

    Raises:
        UserError: a file is missing, or a record is not what it should be.
    """
    file_names = {
        "ml-100k": ("u.data", "u.item"),
        "ml-1m": ("ratings.dat", "movies.dat"),
        "ml-20m": ("ratings.csv", "movies.csv"),
    }[name]
    ratings_path, movies_path = (
        files.find(data_dir, [each], name) for each in file_names
    )
    genres = read_movies(name, movies_path)
    return split(read_ratings(name, ratings_path), genres, seed, ratings_path)


def read_ratings(name: str, path: str) -> Ratings:
    """Reads the ratings of a data set.

    Raises:
        UserError: the file is missing or empty, or a record is not what it should be.
    """
    _, layout = ratings_files.MOVIELENS[name]
    try:
        found = ratings_files.read(path, layout, keep_ratings=True)
    except UserError:
        _explain(name, path)
        raise
    if not ((found.ratings >= _LOWEST) & (found.ratings <= _HIGHEST)).all():
        _explain(name, path)
    users, items = (
        ids.astype(str).astype(object) for ids in (found.user_ids, found.item_ids)
    )
    columns = {
        "user_id": users[found.users],
        "item_id": items[found.items],
        "timestamp": found.times.astype(np.float32),
    }
    return Ratings(columns, found.ratings)


def _explain(name: str, path: str) -> None:
    """Raises a `UserError` for the first line of ratings that is wrong."""
    separator = {"ml-100k": "\t", "ml-1m": "::", "ml-20m": ","}[name]
    line = None
    for number, line in _lines(name, path):
        try:
            _, _, star, time = line.split(separator)
            stars, _ = float(star), float(time)
        except ValueError:
            raise UserError(
                f"{path}: line {number} is {line!r:.80}, where user, movie, rating and "
                f"timestamp are expected with {separator!r} between them; {_FETCH}"
            ) from None
        if not _LOWEST <= stars <= _HIGHEST:
            raise UserError(
                f"{path}: line {number} has the rating {star} where .5 to 5 stars are "
                f"expected; {_FETCH}"
            )
    if line is None:
        raise UserError(f"{path} has no rating; {_FETCH}")


def read_movies(name: str, path: str) -> dict[str, tuple[str, ...]]:
    """Reads the genres of all movies.

    Raises:
        UserError: the file is missing or empty, or a record is not what it should be.
    """
    genres = {}
    for number, line in _lines(name, path):
        if name == "ml-100k":
            cells = line.split("|")
            is_whole = len(cells) == _MOVIE_CELLS_100K
            flags = cells[-len(_GENRES_100K) :]
            is_whole = is_whole and set(flags) <= {"0", "1"}
            found = [
                genre
                for genre, flag in zip(_GENRES_100K, flags, strict=False)
                if flag == "1"
            ]
        else:
            # A title may hold commas; it stands between the first and the last.
            separator = "::" if name == "ml-1m" else ","
            cells = [line.partition(separator)[0], *line.rsplit(separator, 1)]
            is_whole = line.count(separator) >= 2
            found = [genre for genre in cells[-1].split("|") if genre not in _NO_GENRES]
        if not is_whole or not cells[0]:
            raise UserError(
                f"{path}: line {number} is {line!r:.80}, which is no movie of {name}; "
                f"{_FETCH}"
            )
        genres[cells[0]] = tuple(found)
    return genres


def _lines(name: str, path: str):
    """Numbers, from 1, and texts of the lines of a file, without a header."""
    # The older sets have titles in Latin-1.
    encoding = "utf-8" if name == "ml-20m" else "latin-1"
    try:
        text = files.read_bytes(path, max_bytes=8 << 30).decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}); {_FETCH}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        is_header = name == "ml-20m" and number == 1
        if line.strip() and not is_header:
            yield number, line
