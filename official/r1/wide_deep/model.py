"""The wide and deep network in plain Keras.

Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016, arXiv:1606.07792.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import layers, ops

from official.utils.layers.dropout import Dropout


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the network takes, and how large it is.

    Attributes:
        wide: number of ids of each column of `wide_ids`.
        indicators: the same of `indicator_ids`.
        embedded: the same of `embedded_ids`.
        numbers: columns of `numbers`.
        hidden_units: widths of the deep part's layers.
        embedding_size: width of a vector of an embedded column.
        dropout: rate after each of these layers.
    """

    wide: Sequence[int]
    indicators: Sequence[int] = ()
    embedded: Sequence[int] = ()
    numbers: int = 0
    hidden_units: Sequence[int] = (100, 75, 50, 25)
    embedding_size: int = 8
    dropout: float = 0.0


class Table(layers.Layer):
    """Vectors of the ids of several columns, all in one table.

    One lookup is one operation, and so is its gradient, however many columns there are.
    """

    def __init__(self, sizes: Sequence[int], width: int, initializer="zeros", **kwargs):
        """Describes a table.

        Args:
            sizes: number of ids of each column.
            width: of a vector.
            initializer: of the table.
            **kwargs: those of a layer.
        """
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self.width = width
        self.initializer = initializer
        self._starts = np.cumsum([0, *self.sizes[:-1]]).astype(np.int32)

    def build(self, input_shape):
        """Makes the table, [sum of sizes, width]."""
        self.table = self.add_weight(
            shape=(sum(self.sizes), self.width),
            initializer=self.initializer,
            name="table",
        )

    def call(self, ids):
        """int32 [batch, columns] to float [batch, columns, width]."""
        return ops.take(self.table, ids + self._starts, axis=0)


class Wide(layers.Layer):
    """A linear model of categories: the sum of the weights of a row's ids.

    It is the product of a sparse one-hot row and a vector, without the row.
    """

    def __init__(self, sizes: Sequence[int], **kwargs):
        """Describes the layer; `sizes` is the number of ids of each column."""
        super().__init__(**kwargs)
        self.weights_of_ids = Table(sizes, 1, name="weights", dtype="float32")

    def build(self, input_shape):
        """Makes weights and bias, all 0."""
        self.weights_of_ids.build(input_shape)
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, ids):
        """int32 [batch, columns] to float32 [batch, 1]."""
        return ops.sum(self.weights_of_ids(ids), axis=1) + self.bias


class Indicators(layers.Layer):
    """Each id as a vector of zeros and one 1, for columns of few ids."""

    def __init__(self, sizes: Sequence[int], **kwargs):
        """Describes the layer; `sizes` is the number of ids of each column."""
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)
        self._starts = np.cumsum([0, *self.sizes[:-1]]).astype(np.int32)

    def call(self, ids):
        """int32 [batch, columns] to float [batch, sum of sizes]."""
        total = sum(self.sizes)
        hot = ops.one_hot(ids + self._starts, total, dtype=self.compute_dtype)
        return ops.sum(hot, axis=1)


def hidden_layers(x, hidden_units: Sequence[int], dropout: float):
    """Dense layers with relu, each followed by dropout where the rate is not 0."""
    for number, units in enumerate(hidden_units, start=1):
        x = layers.Dense(units, activation="relu", name=f"hidden{number}")(x)
        if dropout:
            x = Dropout(dropout, name=f"dropout{number}")(x)
    return x


def deep_part(inputs: Mapping[str, keras.KerasTensor], sizes: Sizes):
    """Hidden layers over vectors, indicators and numbers; logits [batch, 1]."""
    parts = []
    if sizes.embedded:
        # Deviation 1 / sqrt(width), as in the estimator of 2019.
        spread = keras.initializers.TruncatedNormal(stddev=sizes.embedding_size**-0.5)
        table = Table(sizes.embedded, sizes.embedding_size, spread, name="embedding")
        # [batch, columns, width] -> [batch, columns * width]
        parts.append(layers.Flatten(name="flat")(table(inputs["embedded_ids"])))
    if sizes.indicators:
        one = Indicators(sizes.indicators, name="indicators")
        parts.append(one(inputs["indicator_ids"]))
    if sizes.numbers:
        parts.append(inputs["numbers"])
    x = layers.Concatenate(name="joined")(parts) if len(parts) > 1 else parts[0]
    x = hidden_layers(x, sizes.hidden_units, sizes.dropout)
    # float32: a loss in bfloat16 would lose what the last layers gained.
    return layers.Dense(1, dtype="float32", name="deep_logits")(x)


def build_model(model_type: str, sizes: Sizes) -> keras.Model:
    """A linear model of categories and crosses, a network, or the sum of both.

    Args:
        model_type: one of `MODEL_TYPES`.
        sizes: what it takes.

    Returns:
        A model of the inputs that its part needs, by name: `wide_ids`,
        `indicator_ids`, `embedded_ids`, int32 [batch, columns], and `numbers`, float32
        [batch, columns]. Its output are logits, float32 [batch, 1].
    """
    widths = {}
    if model_type != "deep":
        widths["wide_ids"] = len(sizes.wide)
    if model_type != "wide":
        widths["embedded_ids"] = len(sizes.embedded)
        widths["indicator_ids"] = len(sizes.indicators)
        widths["numbers"] = sizes.numbers
    inputs = {
        name: keras.Input(
            (width,), dtype="float32" if name == "numbers" else "int32", name=name
        )
        for name, width in widths.items()
        if width
    }
    logits = []
    if model_type != "deep":
        wide = Wide(sizes.wide, name="wide", dtype="float32")
        logits.append(wide(inputs["wide_ids"]))
    if model_type != "wide":
        logits.append(deep_part(inputs, sizes))
    total = layers.Add(name="logits", dtype="float32")(logits) if logits[1:] else None
    return keras.Model(inputs, total if logits[1:] else logits[0], name="wide_deep")
