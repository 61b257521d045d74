"""What the programs that fine-tune BERT-base share: arguments and a batch."""

import argparse

import numpy as np
import serving

NUM_CLASSES = 2


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that the programs take."""
    arguments = serving.parser(description, optimizer="adamw")
    arguments.add_argument("--sequence_length", type=int, default=128)
    arguments.add_argument("--vocab_size", type=int, default=30522)
    arguments.add_argument("--clip_norm", type=float, default=1.0)
    return arguments


def random_batch(options: argparse.Namespace) -> tuple[dict[str, np.ndarray], ...]:
    """Sequences without padding.

    Returns:
        The inputs by the names of Hugging Face, int64 [batch, length] each, and the
        labels, int64 [batch].
    """
    generator = np.random.default_rng(options.seed)
    shape = (options.batch_size, options.sequence_length)
    inputs = {
        "input_ids": generator.integers(0, options.vocab_size, shape),
        "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    return inputs, generator.integers(0, NUM_CLASSES, options.batch_size)
