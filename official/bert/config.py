"""Sizes and settings of BERT networks, as fields and as the JSON file of 2019."""

import dataclasses
from typing import Any

from official.utils.errors import UserError

# "gelu" is the approximation by tanh, as in the networks of 2018 and 2019;
# "gelu_erf" is exact, as in Hugging Face's, which call it "gelu".
ACTIVATIONS = ("gelu", "gelu_erf", "relu")

# Layers and hidden size of those with a name; Devlin et al. 2018, arXiv:1810.04805,
# and Turc et al. 2019, arXiv:1908.08962.
_NAMED = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
_HEAD_SIZE = 64
MODEL_SIZES = (
    *_NAMED,
    *(f"{n}/{hidden}" for n in (2, 4, 6, 8, 10, 12) for hidden in (128, 256, 512, 768)),
)


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """What a network is built from; fields have the names of `bert_config.json`.

    Attributes:
        vocab_size: pieces of the vocabulary.
        hidden_size: width of the network.
        num_hidden_layers: blocks.
        num_attention_heads: a divisor of `hidden_size`.
        intermediate_size: width inside the feed-forward part of a block.
        hidden_act: of `ACTIVATIONS`.
        hidden_dropout_prob: dropout of embeddings, and of what a block adds.
        attention_probs_dropout_prob: dropout of the weights of attention.
        max_position_embeddings: most tokens of a sequence.
        type_vocab_size: kinds of segments.
        initializer_range: deviation of fresh weights.
        layer_norm_eps: added to variances.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return self.hidden_size // self.num_attention_heads


def of_size(name: str, vocab_size: int, **fields: Any) -> BertConfig:
    """The settings of a published size.

    Args:
        name: of `MODEL_SIZES`; `layers/hidden` or a name.
        vocab_size: pieces of the vocabulary.
        **fields: others of `BertConfig`.
    """
    layers, hidden = _NAMED.get(name) or map(int, name.split("/"))
    sizes = dict(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=hidden // _HEAD_SIZE,
        intermediate_size=4 * hidden,
    )
    return BertConfig(vocab_size, **sizes | fields)


def read(path: str) -> BertConfig:
    """Reads a `bert_config.json` of 2018 or 2019.

    Args:
        path: the file.

    Raises:
        UserError: the file cannot be read, is no JSON object, or has a wrong value.
    """
    from official.utils.data import json_fields  # Flags need no TensorFlow.

    found = json_fields.read(path, "give a bert_config.json")
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; give a bert_config.json")
    return from_fields(found, path)


def from_fields(found: dict[str, Any], source: str) -> BertConfig:
    """Checks the fields of a configuration; unknown ones are passed over.

    Args:
        found: values by field name.
        source: where they are from, for the error.

    Raises:
        UserError: a field is missing or has a wrong value.
    """
    fields = {field.name: field for field in dataclasses.fields(BertConfig)}
    if "vocab_size" not in found:
        raise UserError(f"{source} has no vocab_size; give a bert_config.json")
    values = {}
    for name in found.keys() & fields.keys():
        kind, value = fields[name].type, found[name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is str:
            is_good = value in ACTIVATIONS
        elif name.endswith("_prob"):
            is_good = is_number and 0 <= value < 1
        else:
            is_good = is_number and value > 0 and (kind is float or value == int(value))
        if not is_good:
            expected = {str: f"one of {', '.join(ACTIVATIONS)}", int: "a whole number"}
            raise UserError(
                f"{source} has {name} = {value!r}; it should be "
                f"{expected.get(kind, 'a positive number, below 1 for dropout')}"
            )
        values[name] = kind(value)
    config = BertConfig(**values)
    if config.hidden_size % config.num_attention_heads:
        raise UserError(
            f"{source} has hidden_size = {config.hidden_size}, which its "
            f"num_attention_heads = {config.num_attention_heads} does not divide"
        )
    return config
