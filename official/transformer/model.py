"""The Transformer: an encoder and a decoder of attention and feed-forward parts.

Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762; with normalisation
before each sublayer as in the network of 2019, or behind it as in the paper.

Within the network the tokens of a batch stand in one row after the other, [batch *
length, hidden]: matrix products of rank 2 are what every backend does fastest.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras import ops

from official.transformer.blocks import (
    DecoderBlock,
    Embeddings,
    EncoderBlock,
    by_heads,
)
from official.transformer.config import TransformerConfig
from official.utils.layers.dropout import Dropout
from official.utils.layers.layer_normalization import LayerNormalization
from official.utils.layers.rows import empty_rows
from official.utils.layers.tokens import AdditiveMask, Bias


@keras.saving.register_keras_serializable(package="official.transformer")
class Transformer(keras.Model):
    """The network, with fresh weights.

    Called with `inputs`, int32 [batch, source length], and `targets`, int32 [batch,
    target length], whose rows end in the end-of-sentence piece and then padding, it
    gives logits, float32 [batch, target length, vocabulary], of each piece of the
    targets from those before it.
    """

    def __init__(self, config: TransformerConfig | Mapping[str, Any], **kwargs):
        """Builds all layers."""
        super().__init__(**kwargs)
        if isinstance(config, Mapping):
            config = TransformerConfig(**config)
        self.config = config
        self.embeddings = Embeddings(config, name="embeddings")
        self.encoder_dropout = Dropout(config.dropout, name="encoder_dropout")
        self.decoder_dropout = Dropout(config.dropout, name="decoder_dropout")
        self.source_mask = AdditiveMask(name="source_mask")
        self.encoder = [
            EncoderBlock(config, name=f"encoder{i + 1}")
            for i in range(config.encoder_layers)
        ]
        self.decoder = [
            DecoderBlock(config, name=f"decoder{i + 1}")
            for i in range(config.decoder_layers)
        ]
        for layer in (self.embeddings, *self.encoder, *self.decoder):
            layer.build()
        if config.norm == "pre":
            for name in ("encoder_norm", "decoder_norm"):
                norm = LayerNormalization(epsilon=config.norm_epsilon, name=name)
                norm.build((None, config.hidden_size))
                setattr(self, name, norm)
        if config.output_bias:
            self.output_bias = Bias(name="output_bias", dtype="float32")
            self.output_bias.build((None, config.vocab_size))
        self.built = True

    def get_config(self):
        """Arguments of the constructor."""
        return {"name": self.name, "config": dataclasses.asdict(self.config)}

    def call(self, inputs, training=False):
        """See the class."""
        source, targets = inputs["inputs"], inputs["targets"]
        memory = self.encode(source, training=training)
        x = self.decode(targets, memory, source, training=training)
        logits = self.logits(x)
        return ops.reshape(logits, (*ops.shape(targets), self.config.vocab_size))

    def _mask(self, ids):
        seen = ops.cast(ops.not_equal(ids, self.config.pad_id), "int32")
        return self.source_mask(seen)

    def encode(self, inputs, training=False):
        """Reads the source.

        Args:
            inputs: int32 [batch, length].
            training: whether dropout is on.

        Returns:
            [batch * length, hidden].
        """
        x = self.encoder_dropout(self.embeddings(inputs), training=training)
        mask, rows = self._mask(inputs), ops.shape(inputs)[0]
        for block in self.encoder:
            x = block(x, mask, rows=rows, training=training)
        return self.encoder_norm(x) if self.config.norm == "pre" else x

    def decode(self, targets, memory, inputs, training=False):
        """Reads the targets, each piece before those that follow it.

        Args:
            targets: int32 [batch, target length].
            memory: of `encode`.
            inputs: int32 [batch, source length], for its padding.
            training: whether dropout is on.

        Returns:
            [batch * target length, hidden].
        """
        rows, length = ops.shape(targets)
        before = ops.pad(
            targets[:, :-1], ((0, 0), (1, 0)), constant_values=self.config.start_id
        )
        x = self.decoder_dropout(self.embeddings(before), training=training)
        place = ops.arange(length)
        mask = (place[None, :] <= place[:, None])[None, None]
        source_mask = self._mask(inputs)
        for block in self.decoder:
            keys_and_values = block.cross_attention.keys_and_values(memory, rows)
            x = block(
                x, mask, keys_and_values, source_mask, rows=rows, training=training
            )
        return self.decoder_norm(x) if self.config.norm == "pre" else x

    def logits(self, x):
        """[tokens, hidden] to float32 [tokens, vocabulary]."""
        scores = self.embeddings.scores(x)
        if self.config.output_bias:
            return self.output_bias(scores)
        return ops.cast(scores, "float32")

    def output_weights(self) -> tuple[Any, Any]:
        """What makes the logits, for a loss that never holds all of them.

        Returns:
            Matrix, [vocabulary, hidden], in the dtype of the arithmetic, by whose
            transpose the decoder's output is multiplied, and bias, float32
            [vocabulary], or None.
        """
        bias = self.output_bias.bias if self.config.output_bias else None
        return ops.cast(self.embeddings.word, self.compute_dtype), bias

    # ---- One piece after the other, with what was computed before ----

    def start(self, inputs) -> dict[str, Any]:
        """What of the source every step needs.

        Args:
            inputs: int32 [batch, source length].

        Returns:
            Keys and values of each block of the decoder, [batch, heads, source length,
            size], and the mask. The beams of a sentence share them.
        """
        memory, rows = self.encode(inputs), ops.shape(inputs)[0]
        return {
            "source": [
                block.cross_attention.keys_and_values(memory, rows)
                for block in self.decoder
            ],
            "mask": self._mask(inputs),
        }

    def cast_matrices(self) -> list:
        """Each matrix in the dtype of the arithmetic, for `reading`."""
        dtype = self.compute_dtype
        return [
            (weight, ops.cast(weight, dtype))
            for weight in self.trainable_weights
            if len(weight.shape) > 1 and weight.dtype != dtype
        ]

    @contextlib.contextmanager
    def reading(self, matrices: list) -> Iterator[None]:
        """Steps take these values instead of casting each matrix once more."""
        scope = keras.StatelessScope()
        for pair in matrices:
            # The scope's own argument would be cast to the dtype of the variable.
            scope.add_update(pair)
        with scope:
            yield

    def empty_cache(self, rows, beams: int, length) -> list:
        """Room for keys and values of so many steps.

        A slot belongs to a step and a beam and is written once: what a beam may look at
        is said by a mask, so that nothing is copied when beams change places.

        Args:
            rows: sentences.
            beams: of each.
            length: steps.

        Returns:
            For each block key and value, [rows * heads * length, beams * size].
        """
        config = self.config
        number, size = rows * config.num_heads * length, beams * config.head_size
        return [
            [empty_rows(number, size, self.compute_dtype) for _ in range(2)]
            for _ in self.decoder
        ]

    def grown_cache(self, cache, rows, beams: int, more) -> list:
        """The cache with room for `more` steps."""
        config = self.config

        def grown(values):
            size = beams * config.head_size
            values = ops.reshape(values, (rows * config.num_heads, -1, size))
            values = ops.pad(values, ((0, 0), (0, more), (0, 0)))
            return ops.reshape(values, (-1, size))

        return [[grown(values) for values in pair] for pair in cache]

    def step(self, ids, time, visible, state, cache) -> tuple[Any, list]:
        """The scores of the next piece of each beam.

        Args:
            ids: int32 [batch, beams], the pieces before; `start_id` in the first step.
            time: int32 scalar, how many pieces there are before these.
            visible: bool [batch, beams, slots], which slots are of a beam's history,
                this step's included; slot number = time * beams + beam.
            state: of `start`.
            cache: of `empty_cache`; not to be used again.

        Returns:
            Logits, float32 [batch, beams, vocabulary], and the cache.
        """
        config, (rows, beams) = self.config, ops.shape(ids)
        # Columns are positions: each beam is a row of its own here.
        x = self.embeddings(ops.reshape(ids, (-1, 1)), first_position=time)
        total = ops.shape(visible)[2]
        steps = total // beams
        slots = ops.arange(rows * config.num_heads, dtype="int32") * steps + time
        order = by_heads(rows, beams, config.num_heads)
        caches = []
        for block, source, old in zip(
            self.decoder, state["source"], cache, strict=True
        ):
            x, new = block.step(
                x, visible[:, None], source, state["mask"], rows, old, slots, order
            )
            caches.append(new)
        if config.norm == "pre":
            x = self.decoder_norm(x)
        logits = self.logits(x)
        return ops.reshape(logits, (rows, beams, config.vocab_size)), caches
