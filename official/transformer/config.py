"""Sizes and settings of the Transformer."""

import dataclasses

from official.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """What a network is built from.

    Attributes:
        vocab_size: pieces of the vocabulary that both languages share.
        hidden_size: width of the network.
        filter_size: width inside the feed-forward parts.
        num_heads: heads of each attention.
        encoder_layers: blocks of the encoder.
        decoder_layers: blocks of the decoder.
        dropout: of embeddings and of what each sublayer gives.
        attention_dropout: of the weights of attention.
        activation_dropout: inside the feed-forward parts.
        norm: `pre`, before each sublayer and once at the end, as in 2019; `post`,
            behind each sum, as in the paper.
        norm_epsilon: of layer normalisation.
        attention_bias: whether the projections of attention have biases.
        activation: of the feed-forward parts: `relu`, `gelu` or `swish`.
        positions: how wavelengths are spaced: over hidden_size / 2 - 1, so that both
            ends are exact, `2019`, or over hidden_size / 2, `paper`.
        pad_is_zero: whether padding is embedded as zeros.
        output_bias: whether each piece has a bias of its own in the end.
        pad_id: the piece behind a sentence's end.
        eos_id: the piece that ends a sentence.
        start_id: what the decoder reads first.
    """

    vocab_size: int
    hidden_size: int = 512
    filter_size: int = 2048
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    norm: str = "pre"
    norm_epsilon: float = 1e-6
    attention_bias: bool = False
    activation: str = "relu"
    positions: str = "2019"
    pad_is_zero: bool = True
    output_bias: bool = False
    pad_id: int = 0
    eos_id: int = 1
    start_id: int = 0

    def __post_init__(self):
        if self.hidden_size % (2 * self.num_heads):
            raise UserError(
                f"{self.num_heads} heads do not divide a width of {self.hidden_size} "
                "into even parts; choose another of the two"
            )

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return self.hidden_size // self.num_heads


def _sizes(hidden_size: int, filter_size: int, num_heads: int, layers: int) -> dict:
    return dict(
        hidden_size=hidden_size,
        filter_size=filter_size,
        num_heads=num_heads,
        encoder_layers=layers,
        decoder_layers=layers,
    )


# `tiny`, `base` and `big` are those of 2019; `big` of the paper drops .3.
_SIZES = {
    "tiny": _sizes(32, 256, 4, 6),
    "small": _sizes(128, 512, 4, 2),
    "medium": _sizes(256, 1024, 4, 3),
    "base": _sizes(512, 2048, 8, 6),
    "big": _sizes(1024, 4096, 16, 6),
}
MODEL_SIZES = tuple(_SIZES)


def of_size(name: str, vocab_size: int, **fields) -> TransformerConfig:
    """The settings of a network by the name of its size.

    Args:
        name: of `MODEL_SIZES`.
        vocab_size: pieces of the vocabulary.
        **fields: others of `TransformerConfig`.
    """
    return TransformerConfig(vocab_size, **_SIZES[name] | fields)
