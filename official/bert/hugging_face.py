"""Reads and writes BERT as Hugging Face's `transformers` keeps it, a folder a network.

`model.safetensors` or `pytorch_model.bin` holds the weights, `config.json` the
settings, `vocab.txt` or `tokenizer.json` the pieces; `tokenizer_config.json` says
whether case counts.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from official.bert import checkpoint_files, checkpoint_tensors, vocabulary
from official.bert import config as configs
from official.bert.checkpoint_files import TOKENIZER_SETTINGS, VOCABULARY
from official.bert.checkpoint_names import HUGGING_FACE_COPIES, LOGITS
from official.bert.checkpoint_tensors import Initial
from official.bert.config import BertConfig
from official.utils.data import json_fields
from official.utils.errors import UserError
from official.utils.logs import files
from official.utils.weights import pytorch_files
from official.utils.weights.pytorch_files import SAFETENSORS, STATE_DICT

WEIGHTS = (SAFETENSORS, STATE_DICT)
_CONFIG = "config.json"

# Theirs by ours, the name first that every version knows. "gelu" is exact there.
_ACTIVATIONS = {
    "gelu_erf": ("gelu", "gelu_python"),
    "gelu": (
        "gelu_new",
        "gelu_pytorch_tanh",
        "gelu_python_tanh",
        "gelu_fast",
        "gelu_accurate",
    ),
    "relu": ("relu",),
}
# Settings that make another network of it: what they may be.
_FIXED = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
# Parts of a network beside the pooler, and the class that has them.
_CLASSES = {
    frozenset(): "BertModel",
    frozenset({"masked_lm", "next_sentence"}): "BertForPreTraining",
    frozenset({"masked_lm"}): "BertForMaskedLM",
    frozenset({"next_sentence"}): "BertForNextSentencePrediction",
    frozenset({"classes"}): "BertForSequenceClassification",
    frozenset({"spans"}): "BertForQuestionAnswering",
}
_PREFIX = "bert."


def read(
    path: str, config_file: str | None = None, vocab_file: str | None = None
) -> Initial:
    """Reads a network.

    Args:
        path: the file of weights, a safetensors file or a state dict of PyTorch.
        config_file: the settings; None for `config.json` beside the weights.
        vocab_file: the vocabulary; None for `vocab.txt` there, if there is one.

    Returns:
        The network.

    Raises:
        UserError: a file is missing, damaged or of another network, or a library is
            missing.
    """
    folder = os.path.dirname(path)
    tensors = pytorch_files.read(path)
    config, settings = _read_config(config_file or os.path.join(folder, _CONFIG))
    tensors = _without_copies(_with_todays_names(tensors), path)
    values, has_spans = checkpoint_tensors.from_theirs(
        tensors, "hugging_face", config, path
    )
    label_names = None
    if LOGITS in values and not has_spans:
        label_names = _label_names(settings, values[LOGITS].shape[1])
    pieces, lower_case = checkpoint_files.read_tokenizer(folder, vocab_file)
    return Initial(values, config, pieces, lower_case, label_names, has_spans)


def _read_config(path: str) -> tuple[BertConfig, dict[str, Any]]:
    found = json_fields.read_object(
        path, f"put the network's {_CONFIG} beside its weights"
    )
    for name, good in _FIXED.items():
        value = found.get(name)
        if value is not None and value not in good:
            raise UserError(
                f"{path} has {name} = {value!r}, which is another network than BERT "
                f"({name} = {good[0]!r})"
            )
    theirs = found.get("hidden_act", "gelu")
    ours = [name for name, names in _ACTIVATIONS.items() if theirs in names]
    if not ours:
        known = ", ".join(name for names in _ACTIVATIONS.values() for name in names)
        raise UserError(
            f"{path} has hidden_act = {theirs!r}; networks here have one of {known}"
        )
    return configs.from_fields(found | {"hidden_act": ours[0]}, path), found


def _label_names(settings: Mapping, outputs: int) -> tuple[str, ...] | None:
    if settings.get("problem_type") == "regression":
        return ()
    names = settings.get("id2label")
    if not isinstance(names, dict) or names.keys() != set(map(str, range(outputs))):
        return None
    names = tuple(str(names[str(label)]) for label in range(outputs))
    return None if names == _numbered(outputs) else names


def _numbered(outputs: int) -> tuple[str, ...]:
    """Names that Hugging Face makes up."""
    return tuple(f"LABEL_{label}" for label in range(outputs))


def _with_todays_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names of networks with heads, and those of 2019 for norms."""
    has_prefix = any(name.startswith(_PREFIX) for name in tensors)
    renamed = {}
    for name, value in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        is_base = name.startswith(("embeddings.", "encoder.", "pooler."))
        renamed[_PREFIX + name if is_base and not has_prefix else name] = value
    return renamed


def _without_copies(
    tensors: Mapping[str, np.ndarray], path: str
) -> dict[str, np.ndarray]:
    """Leaves out what is known to say nothing new, once that is seen to be so."""
    kept = dict(tensors)
    for copy, name in HUGGING_FACE_COPIES.items():
        if copy not in kept:
            continue
        value = kept.pop(copy)
        # Of two names for one tensor a file may hold either.
        if not np.array_equal(kept.setdefault(name, value), value):
            raise UserError(
                f"{path} has a {copy} that differs from {name}; in a network of BERT "
                "they are one"
            )
    ids = kept.pop("bert.embeddings.position_ids", None)
    if ids is not None and not np.array_equal(ids.ravel(), np.arange(ids.size)):
        raise UserError(f"{path} counts positions otherwise than 0, 1, 2, ...")
    kinds = kept.pop("bert.embeddings.token_type_ids", None)
    if kinds is not None and kinds.any():
        raise UserError(f"{path} has segments that are not 0 by default")
    return kept


def write(folder: str, initial: Initial) -> int:
    """Writes a network.

    Args:
        folder: where to; files there are replaced.
        initial: the network.

    Returns:
        The number of tensors.

    Raises:
        UserError: the folder cannot be written to, or the network has parts that no
            class of Hugging Face's has.
    """
    tensors = checkpoint_tensors.to_theirs(initial, "hugging_face")
    parts = frozenset(initial.parts - {"pooler"})
    if parts not in _CLASSES:
        raise UserError(
            f"Hugging Face has no BERT with {' and '.join(sorted(parts))} at once; "
            "convert a network with one of them"
        )
    if not parts:
        tensors = {name.removeprefix(_PREFIX): x for name, x in tensors.items()}
    config = initial.config
    settings = dataclasses.asdict(config) | {
        "hidden_act": _ACTIVATIONS[config.hidden_act][0],
        "architectures": [_CLASSES[parts]],
        "model_type": "bert",
        "pad_token_id": 0,
    }
    if "classes" in parts:
        outputs = initial.values[LOGITS].shape[1]
        names = initial.label_names or _numbered(outputs)
        settings["id2label"] = {str(label): name for label, name in enumerate(names)}
        settings["label2id"] = {name: label for label, name in enumerate(names)}
        if initial.label_names == ():
            settings["problem_type"] = "regression"
    if initial.vocabulary is not None:
        settings["pad_token_id"] = initial.vocabulary.index("[PAD]")
    files.write_whole(os.path.join(folder, _CONFIG), files.json_text(settings))
    if initial.vocabulary is not None:
        vocabulary.write(os.path.join(folder, VOCABULARY), initial.vocabulary)
    if initial.lower_case is not None:
        tokenizer = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": initial.lower_case,
            "model_max_length": config.max_position_embeddings,
        }
        path = os.path.join(folder, TOKENIZER_SETTINGS)
        files.write_whole(path, files.json_text(tokenizer))
    pytorch_files.write_safetensors(os.path.join(folder, SAFETENSORS), tensors)
    return len(tensors)
