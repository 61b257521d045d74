import os
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.utils.logs import console
from official.utils.testing import errors
from official.utils.testing.data import real_data
from official.vision.image_classification import image_folder, parts
from official.vision.image_classification.picture_check_test import damaged
from official.vision.image_classification.picture_tree_test import (
    encoded,
    fill,
    picture,
    write,
)


@pytest.fixture(autouse=True)
def fresh_warnings():
    console.reset_warnings()


def load(folder, seed=0, **options) -> parts.Dataset:
    return image_folder.load(str(folder), seed, num_parallel_calls=2, **options)


def message_of(folder, **options) -> str:
    """Message of the UserError that `load` must raise; checks that it is one line."""
    return errors.message_of(image_folder.load, folder and str(folder), 0, **options)


def colours(part: parts.Arrays) -> list[tuple[int, int]]:
    """What `fill` put in: number and class of each picture."""
    corner = part.images[:, 0, 0]
    return [(int(number), int(label)) for number, label in corner[:, :2]]


def all_parts(data: parts.Dataset) -> dict[str, parts.Part]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def all_names(data: parts.Dataset, folder) -> dict[str, list[str]]:
    return {
        name: [os.path.relpath(path.decode(), str(folder)) for path in part.paths]
        for name, part in all_parts(data).items()
    }


def every_name(names: dict[str, list[str]]) -> list[str]:
    return sorted(name for part in names.values() for name in part)


# ---- Damaged pictures ----


def test_damaged_files_are_named_and_left_out(tmp_path, capsys):
    fill(tmp_path, {"a": 20, "b": 20})
    for name, (content, _) in damaged().items():
        write(tmp_path / "b" / name, content)
    data = load(tmp_path, max_skipped_fraction=0.25)
    assert len(data.train) + len(data.validation) + len(data.test) == 40
    assert data.source.endswith("; 10 damaged pictures left out")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6, lines
    for line, name in zip(lines[:5], sorted(damaged())[:5], strict=True):
        assert line.startswith(f"warning: {tmp_path}/b/{name} is left out: "), line
        assert damaged()[name][1] in line
    assert lines[5] == (
        f"warning: 10 of 50 pictures of --data_dir={tmp_path} cannot be decoded and "
        "are left out"
    )


# ---- One folder of classes ----


def test_parts_of_one_folder(tmp_path):
    numbers = {"b": 40, "a c": 23, "ä/": 3, "B": 4}
    fill(tmp_path, numbers)
    data = load(tmp_path, seed=3)
    assert data.name == "folder"
    assert data.source == (
        f"{tmp_path}; test: a fixed tenth of it; "
        "validation: 0.1 of the training pictures"
    )
    # A plain sort of strings: capitals first.
    assert data.class_names == ("B", "a c", "b", "ä")
    label_of = {0: 2, 1: 1, 2: 3, 3: 0}
    seen = []
    for part in all_parts(data).values():
        assert isinstance(part, parts.Arrays)
        assert part.images.dtype == np.uint8 and part.images.shape[1:] == (6, 8, 3)
        assert part.labels.dtype == np.int32
        assert [label_of[name] for _, name in colours(part)] == part.labels.tolist()
        assert part.labels.tolist() == sorted(part.labels)
        seen += colours(part)
    assert len(seen) == len(set(seen)) == 70
    counts = {
        name: np.bincount(part.labels).tolist()
        for name, part in all_parts(data).items()
    }
    # Of 40, 4 are 36, of which 3.6 are 4; of 3 and 4 one each.
    assert counts == {
        "train": [2, 19, 32, 1],
        "validation": [1, 2, 4, 1],
        "test": [1, 2, 4, 1],
    }


def test_parts_depend_on_seed_and_names_only(tmp_path):
    names = [f"{name}/{index}.png" for name in "ab" for index in range(50)]
    for folder, order in (("one", names), ("two", names[::-1])):
        for name in order:
            write(tmp_path / folder / name, picture())
    # Pictures of two sizes, so that the parts show their names.
    for folder in ("one", "two"):
        write(tmp_path / folder / "b" / "7.png", picture(size=(3, 3)))
    one = all_names(load(tmp_path / "one", seed=1), tmp_path / "one")
    assert one == all_names(load(tmp_path / "two", seed=1), tmp_path / "two")
    other = all_names(load(tmp_path / "one", seed=2), tmp_path / "one")
    assert other["test"] == one["test"]
    assert other["validation"] != one["validation"]
    # Of 50, 5 and of the other 45 (4.5) 4; an even number wins.
    assert len(one["test"]) == 10 and len(one["validation"]) == 8
    # The split is no function of this machine or of a release of a library.
    numbers = [26, 38, 39, 43, 5, 28, 32, 4, 41, 47]
    assert one["test"] == [
        f"{'ab'[index // 5]}/{number}.png" for index, number in enumerate(numbers)
    ]
    assert every_name(other) == sorted(names)
    assert all(part == sorted(part) for part in one.values())


def test_more_pictures_leave_most_in_their_part(tmp_path):
    fill(tmp_path, {"a": 100, "b": 100})
    before = set(colours(load(tmp_path).test))
    for index in range(100, 110):
        write(tmp_path / "a" / f"{index}.png", picture((index, 0, 7)))
    after = set(colours(load(tmp_path).test))
    assert len(before) == 20 and len(after) == 21
    assert len(before & after) >= 17


def test_another_file_system():
    folder = "ram://image_folder_test"
    for name in ("a", "b"):
        for index in range(4):
            path = f"{folder}/{name}/inner/{index}.png"
            tf.io.gfile.makedirs(os.path.dirname(path))
            with tf.io.gfile.GFile(path, "wb") as stream:
                stream.write(picture((index, 0, 0), size=(8 + index, 6)))
    data = image_folder.load(folder, 0)
    assert isinstance(data.train, parts.Files)
    assert [len(part) for part in all_parts(data).values()] == [4, 2, 2]
    every = np.concatenate([part.paths for part in all_parts(data).values()])
    assert sorted(every.tolist()) == [
        f"{folder}/{name}/inner/{index}.png".encode()
        for name in "ab"
        for index in range(4)
    ]


def test_validation_fraction(tmp_path):
    fill(tmp_path, {"a": 60, "b": 30})
    data = load(tmp_path, validation_fraction=0.5)
    assert np.bincount(data.test.labels).tolist() == [6, 3]
    assert np.bincount(data.validation.labels).tolist() == [27, 14]
    assert np.bincount(data.train.labels).tolist() == [27, 13]
    assert data.source.endswith("; validation: 0.5 of the training pictures")
    # The pictures it is tested on are the same.
    assert colours(load(tmp_path).test) == colours(data.test)


# ---- Parts that the folder gives ----


def test_test_folder(tmp_path):
    fill(tmp_path / "train", {"a": 20, "b": 2})
    fill(tmp_path / "test", {"a": 0, "b": 5})
    data = load(tmp_path, seed=1)
    assert data.source == (
        f"train/ and test/ of {tmp_path}; validation: 0.1 of the training pictures"
    )
    assert data.class_names == ("a", "b")
    assert colours(data.test) == [(index, 1) for index in range(5)]
    assert data.test.labels.tolist() == [1] * 5
    assert np.bincount(data.validation.labels).tolist() == [2, 1]
    assert np.bincount(data.train.labels).tolist() == [18, 1]
    other = load(tmp_path, seed=2)
    assert colours(other.test) == colours(data.test)
    assert colours(other.validation) != colours(data.validation)


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_validation_folder_is_the_test_part(tmp_path, name):
    fill(tmp_path / "Train", {"a": 4, "b": 4})
    fill(tmp_path / name, {"a": 2, "b": 1})
    data = load(tmp_path)
    assert data.source == (
        f"Train/ and {name}/ of {tmp_path}; "
        f"test: {name}/; validation: 0.1 of the training pictures"
    )
    assert [len(part) for part in all_parts(data).values()] == [6, 2, 3]
    assert colours(data.test) == [(0, 0), (1, 0), (0, 1)]


def test_three_folders(tmp_path):
    fill(tmp_path / "train", {"a": 1, "b": 3})
    fill(tmp_path / "val", {"a": 2})
    fill(tmp_path / "test", {"b": 2})
    (tmp_path / "test" / "notes").mkdir()
    write(tmp_path / "train" / "loose.png", picture())
    write(tmp_path / "masks" / "a.png", picture())
    write(tmp_path / "README.md", b"")
    data = load(tmp_path)
    assert data.source == (
        f"train/, val/ and test/ of {tmp_path}; folders passed over: masks; "
        "2 other files passed over"
    )
    assert [part.labels.tolist() for part in all_parts(data).values()] == [
        [0, 1, 1, 1],
        [0, 0],
        [1, 1],
    ]


def test_train_alone(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    data = load(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.source.startswith(f"train/ of {tmp_path}; test: a fixed tenth of it")
    assert [len(part) for part in all_parts(data).values()] == [2, 2, 2]


# ---- Arrays or files ----


def test_pictures_of_several_sizes_stay_files(tmp_path):
    fill(tmp_path, {"a": 50, "b": 50})
    # Not among the pictures that are looked at first.
    write(tmp_path / "a" / "001.png", picture(size=(8, 7)))
    data = load(tmp_path)
    names = all_names(data, tmp_path)
    assert isinstance(data.train, parts.Files)
    assert every_name(names) == sorted(
        f"{name}/{index:03}.png" for name in "ab" for index in range(50)
    )
    for name, part in all_parts(data).items():
        labels = ["ab".index(path[0]) for path in names[name]]
        assert part.labels.dtype == np.int32 and part.labels.tolist() == labels
        assert tf.constant(part.paths).dtype == tf.string


def test_arrays_hold_the_pictures_of_their_rows(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (600, 5, 4, 3), np.uint8)
    for index, image in enumerate(images):
        name = f"{'ab'[index // 300]}/{index:03}.png"
        write(tmp_path / name, encoded(Image.fromarray(image)))
    write(tmp_path / "a" / "000.png", b"damaged")
    row_of = {image.tobytes(): row for row, image in enumerate(images)}
    data = load(tmp_path)
    rows = []
    for part in all_parts(data).values():
        found = [row_of[image.tobytes()] for image in part.images]
        assert [row // 300 for row in found] == part.labels.tolist()
        rows += found
    assert sorted(rows) == list(range(1, 600))


# ---- Errors ----


@pytest.mark.parametrize("data_dir", [None, ""])
def test_a_folder_is_needed(data_dir):
    message = message_of(data_dir)
    assert message.startswith("the data set folder needs --data_dir: give a folder")


def test_a_class_with_too_few_pictures(tmp_path):
    fill(tmp_path, {"a": 3, "b": 2})
    message = message_of(tmp_path)
    assert "the class b has 2 pictures that can be decoded, too few" in message
    assert "train, test and validation; add some, at least 3 in all" in message


def test_a_training_class_with_one_picture(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 1})
    fill(tmp_path / "test", {"a": 1})
    message = message_of(tmp_path)
    assert "the class b has 1 picture that can be decoded" in message
    assert "train and validation; add some, at least 2 in all" in message


def test_damaged_pictures_leave_too_few(tmp_path):
    fill(tmp_path, {"a": 30, "b": 2})
    write(tmp_path / "b" / "bad.png", b"")
    assert "the class b has 2 pictures that can" in message_of(tmp_path)


def test_a_test_part_that_is_all_damaged(tmp_path):
    fill(tmp_path / "train", {"a": 30, "b": 30})
    write(tmp_path / "test" / "b" / "bad.png", b"")
    message = message_of(tmp_path)
    assert "no picture of the test part can be decoded" in message


def test_a_name_that_is_no_text(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    with open(os.path.join(os.fsencode(tmp_path), b"a", b"\xff.png"), "wb") as stream:
        stream.write(picture())
    assert message_of(tmp_path) == (
        f"--data_dir={tmp_path} holds the file or folder b'\\xff.png', whose name is "
        "not UTF-8; rename it"
    )


# ---- Real pictures ----


def test_real_pictures(tmp_path):
    archive = real_data("cifar10", "cifar10-images-jpg-q75.tar.xz")
    num_pictures = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, name = member.name.partition("/")
            if "/000" in name:
                write(tmp_path / name, tar.extractfile(member).read())
                num_pictures += 1
            if num_pictures == 30:
                break
    data = load(tmp_path)
    assert data.class_names == ("airplane", "automobile", "bird")
    assert [part.images.shape for part in all_parts(data).values()] == [
        (24, 32, 32, 3),
        (3, 32, 32, 3),
        (3, 32, 32, 3),
    ]
    with Image.open(tmp_path / "airplane" / "0000.jpg") as image:
        expected = np.asarray(image)
    every = np.concatenate([part.images for part in all_parts(data).values()])
    errors = np.abs(every.astype(int) - expected).max(axis=(1, 2, 3))
    # Two decoders of JPEG may round differently.
    assert (errors <= 2).sum() == 1
