"""From files of pictures to what the network takes: decoding, crops, the range.

Everything here is TensorFlow, so that the same code runs in the input pipeline, in the
training step and inside an exported model. What is random is a pure function of seeds,
one pair of int64 a picture: a picture gets the same crop wherever in a batch, on
whichever replica and in whichever run it stands.

Pictures are uint8 until `normalize`. Resizing is bilinear between the centres of
pixels, without a filter against aliasing, as in the ImageNet recipe of 2019; the result
is rounded to the nearest grey level (a half to the even one).
"""

import functools

import tensorflow as tf

from official.utils.data import seeded

# Uses of random numbers, so that what is drawn for one says nothing about another;
# augmentation.py has the numbers behind them.
_FLIP, _PAD_CROP_FLIP = 1, 2
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
    is_mirrored = seeded.uniform(seed, 1, _FLIP)[0] < 0.5
    # To reverse nothing takes longer than to mirror, so it is left out.
    return tf.cond(is_mirrored, lambda: tf.reverse(image, [1]), lambda: image)


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
    draws = seeded.uniform(seeds, 3, _PAD_CROP_FLIP)  # [B, 3]
    starts = tf.cast(draws[:, :2] * (2 * padding + 1), tf.int32)
    rows = starts[:, :1] + tf.range(height)  # [B, H]
    columns = tf.range(width)
    columns = tf.where(draws[:, 2:] < 0.5, columns[::-1], columns)
    columns = starts[:, 1:] + columns  # [B, W]
    cropped = tf.gather(padded, rows, batch_dims=1)
    return tf.gather(cropped, columns, axis=2, batch_dims=1)
