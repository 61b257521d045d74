"""Weights of a MarianMTModel of Hugging Face's between their names and layout and ours.

What Marian has not itself is written so that it computes the same: biases of zeros; a
table of positions for those of 2019; and, where padding is embedded as zeros, one table
for what is read and one for the scores.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from official.bert.checkpoint_tensors import first
from official.transformer.blocks import Embeddings
from official.transformer.config import TransformerConfig
from official.transformer.model import Transformer
from official.utils.errors import UserError
from official.utils.training.variables import named_variables

# Where Keras' dropout stands; it is no weight, and others have none.
RANDOM_STATE = "seed_generator_state"
# Positions in a table of them.
LONGEST = 1024

# Parts of a block by our name; several of theirs stand side by side in one of ours.
_BLOCK = {
    "attention/query_key_value": (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    ),
    "attention/output_projection": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "feed_forward/filter": ("fc1",),
    "feed_forward/output_projection": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}
_DECODER_ONLY = {
    "cross_attention/query": ("encoder_attn.q_proj",),
    "cross_attention/key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention/output_projection": ("encoder_attn.out_proj",),
    "cross_attention_norm": ("encoder_attn_layer_norm",),
}
_WORD, _OUTPUT_BIAS = "model/embeddings/word", "model/output_bias/bias"
_SHARED, _SCORES = "model.shared.weight", "lm_head.weight"
_EMBEDDINGS = (
    _SHARED,
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
)
# Several names of one table, of which a file has any.
_TABLES = (_SCORES, *_EMBEDDINGS)
_POSITIONS = (
    "model.encoder.embed_positions.weight",
    "model.decoder.embed_positions.weight",
)
_LOGITS_BIAS = "final_logits_bias"


@dataclasses.dataclass(frozen=True)
class _Variable:
    """One of ours in a block, and the tensors that stand side by side in it."""

    ours: str
    theirs: tuple[str, ...]
    their_shape: tuple[int, ...]


def _variables(config: TransformerConfig) -> Iterator[_Variable]:
    """All variables of the blocks, with the biases that ours may lack."""
    width, inside = config.hidden_size, config.filter_size
    for side, layers, block in (
        ("encoder", config.encoder_layers, _BLOCK),
        ("decoder", config.decoder_layers, _BLOCK | _DECODER_ONLY),
    ):
        for i in range(layers):
            for part, names in block.items():
                is_norm = part.endswith("norm")
                shape = (width, width)
                if names in (("fc1",), ("fc2",)):
                    shape = (inside, width) if names == ("fc1",) else (width, inside)
                for ours, theirs, size in (
                    ("gamma", "weight", (width,)) if is_norm
                    else ("kernel", "weight", shape),
                    ("beta" if is_norm else "bias", "bias", shape[:1]),
                ):  # fmt: skip
                    yield _Variable(
                        f"model/{side}/{i}/{part}/{ours}",
                        tuple(f"model.{side}.layers.{i}.{n}.{theirs}" for n in names),
                        size,
                    )


def from_theirs(
    tensors: Mapping[str, np.ndarray], fields: Mapping[str, Any], source: str
) -> Transformer:
    """Our network with the weights of theirs.

    Args:
        tensors: the state dict of a MarianMTModel.
        fields: of `TransformerConfig`, as far as the tensors do not tell.
        source: where they come from, for messages.

    Returns:
        The network.

    Raises:
        UserError: a tensor is unmatched, missing or of another shape, or there are
            several tables of embeddings, or positions that are no waves.
    """
    config = TransformerConfig(**fields, output_bias=_LOGITS_BIAS in tensors)
    matches = list(_variables(config))
    _check(tensors, matches, config, source)
    table, pad_is_zero = _table(tensors, config, source)
    config = dataclasses.replace(
        config, pad_is_zero=pad_is_zero, positions=_positions(tensors, config, source)
    )
    values = {_WORD: table}
    if config.output_bias:
        values[_OUTPUT_BIAS] = tensors[_LOGITS_BIAS][0]
    for match in matches:
        parts = [tensors[name].T for name in match.theirs]
        values[match.ours] = np.concatenate(parts, axis=-1)
    model = Transformer(config)
    for name, variable in named_variables(model).items():
        if not name.endswith(RANDOM_STATE):
            variable.assign(np.asarray(values.pop(name), np.float32))
    assert not values, list(values)
    return model


def _check(tensors, matches, config, source) -> None:
    """Checks that all tensors are there, in their shapes, and no others."""
    wanted = {name: match.their_shape for match in matches for name in match.theirs}
    table = (config.vocab_size, config.hidden_size)
    optional = {name: table for name in (*_EMBEDDINGS, _SCORES)}
    optional |= {name: (None, config.hidden_size) for name in _POSITIONS}
    optional[_LOGITS_BIAS] = (1, config.vocab_size)
    if tensors.keys().isdisjoint(_TABLES):
        wanted[_SHARED] = table
    shapes = optional | wanted
    unmatched = sorted(tensors.keys() - shapes.keys())
    missing = sorted(wanted.keys() - tensors.keys())
    if unmatched or missing:
        listed = [
            f"{len(names)} {what} ({first(names)})"
            for what, names in (("unmatched", unmatched), ("missing", missing))
            if names
        ]
        raise UserError(
            f"{source} is of another network than its settings say: of its tensors "
            f"{' and '.join(listed)}; check encoder_layers and decoder_layers in the "
            "settings, and that it is a MarianMTModel"
        )
    differences = []
    for name, tensor in tensors.items():
        here, there = shapes[name], tensor.shape
        if len(here) != len(there) or any(
            size not in (None, found) for size, found in zip(here, there, strict=True)
        ):
            shown = str(list(here)).replace("None", "any")
            differences.append(f"{name} is {list(there)} there and {shown} here")
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(
            f"{source} has other shapes than its settings say: "
            f"{'; '.join(differences[:3])}{more}; give the settings that belong to it"
        )


def _table(tensors, config, source) -> tuple[np.ndarray, bool]:
    """The one table of all pieces, and whether padding is embedded as zeros."""
    name, *others = (name for name in _TABLES if name in tensors)
    table = tensors[name]
    with_zeros = table.copy()
    with_zeros[config.pad_id] = 0
    for embedded, pad_is_zero in ((table, False), (with_zeros, name == _SCORES)):
        if all(np.array_equal(tensors[other], embedded) for other in others):
            return table, pad_is_zero
    raise UserError(
        f"{source} has several tables of pieces, {name} and another in "
        f"{first(others)}; our networks have one"
    )


def _positions(tensors, config, source) -> str:
    """How wavelengths are spaced; without a table, as Hugging Face's own are."""
    found = set()
    for name in _POSITIONS:
        if name not in tensors:
            found.add("paper")
            continue
        table = np.asarray(tensors[name], np.float32)
        kinds = [
            kind
            for kind in ("paper", "2019")
            # Rounded tables in 16 bits too; the two kinds differ by about 1.
            if np.abs(_waves(config, kind, len(table)) - table).max(initial=0) < 0.01
        ]
        found.add(kinds[0] if kinds else "other")
    if len(found) > 1 or "other" in found:
        raise UserError(
            f"{source} has positions ({_POSITIONS[0]}) that are not those of the paper "
            "or of 2019; ours are computed"
        )
    return found.pop()


def _waves(config, kind, length) -> np.ndarray:
    layer = Embeddings(dataclasses.replace(config, positions=kind))
    return np.asarray(layer.positions(np.arange(length)))


def to_theirs(model: Transformer) -> dict[str, np.ndarray]:
    """The state dict of a MarianMTModel, the reverse of `from_theirs`.

    Args:
        model: a network that normalises behind each sum.

    Returns:
        float32 tensors by their names.
    """
    config = model.config
    values = {name: np.asarray(v) for name, v in named_variables(model).items()}
    tensors = {}
    for match in _variables(config):
        parts = len(match.theirs)
        value = values.get(match.ours)
        if value is None:
            value = np.zeros(parts * match.their_shape[0], np.float32)
        for name, part in zip(match.theirs, np.split(value, parts, -1), strict=True):
            tensors[name] = part.T
    table = values[_WORD]
    tensors[_SHARED] = table
    if config.pad_is_zero:
        with_zeros = table.copy()
        with_zeros[config.pad_id] = 0
        tensors |= dict.fromkeys(_EMBEDDINGS, with_zeros) | {_SCORES: table}
    if config.positions != "paper":
        waves = _waves(config, config.positions, LONGEST)
        tensors |= dict.fromkeys(_POSITIONS, waves)
    bias = values.get(_OUTPUT_BIAS, np.zeros(config.vocab_size, np.float32))
    tensors[_LOGITS_BIAS] = bias[None]
    return {name: np.asarray(x, np.float32, order="C") for name, x in tensors.items()}
