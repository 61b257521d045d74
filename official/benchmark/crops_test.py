import importlib.util
import io
import itertools
import os
import pathlib
import tempfile
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.benchmark import crops
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.logs import results

NAMES = ("official", "official_all", "tf_io", "pillow")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    crops.copy_photographs(str(folder), 3)
    return folder


def run(**values):
    values = dict(rounds=1, seconds=0.001, image_size=32) | values
    return crops.run(flags_core.make_flags(crops.define_flags, **values))


def write_jpeg(path, colour, size=(60, 40)):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_the_photographs_are_copied_as_they_are(photographs):
    paths = crops.find_files(str(photographs))
    names = [os.path.relpath(path, photographs) for path in paths]
    assert names == [f"{d}/{n:03}.jpg" for d in ("china", "flower") for n in range(3)]
    contents = [pathlib.Path(path).read_bytes() for path in paths]
    assert len(set(contents[:3])) == len(set(contents[3:])) == 1
    for content in contents:
        assert Image.open(io.BytesIO(content)).size == (640, 427)
    assert tuple(map(len, contents[2:4])) == (196653, 142987)


def test_all_give_the_same_kind_of_crops(photographs):
    paths = crops.find_files(str(photographs))
    ways = crops.contenders(paths, 224, batch_size=6, seed=0)
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
    open_batches = crops.contenders(paths, 16, batch_size=2, seed=3)[name]
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
    ways = crops.contenders(paths, 8, batch_size=6, seed=0)
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
    ours = np.array([crops.random_box(width, height, generator) for _ in range(4000)])
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
    assert crops.random_box(1000, 2, generator) == (0, 0, 1000, 2)


def test_turns_leave_the_first_batch_out(monkeypatch):
    clock = types.SimpleNamespace(wall=0.0, cpu=0.0)
    monkeypatch.setattr(
        crops,
        "time",
        types.SimpleNamespace(
            perf_counter=lambda: clock.wall, process_time=lambda: clock.cpu
        ),
    )
    opened = []

    def open_batches(first):
        opened.append(first)
        clock.wall += 100
        while True:
            clock.wall += 2
            clock.cpu += 3
            yield None

    turns = []
    train = crops._timed(open_batches, turns)
    assert train(4) == 8
    assert train(5) == 10
    assert opened == [0, 5]
    assert [(t.batches, t.seconds, t.cpu_seconds) for t in turns] == [
        (4, 8, 12),
        (5, 10, 15),
    ]
    found = crops._metrics({name: turns for name in NAMES}, batch_size=6)
    assert found["images_per_second_official"] == 3
    assert found["images_per_cpu_second_tf_io"] == 2
    assert found["cores_pillow"] == 1.5
    assert found["ratio_to_pillow"] == found["ratio_to_tf_io"] == 1


def test_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(crops, "_COPIES", 4)
    folder = tmp_path / "run"
    metrics = run(
        image_size=224, training_images_per_second=2, model_dir=folder, seed=5
    )
    assert os.listdir(tmp_path) == ["run"]
    out = capsys.readouterr().out
    assert "8 JPEG files, medians 640x427 pixels and 169,820 bytes, copies; " in out
    assert "crops of 224 pixels in batches of 8" in out
    assert "times what a training of 2 images/s takes" in out
    for other in ("tf_io", "pillow"):
        assert metrics[f"ratio_to_{other}"] == pytest.approx(
            metrics["images_per_cpu_second_official"]
            / metrics[f"images_per_cpu_second_{other}"]
        )
    for name in NAMES:
        assert f"\n{name} " in out
        assert metrics[f"cores_{name}"] == pytest.approx(
            metrics[f"images_per_second_{name}"]
            / metrics[f"images_per_cpu_second_{name}"]
        )
    assert metrics["times_training_speed"] == pytest.approx(
        metrics["images_per_second_official_all"] / 2
    )
    found = results.read_results(str(folder / "results.json"))
    assert list(found) == list(results.REQUIRED_KEYS)
    assert found["metrics"] == metrics
    assert found["examples_per_second"] == metrics["images_per_second_official_all"]
    assert (found["seed"], found["flags"]["rounds"]) == (5, 1)


def test_only_jpeg_files_of_a_folder_are_taken(tmp_path):
    write_jpeg(tmp_path / "a" / "1.JPG", (9, 9, 9))
    write_jpeg(tmp_path / "a" / "2.jpeg", (9, 9, 9))
    write_jpeg(tmp_path / "3.jpg", (9, 9, 9), size=(20, 30))
    (tmp_path / "a" / "4.png").write_bytes(b"not looked at")
    paths = crops.find_files(str(tmp_path))
    assert [os.path.basename(path) for path in paths] == ["3.jpg", "1.JPG", "2.jpeg"]
    lengths = sorted(os.path.getsize(path) for path in paths)
    assert crops._describe(paths) == (
        f"3 JPEG files, medians 60x40 pixels and {lengths[1]:,} bytes"
    )


def test_what_the_user_can_mend_is_one_line(tmp_path, monkeypatch):
    def fails(match, **values):
        with pytest.raises(UserError, match=match) as raised:
            run(**values)
        assert "\n" not in str(raised.value)

    fails("missing cannot be read .*; check the path", data_dir=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    fails("empty holds no JPEG file", data_dir=tmp_path / "empty")
    # No picture at all; then one whose header alone is whole.
    bad = write_jpeg(tmp_path / "bad" / "0.jpg", (1, 2, 3), size=(640, 480))
    content = bad.read_bytes()
    bad.write_bytes(b"text")
    fails("bad/0.jpg cannot be decoded", data_dir=tmp_path / "bad")
    bad.write_bytes(content[: len(content) // 4])
    fails("bad/0.jpg can", data_dir=tmp_path / "bad")
    with pytest.raises(UserError, match=r"0.jpg cannot be decoded .*; restore or"):
        next(crops.contenders([str(bad)], 8, 1, 0)["pillow"](0))
    monkeypatch.setattr(crops, "_PHOTOGRAPHS", ("nowhere.jpg",))
    fails("nowhere.jpg, a photograph of scikit-learn, is missing: pip install")
    monkeypatch.undo()
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "PIL" else known(name)
    )
    fails("crops compares with Pillow, which is missing: pip install pillow")
