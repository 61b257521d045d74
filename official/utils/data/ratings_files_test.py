import gzip

import numpy as np
import pytest

from official.utils.data import ratings_files
from official.utils.data.ratings_files import ITEM, RATING, TIME, USER, Layout
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

TABLE = Layout({USER: "who", ITEM: "what", RATING: "stars", TIME: "when"})


@pytest.fixture
def write(tmp_path):
    def write_(text, name="ratings.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write_


def rows(found):
    return [
        (found.user_ids[u], found.item_ids[i], t)
        for u, i, t in zip(found.users, found.items, found.times, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ml-100k", "7\t9\t5\t30\n3\t11\t1\t20\n"),
        ("ml-1m", "7::9::5::30\n3::11::1::20\n"),
        ("ml-20m", "userId,movieId,rating,timestamp\n7,9,5.0,30\n3,11,0.5,20\n"),
        ("ml-32m", "userId,movieId,rating,timestamp\r\n7,9,5.0,30\r\n3,11,0.5,20"),
    ],
)
def test_the_layouts_of_movielens(write, name, text):
    _, layout = ratings_files.MOVIELENS[name]
    found = ratings_files.read(write(text), layout)
    assert rows(found) == [(7, 9, 30), (3, 11, 20)]
    assert found.user_ids.tolist() == [3, 7] and found.user_ids.dtype == np.int64
    packed = ratings_files.read(write(gzip.compress(text.encode())), layout)
    assert rows(packed) == rows(found)
    low = ratings_files.read(write(text), layout, min_rating=2)
    assert rows(low) == [(7, 9, 30)]
    assert low.item_ids.tolist() == [9]


def test_a_table_of_your_own(write):
    text = "when,what,stars,who,more\n2.5,x,1,ann,?\n1,y,2,Zoé,?\n3,x,3,ann,?\n"
    found = ratings_files.read(write(text), TABLE)
    assert rows(found) == [("ann", "x", 2.5), ("Zoé", "y", 1), ("ann", "x", 3)]
    assert found.user_ids.tolist() == ["Zoé", "ann"]
    untimed = ratings_files.read(write(text), Layout({USER: "who", ITEM: "what"}))
    assert untimed.times is None and untimed.users.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10", "9", "-2"], [-2, 9, 10]),
        (["10", "9", "007"], ["007", "10", "9"]),
        (["10", "9", "9.0"], ["10", "9", "9.0"]),
    ],
)
def test_ids_are_numbers_where_all_are(write, ids, expected):
    text = "user,item\n" + "".join(f"{each},a\n" for each in ids)
    layout = Layout({USER: "user", ITEM: "item"})
    assert ratings_files.read(write(text), layout).user_ids.tolist() == expected


HEAD = "who,what,stars,when\n"


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ["empty"]),
        (HEAD, ["holds no rating"]),
        ("who,what,stars\na,b,1\n", ["no column when", "'who,what,stars'"]),
        (HEAD + "a,b,1,5\na,c,1,noon\n", ["line 3", "time 'noon'", "number"]),
        (HEAD + "a,b,1,5\na,c,1,\n", ["line 3", "time"]),
        (HEAD + "a,b,1,5\na,c,1,nan\n", ["line 3", "when"]),
        (HEAD + "a,b,1,5\na,,1,6\n", ["line 3", "empty item (what)"]),
        (HEAD + ",b,1,5\n", ["line 2", "empty user (who)"]),
        (HEAD + "a,b,1,5\na,c\n", ["line 3", "2 columns where 4 are expected"]),
        (HEAD.encode() + b"a,\xff\xfe,1,5\n", ["UTF"]),
    ],
)
def test_bad_tables(write, text, fragments):
    path = write(text)
    message = message_of(ratings_files.read, path, TABLE)
    assert message.startswith(path)
    for fragment in fragments:
        assert fragment in message, message


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("1\t2\t3\t4\n1\t2\t3\n", ["line 2", "3 columns where 4 are expected"]),
        ("1\t2\t3\t4\n1\tx\t3\t4\n", ["line 2", "x"]),
        ("1\t2\t3\t4\n1\t2\t3\tx\n", ["line 2", "x"]),
        ("1\t2\t3\t4\n\t2\t3\t4\n", ["line 2", "empty user"]),
    ],
)
def test_damaged_files_of_movielens(write, text, fragments):
    _, layout = ratings_files.MOVIELENS["ml-100k"]
    message = message_of(ratings_files.read, write(text, "u.data"), layout)
    for fragment in fragments:
        assert fragment in message, message


def test_files_that_are_not_there_or_cut(write, tmp_path):
    missing = str(tmp_path / "nothing.csv")
    assert missing in message_of(ratings_files.read, missing, TABLE)
    whole = gzip.compress((HEAD + "a,b,1,5\n" * 9999).encode())
    path = write(whole[: len(whole) // 2])
    assert path in message_of(ratings_files.read, path, TABLE)


def test_min_rating_needs_ratings(write):
    path = write(HEAD + "a,b,1,5\n")
    untold = Layout({USER: "who", ITEM: "what"})
    assert "--rating_column" in message_of(ratings_files.read, path, untold, 2)
    assert "--min_rating=2" in message_of(ratings_files.read, path, TABLE, 2)


def test_movielens_100k():
    name, layout = ratings_files.MOVIELENS["ml-100k"]
    found = ratings_files.read(real_data("ml-100k", name), layout)
    assert len(found.users) == 100_000
    assert (len(found.user_ids), len(found.item_ids)) == (943, 1682)
    assert rows(found)[0] == (196, 242, 881250949)
