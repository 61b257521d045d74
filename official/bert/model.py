"""BERT: a bidirectional Transformer encoder with heads for several tasks.

Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers
for Language Understanding", 2018, arXiv:1810.04805.

Within the network the tokens of a batch stand in one row after the other, [batch *
length, hidden]: matrix products of rank 2 are what every backend does fastest.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import initializers, layers, ops

from official.bert.config import BertConfig
from official.utils.layers.dropout import Dropout
from official.utils.layers.gelu import gelu_by_erf, gelu_by_tanh
from official.utils.layers.layer_normalization import LayerNormalization
from official.utils.layers.tokens import AdditiveMask, Bias, ByRow, PickTokens

_ACTIVATIONS = {"gelu": gelu_by_tanh, "gelu_erf": gelu_by_erf, "relu": ops.relu}


class _Part(layers.Layer):
    """A layer that is made from the settings of the network."""

    def __init__(self, config: BertConfig | Mapping[str, Any], **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, Mapping):
            config = BertConfig(**config)
        self.config = config

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"config": dataclasses.asdict(self.config)}

    def _initializer(self) -> initializers.Initializer:
        return initializers.TruncatedNormal(stddev=self.config.initializer_range)

    def _dense(self, units: int, name: str, **kwargs) -> layers.Dense:
        return layers.Dense(
            units, kernel_initializer=self._initializer(), name=name, **kwargs
        )

    def _norm(self, name: str) -> LayerNormalization:
        return LayerNormalization(epsilon=self.config.layer_norm_eps, name=name)


@keras.saving.register_keras_serializable(package="official.bert")
class Embeddings(_Part):
    """Words, positions and segments, added up, normalised and dropped out."""

    def build(self, inputs_shape, types_shape=None):
        """Makes the tables."""
        config, start = self.config, self._initializer
        width = config.hidden_size
        self.word = self.add_weight((config.vocab_size, width), start(), name="word")
        self.position = self.add_weight(
            (config.max_position_embeddings, width), start(), name="position"
        )
        self.type = self.add_weight(
            (config.type_vocab_size, width), start(), name="type"
        )
        self.norm = self._norm("norm")
        self.norm.build((None, width))
        self.dropout = Dropout(config.hidden_dropout_prob, name="dropout")
        self.built = True

    def call(self, inputs, types=None, training=False, reverse=False):
        """Embeds tokens, or finds the words that hidden states are near to.

        Args:
            inputs: the ids, int32 [batch, length]; with `reverse` hidden states,
                [tokens, hidden].
            types: segments, int32 [batch, length].
            training: whether to drop.
            reverse: whether to multiply by the table of words.

        Returns:
            [batch * length, hidden]; with `reverse` [tokens, vocabulary].
        """
        if reverse:
            return ops.matmul(inputs, ops.transpose(self.word))
        length, width = ops.shape(inputs)[1], self.config.hidden_size
        # Gradients of few, long rows are sums; a product gives them faster than a
        # gather would.
        num_types = self.config.type_vocab_size
        kinds = ops.one_hot(types, num_types, dtype=self.compute_dtype)
        kinds = ops.reshape(kinds, (-1, num_types))
        x = ops.take(self.word, inputs, axis=0) + self.position[:length]
        x = ops.reshape(x, (-1, width)) + ops.matmul(kinds, self.type)
        return self.dropout(self.norm(x), training=training)

    def compute_output_shape(self, inputs_shape, types_shape=None):
        """See `call`."""
        if types_shape is None:  # It is `reverse`.
            return (inputs_shape[0], self.config.vocab_size)
        return (None, self.config.hidden_size)


@keras.saving.register_keras_serializable(package="official.bert")
class SelfAttention(_Part):
    """Every token looks at all tokens of its row, in several heads."""

    def build(self, x_shape, mask_shape=None):
        """Makes the projections; query, key and value are one matrix product."""
        width = self.config.hidden_size
        self.query_key_value = self._dense(3 * width, "query_key_value")
        self.output_projection = self._dense(width, "output")
        for dense in (self.query_key_value, self.output_projection):
            dense.build((None, width))
        self.dropout = Dropout(self.config.attention_probs_dropout_prob, name="dropout")
        self.built = True

    def call(self, x, mask, training=False):
        """Attends.

        Args:
            x: [batch * length, hidden].
            mask: [batch, 1, 1, length], what is added to scores.
            training: whether weights of attention are dropped.

        Returns:
            [batch * length, hidden].
        """
        heads, size = self.config.num_attention_heads, self.config.head_size
        length = ops.shape(mask)[3]
        x = ops.reshape(self.query_key_value(x), (-1, length, 3, heads, size))
        # Three times [batch, heads, length, size].
        query, key, value = ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), 3)
        scores = ops.matmul(query * size**-0.5, ops.swapaxes(key, 2, 3))
        weights = ops.softmax(scores + mask)
        x = ops.matmul(self.dropout(weights, training=training), value)
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, heads * size))
        return self.output_projection(x)

    def compute_output_shape(self, x_shape, mask_shape=None):
        """That of `x`."""
        return x_shape


@keras.saving.register_keras_serializable(package="official.bert")
class FeedForward(_Part):
    """Two dense layers with an activation in between, token by token."""

    def build(self, x_shape):
        """Makes the layers."""
        config = self.config
        self.intermediate = self._dense(config.intermediate_size, "intermediate")
        self.output_projection = self._dense(config.hidden_size, "output")
        self.intermediate.build((None, config.hidden_size))
        self.output_projection.build((None, config.intermediate_size))
        self.built = True

    def call(self, x):
        """[batch * length, hidden] to the same shape."""
        activation = _ACTIVATIONS[self.config.hidden_act]
        return self.output_projection(activation(self.intermediate(x)))

    def compute_output_shape(self, x_shape):
        """That of `x`."""
        return x_shape


@keras.saving.register_keras_serializable(package="official.bert")
class Block(_Part):
    """Attention, then the feed-forward part; each is added to its input and normed."""

    def __init__(self, config, recompute: bool = False, **kwargs):
        """Sets whether gradients compute anew what is between input and output."""
        super().__init__(config, **kwargs)
        self.recompute = recompute

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | {"recompute": self.recompute}

    def build(self, x_shape, mask_shape=None):
        """Makes both."""
        config, shape = self.config, (None, self.config.hidden_size)
        self.attention = SelfAttention(config, name="attention")
        self.attention_norm = self._norm("attention_norm")
        self.feed_forward = FeedForward(config, name="feed_forward")
        self.feed_forward_norm = self._norm("feed_forward_norm")
        self.attention.build(shape, mask_shape)
        for layer in (self.attention_norm, self.feed_forward, self.feed_forward_norm):
            layer.build(shape)
        rate = config.hidden_dropout_prob
        self.attention_dropout = Dropout(rate, name="attention_dropout")
        self.feed_forward_dropout = Dropout(rate, name="feed_forward_dropout")
        self.built = True

    def call(self, x, mask, training=False):
        """See `SelfAttention.call`."""
        if not (
            self.recompute and training and keras.backend.backend() == "tensorflow"
        ):
            return self._compute(x, mask, training)
        import tensorflow as tf  # Keras' own way takes no arguments by name there.

        return tf.recompute_grad(lambda x, mask: self._compute(x, mask, training))(
            x, mask
        )

    def _compute(self, x, mask, training):
        attended = self.attention(x, mask, training=training)
        x = self.attention_norm(x + self.attention_dropout(attended, training=training))
        changed = self.feed_forward(x)
        changed = self.feed_forward_dropout(changed, training=training)
        return self.feed_forward_norm(x + changed)

    def compute_output_shape(self, x_shape, mask_shape=None):
        """That of `x`."""
        return x_shape


@keras.saving.register_keras_serializable(package="official.bert")
class WordTransform(_Part):
    """What comes between hidden states and the table of words."""

    def build(self, x_shape):
        """Makes the layers."""
        shape = (None, self.config.hidden_size)
        self.dense = self._dense(self.config.hidden_size, "dense")
        self.norm = self._norm("norm")
        self.dense.build(shape)
        self.norm.build(shape)
        self.built = True

    def call(self, x):
        """[tokens, hidden] to the same shape."""
        return self.norm(_ACTIVATIONS[self.config.hidden_act](self.dense(x)))

    def compute_output_shape(self, x_shape):
        """That of `x`."""
        return x_shape


# ---- Networks ----

INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


class _Builder:
    """The encoder, to which the networks below add their heads.

    Attributes:
        inputs: int32 [batch, length] each, by name.
        x: last hidden states, [batch * length, hidden].
    """

    def __init__(self, config: BertConfig, recompute: bool):
        self.config = config
        self.inputs = {
            name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS
        }
        ids, mask, types = self.inputs.values()
        self.ids = ids
        self.embeddings = Embeddings(config, name="embeddings")
        self.x = self.embeddings(ids, types)
        unseen = AdditiveMask(name="additive_mask")(mask)
        for number in range(1, config.num_hidden_layers + 1):
            self.x = Block(config, recompute, name=f"block{number}")(self.x, unseen)

    def dense(self, units: int, name: str, **kwargs) -> layers.Dense:
        start = initializers.TruncatedNormal(stddev=self.config.initializer_range)
        return layers.Dense(units, kernel_initializer=start, name=name, **kwargs)

    def pooled(self):
        """[batch, hidden], from the first token of each row."""
        first = self.by_row(self.x, "rows")[:, 0]
        return self.dense(self.config.hidden_size, "pooler", activation="tanh")(first)

    def by_row(self, x, name: str, **kwargs):
        return ByRow(name=name, **kwargs)(x, self.ids)


def build_encoder(config: BertConfig, recompute: bool = False) -> keras.Model:
    """The encoder without a head, with fresh weights.

    Inputs: `input_word_ids`, `input_mask` (0 where there is no token) and
    `input_type_ids` (segment), int32 [batch, length] each. Outputs: `sequence_output`
    [batch, length, hidden] and `pooled_output` [batch, hidden]. The hidden states are
    the outputs of the layers `embeddings`, `block1`, `block2`, ..., in one row, [batch
    * length, hidden].

    Args:
        config: sizes and settings.
        recompute: keep only the input of each block for the gradients, and compute the
            rest of it again: less memory, a third more arithmetic.

    Returns:
        The model.
    """
    builder = _Builder(config, recompute)
    outputs = {
        "sequence_output": builder.by_row(builder.x, "sequence_output"),
        "pooled_output": builder.pooled(),
    }
    return keras.Model(builder.inputs, outputs, name="bert")


def build_classifier(
    config: BertConfig, num_outputs: int, recompute: bool = False
) -> keras.Model:
    """The encoder with a dense layer on the pooled output.

    Inputs as those of `build_encoder`; output: logits (or a score), float32 [batch,
    num_outputs].
    """
    builder = _Builder(config, recompute)
    pooled = Dropout(config.hidden_dropout_prob, name="dropout")(builder.pooled())
    logits = builder.dense(num_outputs, "logits", dtype="float32")(pooled)
    return keras.Model(builder.inputs, logits, name="bert_classifier")


def build_span_model(config: BertConfig, recompute: bool = False) -> keras.Model:
    """The encoder with a dense layer on every token.

    Inputs as those of `build_encoder`; output: float32 [batch, length, 2], the logits
    of the first and of the last token of the answer.
    """
    builder = _Builder(config, recompute)
    logits = builder.dense(2, "logits", dtype="float32")(builder.x)
    spans = builder.by_row(logits, "spans", dtype="float32")
    return keras.Model(builder.inputs, spans, name="bert_spans")


def build_pretraining_model(
    config: BertConfig, use_next_sentence: bool = True, recompute: bool = False
) -> keras.Model:
    """The encoder with the heads that it is pre-trained with.

    Inputs: those of `build_encoder`, and `masked_lm_positions`, int32 [batch, picks].
    Outputs: `masked_lm`, float32 [batch * picks, vocabulary], logits; and, unless it is
    left out, `next_sentence`, float32 [batch, 2], logits, of which the second says that
    the next sentence is a random one.
    """
    builder = _Builder(config, recompute)
    positions = keras.Input((None,), dtype="int32", name="masked_lm_positions")
    picked = PickTokens(name="picked")(builder.x, builder.ids, positions)
    words = WordTransform(config, name="word_transform")(picked)
    logits = builder.embeddings(words, reverse=True)
    outputs = {"masked_lm": Bias(name="word_bias", dtype="float32")(logits)}
    if use_next_sentence:
        outputs["next_sentence"] = builder.dense(2, "next_sentence", dtype="float32")(
            builder.pooled()
        )
    inputs = builder.inputs | {"masked_lm_positions": positions}
    return keras.Model(inputs, outputs, name="bert_pretraining")
