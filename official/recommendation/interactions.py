"""Who took what: training pairs, and the last item of each user held out.

Ratings count as interactions, whatever their value. The last one of a user by time is
for testing, the one before for validation. **Of equal times the one further down in the
file is the later.** A pair of user and item counts once, at its first time.
"""

import dataclasses

import numpy as np

from official.utils.data import splits
from official.utils.data.ratings_files import Ratings
from official.utils.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class ItemSets:
    """A set of items for each user.

    Attributes:
        starts: int64 [users + 1]; the items of user u are
            `items[starts[u] : starts[u + 1]]`.
        items: int32 [N], ascending within a user.
    """

    starts: np.ndarray
    items: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """int64 [users], how many items each user has."""
        return np.diff(self.starts)


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """One item for each of some users.

    Attributes:
        users: int32 [N].
        items: int32 [N].
        known: what these users took before, and these items.
    """

    users: np.ndarray
    items: np.ndarray
    known: ItemSets


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """A data set, divided.

    Attributes:
        users: int32 [N], the training pairs by user and time.
        items: int32 [N].
        seen: the training items of each user.
        validation: the item before the last.
        test: the last item.
        num_items: how many there are.
        notes: what was left out, in words.
    """

    users: np.ndarray
    items: np.ndarray
    seen: ItemSets
    validation: HeldOut
    test: HeldOut
    num_items: int
    notes: tuple[str, ...] = ()

    @property
    def num_users(self) -> int:
        """How many users there are."""
        return len(self.seen.starts) - 1

    def popularity(self) -> np.ndarray:
        """int64 [items], how many training pairs hold each item."""
        return np.bincount(self.items, minlength=self.num_items)


def divide(
    ratings: Ratings, source: str, seed: int, validation_share: float = 1.0
) -> Interactions:
    """Holds out the last item of each user, and the one before.

    Args:
        ratings: in the order of their file.
        source: where they come from, for messages.
        seed: draws the users that are validated on.
        validation_share: share of the users whose item before the last is held out;
            those of the others are trained on.

    Returns:
        The parts. The test part does not depend on `seed` and `validation_share`.

    Raises:
        UserError: there is nothing to learn or to test.
    """
    num_users, num_items = len(ratings.user_ids), len(ratings.item_ids)
    for number, name in ((num_users, "user"), (num_items, "item")):
        if number < 2:
            raise UserError(
                f"{source} holds one {name} alone; to learn whom to recommend what, "
                f"give ratings of several {name}s"
            )
    order = _by_user_and_time(ratings)
    users, items = ratings.users[order], ratings.items[order]
    del order
    pairs = users * np.int64(num_items) + items
    by_pair = np.argsort(pairs, kind="stable")
    is_repeated = np.zeros(len(pairs), bool)
    is_repeated[by_pair[1:]] = np.diff(pairs[by_pair]) == 0
    num_repeated = int(is_repeated.sum())
    del pairs
    if num_repeated:
        by_pair = by_pair[~is_repeated[by_pair]]
        by_pair = (np.cumsum(~is_repeated) - 1)[by_pair]
        users, items = users[~is_repeated], items[~is_repeated]
    by_pair = by_pair.astype(np.int32)
    sizes = np.bincount(users, minlength=num_users)
    ends = np.cumsum(sizes)
    test = ends[sizes >= 2] - 1
    validation = ends[sizes >= 3] - 2
    if not len(validation):
        raise UserError(
            f"{source} has no user with three different items or more: one to learn "
            "from, one to validate on and one to test on; give more ratings"
        )
    if validation_share < 1:
        number = max(1, round(validation_share * len(validation)))
        _, held_out = splits.split_indices(len(validation), number, seed)
        validation = validation[held_out]
    part = np.zeros(len(users), np.int8)
    part[validation], part[test] = 1, 2

    def sets(parts) -> ItemSets:
        chosen = by_pair[part[by_pair] <= parts]
        sizes = np.bincount(users[chosen], minlength=num_users)
        return ItemSets(np.concatenate([[0], np.cumsum(sizes)]), items[chosen])

    seen, before_test, everything = sets(0), sets(1), sets(2)
    validation, num_full = _with_rivals(
        users, items, validation, before_test, num_items
    )
    test, num_full_in_test = _with_rivals(users, items, test, everything, num_items)
    is_trained = (part == 0) & (seen.sizes[users] < num_items)
    notes = _notes(num_repeated, sizes, num_full + num_full_in_test)
    if not (is_trained.any() and len(test.users) and len(validation.users)):
        raise UserError(
            f"{source} leaves nothing to learn from or to test on: its users took all "
            f"of its {num_items} items; give more ratings"
        )
    return Interactions(
        users[is_trained], items[is_trained], seen, validation, test, num_items, notes
    )


def _by_user_and_time(ratings: Ratings) -> np.ndarray:
    """The order by user, then time, then place in the file."""
    times = ratings.times
    if times is None:
        return np.argsort(ratings.users, kind="stable")
    span = float(times.max()) - float(times.min()) + 1
    if times.dtype.kind != "i" or span * len(ratings.user_ids) >= 2**62:
        return np.lexsort((times, ratings.users))
    # One number for both: to sort by it is several times as fast.
    key = ratings.users * np.int64(span) + (times - times.min())
    return np.argsort(key, kind="stable")


def _with_rivals(users, items, rows, known, num_items) -> tuple[HeldOut, int]:
    """Held-out rows, without those of users who know every item."""
    is_full = known.sizes[users[rows]] >= num_items
    rows = rows[~is_full]
    return HeldOut(users[rows], items[rows], known), int(is_full.sum())


def _notes(num_repeated, sizes, num_full) -> tuple[str, ...]:
    notes = []
    if num_repeated:
        notes.append(f"{num_repeated:,} repeated pairs of user and item count once")
    num_single, num_two = int((sizes == 1).sum()), int((sizes == 2).sum())
    if num_single:
        notes.append(f"{num_single:,} users with one item are not tested on")
    if num_two:
        notes.append(f"{num_two:,} users with two items are not validated on")
    if num_full:
        notes.append(f"{num_full:,} items of users who took all are not tested on")
    return tuple(notes)
