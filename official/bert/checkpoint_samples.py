"""Small random networks of BERT, for tests of checkpoints."""

import dataclasses
from collections.abc import Collection

import numpy as np

from official.bert import checkpoint_names
from official.bert.checkpoint_tensors import Initial
from official.bert.config import BertConfig

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *"ABCD", "##e"]
# No two sizes are alike, so that what is transposed or exchanged does not fit.
CONFIG = BertConfig(
    vocab_size=len(PIECES),
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=16,
    type_vocab_size=3,
)
PARTS = {
    "encoder": (),
    "encoder_and_pooler": ("pooler",),
    "pretraining": ("pooler", "masked_lm", "next_sentence"),
    "masked_lm": ("masked_lm",),
    "classes": ("pooler", "classes"),
    "spans": ("spans",),
    "spans_and_pooler": ("pooler", "spans"),
}


def network(parts: Collection[str], outputs: int = 5, **fields) -> Initial:
    """A network with random weights, whose norms and biases count too.

    Args:
        parts: of `checkpoint_names.HEADS`.
        outputs: classes.
        **fields: of `BertConfig`, in place of those of `CONFIG`.

    Returns:
        The network, with a vocabulary.
    """
    config = dataclasses.replace(CONFIG, **fields)
    generator = np.random.default_rng(0)
    values = {}
    for entry in checkpoint_names.entries("garden", config):
        if entry.part in {"encoder", *parts}:
            shape = [size or outputs for size in entry.shape]
            value = generator.normal(0, 0.3, shape) + entry.ours.endswith("gamma")
            values[entry.ours] = value.astype(np.float32)
    return Initial(values, config, PIECES, False, has_spans="spans" in parts)
