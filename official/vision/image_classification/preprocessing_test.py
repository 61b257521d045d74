import functools
import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.utils.data import seeded
from official.utils.data.seeded_test import seeds_of, splitmix_with_integers
from official.utils.testing.data import real_data
from official.vision.image_classification import preprocessing


def picture(height, width, seed=0):
    """A picture with large shapes and some noise, uint8 [height, width, 3]."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, [5, 7, 3]).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = generator.integers(-9, 10, [height, width, 3])
    return np.clip(np.asarray(smooth, int) * 0.8 + 20 + noise, 0, 255).astype(np.uint8)


def encode(image, kind, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def real_jpegs():
    """Real pictures, enlarged to sizes that are no multiples of a JPEG's blocks."""
    path = f"{real_data('cifar10')}/cifar10-images-jpg-q75.tar.xz"
    contents = []
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                contents.append(archive.extractfile(member).read())
            if len(contents) == 4:
                break
    sizes = [(341, 260), (187, 333), (500, 375), (97, 61)]
    return [
        encode(
            Image.open(io.BytesIO(content)).resize(size, Image.Resampling.BICUBIC),
            "JPEG",
            quality=85,
            subsampling=0,
        )
        for content, size in zip(contents, sizes, strict=True)
    ]


# ---- Decoding ----


def with_alpha(image):
    return np.concatenate([image, image[..., :1]], axis=-1)


def sixteen_bits(image):
    return image[..., 0].astype(np.uint16) * 256 + 201


IMAGE = picture(41, 50)
GREY = Image.fromarray(IMAGE).convert("L")
PALETTE = Image.fromarray(IMAGE).quantize(64)
FRAMES = dict(save_all=True, append_images=[Image.fromarray(255 - IMAGE)])
ALPHA_FRAMES = dict(
    save_all=True, append_images=[Image.fromarray(with_alpha(255 - IMAGE))]
)
FORMATS = {
    "jpeg": encode(IMAGE, "JPEG", quality=90),
    "jpeg of one chroma for four pixels": encode(IMAGE, "JPEG", subsampling=2),
    "progressive jpeg": encode(IMAGE, "JPEG", progressive=True),
    "grey jpeg": encode(GREY, "JPEG"),
    "cmyk jpeg": encode(Image.fromarray(IMAGE).convert("CMYK"), "JPEG"),
    "png": encode(IMAGE, "PNG"),
    "grey png": encode(GREY, "PNG"),
    "grey png with alpha": encode(
        Image.fromarray(with_alpha(IMAGE)).convert("LA"), "PNG"
    ),
    "png with alpha": encode(with_alpha(IMAGE), "PNG"),
    "png of one bit": encode(GREY.convert("1"), "PNG"),
    "palette png": encode(PALETTE, "PNG"),
    "palette png with transparency": encode(PALETTE, "PNG", transparency=3),
    "gif": encode(PALETTE, "GIF"),
    "animated gif": encode(IMAGE, "GIF", **FRAMES),
    "bmp": encode(IMAGE, "BMP"),
    "bmp with alpha": encode(with_alpha(IMAGE), "BMP"),
    "grey bmp": encode(GREY, "BMP"),
    "palette bmp": encode(PALETTE, "BMP"),
    "webp": encode(IMAGE, "WEBP"),
    "webp with alpha": encode(with_alpha(IMAGE), "WEBP"),
    "lossless webp with alpha": encode(with_alpha(IMAGE), "WEBP", lossless=True),
    "animated webp": encode(IMAGE, "WEBP", **FRAMES),
    "animated webp with alpha": encode(
        with_alpha(IMAGE), "WEBP", lossless=True, **ALPHA_FRAMES
    ),
}
decode_in_graph = tf.function(
    preprocessing.decode, input_signature=[tf.TensorSpec([], tf.string)]
)


@pytest.mark.parametrize("name", FORMATS)
def test_decodes_as_pillow_does(name):
    content = FORMATS[name]
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert expected.shape == (41, 50, 3)
    np.testing.assert_array_equal(decode_in_graph(content), expected)
    np.testing.assert_array_equal(preprocessing.decode(content), expected)


def test_of_sixteen_bits_the_upper_eight_are_kept():
    content = encode(sixteen_bits(IMAGE), "PNG")
    expected = np.repeat(IMAGE[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(decode_in_graph(content), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_cut_files_are_refused(name):
    content = FORMATS[name]
    for end in (2, 8, 12, 13, 20, 21, 28, 30, 31, 55, len(content) // 2):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_in_graph(content[:end])


@pytest.mark.parametrize("content", [b"", b"x", b"GIF89a", b"no picture" * 9])
def test_what_is_no_picture_is_refused(content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_in_graph(content)


def test_colours_outside_of_the_palette_are_refused():
    content = bytearray(FORMATS["palette bmp"])
    content[14 + 40 + 4 * 64 :] = b"\xff" * (len(content) - 14 - 40 - 4 * 64)
    first = 14 + 40 + 4 * 64
    assert int.from_bytes(content[10:14], "little") == first
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_in_graph(bytes(content))


# ---- Crops ----


def resize_with_numpy(image, height, width):
    """Bilinear between the centres of pixels, float64."""

    def weights(source, target):
        place = (np.arange(target) + 0.5) * source / target - 0.5
        place = np.clip(place, 0, source - 1)
        return np.maximum(1 - abs(place[:, None] - np.arange(source)), 0)

    rows, columns = weights(len(image), height), weights(image.shape[1], width)
    by_rows = np.einsum("ih,hwc->iwc", rows, image.astype(float), optimize=True)
    return np.einsum("iwc,jw->ijc", by_rows, columns, optimize=True)


def assert_levels_close(found, expected):
    """Equal to half a level, which is what rounding may change."""
    assert found.dtype == tf.uint8
    assert found.shape == expected.shape
    assert np.abs(np.asarray(found, float) - expected).max() < 0.51


@pytest.mark.parametrize(
    ("height", "width"),
    [(375, 500), (500, 375), (256, 256), (224, 224), (61, 40), (3, 200), (1, 1)],
)
def test_center_crop(height, width):
    image = picture(height, width)
    scale = 256 / min(height, width)
    resized = resize_with_numpy(
        image, int(height * scale + 0.5), int(width * scale + 0.5)
    )
    assert min(resized.shape[:2]) == 256
    top, left = ((side - 224) // 2 for side in resized.shape[:2])
    expected = resized[top : top + 224, left : left + 224]
    found = preprocessing.center_crop_of_pixels(image, 224)
    assert_levels_close(found, expected)
    np.testing.assert_array_equal(
        preprocessing.center_crop(encode(image, "PNG"), 224), found
    )


def test_center_crop_without_a_margin():
    image = picture(48, 32)
    found = preprocessing.center_crop_of_pixels(image, 32, resize=32)
    np.testing.assert_array_equal(found, image[8:40])


def box_of(shape, seed):
    """The box that a seed draws, by TensorFlow's operation."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        [*shape[:2], 3],
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed,
        min_object_covered=0.1,
        aspect_ratio_range=(0.75, 4 / 3),
        area_range=(0.05, 1.0),
        max_attempts=100,
    )
    (top, left, _), (height, width, _) = begin.numpy(), size.numpy()
    return top, left, height, width


def test_random_crop(real_jpegs):
    crop = tf.function(functools.partial(preprocessing.random_crop, size=96))
    of_pixels = tf.function(
        functools.partial(preprocessing.random_crop_of_pixels, size=96)
    )
    mirrored = []
    small = encode(picture(20, 30), "PNG")
    for content in [*real_jpegs, small, encode(picture(50, 70), "WEBP")]:
        image = preprocessing.decode(content)
        for seed in seeds_of(8):
            top, left, height, width = box_of(image.shape, seed)
            window = image[top : top + height, left : left + width].numpy()
            expected = resize_with_numpy(window, 96, 96)
            found = crop(content, seed).numpy()
            is_mirrored = np.abs(found - expected).max() > 0.51
            mirrored.append(is_mirrored)
            assert_levels_close(found, expected[:, ::-1] if is_mirrored else expected)
            np.testing.assert_array_equal(of_pixels(image, seed), found)
    # The same seeds mirror, whatever the picture.
    mirrored = np.reshape(mirrored, [6, 8])
    assert (mirrored == mirrored[0]).all()
    assert 0 < mirrored[0].sum() < 8


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_box_decodes_as_the_whole_picture_does(subsampling):
    """It does inside; the outer columns have fewer neighbours to take chroma from."""
    pixels = picture(97, 161) // 2 + 64
    content = encode(pixels, "JPEG", quality=85, subsampling=subsampling)
    image = preprocessing.decode(content).numpy()
    generator = np.random.default_rng(0)
    for _ in range(60):
        top, left = (generator.integers(0, side) for side in image.shape[:2])
        height = generator.integers(1, image.shape[0] - top + 1)
        width = generator.integers(1, image.shape[1] - left + 1)
        found = preprocessing._decode_and_crop_jpeg(content, [top, left, height, width])
        expected = image[top : top + height, left : left + width]
        if subsampling == 0:
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found[:, 1:-1], expected[:, 1:-1])
        # Three colours are rounded.
        luma = (found.numpy() - expected.astype(float)) @ [0.299, 0.587, 0.114]
        assert np.abs(luma).max() < 1.01


def test_random_crop_takes_the_whole_picture_where_no_box_fits():
    image = picture(3, 400)
    expected = resize_with_numpy(image, 32, 32)
    for seed in seeds_of(4):
        assert box_of(image.shape, seed) == (0, 0, 3, 400)
        found = preprocessing.random_crop(encode(image, "PNG"), seed, 32).numpy()
        assert (
            min(np.abs(found - expected).max(), np.abs(found[:, ::-1] - expected).max())
            < 0.51
        )


def test_random_crop_in_a_batch_of_any_size():
    contents = [encode(picture(40, 50, seed), "JPEG") for seed in range(6)]
    seeds = seeds_of(6)

    def crops(dataset):
        return dataset.map(
            lambda contents, seeds: tf.map_fn(
                lambda row: preprocessing.random_crop(*row, 24),
                (contents, seeds),
                fn_output_signature=tf.TensorSpec([24, 24, 3], tf.uint8),
            )
        )

    dataset = tf.data.Dataset.from_tensor_slices((contents, seeds))
    one, whole = (
        np.concatenate(list(crops(dataset.batch(rows)).as_numpy_iterator()))
        for rows in (1, 6)
    )
    np.testing.assert_array_equal(one, whole)


def test_half_of_the_crops_are_mirrored():
    draws = seeded.uniform(seeds_of(10_000), 1, preprocessing._FLIP)
    # Four standard deviations of 10,000 throws.
    assert abs(np.mean(draws < 0.5) - 0.5) < 4 * 0.5 / 100


def test_flips_do_not_depend_on_boxes():
    seeds = seeds_of(300)
    widths = np.array([box_of((64, 64), seed)[3] for seed in seeds])
    draws = seeded.uniform(seeds, 1, preprocessing._FLIP)[:, 0]
    assert abs(np.corrcoef(draws < 0.5, widths)[0, 1]) < 4 / 300**0.5


# ---- CIFAR's augmentation ----


@pytest.mark.parametrize("padding", [4, 1])
def test_pad_crop_flip(padding):
    images = np.stack([picture(9, 12, seed) for seed in range(40)])
    seeds = seeds_of(40)
    found = preprocessing.pad_crop_flip(images, seeds, padding).numpy()
    assert found.dtype == np.uint8
    margin = (padding, padding)
    for image, seed, result in zip(images, seeds, found, strict=True):
        vertical, horizontal, mirror = splitmix_with_integers(seed, 3, 2)
        top, left = (int(draw * (2 * padding + 1)) for draw in (vertical, horizontal))
        padded = np.pad(image, (margin, margin, (0, 0)))
        expected = padded[top : top + 9, left : left + 12]
        if mirror < 0.5:
            expected = expected[:, ::-1]
        np.testing.assert_array_equal(result, expected)


def test_pad_crop_flip_is_even():
    # Each pixel tells its place: 16 y + x, plus one.
    count = 8100
    image = np.arange(1, 257, dtype=np.int32).reshape(16, 16)
    image = np.minimum(image, 255).astype(np.uint8)
    images = np.broadcast_to(image[None, ..., None], [count, 16, 16, 3])
    found = preprocessing.pad_crop_flip(images, seeds_of(count)).numpy()[..., 0]
    is_mirrored = found[:, 8, 7] > found[:, 8, 8]
    assert abs(is_mirrored.mean() - 0.5) < 4 * 0.5 / 90
    found = np.where(is_mirrored[:, None, None], found[..., ::-1], found)
    top, left = np.divmod(found[:, 8, 8].astype(int) - 1, 16)
    places = (top - 4) * 9 + left - 4
    counts = np.bincount(places, minlength=81)
    assert len(counts) == 81
    # Chi-squared of 80 degrees of freedom: 80, give or take 12.6.
    assert ((counts - 100.0) ** 2 / 100).sum() < 80 + 4 * 12.6


def test_pad_crop_flip_does_not_depend_on_the_row():
    images = np.stack([picture(8, 8, seed) for seed in range(6)])
    seeds = seeds_of(6)
    found = preprocessing.pad_crop_flip(images, seeds).numpy()
    order = [4, 0, 5, 2, 1, 3]
    again = preprocessing.pad_crop_flip(images[order], seeds[order])
    np.testing.assert_array_equal(again, found[order])
    assert (preprocessing.pad_crop_flip(images, seeds_of(6, 8)) != found).numpy().any()


# ---- The range of the network ----


def test_normalize():
    images = np.stack([picture(6, 8, seed) for seed in range(2)])
    levels = images.astype(np.float64)
    deviation = levels.std(axis=(1, 2, 3), keepdims=True)
    expected = {
        "mean": levels - [123.68, 116.78, 103.94],
        "mean_std": (levels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "caffe": levels[..., ::-1] - [103.939, 116.779, 123.68],
        "per_image": (levels - levels.mean(axis=(1, 2, 3), keepdims=True)) / deviation,
    }
    assert tuple(expected) == preprocessing.SCHEMES
    for scheme, values in expected.items():
        for given in (images, images.astype(np.float32)):
            found = preprocessing.normalize(given, scheme)
            assert found.dtype == tf.float32
            np.testing.assert_allclose(found, values, atol=2e-5, err_msg=scheme)
