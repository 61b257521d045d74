r"""The subtoken vocabularies of 2019, as the Transformer of that year wrote them.

A file has a subtoken a line, in quotes; the first is padding and the second the end of
a sentence. A text is divided where letters and digits meet other characters; each part
ends in "_", a single blank between two words is left out, and characters that have no
subtoken of their own, and "_" and "\", are written with backslashes. A part is divided
into the longest subtokens, from left to right. Facts: tensorflow/models of 2019,
`official/transformer/utils/tokenizer.py`.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from official.transformer.text import EOS, PAD
from official.utils.errors import UserError

_RESERVED = ("<pad>", "<EOS>")
_ESCAPE = re.compile(r"\\u|\\\\|\\([0-9]+);")
_REMEDY = "name a subtoken file of 2019, or a SentencePiece model"


class SubtokenText:
    """A vocabulary of both languages; it encodes and decodes outside the graph alone.

    Attributes:
        vocab_size: how many subtokens there are.
    """

    def __init__(self, subtokens: Sequence[str]):
        """Takes the subtokens, each at the place of its id."""
        self._subtokens = list(subtokens)
        self._ids = {subtoken: i for i, subtoken in enumerate(subtokens)}
        self._longest = max(map(len, subtokens))
        self._characters = {c for subtoken in subtokens[2:] for c in subtoken}
        self._encoded = functools.lru_cache(maxsize=1 << 16)(self._encode_token)
        self.vocab_size = len(self._subtokens)

    def to_facts(self) -> dict[str, Any]:
        """What a checkpoint keeps, plain JSON."""
        return {"subtokens": self._subtokens}

    def encode_many(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """The ids of sentences, int32 [pieces] each, with the end of the sentence."""
        return [
            np.array(
                [i for token in _tokens(s) for i in self._encoded(token)] + [EOS],
                np.int32,
            )
            for s in sentences
        ]

    def decode_many(self, rows: np.ndarray) -> list[str]:
        """The sentences of ids, [N, length], up to the first end of each."""
        return [self._decode(row.tolist()) for row in rows]

    def _encode_token(self, token: str) -> list[int]:
        escaped = token.replace("\\", "\\\\").replace("_", "\\u")
        escaped = "".join(
            c if c in self._characters and c != "\n" else f"\\{ord(c)};"
            for c in escaped
        )
        rest, found = f"{escaped}_", []
        while rest:
            for length in range(min(self._longest, len(rest)), 0, -1):
                number = self._ids.get(rest[:length])
                if number is not None:
                    break
            else:
                raise UserError(
                    f"the subtokens have none for {rest[0]!r}; they lack digits or "
                    "backslashes, which every file of 2019 has"
                )
            found.append(number)
            rest = rest[length:]
        return found

    def _decode(self, ids: list[int]) -> str:
        ids = ids[: ids.index(EOS)] if EOS in ids else ids
        text = "".join(self._subtokens[i] for i in ids if i != PAD)
        tokens = [_ESCAPE.sub(_unescaped, token) for token in text.split("_")]
        tokens = [token for token in tokens if token]
        parts: list[str] = []
        for before, token in zip(["", *tokens], tokens, strict=False):
            # The blank between two words was left out.
            if before and _is_word(before[0]) and _is_word(token[0]):
                parts.append(" ")
            parts.append(token)
        return "".join(parts)

    def __reduce__(self):
        return SubtokenText, (self._subtokens,)


def parse(content: bytes, path: str) -> SubtokenText:
    """Reads a file.

    Args:
        content: of the file.
        path: of the file, for errors.

    Raises:
        UserError: it is no such file; the message has the line.
    """
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8; {_REMEDY}") from None
    subtokens = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line and number == len(lines):
            continue
        if len(line) < 3 or line[0] != line[-1] or line[0] not in "'\"":
            raise UserError(f"{path}: line {number} has no quotes; {_REMEDY}")
        subtokens.append(line[1:-1])
    if tuple(subtokens[:2]) != _RESERVED:
        raise UserError(f"{path} does not begin with <pad> and <EOS>; {_REMEDY}")
    return SubtokenText(subtokens)


def _is_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


def _tokens(text: str) -> Iterator[str]:
    """Parts of letters and digits, and of others; not the blanks between two words."""
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or _is_word(text[i]) != _is_word(text[i - 1]):
            token = text[start:i]
            if token != " " or start == 0 or i == len(text):
                yield token
            start = i


def _unescaped(match: re.Match) -> str:
    if match[1] is None:
        return "_" if match[0] == "\\u" else "\\"
    code = int(match[1])
    return chr(code) if code < 0x110000 else ""
