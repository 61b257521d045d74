import os

import numpy as np
import pytest
import tensorflow as tf

from official.mnist import dataset, pictures
from official.utils.testing.errors import message_of


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def png(pixels: np.ndarray) -> bytes:
    return tf.io.encode_png(pixels.astype(np.uint8)).numpy()


def test_decode_images_returns_mnist_unchanged(tmp_path):
    digits = dataset.load("digits", None, seed=0).test.images[:3]
    paths = [
        write(tmp_path / f"{index}.png", png(digit[..., None]))
        for index, digit in enumerate(digits)
    ]
    images = pictures.decode_images(paths)
    assert images.dtype == np.uint8 and images.shape == (3, 28, 28)
    np.testing.assert_array_equal(images, digits)
    inverted = [
        write(tmp_path / f"{index}_paper.png", png(255 - digit[..., None]))
        for index, digit in enumerate(digits)
    ]
    np.testing.assert_array_equal(pictures.decode_images(inverted, invert=True), digits)


def test_decode_no_images():
    assert pictures.decode_images([]).shape == (0, 28, 28)


def test_decode_jpeg(tmp_path):
    digit = dataset.load("digits", None, seed=0).test.images[0]
    content = tf.io.encode_jpeg(digit[..., None], quality=95).numpy()
    image = pictures.decode_images([write(tmp_path / "a.jpg", content)])[0]
    # What a jpeg of this quality loses.
    assert 0 < np.abs(image.astype(int) - digit).mean() < 2


@pytest.mark.parametrize("file_format", ["BMP", "GIF"])
def test_decode_other_formats(tmp_path, file_format):
    pillow = pytest.importorskip("PIL.Image")
    digit = dataset.load("digits", None, seed=0).test.images[0]
    path = str(tmp_path / f"a.{file_format}")
    pillow.fromarray(digit).save(path, file_format)
    np.testing.assert_array_equal(pictures.decode_images([path])[0], digit)


def test_decode_the_first_frame_of_an_animation(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    digits = dataset.load("digits", None, seed=0).test.images[:2]
    path = str(tmp_path / "a.gif")
    first, second = (pillow.fromarray(digit) for digit in digits)
    first.save(path, save_all=True, append_images=[second])
    np.testing.assert_array_equal(pictures.decode_images([path])[0], digits[0])


def test_decode_colours(tmp_path):
    colours = np.zeros([28, 28, 3])
    colours[0, :4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    image = pictures.decode_images([write(tmp_path / "a.png", png(colours))])[0]
    # 255 times .299, .587, .114.
    assert image[0, :5].tolist() == [76, 150, 29, 255, 0]


def test_transparent_pixels_are_background(tmp_path):
    # Black ink on nothing, as drawing programs save it, and white ink on nothing.
    for ink, invert in ((0, True), (255, False)):
        for num_channels in (2, 4):
            picture = np.full([28, 28, num_channels], ink)
            picture[..., -1] = 0
            picture[10:20, 14, -1] = 255
            picture[20, 14, -1] = 128
            path = write(tmp_path / f"{ink}_{num_channels}.png", png(picture))
            image = pictures.decode_images([path], invert=invert)[0]
            assert (image[10:20, 14] == 255).all() and image[20, 14] == 128
            assert image.sum(dtype=np.int64) == 10 * 255 + 128


def test_an_unused_alpha_byte_is_no_transparency(tmp_path):
    picture = np.full([28, 28, 4], 200)
    picture[..., 3] = 0
    image = pictures.decode_images([write(tmp_path / "a.png", png(picture))])[0]
    assert (image == 200).all()


def test_resizing_averages_areas(tmp_path):
    small = np.arange(28 * 28).reshape(28, 28) % 251
    # Each pixel becomes 3 rows of 2, which differ by 2 around its value.
    large = np.clip(small, 1, 254).repeat(3, 0).repeat(2, 1)
    noisy = large + np.array([-1, 0, 1] * 28)[:, None]
    path = write(tmp_path / "a.png", png(noisy[..., None]))
    image = pictures.decode_images([path])[0]
    np.testing.assert_array_equal(image, np.clip(small, 1, 254))


def test_enlarging(tmp_path):
    corners = np.array([[0, 10], [20, 30]])
    path = write(tmp_path / "a.png", png(corners[..., None]))
    image = pictures.decode_images([path])[0]
    np.testing.assert_array_equal(image, corners.repeat(14, 0).repeat(14, 1))


@pytest.mark.parametrize(
    "content, problem",
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"a letter\n", "is no picture"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x1c", "is no picture"),
    ],
    ids=["missing", "empty", "text", "truncated"],
)
def test_undecodable_picture(tmp_path, content, problem):
    good = write(tmp_path / "good.png", png(np.zeros([28, 28, 1])))
    path = os.path.join(tmp_path, "bad.png")
    if content is not None:
        write(tmp_path / "bad.png", content)
    message = message_of(pictures.decode_images, [good, path])
    assert f"{path} {problem}" in message
