"""Who rated what: MovieLens, files of your own, and made-up ratings of known law.

name      users      items      ratings     source
clusters  3,000      1,000      120,000     drawn from a seed; clusters.py
ml-100k   943        1,682      100,000     u.data
ml-1m     6,040      3,706      1,000,209   ratings.dat
ml-20m    138,493    26,744     20,000,263  ratings.csv; also ml-25m and ml-32m
csv       yours                             a table with a header
"""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from official.recommendation import clusters, interactions
from official.recommendation.interactions import Interactions
from official.utils.data import archives, download, files, ratings_files
from official.utils.data.download import RemoteFile
from official.utils.data.ratings_files import ITEM, RATING, TIME, USER, Layout
from official.utils.errors import UserError
from official.utils.flags.settings import Settings

NAMES = ("clusters", *ratings_files.MOVIELENS, "csv")
DEFAULT = "clusters"

_URL = "https://files.grouplens.org/datasets/movielens/"


def _archive(name: str, sha256: str, size_bytes: int) -> RemoteFile:
    return RemoteFile(f"{name}.zip", (f"{_URL}{name}.zip",), sha256, size_bytes)


REMOTE_FILES = {
    "ml-100k": _archive(
        "ml-100k",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        4_924_029,
    ),
    "ml-1m": _archive(
        "ml-1m",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        5_917_549,
    ),
    "ml-20m": _archive(
        "ml-20m",
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        198_702_078,
    ),
    "ml-25m": _archive(
        "ml-25m",
        "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        261_978_986,
    ),
}
_UNPACKED_BYTES = 4 << 30


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set.

    Attributes:
        interactions: who took what.
        user_ids: int64 or object (text) [users].
        item_ids: int64 or object (text) [items].
        scores: float32 [users, items], by which the data were drawn; None where that
            is not known.
        source: where it comes from, in words.
    """

    interactions: Interactions
    user_ids: np.ndarray
    item_ids: np.ndarray
    scores: np.ndarray | None
    source: str


def load(settings: Settings) -> Dataset:
    """Loads the data set that the flags name.

    Raises:
        UserError: a file is missing, cannot be fetched, or is not what it should be.
    """
    scores = None
    if settings.dataset == "clusters":
        made = clusters.make()
        ratings, scores = made.ratings, made.scores
        path = source = "the embedded set of made-up ratings of known law"
    else:
        path, layout = _file(settings)
        ratings = ratings_files.read(path, layout, settings.min_rating)
        source = f"read from {path}"
    if settings.use_synthetic_data:
        source = "made-up pairs of its users and items (--use_synthetic_data)"
        items = np.random.default_rng(0).permutation(ratings.items)
        ratings, scores = dataclasses.replace(ratings, items=items), None
    divided = interactions.divide(
        ratings, path, settings.seed, settings.validation_users
    )
    return Dataset(divided, ratings.user_ids, ratings.item_ids, scores, source)


def _file(settings: Settings) -> tuple[str, Layout]:
    if settings.dataset == "csv":
        if not settings.ratings_file:
            raise UserError("--dataset=csv needs --ratings_file, a table with a header")
        columns = {
            USER: settings.user_column,
            ITEM: settings.item_column,
            RATING: settings.rating_column,
            TIME: settings.time_column,
        }
        named = {key: name for key, name in columns.items() if name}
        return settings.ratings_file, Layout(named)
    name, layout = ratings_files.MOVIELENS[settings.dataset]
    if settings.download and settings.data_dir:
        _fetch(settings.dataset, settings.data_dir, name)
    folder = settings.data_dir
    # The archive has a folder of its own.
    below = folder and tf.io.gfile.join(folder, settings.dataset)
    if below and tf.io.gfile.exists(tf.io.gfile.join(below, name)):
        folder = below
    return files.find(
        folder,
        [name, f"{name}.gz"],
        settings.dataset,
        can_download=settings.dataset in REMOTE_FILES,
    ), layout


def _fetch(dataset: str, folder: str, name: str) -> None:
    """Fetches the archive and unpacks the file of ratings."""
    target = os.path.join(folder, dataset)
    for path in (os.path.join(folder, name), os.path.join(target, name)):
        if tf.io.gfile.exists(path):
            return
    if dataset not in REMOTE_FILES:
        raise UserError(
            f"--download does not fetch {dataset}; fetch {_URL}{dataset}.zip yourself, "
            f"unpack it and name its folder with --data_dir"
        )
    path = download.fetch(REMOTE_FILES[dataset], folder)
    scratch = f"{target}.unpacked"
    (found,) = archives.unpack(path, scratch, _UNPACKED_BYTES, names={name})
    os.makedirs(target, exist_ok=True)
    os.replace(found, os.path.join(target, name))
    os.rmdir(os.path.dirname(found))
    if os.path.isdir(scratch):
        os.rmdir(scratch)
