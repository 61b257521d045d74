import importlib.util
import io
import os
import pathlib
import tempfile
import types

import pytest
from PIL import Image

from official.benchmark import crops
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.logs import results

NAMES = ("official", "official_all", "tf_io", "pillow")


def run(**values):
    values = dict(rounds=1, seconds=0.001, image_size=32) | values
    return crops.run(flags_core.make_flags(crops.define_flags, **values))


def write_jpeg(path, colour, size=(60, 40)):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_the_photographs_are_copied_as_they_are(tmp_path):
    crops.copy_photographs(str(tmp_path), 3)
    paths = crops.find_files(str(tmp_path))
    names = [os.path.relpath(path, tmp_path) for path in paths]
    assert names == [f"{d}/{n:03}.jpg" for d in ("china", "flower") for n in range(3)]
    contents = [pathlib.Path(path).read_bytes() for path in paths]
    assert len(set(contents[:3])) == len(set(contents[3:])) == 1
    for content in contents:
        assert Image.open(io.BytesIO(content)).size == (640, 427)
    assert tuple(map(len, contents[2:4])) == (196653, 142987)


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
    # TensorFlow keeps what AutoGraph generates until the process ends.
    left = {n for n in os.listdir(tmp_path) if not n.startswith("__autograph_")}
    assert left == {"run"}
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
    monkeypatch.setattr(crops, "_PHOTOGRAPHS", ("nowhere.jpg",))
    fails("nowhere.jpg, a photograph of scikit-learn, is missing: pip install")
    monkeypatch.undo()
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "PIL" else known(name)
    )
    fails("crops compares with Pillow, which is missing: pip install pillow")
