"""What the benchmark of crops lets take turns: four ways to training crops.

crops.py says what each of them is.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from official.utils.errors import UserError, one_line

# Of the box: its share of the picture and width over height. It has to cover a tenth of
# the picture, which is the whole object.
_AREA = (0.05, 1.0)
_COVERED = 0.1
_ASPECT = (3 / 4, 4 / 3)
_TRIES = 100

# Endless batches, uint8 [rows, size, size, 3], from the one of a number on.
OpenBatches = Callable[[int], Iterator[Any]]


def contenders(
    paths: Sequence[str], image_size: int, batch_size: int, seed: int
) -> dict[str, OpenBatches]:
    """The ways to training crops, by name.

    Args:
        paths: JPEG files.
        image_size: height and width of a crop.
        batch_size: crops of a batch, at most as many as files.
        seed: of order, boxes and mirroring.

    Raises:
        UserError: from the iterators, if Pillow cannot decode a file.
        tf.errors.OpError: from the iterators, if TensorFlow cannot.
    """
    arguments = (paths, image_size, batch_size, seed)
    return {
        "official": _official(*arguments, 1),
        "official_all": _official(*arguments, os.cpu_count() or 1),
        "tf_io": _tf_io(*arguments),
        "pillow": _pillow(*arguments),
    }


def _official(paths, image_size, batch_size, seed, calls) -> OpenBatches:
    """The training stream of the classifier's task."""
    import numpy as np

    from official.utils.data.streams import Share
    from official.utils.flags import core as flags_core
    from official.vision.image_classification import classifier, parts, recipes
    from official.vision.image_classification.task import ClassificationTask

    class FilesTask(ClassificationTask):
        """The task on files, which `folder` decodes into memory if they are small."""

        def load(self) -> str:
            part = parts.Files(np.array(paths), np.zeros(len(paths), np.int32))
            self._data = parts.Dataset("folder", "files", part, part, part, ("all",))
            return self._data.name

    settings = flags_core.resolve(
        flags_core.make_flags(
            classifier.define_flags,
            recipes.RECIPES,
            dataset="folder",
            model="resnet50",
            crop="distorted",
            image_size=image_size,
            batch_size=batch_size,
            seed=seed,
            num_parallel_calls=calls,
        ),
        recipes.RECIPES,
    )
    task = FilesTask(settings)
    task.load()
    stream = task.training_stream()

    def open_batches(first):
        batches = iter(stream.dataset(first, Share(1, 0, 1)))
        return (batch["image"] for batch in batches)

    return open_batches


def _tf_io(paths, image_size, batch_size, seed) -> OpenBatches:
    """tf.data as tutorials write it, with the boxes of the recipe of 2019."""
    import numpy as np
    import tensorflow as tf

    order = np.random.default_rng(seed).permutation(len(paths))
    shuffled = tf.constant([paths[row] for row in order])
    # The whole picture is the object.
    objects = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])

    def crop(number):
        content = tf.io.read_file(shuffled[number % len(paths)])
        image = tf.io.decode_jpeg(content, 3, dct_method="INTEGER_ACCURATE")
        draw = tf.stack([tf.constant(seed, tf.int64), number])
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            objects,
            draw,
            min_object_covered=_COVERED,
            aspect_ratio_range=_ASPECT,
            area_range=_AREA,
            max_attempts=_TRIES,
        )
        image = tf.slice(image, begin, extent)
        image = tf.image.resize(image, [image_size, image_size])
        image = tf.image.stateless_random_flip_left_right(image, draw)
        image = tf.cast(tf.round(image), tf.uint8)
        return tf.ensure_shape(image, [image_size, image_size, 3])

    def open_batches(first):
        numbers = tf.data.Dataset.range(first * batch_size, np.iinfo(np.int64).max)
        crops = numbers.map(crop, num_parallel_calls=1, deterministic=True)
        return iter(crops.batch(batch_size, drop_remainder=True).prefetch(1))

    return open_batches


def _pillow(paths, image_size, batch_size, seed) -> OpenBatches:
    """A loop in Python over Pillow."""
    import numpy as np
    from PIL import Image

    order = np.random.default_rng(seed).permutation(len(paths))

    def crop(path, generator):
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except OSError as error:
            raise damaged(path, error) from None
        image = image.resize(
            (image_size, image_size),
            Image.Resampling.BILINEAR,
            box=random_box(*image.size, generator),
        )
        if generator.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(image)

    def open_batches(first):
        generator = np.random.default_rng([seed, first])
        number = first * batch_size
        while True:
            rows = [order[(number + row) % len(paths)] for row in range(batch_size)]
            yield np.stack([crop(paths[row], generator) for row in rows])
            number += batch_size

    return open_batches


def random_box(width: int, height: int, generator) -> tuple[int, int, int, int]:
    """A box as `tf.image.sample_distorted_bounding_box` draws it.

    The shape is drawn first, then one of the heights that it may have, all being
    equally likely; so small boxes are rarer than if areas were drawn.

    Args:
        width: of the picture, pixels.
        height: of the picture.
        generator: numpy's.

    Returns:
        left, top, right and bottom; the whole picture where no box fits in 100 tries.
    """
    whole = width * height
    for _ in range(_TRIES):
        aspect = generator.uniform(*_ASPECT)
        lowest, highest = (round(math.sqrt(area * whole / aspect)) for area in _AREA)
        highest = min(highest, height, int((width + 0.5) / aspect))
        tall = int(generator.integers(min(lowest, highest), highest + 1))
        wide = round(tall * aspect)
        if wide > width or wide * tall < max(_COVERED, _AREA[0]) * whole:
            continue
        left = int(generator.integers(width - wide + 1))
        top = int(generator.integers(height - tall + 1))
        return left, top, left + wide, top + tall
    return 0, 0, width, height


def damaged(path: str, error: Exception) -> UserError:
    """The error of a file that cannot be decoded.

    Args:
        path: of the file.
        error: why, as the decoder says it.
    """
    return UserError(
        f"{path} cannot be decoded ({one_line(error)}); restore or remove it"
    )
