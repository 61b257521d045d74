"""A wide and deep network for ratings, in plain Keras."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers, ops

from official.r1.wide_deep.model import hidden_layers
from official.utils.layers.dropout import Dropout


@dataclasses.dataclass(frozen=True)
class RatingSizes:
    """What the network takes, and how large it is.

    Attributes:
        users: number of ids of users.
        items: number of ids of movies.
        genres: how many there are.
        user_size: width of a user's vector.
        item_size: width of a movie's.
        hidden_units: widths of the deep part's layers.
        dropout: rate after each of them.
        vector_dropout: rate on the vectors.
    """

    users: int
    items: int
    genres: int
    user_size: int = 16
    item_size: int = 64
    hidden_units: Sequence[int] = (256, 256, 256, 128)
    dropout: float = 0.0
    vector_dropout: float = 0.0


class WideRating(layers.Layer):
    """A linear model of users, movies, genres, and of users and genres together."""

    def __init__(self, users: int, items: int, genres: int, **kwargs):
        """Describes the layer by numbers of ids."""
        super().__init__(**kwargs)
        self._shape_of = {
            "users": (users, 1),
            "items": (items, 1),
            "genres": (genres, 1),
            "users_by_genres": (users, genres),
        }

    def build(self, input_shape):
        """Makes the weights, all 0."""
        for name, shape in self._shape_of.items():
            weight = self.add_weight(shape=shape, initializer="zeros", name=name)
            setattr(self, name, weight)

    def call(self, inputs):
        """`user`, `item`, int32 [batch], and `genres` to float32 [batch, 1]."""
        user, genres = inputs["user"], inputs["genres"]
        # The cross with a list of genres: the sum of the weights of those on it.
        likes = ops.take(self.users_by_genres, user, axis=0) * genres
        return (
            ops.take(self.users, user, axis=0)
            + ops.take(self.items, inputs["item"], axis=0)
            + ops.matmul(genres, self.genres)
            + ops.sum(likes, axis=-1, keepdims=True)
        )


def build_model(model_type: str, sizes: RatingSizes) -> keras.Model:
    """A network that says by how much a rating differs from the mean rating.

    Args:
        model_type: one of `sizes.MODEL_TYPES`.
        sizes: what it takes.

    Returns:
        A model of the inputs `user` and `item`, int32 [batch], `genres`, float32
        [batch, genres], and `time`, float32 [batch]. Its output is float32 [batch, 1].
    """
    inputs = {
        "user": keras.Input((), dtype="int32", name="user"),
        "item": keras.Input((), dtype="int32", name="item"),
        "genres": keras.Input((sizes.genres,), name="genres"),
    }
    parts = []
    if model_type != "deep":
        wide = WideRating(
            sizes.users, sizes.items, sizes.genres, name="wide", dtype="float32"
        )
        parts.append(wide(dict(inputs)))
    if model_type != "wide":
        inputs["time"] = keras.Input((), name="time")
        parts.append(_deep(inputs, sizes))
    total = layers.Add(name="sum", dtype="float32")(parts) if parts[1:] else parts[0]
    return keras.Model(inputs, total, name="wide_deep_ratings")


def _deep(inputs, sizes: RatingSizes):
    spread = keras.initializers.RandomNormal(stddev=0.1)
    vectors = [
        layers.Embedding(ids, width, embeddings_initializer=spread, name=f"{name}s")(
            inputs[name]
        )
        for name, ids, width in (
            ("user", sizes.users, sizes.user_size),
            ("item", sizes.items, sizes.item_size),
        )
    ]
    x = layers.Concatenate(name="vectors")(vectors)
    if sizes.vector_dropout:
        x = Dropout(sizes.vector_dropout, name="vector_dropout")(x)
    time = layers.Reshape((1,), name="time_column")(inputs["time"])
    x = layers.Concatenate(name="joined")([x, inputs["genres"], time])
    x = hidden_layers(x, sizes.hidden_units, sizes.dropout)
    # float32: a loss in bfloat16 would lose what the last layers gained.
    return layers.Dense(1, dtype="float32", name="deep_output")(x)
