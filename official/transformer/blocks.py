"""The parts of the Transformer, from the tables to blocks of sublayers."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import initializers, layers, ops

from official.transformer.config import TransformerConfig
from official.utils.layers.dropout import Dropout
from official.utils.layers.gelu import gelu_by_erf
from official.utils.layers.layer_normalization import LayerNormalization
from official.utils.layers.rows import pick_rows, write_rows

_ACTIVATIONS = {"relu": ops.relu, "gelu": gelu_by_erf, "swish": ops.silu}
_LONGEST_WAVE = 10_000.0
# Added to the scores of what is not to be seen.
_UNSEEN = -10_000.0


class _Part(layers.Layer):
    """A layer that is made from the settings of the network."""

    def __init__(self, config: TransformerConfig | Mapping[str, Any], **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, Mapping):
            config = TransformerConfig(**config)
        self.config = config

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"config": dataclasses.asdict(self.config)}

    def _projection(self, parts: int, name: str) -> layers.Dense:
        """A product by `parts` square matrices at once, each of which starts alone."""
        width = self.config.hidden_size
        limit = math.sqrt(6 / (2 * width))
        dense = layers.Dense(
            parts * width,
            use_bias=self.config.attention_bias,
            kernel_initializer=initializers.RandomUniform(-limit, limit),
            name=name,
        )
        dense.build((None, width))
        return dense

    def _norm(self, name: str) -> LayerNormalization:
        norm = LayerNormalization(epsilon=self.config.norm_epsilon, name=name)
        norm.build((None, self.config.hidden_size))
        return norm


def _heads_apart(x, rows: Any, parts: int, heads: int) -> list:
    """[rows * length, parts * hidden] to `parts` times [rows, heads, length, size]."""
    size = x.shape[-1] // (parts * heads)
    if parts == 1:
        # Of fewer dimensions, which takes less time where there are few numbers.
        return [ops.transpose(ops.reshape(x, (rows, -1, heads, size)), (0, 2, 1, 3))]
    x = ops.reshape(x, (rows, -1, parts, heads, size))
    return ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), parts)


def by_heads(rows: Any, beams: int, heads: int):
    """Where in [rows, beams, 3, heads] each of [3, rows, heads, beams] stands, flat."""
    row, beam, part, head = (
        ops.arange(count, dtype="int32") for count in (rows, beams, 3, heads)
    )
    row = row[:, None, None] * beams + beam
    places = (row * 3 + part[:, None, None, None]) * heads + head[:, None]
    return ops.reshape(places, (-1,))


def _heads_together(x):
    """[rows, heads, length, size] to [rows * length, heads * size]."""
    width = x.shape[1] * x.shape[3]
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, width))


@keras.saving.register_keras_serializable(package="official.transformer")
class Embeddings(_Part):
    """Pieces and positions to vectors, and vectors to scores of pieces."""

    def build(self, ids_shape=None):
        """Makes the table."""
        config = self.config
        start = initializers.RandomNormal(stddev=config.hidden_size**-0.5)
        self.word = self.add_weight(
            (config.vocab_size, config.hidden_size), start, name="word"
        )
        self.built = True

    def call(self, ids, first_position=0):
        """Embeds.

        Args:
            ids: int32 [batch, length].
            first_position: of the sentence, that stands in the first column.

        Returns:
            [batch * length, hidden].
        """
        config, dtype = self.config, self.compute_dtype
        x = ops.take(ops.cast(self.word, dtype), ids, axis=0)
        x = x * config.hidden_size**0.5
        if config.pad_is_zero:
            x = x * ops.cast(ops.not_equal(ids, config.pad_id), dtype)[:, :, None]
        places = first_position + ops.arange(ops.shape(ids)[1], dtype="int32")
        x = x + ops.cast(self.positions(places), dtype)
        return ops.reshape(x, (-1, config.hidden_size))

    def positions(self, places):
        """Waves of lengths from 2 pi to 10,000 times that.

        Args:
            places: integer [length].

        Returns:
            float32 [length, hidden], sines, then cosines.
        """
        number = self.config.hidden_size // 2
        steps = number - 1 if self.config.positions == "2019" else number
        exponents = ops.arange(number, dtype="float32") / max(1, steps)
        angles = ops.cast(places, "float32")[:, None] * ops.exp(
            -math.log(_LONGEST_WAVE) * exponents
        )
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def scores(self, x):
        """[tokens, hidden] to logits, [tokens, vocabulary]."""
        return ops.matmul(x, ops.transpose(ops.cast(self.word, self.compute_dtype)))

    def compute_output_shape(self, ids_shape):
        """See `call`."""
        return (None, self.config.hidden_size)


@keras.saving.register_keras_serializable(package="official.transformer")
class SelfAttention(_Part):
    """Every token looks at tokens of its row, in several heads."""

    def build(self, x_shape=None):
        """Makes the projections; query, key and value are one matrix product."""
        self.query_key_value = self._projection(3, "query_key_value")
        self.output_projection = self._projection(1, "output")
        self.dropout = Dropout(self.config.attention_dropout, name="dropout")
        self.built = True

    def call(self, x, mask, rows, training=False):
        """Attends.

        Args:
            x: [rows * length, hidden].
            mask: [rows or 1, 1, length or 1, length], what is seen (bool), or what is
                added to scores.
            rows: how many there are.
            training: whether weights of attention are dropped.

        Returns:
            [rows * length, hidden].
        """
        parts = _heads_apart(self.query_key_value(x), rows, 3, self.config.num_heads)
        return self.output_projection(
            _attend(*parts, mask, self.dropout, training=training)
        )

    def step(self, x, mask, rows, cache, slots, order):
        """Attends from one token of each beam to all that came before.

        Args:
            x: [rows * beams, hidden].
            mask: bool [rows, 1, beams, slots], what is seen.
            rows: sentences.
            cache: key and value, [rows * heads * steps, beams * size] each.
            slots: int32 [rows * heads], where those of `x` come to stand.
            order: int32 [3 * rows * heads * beams], see `by_heads`.

        Returns:
            [rows * beams, hidden], and the cache with the new keys and values.
        """
        heads, size = self.config.num_heads, self.config.head_size
        # Of so few numbers a gather is several times as fast as a transposition.
        x = pick_rows(ops.reshape(self.query_key_value(x), (-1, size)), order)
        query, *news = ops.split(x, 3)
        cache = [
            write_rows(old, slots, ops.reshape(new, (-1, old.shape[-1])))
            for old, new in zip(cache, news, strict=True)
        ]
        query, key, value = (
            ops.reshape(x, (rows, heads, -1, size)) for x in (query, *cache)
        )
        found = _attend(query, key, value, mask)
        return self.output_projection(found), cache


@keras.saving.register_keras_serializable(package="official.transformer")
class CrossAttention(_Part):
    """Every token of the target looks at all tokens of the source."""

    def build(self, x_shape=None):
        """Makes the projections; key and value are one matrix product."""
        self.query = self._projection(1, "query")
        self.key_value = self._projection(2, "key_value")
        self.output_projection = self._projection(1, "output")
        self.dropout = Dropout(self.config.attention_dropout, name="dropout")
        self.built = True

    def keys_and_values(self, memory, rows):
        """[rows * length, hidden] to two times [rows, heads, length, size]."""
        return _heads_apart(self.key_value(memory), rows, 2, self.config.num_heads)

    def call(self, x, keys_and_values, mask, rows, training=False):
        """Attends.

        Args:
            x: [rows * target length, hidden].
            keys_and_values: of `keys_and_values`.
            mask: [rows, 1, 1, source length], what is added to scores.
            rows: sentences.
            training: whether weights of attention are dropped.

        Returns:
            [rows * target length, hidden].
        """
        (query,) = _heads_apart(self.query(x), rows, 1, self.config.num_heads)
        return self.output_projection(
            _attend(query, *keys_and_values, mask, self.dropout, training=training)
        )


def _attend(query, key, value, mask, dropout=None, training=False):
    """[rows, heads, queries, size] and keys, values to [rows * queries, hidden]."""
    scores = ops.matmul(query * query.shape[-1] ** -0.5, ops.swapaxes(key, 2, 3))
    if keras.backend.standardize_dtype(mask.dtype) == "bool":
        # Added numbers would be fused into the product, and oneDNN has no fast form
        # for such as differ from query to query.
        scores = ops.where(mask, scores, ops.cast(_UNSEEN, scores.dtype))
    else:
        scores = scores + mask
    weights = ops.softmax(scores)
    if dropout is not None:
        weights = dropout(weights, training=training)
    return _heads_together(ops.matmul(weights, value))


@keras.saving.register_keras_serializable(package="official.transformer")
class FeedForward(_Part):
    """Two dense layers with an activation in between, token by token."""

    def build(self, x_shape=None):
        """Makes the layers."""
        config = self.config
        self.filter = layers.Dense(config.filter_size, name="filter")
        self.output_projection = layers.Dense(config.hidden_size, name="output")
        self.filter.build((None, config.hidden_size))
        self.output_projection.build((None, config.filter_size))
        self.dropout = Dropout(config.activation_dropout, name="dropout")
        self.built = True

    def call(self, x, training=False):
        """[tokens, hidden] to the same shape."""
        x = _ACTIVATIONS[self.config.activation](self.filter(x))
        return self.output_projection(self.dropout(x, training=training))


class _Block(_Part):
    """Sublayers, each with a shortcut around it and a normalisation."""

    def _make(self, **sublayers: _Part) -> None:
        for name, layer in sublayers.items():
            layer.build()
            setattr(self, name, layer)
            setattr(self, f"{name}_norm", self._norm(f"{name}_norm"))
            dropout = Dropout(self.config.dropout, name=f"{name}_dropout")
            setattr(self, f"{name}_dropout", dropout)
        self.built = True

    def _around(self, name, function, x, training=False):
        """Adds what a sublayer makes of x."""
        norm = getattr(self, f"{name}_norm")
        dropout = getattr(self, f"{name}_dropout")
        if self.config.norm == "pre":
            return x + dropout(function(norm(x)), training=training)
        return norm(x + dropout(function(x), training=training))


@keras.saving.register_keras_serializable(package="official.transformer")
class EncoderBlock(_Block):
    """Attention within the source, then the feed-forward part."""

    def build(self, x_shape=None):
        """Makes both."""
        self._make(
            attention=SelfAttention(self.config, name="attention"),
            feed_forward=FeedForward(self.config, name="feed_forward"),
        )

    def call(self, x, mask, rows, training=False):
        """[rows * length, hidden] to the same shape; see `SelfAttention.call`."""

        def attend(x):
            return self.attention(x, mask, rows=rows, training=training)

        def feed(x):
            return self.feed_forward(x, training=training)

        x = self._around("attention", attend, x, training)
        return self._around("feed_forward", feed, x, training)


@keras.saving.register_keras_serializable(package="official.transformer")
class DecoderBlock(_Block):
    """Attention within the target, attention to the source, the feed-forward part."""

    def build(self, x_shape=None):
        """Makes the three."""
        self._make(
            attention=SelfAttention(self.config, name="attention"),
            cross_attention=CrossAttention(self.config, name="cross_attention"),
            feed_forward=FeedForward(self.config, name="feed_forward"),
        )

    def call(self, x, mask, keys_and_values, source_mask, rows, training=False):
        """[rows * length, hidden] to the same shape; see the parts."""

        def attend(x):
            return self.attention(x, mask, rows=rows, training=training)

        x = self._around("attention", attend, x, training)
        return self._upper(x, keys_and_values, source_mask, rows, training)

    def step(self, x, mask, keys_and_values, source_mask, rows, cache, slots, order):
        """One token of each beam; see `SelfAttention.step`."""
        caches = []

        def attend(x):
            found, new = self.attention.step(x, mask, rows, cache, slots, order)
            caches.extend(new)
            return found

        x = self._around("attention", attend, x)
        return self._upper(x, keys_and_values, source_mask, rows, False), caches

    def _upper(self, x, keys_and_values, source_mask, rows, training):
        def attend(x):
            return self.cross_attention(
                x, keys_and_values, source_mask, rows=rows, training=training
            )

        def feed(x):
            return self.feed_forward(x, training=training)

        x = self._around("cross_attention", attend, x, training)
        return self._around("feed_forward", feed, x, training)
