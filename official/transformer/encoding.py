"""Pairs of sentences as ids, by processes that import no TensorFlow.

It would take each of them seconds and hundreds of megabytes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

# The ids of sentences, one behind the other, and the length of each, int32.
Side = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """Some pairs as ids.

    Attributes:
        inputs: the sentences.
        targets: their translations.
        num_empty: pairs that were left out because a side was empty.
        num_long: pairs that were left out because a side was too long.
    """

    inputs: Side
    targets: Side
    num_empty: int
    num_long: int

    def __len__(self) -> int:
        return len(self.inputs[1])


def encode(pairs: Sequence[tuple[str, str]], text: Any, max_length: int) -> Encoded:
    """Encodes pairs.

    Args:
        pairs: sentences and their translations.
        text: the vocabulary, which has `encode_many`.
        max_length: most pieces of a side, its end included.

    Returns:
        The ids of the pairs that are not left out.
    """
    full = [pair for pair in pairs if pair[0] and pair[1]]
    both = [text.encode_many([pair[side] for pair in full]) for side in range(2)]
    kept = [
        pair for pair in zip(*both, strict=True) if max(map(len, pair)) <= max_length
    ]
    sides = [_side([pair[side] for pair in kept]) for side in range(2)]
    return Encoded(*sides, len(pairs) - len(full), len(full) - len(kept))


def _side(rows: Sequence[np.ndarray]) -> Side:
    lengths = np.array([len(row) for row in rows], np.int32)
    values = np.concatenate(rows) if len(rows) else np.zeros(0, np.int32)
    return values.astype(np.int32), lengths
