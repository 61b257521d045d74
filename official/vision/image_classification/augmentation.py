"""Stronger augmentation of pictures: RandAugment, mixup and CutMix.

As in preprocessing.py, what is random is a pure function of seeds, one a picture.
"""

import functools
import math

import tensorflow as tf

from official.utils.data import seeded

# Uses of random numbers; preprocessing.py has those before.
_RAND_AUGMENT, _MIX = 3, 4

# ---- Random augmentation ----

MAX_MAGNITUDE = 10
# ITU-R BT.601 in 2^16ths, as Pillow converts colour to grey.
_LUMA = (19595, 38470, 7471)
_GREY = 128.0


def rand_augment(
    image: tf.Tensor, seed: tf.Tensor, num_layers: int, magnitude: int
) -> tf.Tensor:
    """Applies random operations one after the other (RandAugment).

    Each is drawn from the 14 of Cubuk et al., 2019, https://arxiv.org/abs/1909.13719,
    with the strengths of the authors' code for ImageNet, and does what Pillow's does.
    `m` is the magnitude over 10; * stands for a random sign.

        identity       leaves the picture as it is
        auto_contrast  stretches each channel to the range from 0 to 255
        equalize       makes the histogram of each channel flat
        rotate         by 30 m degrees *
        solarize       inverts the grey levels from 256 m on
        posterize      keeps the upper 4 m bits, at least one, and whole ones
        color          scales the distance to the grey picture by .1 + 1.8 m
        contrast       ... to the mean grey level, by the same
        brightness     ... to black
        sharpness      ... to the smoothed picture
        shear_x, _y    by .3 m *
        translate_x, _y   by 100/331 m of the width or height *

    What is moved takes the nearest pixel; where there is none, it becomes grey (128).

    Args:
        image: uint8 [H, W, 3].
        seed: int64 [2].
        num_layers: number of operations, at least 1.
        magnitude: their strength, from 0 to 10.

    Returns:
        uint8 [H, W, 3].
    """
    assert num_layers >= 1 and 0 <= magnitude <= MAX_MAGNITUDE
    draws = seeded.uniform(seed, 2 * num_layers, _RAND_AUGMENT)
    for layer in range(num_layers):
        number = tf.cast(draws[2 * layer] * len(OPERATIONS), tf.int32)
        sign = tf.where(draws[2 * layer + 1] < 0.5, -1.0, 1.0)
        image = _augment(image, number, magnitude / MAX_MAGNITUDE, sign)
    return image


def _augment(image, number, strength: float, sign):
    """One of `OPERATIONS` by its number; only that one is computed."""
    branches = [
        functools.partial(operation, image, strength, sign)
        for operation in OPERATIONS.values()
    ]
    return tf.ensure_shape(tf.switch_case(number, branches), image.shape)


def _identity(image, strength, sign):
    del strength, sign
    return tf.identity(image)


def _auto_contrast(image, strength, sign):
    del strength, sign
    # Row by row first, which is much faster than channel by channel.
    low = tf.reduce_min(tf.reduce_min(image, axis=0), axis=0)  # [3]
    high = tf.reduce_max(tf.reduce_max(image, axis=0), axis=0)
    low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
    is_flat = high <= low
    scale = 255 / tf.where(is_flat, tf.ones_like(high), high - low)
    levels = tf.range(256, dtype=tf.float64)[:, tf.newaxis]
    table = _clip(tf.floor(levels * scale - low * scale))
    return _look_up(image, tf.where(is_flat, levels, table))


def _equalize(image, strength, sign):
    del strength, sign
    # Channel c has the levels from 256 c on.
    levels = tf.cast(image, tf.int32) + 256 * tf.range(3)
    counts = tf.math.bincount(levels, minlength=768, maxlength=768)
    counts = tf.transpose(tf.reshape(counts, [3, 256]))  # [256, 3]
    levels = tf.range(256)[:, tf.newaxis]
    highest = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=0)  # [3]
    is_highest = levels == highest
    step = tf.reduce_sum(tf.where(is_highest, 0, counts), axis=0) // 255
    before = tf.cumsum(counts, axis=0, exclusive=True)
    table = (step // 2 + before) // tf.maximum(step, 1)
    return _look_up(image, tf.where(step == 0, levels, _clip(table)))


def _look_up(image, table):
    """Maps grey levels, uint8 [H, W, 3], by a table, [256, 3]."""
    table = tf.reshape(tf.cast(tf.transpose(table), tf.uint8), [768])
    return tf.gather(table, tf.cast(image, tf.int32) + 256 * tf.range(3))


def _clip(levels):
    return tf.clip_by_value(levels, 0, 255)


def _solarize(image, strength, sign):
    del sign
    threshold = int(256 * strength)
    if threshold > 255:
        return tf.identity(image)
    return tf.where(image < threshold, image, 255 - image)


def _posterize(image, strength, sign):
    del sign
    bits = max(1, int(4 * strength))
    return tf.bitwise.bitwise_and(image, tf.constant(256 - 2 ** (8 - bits), tf.uint8))


def _grey(image):
    """Whole grey levels, float32 [H, W, 1]."""
    # Products and sums have at most 24 bits, so that float32 is exact.
    luma = tf.constant(_LUMA, tf.float32)[:, tf.newaxis] / 2**16
    return tf.floor(tf.matmul(tf.cast(image, tf.float32), luma) + 0.5)


def _extrapolate(image, other, strength):
    """Scales the distance to another picture; as Pillow, rounds towards 0."""
    factor = 0.1 + 1.8 * strength
    other = tf.cast(other, tf.float32)
    levels = other + factor * (tf.cast(image, tf.float32) - other)
    return tf.cast(_clip(levels), tf.uint8)


def _color(image, strength, sign):
    del sign
    return _extrapolate(image, _grey(image), strength)


def _contrast(image, strength, sign):
    del sign
    grey = tf.cast(_grey(image), tf.float64)
    return _extrapolate(image, tf.floor(tf.reduce_mean(grey) + 0.5), strength)


def _brightness(image, strength, sign):
    del sign
    return _extrapolate(image, 0.0, strength)


def _sharpness(image, strength, sign):
    del sign
    levels = tf.cast(image, tf.float32)
    # All nine weights are 1/13, that of the middle 5/13.
    sums = levels[:-2] + levels[1:-1] + levels[2:]
    sums = sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:]
    middle = tf.floor((sums + 4 * levels[1:-1, 1:-1]) / 13 + 0.5)
    # The outermost pixels have no nine neighbours and stay.
    height, width = tf.unstack(tf.shape(image)[:2])
    rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)
    is_inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    smooth = tf.pad(middle, [[1, 1], [1, 1], [0, 0]])
    smooth = tf.where(is_inside[..., tf.newaxis], smooth, levels)
    return _extrapolate(image, smooth, strength)


def _rotate(image, strength, sign):
    angle = sign * math.radians(30 * strength)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32) / 2)
    # Around the middle, anticlockwise.
    shift_x = width - cosine * width + sine * height
    shift_y = height - sine * width - cosine * height
    return _transform(image, [cosine, -sine, shift_x, sine, cosine, shift_y])


def _shear_x(image, strength, sign):
    return _transform(image, [1.0, 0.3 * strength * sign, 0.0, 0.0, 1.0, 0.0])


def _shear_y(image, strength, sign):
    return _transform(image, [1.0, 0.0, 0.0, 0.3 * strength * sign, 1.0, 0.0])


def _translate_x(image, strength, sign):
    width = tf.cast(tf.shape(image)[1], tf.float32)
    return _transform(
        image, [1.0, 0.0, sign * strength * 100 / 331 * width, 0.0, 1.0, 0.0]
    )


def _translate_y(image, strength, sign):
    height = tf.cast(tf.shape(image)[0], tf.float32)
    return _transform(
        image, [1.0, 0.0, 0.0, 0.0, 1.0, sign * strength * 100 / 331 * height]
    )


def _transform(image, coefficients):
    """Takes the pixel at (a x + b y + c, d x + e y + f) for the one at (x, y).

    Places are counted as in Pillow, from the corner of the picture; TensorFlow counts
    from the middle of the first pixel.
    """
    a, b, c, d, e, f = coefficients
    c, f = c + (a + b - 1) / 2, f + (d + e - 1) / 2
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=[tf.stack([a, b, c, d, e, f, 0.0, 0.0])],
        output_shape=tf.shape(image)[:2],
        fill_value=_GREY,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    return result[0]


OPERATIONS = {
    "identity": _identity,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _color,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}


# ---- Mixing pictures ----


def mix(
    images: tf.Tensor,
    targets: tf.Tensor,
    seeds: tf.Tensor,
    mixup_alpha: float,
    cutmix_alpha: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each picture with its neighbour, and their targets alike.

    Rows 0 and 1, 2 and 3, ... are the pairs, so that the result does not depend on how
    a batch is spread over replicas, as long as each gets an even number of rows. A
    share is drawn for each pair from Beta(alpha, alpha) by the seed of its even row.
    Mixup (Zhang et al., 2018, https://arxiv.org/abs/1710.09412) adds both pictures,
    each with its share. CutMix (Yun et al., 2019, https://arxiv.org/abs/1905.04899)
    exchanges a box of that share of the picture at a random place; what lies outside
    of the picture is cut off, and the targets have the share that is left. With both,
    each pair is mixed in one of the two ways, with equal probability. An odd last row
    stays as it is.

    Args:
        images: float [B, H, W, 3].
        targets: float32 [B, C], the probability of each class.
        seeds: int64 [B, 2].
        mixup_alpha: parameter of mixup's share; 0 for no mixup.
        cutmix_alpha: parameter of CutMix's share; 0 for no CutMix.

    Returns:
        Images and targets, of the same shapes and types.
    """
    num_rows = tf.shape(images)[0]
    rows = tf.range(num_rows)
    partners = tf.minimum(tf.bitwise.bitwise_xor(rows, 1), num_rows - 1)
    seeds = tf.gather(seeds, rows // 2 * 2)
    has_partner = tf.cast(partners != rows, tf.float32)
    # Both from the partner: the share of each pixel, and of the targets.
    weights, share = tf.zeros([num_rows, 1, 1]), tf.zeros([num_rows])
    if mixup_alpha > 0:
        share = _symmetric_beta(seeds, mixup_alpha, _MIX) * has_partner
        weights = share[:, tf.newaxis, tf.newaxis]
    if cutmix_alpha > 0:
        boxes = _random_boxes(seeds, cutmix_alpha, tf.shape(images)[1:3])  # [B, H, W]
        boxes *= has_partner[:, tf.newaxis, tf.newaxis]
        area = tf.reduce_mean(boxes, axis=[1, 2])
        is_cut = tf.fill([num_rows], True)
        if mixup_alpha > 0:
            is_cut = seeded.uniform(seeds, 1, _MIX + 1)[:, 0] < 0.5
        weights = tf.where(is_cut[:, tf.newaxis, tf.newaxis], boxes, weights)
        share = tf.where(is_cut, area, share)
    weights = tf.cast(weights[..., tf.newaxis], images.dtype)
    share = share[:, tf.newaxis]
    mixed = images * (1 - weights) + tf.gather(images, partners) * weights
    return mixed, targets * (1 - share) + tf.gather(targets, partners) * share


def _random_boxes(seeds, alpha: float, sides):
    """1 inside a random box and 0 outside: float32 [B, height, width]."""
    share = _symmetric_beta(seeds, alpha, _MIX + 2)
    centers = seeded.uniform(seeds, 2, _MIX + 3)  # [B, 2]
    sides = tf.cast(sides, tf.float32)
    halves = tf.sqrt(share)[:, tf.newaxis] * sides / 2
    # Whole pixels: those whose middle is inside.
    first = tf.round(centers * sides - halves)
    last = tf.round(centers * sides + halves)

    def inside(axis):
        place = tf.range(sides[axis])
        return (place >= first[:, axis, tf.newaxis]) & (
            place < last[:, axis, tf.newaxis]
        )

    rows, columns = inside(0)[:, :, tf.newaxis], inside(1)[:, tf.newaxis, :]
    return tf.cast(rows & columns, tf.float32)


def _symmetric_beta(seeds, alpha: float, purpose: int):
    """Draws from Beta(alpha, alpha), float32 [B], by elementwise operations alone.

    XLA has no gamma variates. A stick of length 1 is broken again and again; a coin
    gives each piece to one of two sides, and the length of a side is the draw
    (Sethuraman, 1994, A constructive definition of Dirichlet priors).
    """
    # Breaking leaves 2a / (2a + 1) of the rest on average; 2^-24 of it is no matter.
    pieces = math.ceil(24 * math.log(2) / math.log1p(1 / (2 * alpha)))
    draws = seeded.uniform(seeds, 2 * pieces, purpose)
    # Each piece is Beta(1, 2a) of the rest.
    left = tf.math.cumprod(draws[:, :pieces] ** (1 / (2 * alpha)), axis=1)
    before = tf.concat([tf.ones_like(left[:, :1]), left[:, :-1]], axis=1)
    coins = tf.cast(draws[:, pieces:] < 0.5, tf.float32)
    # Rounding may bring the sum past 1.
    return tf.minimum(tf.reduce_sum((before - left) * coins, axis=1), 1.0)
