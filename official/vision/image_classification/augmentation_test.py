import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from official.utils.data.seeded_test import seeds_of, splitmix_with_integers
from official.vision.image_classification import augmentation
from official.vision.image_classification.preprocessing_test import picture

# ---- Random augmentation ----

FILL = (128, 128, 128)
SHARE = 100 / 331


def enhanced(kind):
    return lambda image, m, sign: kind(image).enhance(0.1 + 1.8 * m)


def moved(coefficients):
    def move(image, m, sign):
        return image.transform(
            image.size,
            Image.Transform.AFFINE,
            coefficients(m * sign, *image.size),
            fillcolor=FILL,
        )

    return move


WITH_PILLOW = {
    "identity": lambda image, m, sign: image,
    "auto_contrast": lambda image, m, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, m, sign: ImageOps.equalize(image),
    "rotate": lambda image, m, sign: image.rotate(30 * m * sign, fillcolor=FILL),
    "solarize": lambda image, m, sign: ImageOps.solarize(image, int(256 * m)),
    "posterize": lambda image, m, sign: ImageOps.posterize(image, max(1, int(4 * m))),
    "color": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "brightness": enhanced(ImageEnhance.Brightness),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "shear_x": moved(lambda m, width, height: (1, 0.3 * m, 0, 0, 1, 0)),
    "shear_y": moved(lambda m, width, height: (1, 0, 0, 0.3 * m, 1, 0)),
    "translate_x": moved(
        lambda m, width, height: (1, 0, 100 / 331 * m * width, 0, 1, 0)
    ),
    "translate_y": moved(
        lambda m, width, height: (1, 0, 0, 0, 1, 100 / 331 * m * height)
    ),
}


@pytest.mark.parametrize("name", augmentation.OPERATIONS)
def test_operations_do_what_pillow_does(name):
    number = list(augmentation.OPERATIONS).index(name)
    image = picture(47, 61)
    for magnitude in (0, 3, 7, 9, 10):
        for sign in (-1.0, 1.0):
            expected = np.asarray(
                WITH_PILLOW[name](Image.fromarray(image), magnitude / 10, sign)
            )
            found = augmentation._augment(
                image, tf.constant(number), magnitude / 10, tf.constant(sign)
            )
            differs = (found.numpy() != expected).any(axis=-1)
            # Between two pixels rounding decides which is the nearest.
            assert differs.mean() < (0.002 if name == "rotate" else 1e-9)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_operations_on_one_colour(level):
    image = np.full([8, 8, 3], level, np.uint8)
    for number, name in enumerate(augmentation.OPERATIONS):
        expected = np.asarray(WITH_PILLOW[name](Image.fromarray(image), 0.9, 1.0))
        found = augmentation._augment(image, tf.constant(number), 0.9, tf.constant(1.0))
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_rand_augment_applies_what_the_seed_draws():
    image = picture(20, 24)
    augment = tf.function(
        lambda image, seed: augmentation.rand_augment(image, seed, 2, 9)
    )
    operations = list(augmentation.OPERATIONS.values())
    numbers = []
    for seed in seeds_of(60):
        draws = splitmix_with_integers(seed, 4, 3)
        expected = tf.constant(image)
        for kind, sign in (draws[:2], draws[2:]):
            numbers.append(int(kind * 14))
            sign = tf.constant(-1.0 if sign < 0.5 else 1.0)
            expected = operations[numbers[-1]](expected, 0.9, sign)
        found = augment(image, seed)
        assert found.shape == image.shape
        np.testing.assert_array_equal(found, expected)
    assert set(numbers) == set(range(14))


# ---- Mixing ----


def mixed(images, seeds, mixup_alpha, cutmix_alpha, jit_compile=False):
    """Mixes with one class a row, and checks what holds for every way."""
    targets = np.eye(len(images), dtype=np.float32)
    function = augmentation.mix
    if jit_compile:
        function = tf.function(function, jit_compile=True)
    images, targets = function(
        tf.constant(images), tf.constant(targets), seeds, mixup_alpha, cutmix_alpha
    )
    images, targets = images.numpy(), targets.numpy()
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    return images, targets


BATCH = np.stack([picture(16, 20, seed) for seed in range(7)]).astype(np.float32)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_mixup(jit_compile):
    images, targets = mixed(BATCH, seeds_of(7), 0.4, 0, jit_compile)
    for row in range(6):
        own, other = targets[row, row], targets[row, row ^ 1]
        assert own == targets[row ^ 1, row ^ 1]
        assert 0 < own < 1
        expected = own * BATCH[row] + other * BATCH[row ^ 1]
        np.testing.assert_allclose(images[row], expected, atol=1e-3)
    np.testing.assert_array_equal(images[6], BATCH[6])
    assert targets[6, 6] == 1


@pytest.mark.parametrize("jit_compile", [False, True])
def test_cutmix(jit_compile):
    count = 200
    generator = np.random.default_rng(0)
    batch = generator.uniform(0, 255, [count, 16, 20, 3]).astype(np.float32)
    images, targets = mixed(batch, seeds_of(count), 0, 1.0, jit_compile)
    shares = []
    for row in range(count):
        is_own = (images[row] == batch[row]).all(axis=-1)
        is_other = (images[row] == batch[row ^ 1]).all(axis=-1)
        assert (is_own ^ is_other).all()
        share = is_other.mean()
        np.testing.assert_allclose(targets[row, row ^ 1], share, atol=1e-6)
        np.testing.assert_allclose(targets[row, row], 1 - share, atol=1e-6)
        rows, columns = is_other.any(axis=1), is_other.any(axis=0)
        # A box: all of its rows times all of its columns, without a gap.
        np.testing.assert_array_equal(is_other, rows[:, None] & columns)
        for side in (rows, columns):
            assert np.abs(np.diff(np.pad(side.astype(int), 1))).sum() in (0, 2)
        shares.append(share)
    # 1/2 without what is cut off at the edges.
    assert 0.25 < np.mean(shares) < 0.5


def test_cutmix_leaves_an_odd_row():
    images, targets = mixed(BATCH, seeds_of(7), 0, 1.0)
    np.testing.assert_array_equal(images[6], BATCH[6])
    assert targets[6, 6] == 1


def test_both_ways_take_turns():
    count = 400
    generator = np.random.default_rng(0)
    batch = generator.uniform(0, 255, [count, 8, 8, 3]).astype(np.float32)
    images, _ = mixed(batch, seeds_of(count), 0.8, 1.0)
    cut, _ = mixed(batch, seeds_of(count), 0, 1.0)
    added, _ = mixed(batch, seeds_of(count), 0.8, 0)
    is_cut = (images == cut).all(axis=(1, 2, 3))
    is_added = (images == added).all(axis=(1, 2, 3))
    assert (is_cut | is_added).all()
    assert (is_cut[::2] == is_cut[1::2]).all()
    # Four standard deviations of 200 throws.
    assert abs(is_cut.mean() - 0.5) < 4 * 0.5 / 200**0.5


def test_mixing_does_not_depend_on_the_batch():
    whole = mixed(BATCH[:6], seeds_of(6), 0.8, 1.0)[0]
    parts = [
        mixed(BATCH[i : i + 2], seeds_of(6)[i : i + 2], 0.8, 1.0)[0] for i in (0, 2, 4)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8, 1.0, 3.0])
def test_shares_have_the_moments_of_beta(alpha):
    draw = tf.function(
        lambda seeds: augmentation._symmetric_beta(seeds, alpha, 1), jit_compile=True
    )
    draws = draw(tf.constant(seeds_of(40_000))).numpy().astype(np.float64)
    assert draws.min() >= 0 and draws.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(draws.mean() - 0.5) < 4 * (variance / 40_000) ** 0.5
    assert abs(draws.var() / variance - 1) < 0.03
    fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert abs(np.mean((draws - 0.5) ** 4) / fourth - 1) < 0.05
