"""Drawn pictures of ten shapes: a set that needs no file and no network.

    part         pictures
    training       20,000
    validation      1,000
    test            2,000

Each picture, uint8 [32, 32, 3], shows one shape before a background, both textured,
with bent lines behind and across it, under changing light and noise; the border cuts
some shapes off. Where the shape lies, its size, tilt and proportions, the colours,
textures, lines, light and noise are drawn without regard to its class, and all classes
cover the same area: only the outline tells them apart.
"""

from collections.abc import Callable

import numpy as np

from official.utils.data import splits
from official.vision.image_classification.parts import Arrays, Dataset

NUM_TRAIN = 20_000
NUM_VALIDATION = 1_000
NUM_TEST = 2_000
IMAGE_SIZE = 32
# Streams of random numbers, so that no picture of the pool is one of the test part.
POOL_STREAM = 0
TEST_STREAM = 1
# Pictures drawn at a time, few enough for the cache: a plane of 200 takes 800 KiB. With
# another number the pictures would be others.
BLOCK_SIZE = 200

# What is drawn for each picture, evenly from the first number to the second. Lengths
# are in pixels, colours run from 0 to 1.
AREA = (140, 270)  # Discs of diameter 13.4 to 18.5.
SHIFT = (-4, 4)  # Of the centre, across and down.
TILT = (-np.pi / 4, np.pi / 4)
STRETCH = (-0.15, 0.15)  # Logarithm of the width's factor, and of the height's divisor.
MIDDLE = (0.35, 0.65)  # Of foreground and background, each channel.
CONTRAST = (0.35, 0.7)  # Between foreground and background.
TEXTURE_CONTRAST = (0.05, 0.3)  # Between the two colours of a texture.
PERIOD = (3, 9)
LINE_REACH = (-5, 5)  # From the bend of a line to its ends, across and down.
LINE_RADIUS = (0.5, 1.2)
BRIGHTNESS = (0.7, 1.2)
NOISE = (0.02, 0.07)


def load(seed: int) -> Dataset:
    """Draws the data set, in about five seconds.

    Args:
        seed: divides the pool into training and validation pictures. The pool and the
            test pictures are the same whatever the seed.

    Returns:
        The data set; its parts are `Arrays` with pictures uint8 [N, 32, 32, 3].
    """
    pool = draw(NUM_TRAIN + NUM_VALIDATION, POOL_STREAM)
    kept, held_out = splits.split_indices(len(pool), NUM_VALIDATION, seed)
    return Dataset(
        name="shapes",
        source="drawn by this program",
        train=Arrays(pool.images[kept], pool.labels[kept]),
        validation=Arrays(pool.images[held_out], pool.labels[held_out]),
        test=draw(NUM_TEST, TEST_STREAM),
        class_names=CLASS_NAMES,
    )


def draw(num_pictures: int, stream: int) -> Arrays:
    """Draws pictures, equally many of each class where the number allows.

    Args:
        num_pictures: how many. Whole blocks of `BLOCK_SIZE` stay the same where more
            are drawn.
        stream: which random numbers, from 0 on.

    Returns:
        Pictures uint8 [num_pictures, 32, 32, 3] and labels in random order.
    """
    numbers = _Numbers(stream)
    images = np.empty((num_pictures, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    labels = np.empty(num_pictures, np.int32)
    for start in range(0, num_pictures, BLOCK_SIZE):
        block = slice(start, min(start + BLOCK_SIZE, num_pictures))
        size = block.stop - block.start
        # Ranks of random numbers are a random order; a stable sort settles ties.
        ranks = np.argsort(numbers.uniform((0, 1), size), kind="stable")
        labels[block] = ranks % len(CLASS_NAMES)
        images[block] = _draw_block(numbers, labels[block])
    return Arrays(images, labels)


class _Numbers:
    """Random numbers from PCG64's raw output, which no release of NumPy changes.

    There is no such promise for the methods of `Generator` (NEP 19).
    """

    def __init__(self, stream: int):
        self._bits = np.random.PCG64(stream)

    def uniform(self, interval: tuple[float, float], *shape: int) -> np.ndarray:
        """Numbers from the first to the second of `interval`, float32 [*shape]."""
        low, high = np.float32(interval)
        raw = self._bits.random_raw(shape)
        # The upper 24 bits: float32 holds no more.
        return low + (high - low) * (raw >> 40).astype(np.float32) * np.float32(2**-24)

    def below(self, bound: int, *shape: int) -> np.ndarray:
        """Whole numbers from 0 to `bound` - 1, int64 [*shape]."""
        upper = (self._bits.random_raw(shape) >> 32).astype(np.int64)
        return upper * bound >> 32

    def noise(self, *shape: int) -> np.ndarray:
        """Numbers of mean 0 and deviation 1, each the sum of two bytes, float32."""
        raw = self._bits.random_raw(int(np.prod(shape)) // 4)
        pairs = raw.astype("<u8").view("<u2").reshape(shape)
        sums = (pairs >> 8) + (pairs & 0xFF)
        # A byte has the mean 255 / 2 and the variance (256^2 - 1) / 12.
        return (sums.astype(np.float32) - 255) / np.float32(np.sqrt((256**2 - 1) / 6))


# ---- A block of pictures: planes are float32 [pictures, 1024], colours up to 1 ----

_AXIS = np.arange(IMAGE_SIZE, dtype=np.float32) - np.float32((IMAGE_SIZE - 1) / 2)
# Of each pixel's centre, to the right and up from that of the picture.
_X = np.tile(_AXIS, IMAGE_SIZE)
_Y = np.repeat(-_AXIS, IMAGE_SIZE)


def _draw_block(numbers: _Numbers, labels: np.ndarray) -> np.ndarray:
    """Draws one picture a label, uint8 [pictures, 32, 32, 3]."""
    size = len(labels)
    # Foreground and background are drawn alike, on either side of a middle.
    middle = numbers.uniform(MIDDLE, size, 3)
    towards = _directions(numbers, size) * numbers.uniform(CONTRAST, size, 1) / 2
    background = _textured(numbers, middle - towards)
    foreground = _textured(numbers, middle + towards)
    _draw_line(numbers, background)
    _draw_line(numbers, background)
    image = background
    image += _shapes(numbers, labels)[:, None] * (foreground - background)
    _draw_line(numbers, image)
    image *= numbers.uniform(BRIGHTNESS, size, 1, 1)
    image += numbers.uniform(NOISE, size, 1, 1) * numbers.noise(*image.shape)
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels.transpose(0, 2, 1).reshape(size, IMAGE_SIZE, IMAGE_SIZE, 3)


def _directions(numbers: _Numbers, size: int) -> np.ndarray:
    """Directions between colours, of length 1, [size, 3]."""
    corners = numbers.uniform((-1, 1), size, 3)
    return corners / np.linalg.norm(corners, axis=1, keepdims=True)


def _rotated(
    angle: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along axes that are turned by `angle`, [pictures, 1]."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return cosine * x + sine * y, cosine * y - sine * x


def _coverage(distance: np.ndarray) -> np.ndarray:
    """Share of each pixel that lies within an outline.

    Args:
        distance: from a pixel's centre to the outline, negative within, in pixels.

    Returns:
        Numbers from 0 to 1: edges are smooth over the width of a pixel.
    """
    return np.clip(np.float32(0.5) - distance, 0, 1)


def _shapes(numbers: _Numbers, labels: np.ndarray) -> np.ndarray:
    """Share of each pixel that the shape covers, [pictures, 1024]."""
    size = len(labels)
    x = _X - numbers.uniform(SHIFT, size, 1)
    y = _Y - numbers.uniform(SHIFT, size, 1)
    x, y = _rotated(numbers.uniform(TILT, size, 1), x, y)
    stretch = np.exp(numbers.uniform(STRETCH, size, 1))
    x, y = x / stretch, y * stretch
    area = numbers.uniform(AREA, size, 1)
    distance = np.empty_like(x)
    for label, (outline, unit_area) in enumerate(OUTLINES.values()):
        rows = np.flatnonzero(labels == label)
        unit = np.sqrt(area[rows] / np.float32(unit_area))
        distance[rows] = outline(x[rows] / unit, y[rows] / unit) * unit
    return _coverage(distance)


def _draw_line(numbers: _Numbers, image: np.ndarray) -> None:
    """Draws a line with a bend in each of `image`, which may be as short as a dot."""
    size = len(image)
    anywhere = (-IMAGE_SIZE / 2, IMAGE_SIZE / 2)
    x = _X - numbers.uniform(anywhere, size, 1)
    y = _Y - numbers.uniform(anywhere, size, 1)
    distance = np.minimum(_limb(numbers, x, y), _limb(numbers, x, y))
    covered = _coverage(distance - numbers.uniform(LINE_RADIUS, size, 1))[:, None]
    image += covered * (numbers.uniform((0, 1), size, 3)[:, :, None] - image)


def _limb(numbers: _Numbers, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to a straight line from the origin to a random end."""
    end_x = numbers.uniform(LINE_REACH, len(x), 1)
    end_y = numbers.uniform(LINE_REACH, len(x), 1)
    # The least float32 instead of 0, which would divide 0 by 0.
    square = np.maximum(end_x**2 + end_y**2, np.finfo(np.float32).tiny)
    along = np.clip((x * end_x + y * end_y) / square, 0, 1)
    return np.hypot(x - along * end_x, y - along * end_y)


# ---- Textures: which of two colours, from -1 to 1, by coordinates in periods ----


def _textured(numbers: _Numbers, colours: np.ndarray) -> np.ndarray:
    """Fills pictures, each with a texture of a random kind.

    Args:
        numbers: random numbers.
        colours: the middle of a texture's two colours, [pictures, 3].

    Returns:
        [pictures, 3, 1024].
    """
    size = len(colours)
    x, y = _rotated(numbers.uniform((-np.pi, np.pi), size, 1), _X, _Y)
    period = numbers.uniform(PERIOD, size, 1)
    x = x / period + numbers.uniform((-0.5, 0.5), size, 1)
    y = y / period + numbers.uniform((-0.5, 0.5), size, 1)
    # Patches are the only kind that is not a function of the coordinates.
    pattern = _patches(numbers, size)
    kinds = numbers.below(len(TEXTURES) + 1, size)
    for kind, texture in enumerate(TEXTURES):
        rows = np.flatnonzero(kinds == kind)
        pattern[rows] = texture(x[rows], y[rows])
    pattern = np.clip(pattern, -1, 1)
    contrast = numbers.uniform(TEXTURE_CONTRAST, size, 1)
    towards = _directions(numbers, size) * contrast / 2
    return colours[:, :, None] + towards[:, :, None] * pattern[:, None]


def _patches(numbers: _Numbers, size: int) -> np.ndarray:
    """Irregular patches: a coarse grid of random numbers, interpolated."""
    points = 9
    position = np.linspace(0, points - 1, IMAGE_SIZE)[:, None]
    weights = np.maximum(1 - np.abs(position - np.arange(points)), 0)  # [32, 9]
    weights = weights.astype(np.float32)
    grid = numbers.uniform((-1.5, 1.5), size, points, points)
    return (weights @ grid @ weights.T).reshape(size, IMAGE_SIZE**2)


def _wave(x):
    """A triangle wave of period 1: 2 at 0, -2 at 1/2."""
    return 2 - 8 * np.abs(x - np.rint(x))


def _stripes(x, y):
    return _wave(x)


def _checks(x, y):
    return np.clip(_wave(x), -1, 1) * np.clip(_wave(y), -1, 1)


def _dots(x, y):
    return _wave(x) + _wave(y) - 1


def _gradient(x, y):
    return x / 3


TEXTURES = (_stripes, _checks, _dots, _gradient)

# ---- Shapes: distance to the outline, negative within, by coordinates to the right and
# up from the centre of gravity ----


def _arrow(x, y):
    """Points up: a triangle of height 1 and width 1.7 on a shaft of 1 by 0.6."""
    x = np.abs(x)
    side = np.float32(1 / np.hypot(1, 0.85)) * (x + np.float32(0.85) * (y - 1))
    head = np.maximum(-y, side)
    shaft = np.maximum(x - np.float32(0.3), np.abs(y) - 1)
    # The shaft ends within the head, below its sides.
    return np.minimum(head, np.maximum(shaft, y - np.float32(0.5)))


def _circle(x, y):
    return np.hypot(x, y) - 1


def _crescent(x, y):
    """Horns up: a disc without another one, which lies half a radius higher."""
    y = y - np.float32(0.386)
    return np.maximum(np.hypot(x, y) - 1, np.float32(0.8) - np.hypot(x, y - 0.5))


def _cross(x, y):
    """Arms as wide as they are long."""
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 1, np.minimum(x, y) - np.float32(1 / 3))


def _heart(x, y):
    """A square on its corner with half a disc on both of its upper sides."""
    x, y = np.abs(x), y + np.float32(0.443)
    half = np.float32(np.sqrt(0.5))
    right, left = half * (y + x), half * (y - x)
    square = np.maximum(np.abs(right), np.abs(left)) - 1
    return np.minimum(square, np.hypot(right - 1, left) - 1)


def _pentagon(x, y):
    return _regular(5, x, y)


def _ring(x, y):
    return np.abs(np.hypot(x, y) - np.float32(0.75)) - np.float32(0.25)


def _square(x, y):
    return _regular(4, x, y)


def _star(x, y):
    """Five points, one of them up, at 1 from the centre; the notches at 0.45."""
    # All ten edges are mirror images of one, from the tip (1, 0) to a notch.
    angle, radius = np.arctan2(x, y), np.hypot(x, y)
    fifth = np.float32(2 * np.pi / 5)
    angle = np.abs(angle - fifth * np.rint(angle / fifth))
    back = 1 - 0.45 * np.cos(np.pi / 5)
    aside = 0.45 * np.sin(np.pi / 5)
    length = np.hypot(back, aside)
    from_tip = radius * np.cos(angle) - 1
    return np.float32(aside / length) * from_tip + np.float32(
        back / length
    ) * radius * np.sin(angle)


def _triangle(x, y):
    return _regular(3, x, y)


def _regular(num_sides, x, y):
    """Regular polygon around a circle of radius 1, on one of its sides."""
    angles = 2 * np.pi / num_sides * np.arange(num_sides)
    across, down = np.float32(np.sin(angles)), np.float32(np.cos(angles))
    distance = across[0] * x - down[0] * y
    for side in range(1, num_sides):
        distance = np.maximum(distance, across[side] * x - down[side] * y)
    return distance - 1


# Each class with its outline and the area of that.
OUTLINES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], float]] = {
    "arrow": (_arrow, 1.7 / 2 + 0.6),
    "circle": (_circle, np.pi),
    "crescent": (_crescent, 1.5295),
    "cross": (_cross, 20 / 9),
    "heart": (_heart, 4 + np.pi),
    "pentagon": (_pentagon, 5 * np.tan(np.pi / 5)),
    "ring": (_ring, np.pi * (1 - 0.5**2)),
    "square": (_square, 4.0),
    "star": (_star, 5 * 0.45 * np.sin(np.pi / 5)),
    "triangle": (_triangle, 3 * np.tan(np.pi / 3)),
}
CLASS_NAMES = tuple(OUTLINES)
