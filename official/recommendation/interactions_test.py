import numpy as np
import pytest

from official.recommendation import interactions
from official.utils.data.ratings_files import Ratings
from official.utils.testing.errors import message_of


def ratings(rows, timed=True):
    """Ratings of (user, item, time)."""
    users, items, times = map(np.array, zip(*rows, strict=True))
    user_ids, users = np.unique(users, return_inverse=True)
    item_ids, items = np.unique(items, return_inverse=True)
    return Ratings(
        users.astype(np.int32),
        items.astype(np.int32),
        times if timed else None,
        user_ids,
        item_ids,
    )


ROWS = [
    (1, 10, 5),
    (2, 30, 1),
    (1, 20, 3),
    (1, 30, 9),
    (2, 10, 2),
    (2, 40, 3),
    (1, 40, 4),
]


def pairs(part):
    return list(zip(part.users.tolist(), part.items.tolist(), strict=True))


def test_the_last_items_are_held_out():
    found = interactions.divide(ratings(ROWS), "rows", 0)
    # Items 10 to 40 are 0 to 3; user 1 took 20, 40, 10, 30, user 2 took 30, 10, 40.
    assert pairs(found) == [(0, 1), (0, 3), (1, 2)]
    assert pairs(found.validation) == [(0, 0), (1, 0)]
    # User 1 took every item, so nothing is left to rank its last one among.
    assert pairs(found.test) == [(1, 3)]
    assert found.seen.items.tolist() == [1, 3, 2]
    assert found.seen.starts.tolist() == [0, 2, 3]
    assert found.validation.known.items.tolist() == [0, 1, 3, 0, 2]
    assert found.test.known.items.tolist() == [0, 1, 2, 3, 0, 2, 3]
    assert found.popularity().tolist() == [0, 1, 1, 1]
    assert found.notes == ("1 items of users who took all are not tested on",)


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_of_equal_times_the_later_line_is_later(kind):
    rows = [(user, item, 7) for item in (3, 1, 2, 0) for user in (1, 2)]
    rows += [(1, 9, 6), (2, 8, 8)]
    read = ratings(rows)
    read = Ratings(
        read.users, read.items, read.times.astype(kind), read.user_ids, read.item_ids
    )
    found = interactions.divide(read, "rows", 0)
    # By time: 9 3 1 2 0 of the first, 3 1 2 0 8 of the second.
    assert pairs(found.test) == [(0, 0), (1, 4)]
    assert pairs(found.validation) == [(0, 2), (1, 0)]
    assert pairs(found)[:3] == [(0, 5), (0, 3), (0, 1)]


def test_without_times_the_order_is_that_of_the_lines():
    found = interactions.divide(ratings([*ROWS, (3, 20, 0)], timed=False), "rows", 0)
    assert pairs(found.test) == [(1, 3)]
    assert pairs(found) == [(0, 0), (0, 1), (1, 2), (2, 1)]
    assert found.notes[0] == "1 users with one item are not tested on"


def test_a_repeated_pair_counts_at_its_first_time():
    rows = [*ROWS, (2, 30, 9), (2, 30, 9), (2, 50, 0)]
    found = interactions.divide(ratings(rows), "rows", 0)
    assert "2 repeated pairs of user and item count once" in found.notes
    # 50, 30, 10, 40.
    assert pairs(found.test) == [(0, 2), (1, 3)]
    assert pairs(found.validation) == [(0, 0), (1, 0)]
    assert found.test.known.sizes.tolist() == [4, 4]


def test_few_users_are_validated_on():
    generator = np.random.default_rng(0)
    rows = [
        (u, i, t) for u in range(40) for t, i in enumerate(generator.permutation(9))
    ]
    rows.append((40, 99, 0))
    whole = interactions.divide(ratings(rows), "rows", 0)
    part = interactions.divide(ratings(rows), "rows", 0, validation_share=0.25)
    assert len(whole.validation.users) == 40 and len(part.validation.users) == 10
    assert pairs(part.test) == pairs(whole.test)
    assert set(pairs(part.validation)) < set(pairs(whole.validation))
    assert len(part.users) == len(whole.users) + 30
    assert set(pairs(part)) > set(pairs(whole))
    other = interactions.divide(ratings(rows), "rows", 1, validation_share=0.25)
    assert pairs(other.validation) != pairs(part.validation)


@pytest.mark.parametrize(
    ("rows", "fragment"),
    [
        ([(1, 10, 0), (1, 20, 0), (1, 30, 0)], "one user alone"),
        ([(1, 10, 0), (2, 10, 0), (3, 10, 0)], "one item alone"),
        ([(1, 10, 0), (2, 20, 0), (3, 30, 0)], "no user with three different items"),
        ([(1, i, 0) for i in range(3)] + [(2, i, 0) for i in range(3)], "took all"),
    ],
)
def test_what_cannot_be_learnt_from(rows, fragment):
    message = message_of(interactions.divide, ratings(rows), "rows.csv", 0)
    assert message.startswith("rows.csv ") and fragment in message
