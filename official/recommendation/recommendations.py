"""Recommendations as lines: user, item and score, with tabs between."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.utils.data import text_lines
from official.utils.errors import UserError
from official.utils.logs import console
from official.utils.logs.files import opened_output

# Users that are asked for at a time.
_BLOCK_USERS = 1000


def asked(users: str | None, users_file: str | None) -> list[str]:
    """The ids of users that the flags name.

    Args:
        users: ids between commas.
        users_file: a file with an id a line; empty lines do not count.

    Raises:
        UserError: neither is given or both are, or the file cannot be read or has none.
    """
    if bool(users) == bool(users_file):
        raise UserError(
            "give --users, ids between commas, or --users_file, a file with an id a "
            "line; one of the two"
        )
    if users:
        found = [user.strip() for user in users.split(",")]
    else:
        found = [line.strip() for _, line in text_lines.read(users_file)]
    found = [user for user in found if user]
    if not found:
        given = f"--users={users}" if users else users_file
        raise UserError(f"{given} names no user; give at least one id")
    return found


def write(
    recommend: Callable[..., Mapping[str, Any]],
    users: Sequence[str],
    output_file: str | None,
    top_k: int | None = None,
) -> None:
    """Writes the best items of users, and warns of those who are unknown.

    Args:
        recommend: takes `user_id`, int64 or text [N], and gives `item_id`, `score` and
            `is_known`, as `serving.Recommender.top` does.
        users: ids.
        output_file: where to; None is the terminal.
        top_k: how many items; None for all that are given.

    Raises:
        UserError: an id is no whole number where the model has such, or the file cannot
            be written or exists.
    """
    lines = _lines(recommend, _ids(recommend, users), top_k)
    with opened_output(output_file, "--output_file") as stream:
        for line in lines:
            stream.write(f"{line}\n")


def _ids(recommend, users) -> tf.Tensor:
    """The ids in the type that the model takes."""
    try:
        whole = [int(user) for user in users]
    except ValueError:
        whole = None
    if not _takes_numbers(recommend):
        return tf.constant(users, tf.string)
    if whole is None:
        wrong = next(user for user in users if not user.lstrip("-").isdigit())
        raise UserError(
            f"the user {wrong!r} is no whole number, as the ids of this model are; "
            "give ids as in the ratings"
        )
    return tf.constant(whole, tf.int64)


def _takes_numbers(recommend) -> bool:
    """Whether ids of users are whole numbers, tried with an id of nobody."""
    try:
        recommend(user_id=tf.constant([-1], tf.int64))
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):
        return False
    return True


def _lines(recommend, users, top_k) -> Iterator[str]:
    for start in range(0, len(users), _BLOCK_USERS):
        block = users[start : start + _BLOCK_USERS]
        found = {
            name: value.numpy() for name, value in recommend(user_id=block).items()
        }
        for user, items, scores, is_known in zip(
            map(_text, block.numpy()),
            found["item_id"],
            found["score"],
            found["is_known"],
            strict=True,
        ):
            if not is_known:
                console.warn(
                    f"the user {user} is unknown: the items that most users took are "
                    "recommended"
                )
            # The places that stay empty have score 0.
            for item, score in list(zip(items, scores, strict=True))[:top_k]:
                if score > 0:
                    yield f"{user}\t{_text(item)}\t{score:.4f}"


def _text(value: bytes | np.integer) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
