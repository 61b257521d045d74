"""Hugging Face's MarianMTModel as our network, and the other way round.

A network is a folder there: `model.safetensors` or `pytorch_model.bin` holds the
weights, `config.json` the settings, `source.spm`, `target.spm` and `vocab.json` the
pieces.

Marian's network is that of the paper: it normalises behind each sum. `marian_weights`
says what stands for the rest of our settings.
"""

import base64
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from official.transformer.marian_weights import LONGEST, from_theirs, to_theirs
from official.transformer.model import Transformer
from official.transformer.text import SentencePieceText
from official.utils.data import json_fields
from official.utils.errors import UserError
from official.utils.logs import console, files
from official.utils.weights import pytorch_files
from official.utils.weights.pytorch_files import SAFETENSORS

_CONFIG, _GENERATION = "config.json", "generation_config.json"
_SPM, _PIECES = ("source.spm", "target.spm"), "vocab.json"
_TOKENIZER = "tokenizer_config.json"
_REMEDY = "give that of a MarianMTModel"

# PyTorch's, which no setting of theirs changes.
EPSILON = 1e-5
# The first name is the one that every version knows.
_ACTIVATIONS = {
    "relu": ("relu",),
    "gelu": ("gelu", "gelu_python"),
    "swish": ("swish", "silu"),
}
# Settings that make another network of it: what they have to be, and their defaults.
_FIXED = {
    "model_type": ("marian", None),
    "scale_embedding": (True, False),
    "is_decoder": (False, False),
}

# ---- Reading ----


def read(path: str, config_file: str | None = None) -> Transformer:
    """Reads a network.

    Args:
        path: the file of weights, a safetensors file or a state dict of PyTorch.
        config_file: the settings; None for `config.json` beside the weights.

    Returns:
        The network with its weights, in float32.

    Raises:
        UserError: a file is missing, damaged or of another network, or a library is
            missing.
    """
    tensors = pytorch_files.read(path)
    config_file = config_file or os.path.join(os.path.dirname(path), _CONFIG)
    settings = json_fields.read_object(
        config_file, f"put the network's {_CONFIG} beside its weights"
    )
    fields = _fields(settings, config_file)
    return from_theirs(tensors, fields, path)


def _fields(settings: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Fields of `TransformerConfig` that the settings tell."""
    for name, (good, default) in _FIXED.items():
        if (value := settings.get(name, default)) != good:
            raise UserError(
                f"{path} has {name} = {value!r}, which is another network than ours "
                f"({name} = {good!r}); {_REMEDY}"
            )

    def whole(name, low=1):
        value = json_fields.field(path, settings, name, int, _REMEDY)
        if value < low:
            raise UserError(f"{path} has {name} = {value}; {_REMEDY}")
        return value

    def share(name, default):
        value = settings.get(name, default)
        if type(value) not in (int, float) or not 0 <= value < 1:
            raise UserError(f"{path} has {name} = {value!r}; {_REMEDY}")
        return float(value)

    def both(name):
        found = [whole(f"{side}_{name}") for side in ("encoder", "decoder")]
        if found[0] != found[1]:
            raise UserError(
                f"{path} has encoder_{name} = {found[0]} and decoder_{name} = "
                f"{found[1]}; ours are alike"
            )
        return found[0]

    theirs = settings.get("activation_function", "gelu")
    ours = [name for name, names in _ACTIVATIONS.items() if theirs in names]
    if not ours:
        known = ", ".join(name for names in _ACTIVATIONS.values() for name in names)
        raise UserError(
            f"{path} has activation_function = {theirs!r}; networks here have one of "
            f"{known}"
        )
    fields = dict(
        vocab_size=whole("vocab_size"),
        hidden_size=whole("d_model"),
        filter_size=both("ffn_dim"),
        num_heads=both("attention_heads"),
        encoder_layers=whole("encoder_layers"),
        decoder_layers=whole("decoder_layers"),
        dropout=share("dropout", 0.1),
        attention_dropout=share("attention_dropout", 0.0),
        activation_dropout=share("activation_dropout", 0.0),
        norm="post",
        norm_epsilon=EPSILON,
        attention_bias=True,
        activation=ours[0],
    )
    for ours, theirs in (
        ("pad_id", "pad_token_id"),
        ("eos_id", "eos_token_id"),
        ("start_id", "decoder_start_token_id"),
    ):
        fields[ours] = whole(theirs, low=0)
        if fields[ours] >= fields["vocab_size"]:
            raise UserError(
                f"{path} has {theirs} = {fields[ours]} and a vocabulary of "
                f"{fields['vocab_size']} pieces; {_REMEDY}"
            )
    return fields


def read_text(folder: str) -> SentencePieceText | None:
    """The vocabulary beside a network, if its ids are those of one SentencePiece model.

    Args:
        folder: with `source.spm`, `target.spm` and `vocab.json`.

    Returns:
        The vocabulary; None, with a warning where there are such files, if it is none
        of ours: Marian's own have a model a language, and ids of their own.
    """
    paths = [os.path.join(folder, name) for name in (*_SPM, _PIECES)]
    if not all(tf.io.gfile.exists(path) for path in paths):
        return None
    models = [files.read_whole(path, "pieces", "") for path in paths[:2]]
    try:
        if models[0] != models[1]:
            raise UserError("each language has a SentencePiece model of its own")
        text = SentencePieceText(models[0])
        ids = json_fields.read_object(paths[2], "remove or mend it")
        if ids != _ids(_processor(models[0])):
            raise UserError(f"{_PIECES} has other ids than {_SPM[0]}")
    except UserError as error:
        console.warn(f"the vocabulary in {folder} is left out: {error}")
        return None
    return text


def _processor(model: bytes) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=model)


def _ids(processor) -> dict[str, int]:
    """The pieces of a SentencePiece model, in order."""
    return {processor.IdToPiece(i): i for i in range(processor.GetPieceSize())}


# ---- Writing ----


def write(folder: str, model: Transformer, text: Any = None) -> int:
    """Writes a network.

    Args:
        folder: where to; files there are replaced.
        model: the network.
        text: its vocabulary, which is written if it is a SentencePiece model.

    Returns:
        The number of tensors.

    Raises:
        UserError: the folder cannot be written to, or the network normalises before
            each sublayer.
    """
    config = model.config
    if config.norm != "post":
        raise UserError(
            "Hugging Face's Marian normalises behind each sum, and this network before "
            "each sublayer; train one with --norm=post"
        )
    if config.norm_epsilon != EPSILON:
        console.warn(
            f"Hugging Face's Marian adds {EPSILON:g} to variances, and this network "
            f"{config.norm_epsilon:g}: outputs differ a little"
        )
    ids = {
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "decoder_start_token_id": config.start_id,
        # Translations that are cut at their greatest length stay as they are.
        "forced_eos_token_id": None,
    }
    settings = ids | {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "vocab_size": config.vocab_size,
        "decoder_vocab_size": config.vocab_size,
        "d_model": config.hidden_size,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "activation_function": _ACTIVATIONS[config.activation][0],
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": not config.pad_is_zero,
        "max_position_embeddings": LONGEST,
    }
    for side in ("encoder", "decoder"):
        settings[f"{side}_ffn_dim"] = config.filter_size
        settings[f"{side}_attention_heads"] = config.num_heads
    tensors = to_theirs(model)

    def path(name):
        return os.path.join(folder, name)

    files.write_whole(path(_CONFIG), files.json_text(settings))
    generation = ids | {"max_length": LONGEST // 2}
    files.write_whole(path(_GENERATION), files.json_text(generation))
    if isinstance(text, SentencePieceText):
        _write_text(folder, text)
    pytorch_files.write_safetensors(path(SAFETENSORS), tensors)
    return len(tensors)


def _write_text(folder: str, text: SentencePieceText) -> None:
    """The files of a MarianTokenizer that gives our ids."""
    model = base64.b64decode(text.to_facts()["sentencepiece"])
    processor = _processor(model)
    names = ("pad", "eos", "unk")
    tokenizer = {
        f"{name}_token": processor.IdToPiece(getattr(processor, f"{name}_id")())
        for name in names
    }
    tokenizer |= {"tokenizer_class": "MarianTokenizer", "model_max_length": LONGEST}
    for name in _SPM:
        files.write_whole(os.path.join(folder, name), model)
    for name, content in ((_PIECES, _ids(processor)), (_TOKENIZER, tokenizer)):
        files.write_whole(os.path.join(folder, name), files.json_text(content))
