"""The data sets of the classifier, by name.

name      pictures                                        source
shapes    32x32, drawn from a seed, ten classes           needs no file
cifar10   32x32, ten classes                              its files in `--data_dir`
imagenet  JPEG of any size, 1000 classes                  TFRecord shards or TFDS
folder    of any size and format, a sub-folder a class    your own pictures
"""

import numpy as np

from official.utils.flags.settings import Settings
from official.vision.image_classification import parts

NAMES = ("shapes", "cifar10", "imagenet", "folder")
DEFAULT = "shapes"
# Made-up pictures are so many, however long a run: they are trained on again and again.
_SYNTHETIC_PICTURES = 512
_NUM_CLASSES = {"shapes": 10, "cifar10": 10, "imagenet": 1000, "folder": 10}


def load(settings: Settings) -> parts.Dataset:
    """Reads the data set that `--dataset` names.

    Args:
        settings: resolved flags of the classifier.

    Returns:
        The data set.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    # Each is imported where it is used: to draw shapes needs no reader of files.
    if settings.dataset == "shapes":
        from official.vision.image_classification import shapes

        return shapes.load(settings.seed)
    if settings.dataset == "cifar10":
        from official.vision.image_classification import cifar

        return cifar.load(settings.data_dir, settings.seed, settings.download)
    if settings.dataset == "imagenet":
        from official.vision.image_classification import imagenet

        return imagenet.load(settings.data_dir, settings.seed)
    from official.vision.image_classification import image_folder

    return image_folder.load(
        settings.data_dir,
        settings.seed,
        settings.max_skipped_fraction,
        settings.num_parallel_calls,
        settings.validation_fraction,
    )


def synthetic(name: str, image_size: int, num_classes: int | None) -> parts.Dataset:
    """Made-up pictures, to measure speed without a data set.

    Args:
        name: of the data set whose number of classes they have.
        image_size: height and width.
        num_classes: instead of that of the data set; None for that.

    Returns:
        A data set whose parts are the same pictures.
    """
    num_classes = num_classes or _NUM_CLASSES[name]
    generator = np.random.default_rng(0)
    shape = (_SYNTHETIC_PICTURES, image_size, image_size, 3)
    part = parts.Arrays(
        generator.integers(0, 256, shape, np.uint8),
        generator.integers(0, num_classes, _SYNTHETIC_PICTURES, np.int32),
    )
    names = tuple(f"class {label}" for label in range(num_classes))
    source = "made-up pictures (--use_synthetic_data)"
    return parts.Dataset(name, source, part, part, part, names)
