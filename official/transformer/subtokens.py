r"""The subtoken vocabularies of 2019, as the Transformer of that year wrote them.

A file has a subtoken a line, in quotes; the first is padding and the second the end of
a sentence. A text is divided where letters and digits meet other characters; each part
ends in "_", a single blank between two words is left out, "_" is written as "\u" and
"\" as "\\", and a character that is no subtoken of its own as "\", its number and ";".
A part is divided into the longest subtokens, from left to right. Facts:
tensorflow/models of 2019, `official/transformer/utils/tokenizer.py`.
"""

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from official.transformer.text import EOS, missing
from official.utils.errors import UserError

_RESERVED = ("<pad>", "<EOS>")
# What every text can be written with, whatever its characters.
_ESCAPES = "\\_u;0123456789"
# What tensorflow-text takes, in UTF-8; the longest subtokens have a byte a character.
_MAX_CHARACTERS = 256
_REMEDY = "name a subtoken file of 2019, or a SentencePiece model"


class SubtokenText:
    """A vocabulary of both languages.

    Attributes:
        vocab_size: how many subtokens there are.
        resources: what a SavedModel has to track.
    """

    def __init__(self, subtokens: Sequence[str]):
        """Takes the subtokens.

        Args:
            subtokens: all different, each at the place of its id; the characters of
                escapes are among them.
        """
        self._subtokens = list(subtokens)
        self._ids = {subtoken: i for i, subtoken in enumerate(subtokens)}
        self._longest = max(map(len, subtokens))
        self._characters = set(characters(subtokens))
        self._encoded = functools.lru_cache(maxsize=1 << 16)(self._encode_token)
        self.vocab_size = len(self._subtokens)
        # The operation keeps its automaton in a constant.
        self.resources: list[Any] = []

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

    def _encode_token(self, token: str) -> list[int]:
        escaped = token.replace("\\", "\\\\").replace("_", "\\u")
        known = self._characters
        escaped = "".join(c if c in known else f"\\{ord(c)};" for c in escaped) + "_"
        found, start = [], 0
        while start < len(escaped):
            end = min(start + self._longest, len(escaped))
            # At the latest the character alone is a subtoken.
            while (number := self._ids.get(escaped[start:end])) is None:
                end -= 1
            found.append(number)
            start = end
        return found

    # ---- In the graph ----

    def encode(self, text: Any) -> Any:
        """The ids of sentences with their ends, the same as of `encode_many`.

        Args:
            text: string [N], UTF-8; what is invalid is U+FFFD.

        Returns:
            int32 ragged [N, (pieces)].

        Raises:
            UserError: tensorflow-text is missing.
        """
        return self._in_graph.encode(text)

    def decode(self, ids: Any) -> Any:
        """The sentences of ids.

        Args:
            ids: int32 [N, length]; what comes behind the first end of a sentence does
                not count.

        Returns:
            string [N].

        Raises:
            UserError: tensorflow-text is missing.
        """
        return self._in_graph.decode(ids)

    @functools.cached_property
    def _in_graph(self):
        try:
            from official.transformer import subtoken_graph
        except ImportError:
            raise missing("tensorflow-text") from None
        return subtoken_graph.SubtokenGraph(self._subtokens)

    def __reduce__(self):
        # Processes of a pool make their own from the subtokens.
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
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line and number == len(lines):
            continue
        where = f"{path}: line {number}"
        if len(line) < 3 or line[0] != line[-1] or line[0] not in "'\"":
            raise UserError(f"{where} has no subtoken in quotes; {_REMEDY}")
        subtoken = line[1:-1]
        if len(subtoken) > _MAX_CHARACTERS:
            raise UserError(
                f"{where} has {len(subtoken)} characters where at most "
                f"{_MAX_CHARACTERS} are expected; {_REMEDY}"
            )
        first = numbers.setdefault(subtoken, number)
        if first != number:
            raise UserError(f"{where} repeats {subtoken!r} of line {first}; {_REMEDY}")
    subtokens = list(numbers)
    if tuple(subtokens[:2]) != _RESERVED:
        raise UserError(f"{path} does not begin with <pad> and <EOS>; {_REMEDY}")
    if lacking := set(_ESCAPES) - numbers.keys():
        raise UserError(f"{path} lacks {' '.join(sorted(lacking))}; {_REMEDY}")
    return SubtokenText(subtokens)


def characters(subtokens: Sequence[str]) -> list[str]:
    """The characters that are subtokens of their own, in order; others are escaped."""
    return sorted(s for s in subtokens if len(s) == 1 and s != "\n")


def is_word(character: str) -> bool:
    """Whether it is a letter or a number."""
    return unicodedata.category(character)[0] in "LN"


def _tokens(text: str) -> Iterator[str]:
    """Parts of letters and digits, and of others; not the blanks between two words."""
    kinds = [is_word(c) for c in text]
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or kinds[i] != kinds[i - 1]:
            token = text[start:i]
            if token != " " or start == 0 or i == len(text):
                yield token
            start = i
