"""BERT's checkpoints: those of TF1, of Hugging Face and of this project.

- TF1: `bert_model.ckpt` with `bert_config.json` and `vocab.txt` beside it, also of
  fine-tuned networks.
- Hugging Face: see `hugging_face`.
- This project ("garden"): a run's folder or a checkpoint, whose facts hold settings and
  vocabulary.
"""

import dataclasses
import json
import os
import re
import types

import numpy as np
import tensorflow as tf

from official.bert import (
    checkpoint_files,
    checkpoint_tensors,
    hugging_face,
    vocabulary,
)
from official.bert import config as configs
from official.bert.checkpoint_files import VOCABULARY
from official.bert.checkpoint_names import (
    LOGITS,
    POOLER,
    RANDOM_STATE,
    is_dropped_of_tf1,
)
from official.bert.checkpoint_tensors import Initial, first
from official.utils.data import json_fields
from official.utils.errors import UserError, one_line, writing
from official.utils.logs import files
from official.utils.training import checkpoints
from official.utils.training.trainer import State

_TF1_PREFIX, _TF1_CONFIG = "bert_model.ckpt", "bert_config.json"
_STATE = "state"
# TF1's code knows no other; its own settings do not name it.
_TF1_EPSILON = 1e-12
_UNREADABLE = (ValueError, RuntimeError, IndexError, tf.errors.OpError)


def read_initial(
    path: str, config_file: str | None = None, vocab_file: str | None = None
) -> Initial:
    """Reads a network of any of the three forms.

    Args:
        path: a folder, a prefix or a file; what lies there tells the form.
        config_file: settings in place of those that lie beside the weights, in the same
            form.
        vocab_file: a vocabulary in place of the one that lies there.

    Returns:
        The network.

    Raises:
        UserError: nothing is there, a file is damaged or of another network, or the
            vocabulary does not fit the table of words.
    """
    place = _find(path)
    if place.endswith((".safetensors", ".bin")):
        initial = hugging_face.read(place, config_file, vocab_file)
    else:
        initial = _read_tensorflow(place, config_file, vocab_file)
    pieces, words = initial.vocabulary, initial.config.vocab_size
    if pieces is not None and len(pieces) != words:
        raise UserError(
            f"{path}: the vocabulary has {len(pieces)} pieces and the table of words "
            f"{words} rows; give the vocab.txt that belongs to the network"
        )
    if pieces is not None and initial.lower_case is None:
        return dataclasses.replace(initial, lower_case=not _has_capitals(pieces))
    return initial


def _find(path: str) -> str:
    """A file of Hugging Face's, or the prefix of a checkpoint."""
    if not tf.io.gfile.isdir(path):
        # What a shell completes to.
        return re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path)
    for name in hugging_face.WEIGHTS:
        if tf.io.gfile.exists(os.path.join(path, name)):
            return os.path.join(path, name)
    for folder in (os.path.join(path, "checkpoints"), path):
        if prefix := tf.train.latest_checkpoint(folder):
            return prefix
    names = sorted(
        name.removesuffix(".index")
        for name in tf.io.gfile.listdir(path)
        if name.endswith(".index")
    )
    if len(names) == 1:
        return os.path.join(path, names[0])
    found = f"several checkpoints ({first(names)})" if names else "no checkpoint"
    raise UserError(
        f"{path} holds {found}; name a run's folder, the prefix of a checkpoint "
        f"(DIR/{_TF1_PREFIX}), or a folder with {' or '.join(hugging_face.WEIGHTS)}"
    )


def _has_capitals(pieces: list[str]) -> bool:
    """Whether case counts: text in lower case never has one of these letters."""
    return any(
        character.isascii() and character.isupper()
        for piece in pieces
        if not (piece.startswith("[") and piece.endswith("]"))
        for character in piece
    )


# ---- TensorFlow's format ----


def _read_tensorflow(
    prefix: str, config_file: str | None, vocab_file: str | None
) -> Initial:
    try:
        reader = tf.train.load_checkpoint(prefix)
        names = sorted(reader.get_variable_to_shape_map())
        is_ours = _STATE in names and any(name.startswith("model/") for name in names)
        if not is_ours and not any(name.startswith("bert/") for name in names):
            raise UserError(
                f"{prefix} is no checkpoint of a BERT network, neither TF1's "
                f"(bert/...) nor a run's: {first(names)}"
            )
        if is_ours:
            wanted = [
                name
                for name in names
                if name.startswith("model/") and not name.endswith(RANDOM_STATE)
            ]
            state = json.loads(reader.get_tensor(_STATE))
        else:
            wanted = [name for name in names if not is_dropped_of_tf1(name)]
        tensors = {name: np.asarray(reader.get_tensor(name)) for name in wanted}
    except UserError:
        raise
    except _UNREADABLE as error:
        # The reader's exceptions are of many kinds.
        raise UserError(
            f"{prefix} is no readable checkpoint ({one_line(error)}); name a folder, a "
            f"prefix such as DIR/checkpoints/ckpt-100 or DIR/{_TF1_PREFIX}, or a file "
            "that ends in .safetensors or .bin"
        ) from None
    if is_ours:
        facts = state.get("facts", {})
        return _initial_of_ours(tensors, facts, prefix, config_file, vocab_file)
    return _initial_of_tf1(tensors, prefix, config_file, vocab_file)


def _initial_of_tf1(tensors, prefix, config_file, vocab_file) -> Initial:
    folder = os.path.dirname(prefix)
    path = config_file or os.path.join(folder, _TF1_CONFIG)
    found = json_fields.read_object(path, f"put the network's {_TF1_CONFIG} there")
    config = configs.from_fields(found, path)
    values, has_spans = checkpoint_tensors.from_theirs(tensors, "tf1", config, prefix)
    pieces = checkpoint_files.read_vocabulary(folder, vocab_file)
    # No setting of TF1's own, which passes over those that it does not know.
    lower_case = found.get("do_lower_case")
    lower_case = lower_case if isinstance(lower_case, bool) else None
    return Initial(values, config, pieces, lower_case, has_spans=has_spans)


def _initial_of_ours(tensors, facts, prefix, config_file, vocab_file) -> Initial:
    if config_file:
        config = configs.read(config_file)
    elif isinstance(facts.get("config"), dict):
        config = configs.from_fields(facts["config"], prefix)
    else:
        raise UserError(f"{prefix} is no checkpoint of a BERT network of this project")
    values, _ = checkpoint_tensors.from_theirs(tensors, "garden", config, prefix)
    pieces = vocabulary.read(vocab_file) if vocab_file else facts.get("vocabulary")
    names = facts.get("label_names")
    # What a run trains has a pooler for classes and none for spans.
    is_of_spans = LOGITS in values and names is None and POOLER not in values
    return Initial(
        values,
        config,
        pieces,
        facts.get("lower_case"),
        None if names is None else tuple(names),
        facts.get("has_spans", is_of_spans),
    )


# ---- Writing ----


def write(folder: str, initial: Initial, form: str) -> int:
    """Writes a network, so that `read_initial` reads it from the folder.

    TF1 has no name for the exact gelu: `bert_config.json` then says "gelu_erf", which
    this project reads, and which TF1's code refuses instead of taking another.

    Args:
        folder: a new one.
        initial: the network.
        form: of `checkpoint_names.FORMS`.

    Returns:
        The number of tensors.

    Raises:
        UserError: the form does not know such a network, or the folder cannot be
            written to.
    """
    writers = {
        "tf1": _write_tf1,
        "hugging_face": hugging_face.write,
        "garden": _write_ours,
    }
    return writers[form](folder, initial)


def _write_tf1(folder: str, initial: Initial) -> int:
    """The names are those that `tf.compat.v1.train.Saver` gives its variables."""
    config = initial.config
    if config.layer_norm_eps != _TF1_EPSILON:
        raise UserError(
            f"TF1's BERT has layer_norm_eps = {_TF1_EPSILON}, and this network "
            f"{config.layer_norm_eps}; give --format=hugging_face or garden"
        )
    tensors = checkpoint_tensors.to_theirs(initial, "tf1")
    settings = dataclasses.asdict(config)
    del settings["layer_norm_eps"]
    if initial.lower_case is not None:
        settings["do_lower_case"] = initial.lower_case
    with writing(folder):
        tf.io.gfile.makedirs(folder)
        tf.raw_ops.SaveV2(
            prefix=os.path.join(folder, _TF1_PREFIX),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=list(tensors.values()),
        )
    files.write_whole(os.path.join(folder, _TF1_CONFIG), files.json_text(settings))
    if initial.vocabulary is not None:
        vocabulary.write(os.path.join(folder, VOCABULARY), initial.vocabulary)
    return len(tensors)


def _write_ours(folder: str, initial: Initial) -> int:
    """A run's folder with a checkpoint of step 0, without an optimizer."""
    tensors = checkpoint_tensors.to_theirs(initial, "garden")
    facts = {
        "config": dataclasses.asdict(initial.config),
        "vocabulary": initial.vocabulary,
        "lower_case": initial.lower_case,
    }
    if initial.label_names is not None:
        facts["label_names"] = list(initial.label_names)
    if LOGITS in tensors:
        facts["has_spans"] = initial.has_spans
    variables = {
        name: types.SimpleNamespace(value=value) for name, value in tensors.items()
    }
    checkpoints.Checkpoints(os.path.join(folder, "checkpoints")).save(
        variables, vars(State(facts=facts))
    )
    return len(tensors)
