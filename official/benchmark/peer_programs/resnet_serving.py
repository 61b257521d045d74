"""What the programs that train ResNet-50 share: arguments and a batch."""

import argparse

import numpy as np
import serving

NUM_CLASSES = 1000


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that the programs take."""
    arguments = serving.parser(description, optimizer="sgd")
    arguments.add_argument("--image_size", type=int, default=224)
    return arguments


def random_batch(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Noise: float32 [batch, size, size, 3] of deviation 1, and int64 [batch]."""
    generator = np.random.default_rng(options.seed)
    shape = (options.batch_size, options.image_size, options.image_size, 3)
    images = generator.standard_normal(shape, np.float32)
    return images, generator.integers(0, NUM_CLASSES, options.batch_size)
