"""From files of pictures to what the network takes: decoding, crops, augmentation.

Everything here is TensorFlow, so that the same code runs in the input pipeline, in the
training step and inside an exported model. What is random is a pure function of seeds,
one pair of int64 a picture: a picture gets the same crop wherever in a batch, on
whichever replica and in whichever run it stands.

Pictures are uint8 until `normalize`. Resizing is bilinear between the centres of
pixels, without a filter against aliasing, as in the ImageNet recipe of 2019; the result
is rounded to the nearest grey level (a half to the even one).
"""

import functools
import math

import tensorflow as tf

SCHEMES = ("mean", "mean_std", "caffe", "per_image")

# Means of ImageNet in RGB: of the recipe of 2019 and of Caffe's models; PyTorch's with
# the deviations that belong to them, as shares of 255.
_MEAN = (123.68, 116.78, 103.94)
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_PYTORCH_MEAN = (0.485, 0.456, 0.406)
_PYTORCH_DEVIATION = (0.229, 0.224, 0.225)


def normalize(images: tf.Tensor, scheme: str) -> tf.Tensor:
    """Brings grey levels to the range that a network was trained on.

    Args:
        images: uint8 or float [B, H, W, 3], RGB from 0 to 255.
        scheme: one of `SCHEMES`. `mean` subtracts ImageNet's mean colour, and does not
            divide; `mean_std` divides by 255, subtracts the mean and divides by the
            deviation (PyTorch's ResNets); `caffe` subtracts the mean and gives BGR
            (Keras' ResNet v1); `per_image` gives each picture the mean 0 and the
            variance 1 (`tf.image.per_image_standardization`).

    Returns:
        float32 [B, H, W, 3].
    """
    assert scheme in SCHEMES, scheme
    if scheme == "per_image":
        return tf.image.per_image_standardization(tf.cast(images, tf.float32))
    images = tf.cast(images, tf.float32)
    if scheme == "mean":
        return images - tf.constant(_MEAN)
    if scheme == "caffe":
        return tf.reverse(images - tf.constant(_CAFFE_MEAN), axis=[-1])
    pairs = list(zip(_PYTORCH_MEAN, _PYTORCH_DEVIATION, strict=True))
    # (x / 255 - mean) / deviation with one product and one sum.
    scale = tf.constant([1 / (255 * deviation) for _, deviation in pairs])
    shift = tf.constant([mean / deviation for mean, deviation in pairs])
    return images * scale - shift


# ---- Decoding ----

# Exact arithmetic: the same pixels as from Pillow and libjpeg. A box is decoded to the
# same pixels as the whole picture, up to the chroma of its first and last column, which
# is interpolated between fewer neighbours.
_decode_jpeg = functools.partial(
    tf.io.decode_jpeg, channels=3, dct_method="INTEGER_ACCURATE"
)
_decode_and_crop_jpeg = functools.partial(
    tf.image.decode_and_crop_jpeg, channels=3, dct_method="INTEGER_ACCURATE"
)


def decode(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes a picture of any format.

    Grey becomes RGB, CMYK too; of 16 bits the upper 8 are kept; transparency is
    dropped; of an animation the first frame is taken. An orientation that a camera
    noted beside the pixels is not applied.

    Args:
        image_bytes: string [], a JPEG, PNG, GIF, BMP or WebP file.

    Returns:
        uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: when run, of bytes that are no such file or are
            damaged.
    """
    return tf.cond(
        tf.io.is_jpeg(image_bytes),
        lambda: _decode_jpeg(image_bytes),
        lambda: _decode_other(image_bytes),
    )


def _decode_other(image_bytes):
    """A picture that is no JPEG."""
    # To ask for bytes that are not there is an error whose text quotes the file, and
    # Python cannot read that.
    padded = tf.strings.join([image_bytes, bytes(_HEAD_BYTES)])
    head = tf.strings.substr(padded, 0, _HEAD_BYTES)

    def holds(position, text):
        return tf.strings.substr(head, position, len(text)) == text

    is_webp = holds(0, b"RIFF") & holds(8, b"WEBP")
    # Bits a pixel, two bytes.
    is_palette = holds(0, b"BM") & holds(28, b"\x08\x00")
    image = tf.case(
        [
            (is_webp, lambda: _decode_webp(image_bytes, holds(12, b"VP8X"))),
            (is_palette, lambda: _decode_palette_bmp(image_bytes)),
        ],
        default=lambda: tf.io.decode_image(
            image_bytes, channels=3, expand_animations=False
        ),
    )
    return tf.ensure_shape(image, [None, None, 3])


_HEAD_BYTES = 30


def _decode_webp(image_bytes, is_extended):
    # TensorFlow gives as many channels as the file has, whatever is asked for. It
    # decodes animations to four channels, and writes past the end of its memory where
    # the file is said to have three. So they are said to have four: byte 20 holds the
    # flags of an extended file, bit 1 for an animation, bit 4 for transparency.
    def with_four_channels():
        flags = tf.io.decode_raw(tf.strings.substr(image_bytes, 20, 1), tf.uint8)
        flags = tf.cast(flags[0], tf.int32)
        parts = [
            tf.strings.substr(image_bytes, 0, 20),
            tf.gather([bytes([value]) for value in range(256)], flags | 16),
            tf.strings.substr(image_bytes, 21, -1),
        ]
        return tf.where(flags & 2 > 0, tf.strings.join(parts), image_bytes)

    is_whole = tf.strings.length(image_bytes) > _HEAD_BYTES
    patched = tf.cond(is_extended & is_whole, with_four_channels, lambda: image_bytes)
    return tf.io.decode_webp(patched)[0, ..., :3]


def _decode_palette_bmp(image_bytes):
    """A BMP file of one byte a pixel, which TensorFlow takes for a grey level."""
    indices = tf.io.decode_bmp(image_bytes)[..., 0]
    content = tf.io.decode_raw(image_bytes, tf.uint8)

    def number(position):
        return tf.bitcast(content[position : position + 4], tf.int32)

    # The file's header takes 14 bytes, the picture's as many as it says; then come
    # blue, green, red and a zero of each colour, up to the pixels.
    palette = content[14 + number(14) : number(10)]
    palette = tf.reshape(palette, [-1, 4])[:, 2::-1]
    return tf.gather(palette, tf.cast(indices, tf.int32))


# ---- Crops ----


def random_crop(image_bytes: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    """The training crop of 2019: a random box of the picture, resized, maybe mirrored.

    The box covers between a twentieth and all of the picture, its sides have a ratio
    between 3/4 and 4/3; where none fits in 100 tries, it is the whole picture (Szegedy
    et al., 2015, https://arxiv.org/abs/1409.4842). Of a JPEG only the box is decoded.

    Args:
        image_bytes: string [], as `decode` takes it.
        seed: int64 [2].
        size: height and width of the result; the picture may be smaller.

    Returns:
        uint8 [size, size, 3].
    """

    def of_jpeg():
        shape = tf.io.extract_jpeg_shape(image_bytes)
        return _decode_and_crop_jpeg(image_bytes, _random_box(shape, seed))

    def of_other():
        return _random_window(_decode_other(image_bytes), seed)

    window = tf.cond(tf.io.is_jpeg(image_bytes), of_jpeg, of_other)
    return _random_flip(_resize(window, size, size), seed)


def random_crop_of_pixels(image: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    """`random_crop` of a picture that is decoded.

    Args:
        image: uint8 [height, width, 3].
        seed: int64 [2].
        size: height and width of the result.

    Returns:
        uint8 [size, size, 3].
    """
    return _random_flip(_resize(_random_window(image, seed), size, size), seed)


def _random_window(image, seed):
    top, left, height, width = tf.unstack(_random_box(tf.shape(image), seed))
    return image[top : top + height, left : left + width]


def _random_box(shape, seed):
    """int32 [4]: top, left, height and width."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.05, 1.0),
        max_attempts=100,
    )
    return tf.concat([begin[:2], extent[:2]], axis=0)


def _resize(image, height, width):
    """uint8 [height, width, 3] from uint8 [any, any, 3]."""
    resized = tf.image.resize(image, [height, width])
    # Means of grey levels stay between 0 and 255, so that nothing is to be clipped.
    return tf.cast(tf.round(resized), tf.uint8)


def _random_flip(image, seed):
    is_mirrored = _uniform(seed, 1, _FLIP)[0] < 0.5
    return tf.raw_ops.Reverse(tensor=image, dims=[False, is_mirrored, False])


def center_crop(
    image_bytes: tf.Tensor, size: int, resize: int | None = None
) -> tf.Tensor:
    """The crop of evaluation: the middle of the picture, the same each time.

    Args:
        image_bytes: string [], as `decode` takes it.
        size: height and width of the result.
        resize: what the shorter side is brought to before, the aspect kept; at least
            `size`. By default 256 for a size of 224, and in proportion.

    Returns:
        uint8 [size, size, 3].
    """
    return center_crop_of_pixels(decode(image_bytes), size, resize)


def center_crop_of_pixels(
    image: tf.Tensor, size: int, resize: int | None = None
) -> tf.Tensor:
    """`center_crop` of a picture that is decoded.

    Args:
        image: uint8 [height, width, 3].
        size: height and width of the result.
        resize: see `center_crop`.

    Returns:
        uint8 [size, size, 3].
    """
    resize = resize or round(size * 256 / 224)
    assert resize >= size, (resize, size)
    sides = tf.shape(image)[:2]
    shorter = tf.reduce_min(sides)
    # Rounded to the nearest whole number.
    height, width = tf.unstack((2 * sides * resize + shorter) // (2 * shorter))
    top, left = (height - size) // 2, (width - size) // 2
    resized = _resize(image, height, width)
    crop = resized[top : top + size, left : left + size]
    return tf.ensure_shape(crop, [size, size, 3])


def pad_crop_flip(images: tf.Tensor, seeds: tf.Tensor, padding: int = 4) -> tf.Tensor:
    """The augmentation of CIFAR: a black margin, a random crop, maybe mirrored.

    Each picture is moved by up to `padding` pixels up or down and left or right, all
    places being equally likely, and mirrored in half of the cases (He et al., 2015,
    https://arxiv.org/abs/1512.03385, section 4.2).

    Args:
        images: uint8 [B, H, W, 3].
        seeds: int64 [B, 2].
        padding: width of the margin.

    Returns:
        uint8 [B, H, W, 3].
    """
    height, width = images.shape[1:3]
    margin = [padding, padding]
    padded = tf.pad(images, [[0, 0], margin, margin, [0, 0]])
    draws = _uniform(seeds, 3, _PAD_CROP_FLIP)  # [B, 3]
    starts = tf.cast(draws[:, :2] * (2 * padding + 1), tf.int32)
    rows = starts[:, :1] + tf.range(height)  # [B, H]
    columns = tf.range(width)
    columns = tf.where(draws[:, 2:] < 0.5, columns[::-1], columns)
    columns = starts[:, 1:] + columns  # [B, W]
    cropped = tf.gather(padded, rows, batch_dims=1)
    return tf.gather(cropped, columns, axis=2, batch_dims=1)


# ---- Random numbers ----

# One for each use, so that what is drawn for one says nothing about another.
_FLIP, _PAD_CROP_FLIP, _RAND_AUGMENT, _MIX = range(1, 5)
# Steele, Lea and Flood, 2014, https://doi.org/10.1145/2660193.2660195: the odd number
# nearest to 2^64 divided by the golden ratio, and the factors of Stafford's variant 13.
_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def _uniform(seeds, count: int, purpose: int):
    """Uniform numbers of seeds: float32 [..., count] from int64 [..., 2].

    TensorFlow's stateless operations take one seed for a whole tensor; here each row of
    a batch has its own. This is SplitMix64, whose state is hashed from the seed.
    """
    seeds = tf.bitcast(seeds, tf.uint64)
    state = _hash(seeds[..., 0] + _as_uint64(purpose * _GOLDEN))
    state = _hash(tf.bitwise.bitwise_xor(state, seeds[..., 1]))
    steps = [_as_uint64(number * _GOLDEN) for number in range(1, count + 1)]
    bits = _hash(state[..., tf.newaxis] + tf.stack(steps))
    # The upper 24 bits, as many as float32 has.
    return tf.cast(_shift(bits, 40), tf.float32) * 2.0**-24


def _hash(value):
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        value = tf.bitwise.bitwise_xor(value, _shift(value, shift))
        value *= _as_uint64(factor)
    return tf.bitwise.bitwise_xor(value, _shift(value, 31))


def _shift(value, bits: int):
    return tf.bitwise.right_shift(value, _as_uint64(bits))


def _as_uint64(value: int):
    return tf.constant(value % 2**64, tf.uint64)


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
    draws = _uniform(seed, 2 * num_layers, _RAND_AUGMENT)
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
            is_cut = _uniform(seeds, 1, _MIX + 1)[:, 0] < 0.5
        weights = tf.where(is_cut[:, tf.newaxis, tf.newaxis], boxes, weights)
        share = tf.where(is_cut, area, share)
    weights = tf.cast(weights[..., tf.newaxis], images.dtype)
    share = share[:, tf.newaxis]
    mixed = images * (1 - weights) + tf.gather(images, partners) * weights
    return mixed, targets * (1 - share) + tf.gather(targets, partners) * share


def _random_boxes(seeds, alpha: float, sides):
    """1 inside a random box and 0 outside: float32 [B, height, width]."""
    share = _symmetric_beta(seeds, alpha, _MIX + 2)
    centers = _uniform(seeds, 2, _MIX + 3)  # [B, 2]
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
    draws = _uniform(seeds, 2 * pieces, purpose)
    # Each piece is Beta(1, 2a) of the rest.
    left = tf.math.cumprod(draws[:, :pieces] ** (1 / (2 * alpha)), axis=1)
    before = tf.concat([tf.ones_like(left[:, :1]), left[:, :-1]], axis=1)
    coins = tf.cast(draws[:, pieces:] < 0.5, tf.float32)
    # Rounding may bring the sum past 1.
    return tf.minimum(tf.reduce_sum((before - left) * coins, axis=1), 1.0)
