import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.benchmark import crop_contenders, crops
from official.utils.errors import UserError

NAMES = ("official", "official_all", "tf_io", "pillow")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    crops.copy_photographs(str(folder), 3)
    return folder


def write_jpeg(path, colour, size=(60, 40)):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_all_give_the_same_kind_of_crops(photographs):
    paths = crops.find_files(str(photographs))
    ways = crop_contenders.contenders(paths, 224, batch_size=6, seed=0)
    assert tuple(ways) == NAMES
    means, deviations = {}, {}
    for name, open_batches in ways.items():
        batches = [np.asarray(b) for b in itertools.islice(open_batches(0), 16)]
        assert {(b.dtype, b.shape) for b in batches} == {
            (np.dtype("uint8"), (6, 224, 224, 3))
        }
        images = np.concatenate(batches).astype(np.float32)
        assert len(np.unique(images.mean((1, 2, 3)))) > 80  # Boxes of their own.
        means[name] = images.mean((0, 1, 2))
        deviations[name] = images.std((1, 2)).mean()
    for name in NAMES:
        # The mean colour of a crop deviates by about 30; the root of 96 crops is 10.
        np.testing.assert_allclose(means[name], means["official"], atol=11)
        assert deviations[name] == pytest.approx(deviations["official"], rel=0.12)
    np.testing.assert_array_equal(means["official"], means["official_all"])


@pytest.mark.parametrize("name", ["official", "tf_io", "pillow"])
def test_batches_go_on_from_a_number(photographs, name):
    paths = crops.find_files(str(photographs))
    open_batches = crop_contenders.contenders(paths, 16, batch_size=2, seed=3)[name]
    first, second = (np.asarray(b) for b in itertools.islice(open_batches(4), 2))
    other = np.asarray(next(open_batches(5)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    # Pillow's boxes are drawn one after the other, from each beginning anew.
    assert np.array_equal(second, other) == (name != "pillow")


def test_a_batch_holds_each_file_once(tmp_path):
    colours = np.array([(red, 250 - red, 90) for red in range(0, 251, 50)])
    paths = [
        str(write_jpeg(tmp_path / f"{colour[0]}.jpg", tuple(map(int, colour))))
        for colour in colours
    ]
    ways = crop_contenders.contenders(paths, 8, batch_size=6, seed=0)
    for name in ("official", "tf_io", "pillow"):
        batch = np.asarray(next(ways[name](1))).astype(int)
        found = batch[np.argsort(batch[:, 0, 0, 0])]
        # JPEG rounds colours, and no more; RGB, not BGR.
        np.testing.assert_allclose(
            found, np.broadcast_to(colours[:, None, None], found.shape), atol=3
        )


def test_boxes_are_those_of_tensorflow():
    width, height = 640, 427
    generator = np.random.default_rng(0)
    ours = np.array(
        [crop_contenders.random_box(width, height, generator) for _ in range(4000)]
    )
    ours = _features(ours[:, 0], ours[:, 1], ours[:, 2], ours[:, 3])

    @tf.function
    def box(seed):
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.constant([height, width, 3]),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed,
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.05, 1.0),
            max_attempts=100,
        )
        return tf.concat([begin[:2], begin[:2] + extent[:2]], 0)

    seeds = tf.stack([tf.zeros([4000], tf.int64), tf.range(4000, dtype=tf.int64)], 1)
    found = tf.map_fn(
        box, seeds, fn_output_signature=tf.TensorSpec([4], tf.int32)
    ).numpy()
    theirs = _features(found[:, 1], found[:, 0], found[:, 3], found[:, 2])
    for name, values in ours.items():
        error = np.hypot(values.std(), theirs[name].std()) / np.sqrt(4000)
        assert abs(values.mean() - theirs[name].mean()) < 4 * error, name
        assert values.std() == pytest.approx(theirs[name].std(), rel=0.07), name
        assert values.min() == pytest.approx(theirs[name].min(), abs=0.02), name
        assert values.max() == pytest.approx(theirs[name].max(), abs=0.02), name


def _features(left, top, right, bottom):
    wide, tall = right - left, bottom - top
    return {
        "area": wide * tall / (640 * 427),
        "aspect": wide / tall,
        "left": left / 640,
        "top": top / 427,
    }


def test_a_picture_that_no_box_fits_is_taken_whole():
    generator = np.random.default_rng(0)
    assert crop_contenders.random_box(1000, 2, generator) == (0, 0, 1000, 2)


def test_a_damaged_file_is_named(tmp_path):
    path = write_jpeg(tmp_path / "bad" / "0.jpg", (1, 2, 3), size=(640, 480))
    content = path.read_bytes()
    # The header alone is whole.
    path.write_bytes(content[: len(content) // 4])
    ways = crop_contenders.contenders([str(path)], 8, 1, 0)
    with pytest.raises(UserError, match=r"0.jpg cannot be decoded .*; restore or"):
        next(ways["pillow"](0))
