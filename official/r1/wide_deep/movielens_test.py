import numpy as np
import pytest
import tensorflow as tf

from official.r1.wide_deep import movielens, movielens_features, movielens_like
from official.utils.errors import UserError
from official.utils.testing.data import real_data

ITEM_100K = "1|Toy Story (1995)|01-Jan-1995||http://url|0|0|0|1|1|1" + "|0" * 13
FILES = {
    "ml-100k": ("u.data", "196\t1\t3\t881250949\n", "u.item", ITEM_100K),
    "ml-1m": (
        *("ratings.dat", "196::1::3::881250949\n", "movies.dat"),
        "1::Toy: Story :: (1995)::Animation|Children's|Comedy",
    ),
    "ml-20m": (
        *("ratings.csv", "userId,movieId,rating,timestamp\n196,1,3.0,881250949\n"),
        *("movies.csv", 'movieId,title,genres\n1,"a, b",Animation|Children\'s|Comedy'),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_formats(tmp_path, name):
    ratings_name, ratings, movies_name, movies = FILES[name]
    (tmp_path / ratings_name).write_text(ratings)
    (tmp_path / movies_name).write_text(movies)
    found = movielens.read_ratings(name, str(tmp_path / ratings_name))
    assert {key: values.tolist() for key, values in found.columns.items()} == {
        "user_id": ["196"],
        "item_id": ["1"],
        "timestamp": [np.float32(881250949)],
    }
    assert found.ratings.tolist() == [3]
    genres = movielens.read_movies(name, str(tmp_path / movies_name))
    assert genres == {"1": ("Animation", "Children's", "Comedy")}
    with pytest.raises(UserError, match="1 ratings, too few"):
        movielens.load(name, str(tmp_path), 0)


@pytest.mark.parametrize(
    "text, fragment",
    [
        ("1\t2\t3\t4\n1\t2\t3\n", "line 2 is"),
        ("1\t2\tx\t4\n", "line 1 is"),
        ("1\t2\t6\t4\n", "line 1 has the rating 6"),
        ("1\t2\tnan\t4\n", "line 1 has the rating nan"),
        ("\n", "has no rating"),
        ("", "is empty"),
    ],
)
def test_wrong_ratings(tmp_path, text, fragment):
    path = tmp_path / "u.data"
    path.write_text(text)
    with pytest.raises(UserError, match=fragment):
        movielens.read_ratings("ml-100k", str(path))


@pytest.mark.parametrize(
    "name, text", [("ml-100k", "1|Toy|x"), ("ml-1m", "1::Toy"), ("ml-20m", "h\n1,Toy")]
)
def test_wrong_movies(tmp_path, name, text):
    path = tmp_path / "movies"
    path.write_text(text)
    with pytest.raises(UserError, match=f"which is no movie of {name}"):
        movielens.read_movies(name, str(path))


def test_real_files():
    parts = movielens.load("ml-100k", str(real_data("ml-100k")), 0)
    sizes = [len(part) for part in (parts.train, parts.validation, parts.test)]
    assert sizes == [72_000, 8_000, 20_000] and len(parts.genres) == 1682
    assert parts.genres["1"] == ("Animation", "Children's", "Comedy")
    other = movielens.load("ml-100k", str(real_data("ml-100k")), 1)
    np.testing.assert_array_equal(other.test.ratings, parts.test.ratings)
    assert not np.array_equal(other.train.ratings, parts.train.ratings)


def test_made_up_ratings_are_spread_around_what_is_expected():
    parts = movielens_like.load(0)
    errors = parts.train.ratings - parts.train.expected
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(len(errors))
    assert 0.75 < errors.std() < 0.82
    assert parts.train.ratings[:4].tolist() == [3.5, 2.5, 3, 3.5]


def test_expected_stars_are_means_of_rounded_numbers():
    generator = np.random.default_rng(0)
    for mean in (0.2, 1.6, 3.3, 4.9):
        drawn = mean + movielens_like._NOISE * generator.normal(size=200_000)
        drawn = np.clip(np.rint(2 * drawn) / 2, 0.5, 5)
        found = movielens_like.expected_stars(np.array([mean]))[0]
        assert found == pytest.approx(drawn.mean(), abs=4 * 0.8 / np.sqrt(200_000))


def test_features_of_ratings():
    def ratings(users, items, stars):
        columns = {
            "user_id": np.array(users, object),
            "item_id": np.array(items, object),
            "timestamp": np.arange(len(users), dtype=np.float32),
        }
        return movielens.Ratings(columns, np.array(stars, np.float32))

    train = ratings(["b", "a", "b"], ["1", "2", "2"], [1, 2, 5])
    genres = {"1": ("Drama",), "2": ("Comedy", "Drama"), "3": ("Comedy",)}
    parts = movielens.Parts(train, train, train, genres)
    facts = movielens_features.learn(parts, min_count=1)
    assert facts["mean_rating"] == pytest.approx(8 / 3)
    assert facts["rating_range"] == [1, 5]
    features = movielens_features.RatingFeatures(facts)
    found = features(
        {
            "user_id": tf.constant(["a", "b", "c", "", "a"]),
            "item_id": tf.constant(["1", "2", "3", "4", "1"]),
            "genres": tf.constant(["", "", "", "", "Comedy|Horror"]),
            "timestamp": tf.constant([1.0, 2.0, 1e12, float("nan"), 1.0]),
        }
    )
    assert found["user"].numpy().tolist() == [2, 3, 1, 0, 2]
    assert found["item"].numpy().tolist() == [2, 3, 1, 1, 2]
    # Comedy and Drama. A movie that nobody rated has its own, an unknown one has none.
    assert found["genres"].numpy().tolist() == [[0, 1], [1, 1], [1, 0], [0, 0], [1, 0]]
    scale = np.sqrt(2 / 3)
    np.testing.assert_allclose(
        found["time"].numpy(), [0, 1 / scale, 1 / scale, 0, 0], rtol=1e-5
    )
