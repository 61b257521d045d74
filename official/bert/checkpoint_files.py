"""Settings and vocabularies that lie beside weights."""

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from official.bert import vocabulary
from official.utils.data import json_fields
from official.utils.errors import UserError
from official.utils.logs import console

VOCABULARY = "vocab.txt"
TOKENIZER_SETTINGS = "tokenizer_config.json"
# All that transformers 5 writes, without a vocab.txt.
_TOKENIZER = "tokenizer.json"


def read_vocabulary(folder: str, given: str | None) -> list[str] | None:
    """The pieces in `vocab.txt`.

    Args:
        folder: where it lies; there may be none.
        given: a file in its place, which must be there.

    Raises:
        UserError: the file cannot be read or is no vocabulary.
    """
    path = given or os.path.join(folder, VOCABULARY)
    return vocabulary.read(path) if given or tf.io.gfile.exists(path) else None


def read_tokenizer(
    folder: str, given: str | None
) -> tuple[list[str] | None, bool | None]:
    """The pieces of Hugging Face's tokenizer, and whether it takes lower case.

    Args:
        folder: where its files lie; each may be missing.
        given: a `vocab.txt` in place of the one there.

    Returns:
        Pieces and case; None for what no file tells.

    Raises:
        UserError: a file cannot be read, or is no tokenizer of BERT.
    """
    settings = _read_if_there(os.path.join(folder, TOKENIZER_SETTINGS))
    path = os.path.join(folder, _TOKENIZER)
    whole = _read_if_there(path)
    normalizer = whole.get("normalizer") or {}
    lower_case = settings.get("do_lower_case", normalizer.get("lowercase"))
    lower_case = lower_case if isinstance(lower_case, bool) else None
    for name, good in (
        ("strip_accents", (None, lower_case)),
        ("tokenize_chinese_chars", (None, True)),
    ):
        if (value := settings.get(name)) not in good:
            console.warn(
                f"{folder} has a tokenizer with {name} = {value}; here text in lower "
                "case loses its accents, other text keeps them, and Chinese characters "
                "stand alone"
            )
    pieces = read_vocabulary(folder, given)
    if pieces is None and whole:
        pieces = _pieces(whole, path)
    return pieces, lower_case


def _read_if_there(path: str) -> dict[str, Any]:
    return (
        json_fields.read_object(path, "remove or mend it")
        if tf.io.gfile.exists(path)
        else {}
    )


def _pieces(tokenizer: Mapping[str, Any], path: str) -> list[str]:
    try:
        kind = tokenizer["model"]["type"]
        ids = dict(tokenizer["model"]["vocab"])
        ids |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no tokenizer of word pieces ({error!r}); give the vocab.txt "
            "with --vocab_file"
        ) from None
    pieces = sorted(ids, key=ids.get)
    if kind != "WordPiece" or [ids[piece] for piece in pieces] != [*range(len(ids))]:
        raise UserError(
            f"{path} is no tokenizer of word pieces numbered from 0 ({kind}); give the "
            "vocab.txt with --vocab_file"
        )
    return pieces
