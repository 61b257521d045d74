import functools
import io
import json
import os
import struct
import tarfile
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.utils.errors import UserError
from official.utils.logs import console
from official.utils.testing.data import real_data
from official.vision.image_classification import image_folder, parts


@pytest.fixture(autouse=True)
def fresh_warnings():
    console.reset_warnings()


def encoded(image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def picture(colour=(200, 30, 60), size=(8, 6)) -> bytes:
    """A PNG file of one colour; size is width and height."""
    return encoded(Image.new("RGB", size, colour))


def write(path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def fill(folder, numbers: dict[str, int], size=(8, 6)) -> None:
    """Writes pictures 000.png, ... whose colours are number and class."""
    for label, (name, number) in enumerate(numbers.items()):
        for index in range(number):
            content = picture((index, label, 7), size)
            write(folder / name / f"{index:03}.png", content)


def load(folder, seed=0, **options) -> parts.Dataset:
    return image_folder.load(str(folder), seed, num_parallel_calls=2, **options)


def message_of(folder, **options) -> str:
    """Message of the UserError that `load` must raise; checks that it is one line."""
    with pytest.raises(UserError) as caught:
        image_folder.load(folder and str(folder), 0, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


# ---- Formats ----


def animation(form: str) -> bytes:
    first, *rest = [Image.new("RGB", (8, 6), (90 * i, 200, 10)) for i in range(3)]
    return encoded(first, form, save_all=True, append_images=rest, loop=0)


@functools.cache
def formats() -> dict[str, tuple[bytes, tuple[int, int, int]]]:
    """Files of every kind, with the colour that they must decode to."""
    red = Image.new("RGB", (8, 6), (200, 30, 60))
    grey = Image.new("L", (8, 6), 77)
    deep = Image.fromarray(np.full((6, 8), 300 * 256 // 2, np.uint16))
    pixel = (200, 30, 60)
    return {
        "rgb.jpg": (encoded(red, "JPEG", quality=100), pixel),
        "capitals.JPEG": (encoded(red, "JPEG", quality=100), pixel),
        "progressive.jpe": (encoded(red, "JPEG", progressive=True, quality=100), pixel),
        "cmyk.jpg": (
            encoded(Image.new("CMYK", (8, 6), (0, 255, 0, 0)), "JPEG", quality=100),
            (255, 0, 255),
        ),
        "grey.jpg": (encoded(grey, "JPEG", quality=100), (77, 77, 77)),
        "rgb.png": (encoded(red), pixel),
        "grey.png": (encoded(grey), (77, 77, 77)),
        "grey_alpha.png": (
            encoded(Image.new("LA", (8, 6), (77, 128))),
            (77, 77, 77),
        ),
        "alpha.PNG": (encoded(Image.new("RGBA", (8, 6), (*pixel, 128))), pixel),
        "palette.png": (encoded(red.quantize()), pixel),
        "bits.png": (encoded(Image.new("1", (8, 6), 1)), (255, 255, 255)),
        "deep.png": (encoded(deep), (150, 150, 150)),
        "rgb.bmp": (encoded(red, "BMP"), pixel),
        "still.gif": (encoded(red, "GIF"), pixel),
        "moving.gif": (animation("GIF"), (0, 200, 10)),
        "still.webp": (encoded(red, "WEBP", lossless=True), pixel),
        "moving.webp": (animation("WEBP"), (0, 200, 10)),
        "named_wrongly.png": (encoded(red, "JPEG", quality=100), pixel),
    }


def test_every_format(tmp_path, capfd):
    for name, (content, _) in formats().items():
        write(tmp_path / "train" / "a" / name, content)
    write(tmp_path / "train" / "b" / "1.png", picture())
    write(tmp_path / "train" / "b" / "2.png", picture())
    for name, (content, _) in formats().items():
        write(tmp_path / "test" / "a" / name, content)
    data = load(tmp_path)
    assert "warning:" not in capfd.readouterr().err
    assert len(data.test) == len(formats())
    for name, image in zip(sorted(formats()), data.test.images, strict=True):
        expected = np.array(formats()[name][1])
        error = np.abs(image.astype(int) - expected).max()
        # GIF's palette and WebP's colour space are not exact.
        assert error <= 4, (name, image[0, 0], expected)


def big_png(width: int, height: int) -> bytes:
    """A valid black picture of 1 bit a pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + checksum.to_bytes(4)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )


@functools.cache
def damaged() -> dict[str, tuple[bytes, str]]:
    """Files that cannot be decoded, with a part of the reason."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = encoded(Image.fromarray(noise), "JPEG")
    wide = bytearray(jpeg)
    frame = wide.index(b"\xff\xc0")
    wide[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 50000)
    return {
        "cut.gif": (animation("GIF")[:40], "damaged or cut: Invalid GIF data"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "damaged or cut: jpeg::Uncompress failed"),
        "cut.png": (encoded(Image.fromarray(noise))[:5000], "Invalid PNG data"),
        "cut.webp": (encoded(Image.fromarray(noise), "WEBP")[:200], "damaged or cut"),
        "empty.jpg": (b"", "it is empty"),
        "short.jpg": (b"hi", "no JPEG, PNG, GIF, BMP or WebP file"),
        "text.jpg": (b"These are only words.\n", "no JPEG, PNG, GIF, BMP or WebP file"),
        "tiff.jpg": (encoded(Image.fromarray(noise), "TIFF"), "no JPEG, PNG, GIF, BMP"),
        "vast.png": (
            big_png(15000, 12000),
            "15000x12000 pixels, more than 178,956,970",
        ),
        "wide.jpg": (bytes(wide), "50000x60000 pixels, more than 178,956,970"),
    }


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


def test_reasons(tmp_path):
    for name, (content, reason) in damaged().items():
        write(tmp_path / name, content)
        found = image_folder._reason(str(tmp_path / name))
        assert reason in found and "\n" not in found, (name, found)


def test_a_size_that_a_decoder_takes_but_memory_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "MAX_PIXELS", 100)
    fill(tmp_path, {"a": 3, "b": 3})
    image = Image.new("RGB", (12, 9))
    write(tmp_path / "a" / "large.webp", encoded(image, "WEBP"))
    assert "large.webp cannot be decoded (it has 12x9 pixels, more than 100)" in (
        message_of(tmp_path)
    )


def test_links_to_nothing_and_folders_called_like_pictures(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "link.jpg").symlink_to(tmp_path / "missing")
    (tmp_path / "b" / "folder.jpg").mkdir()
    message = message_of(tmp_path)
    assert f"{tmp_path}/a/link.jpg cannot be decoded (it cannot be read: " in message
    assert ", nor can 1 more; of 8 pictures --max_skipped_fraction=0.01" in message
    assert len(load(tmp_path, max_skipped_fraction=0.25).train) == 2


@pytest.mark.parametrize(
    "total, bad, fraction, is_allowed",
    [
        (19, 1, 0.01, False),
        (20, 1, 0.01, True),
        (20, 2, 0.01, False),
        (20, 1, 0, False),
        (100, 7, 0.07, True),
        (100, 8, 0.07, False),
    ],
)
def test_limit_of_skipped_pictures(tmp_path, capsys, total, bad, fraction, is_allowed):
    fill(tmp_path, {"a": total // 2, "b": total - total // 2 - bad})
    for index in range(bad):
        write(tmp_path / "b" / f"bad{index}.jpg", b"")
    if is_allowed:
        data = load(tmp_path, max_skipped_fraction=fraction)
        assert sum(map(len, all_parts(data).values())) == total - bad
        verb = "is" if bad == 1 else "are"
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"{bad} of {total} pictures" in last and last.endswith(
            f"{verb} left out"
        )
        return
    message = message_of(tmp_path, max_skipped_fraction=fraction)
    allowed = {19: 0, 20: 1 if fraction else 0, 100: 7}[total]
    assert message == (
        f"{tmp_path}/b/bad0.jpg cannot be decoded (it is empty)"
        f"{f', nor can {bad - 1} more' if bad > 1 else ''}; of {total} pictures "
        f"--max_skipped_fraction={fraction:g} leaves out {allowed} at most: repair or "
        "remove what is damaged, or raise the flag"
    )


# ---- One folder of classes ----


def test_parts_of_one_folder(tmp_path):
    numbers = {"b": 40, "a c": 23, "ä/": 3, "B": 4}
    fill(tmp_path, numbers)
    data = load(tmp_path, seed=3)
    assert data.name == "folder"
    assert data.source == (
        f"{tmp_path}; test: a fixed tenth of it, validation: a tenth of the rest"
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


def test_nested_hidden_and_other_files(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    write(tmp_path / "a" / "summer 2020" / "deep" / "x.png", picture((100, 0, 7)))
    for name in (
        ".DS_Store",
        ".git/c/d.png",
        "__MACOSX/a/._000.png",
        "a/._000.png",
        "a/.hidden/x.png",
        "a/Thumbs.db",
    ):
        write(tmp_path / name, picture())
    for name in ("labels.csv", "loose.png", "a/notes.txt", "b/more/raw.tif"):
        write(tmp_path / name, picture())
    data = load(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.source.endswith("; 4 other files passed over")
    found = [pair for part in all_parts(data).values() for pair in colours(part)]
    assert sorted(found) == sorted(
        [(100, 0), *((index, label) for index in range(3) for label in range(2))]
    )


def test_links_are_followed_but_not_in_circles(tmp_path):
    fill(tmp_path / "elsewhere", {"real": 4})
    fill(tmp_path / "data", {"b": 3})
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere" / "real")
    inner = tmp_path / "data" / "b" / "inner"
    inner.mkdir()
    (inner / "up").symlink_to(tmp_path / "data" / "b")
    (inner / "top").symlink_to(tmp_path / "data")
    (inner / "self").symlink_to(inner)
    (tmp_path / "data" / "b" / "one more.png").symlink_to(
        tmp_path / "elsewhere" / "real" / "003.png"
    )
    data = load(tmp_path / "data")
    labels = np.concatenate([part.labels for part in all_parts(data).values()])
    assert data.class_names == ("a", "b")
    assert np.bincount(labels).tolist() == [4, 4]
    (tmp_path / "data" / "c").symlink_to(tmp_path / "data")
    assert f"{tmp_path}/data/c holds no picture" in message_of(tmp_path / "data")


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


def test_find_pictures(tmp_path):
    fill(tmp_path, {"a": 1, "a b": 1})
    for name in ("top.JPG", ".hidden.jpg", "note.txt"):
        write(tmp_path / name, picture())
    assert image_folder.find_pictures(str(tmp_path)) == [
        f"{tmp_path}/{name}" for name in ("a b/000.png", "a/000.png", "top.JPG")
    ]


# ---- Parts that the folder gives ----


def test_test_folder(tmp_path):
    fill(tmp_path / "train", {"a": 20, "b": 2})
    fill(tmp_path / "test", {"a": 0, "b": 5})
    data = load(tmp_path, seed=1)
    assert (
        data.source == f"train/ and test/ of {tmp_path}; validation: a tenth of train/"
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
        f"test: {name}/, validation: a tenth of Train/"
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


def test_a_class_called_train(tmp_path):
    fill(tmp_path, {"bus": 3, "train": 3})
    assert load(tmp_path).class_names == ("bus", "train")


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


def test_pictures_that_memory_does_not_hold_stay_files(tmp_path, monkeypatch):
    fill(tmp_path, {"a": 3, "b": 3})
    num_bytes = 6 * 8 * 6 * 3
    monkeypatch.setattr(image_folder, "MEMORY_BYTES", num_bytes)
    assert isinstance(load(tmp_path).test, parts.Arrays)
    monkeypatch.setattr(image_folder, "MEMORY_BYTES", num_bytes - 1)
    assert isinstance(load(tmp_path).test, parts.Files)


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


# ---- The file that keeps what a check found ----


@pytest.fixture
def checks(monkeypatch) -> list[str]:
    """Names of the files that are decoded; every check counts as a long one."""
    monkeypatch.setattr(image_folder, "CACHE_AFTER_SECONDS", -1.0)
    decode, names = image_folder._decode, []

    def recorded(paths, rows, *arguments):
        names.extend(os.path.basename(path.decode()) for path in paths[rows])
        return decode(paths, rows, *arguments)

    monkeypatch.setattr(image_folder, "_decode", recorded)
    return names


def mixed_tree(folder) -> None:
    """Pictures of two sizes, and a damaged one."""
    fill(folder, {"a": 15})
    fill(folder, {"b": 15}, size=(4, 4))
    write(folder / "a" / "bad.png", b"text")


def test_a_check_is_kept(tmp_path, checks, capsys):
    mixed_tree(tmp_path)
    first = load(tmp_path)
    assert len(checks) >= 31
    cache = json.loads((tmp_path / image_folder.CHECK_FILE).read_text())
    assert set(cache) == {"tensorflow", "pictures"} and len(cache["pictures"]) == 30
    stat = (tmp_path / "b" / "003.png").stat()
    state = [stat.st_size, stat.st_mtime_ns]
    assert cache["pictures"]["b/003.png"] == [*state, 4, 4]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", image_folder.CHECK_FILE]
    checks.clear()
    console.reset_warnings()
    capsys.readouterr()
    second = load(tmp_path)
    # What was damaged is looked at again, and named again.
    assert set(checks) == {"bad.png"}
    assert "a/bad.png is left out: it is no JPEG" in capsys.readouterr().err
    assert all_names(first, tmp_path) == all_names(second, tmp_path)
    assert first.source == second.source


def test_changed_files_are_checked_again(tmp_path, checks):
    mixed_tree(tmp_path)
    load(tmp_path)
    path = tmp_path / "a" / "004.png"
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    (tmp_path / "a" / "bad.png").unlink()
    write(tmp_path / "b" / "new.png", picture(size=(4, 4)))
    (tmp_path / "b" / "005.png").unlink()
    checks.clear()
    data = load(tmp_path)
    assert set(checks) == {"004.png", "new.png"}
    names = every_name(all_names(data, tmp_path))
    assert len(names) == 29 and "b/new.png" in names and "a/004.png" not in names
    cache = json.loads((tmp_path / image_folder.CHECK_FILE).read_text())
    assert sorted(cache["pictures"]) == names


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "\udcff",
        '{"tensorflow": "0.1", "pictures": {}}',
        '{"tensorflow": "VERSION", "pictures": {"a/000.png": 3}}',
        '{"tensorflow": "VERSION", "pictures": {"a/000.png": [1, 2, 3, "x"]}}',
        '{"tensorflow": "VERSION", "pictures": [1]}',
    ],
)
def test_a_damaged_check_file_is_not_believed(tmp_path, checks, content):
    mixed_tree(tmp_path)
    text = content.replace("VERSION", tf.__version__)
    path = tmp_path / image_folder.CHECK_FILE
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert sum(map(len, all_parts(load(tmp_path)).values())) == 30
    assert len(set(checks)) == 16
    assert len(json.loads(path.read_text())["pictures"]) == 30


def test_a_folder_that_cannot_be_written(tmp_path, checks, monkeypatch):
    mixed_tree(tmp_path)

    def refuse(*arguments, **options):
        raise tf.errors.PermissionDeniedError(None, None, "read-only")

    monkeypatch.setattr(tf.io.gfile, "rename", refuse)
    assert sum(map(len, all_parts(load(tmp_path)).values())) == 30
    assert not (tmp_path / image_folder.CHECK_FILE).exists()


def test_a_quick_check_and_arrays_leave_no_file(tmp_path, checks, monkeypatch):
    fill(tmp_path / "same", {"a": 3, "b": 3})
    load(tmp_path / "same")
    assert sorted(os.listdir(tmp_path / "same")) == ["a", "b"]
    mixed_tree(tmp_path / "mixed")
    monkeypatch.setattr(image_folder, "CACHE_AFTER_SECONDS", 600.0)
    load(tmp_path / "mixed")
    assert sorted(os.listdir(tmp_path / "mixed")) == ["a", "b"]


def test_arrays_do_not_rely_on_an_earlier_check(tmp_path, checks):
    mixed_tree(tmp_path)
    load(tmp_path)
    # One size is left.
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(picture())
    (tmp_path / "a" / "bad.png").unlink()
    checks.clear()
    data = load(tmp_path)
    assert isinstance(data.train, parts.Arrays)
    assert len(set(checks)) == 15 and len(checks) >= 30
    corner = data.test.images[:, 0, 0].tolist()
    assert corner[-1] == [200, 30, 60] and corner[0][1:] == [0, 7]


# ---- Errors ----


@pytest.mark.parametrize("data_dir", [None, ""])
def test_a_folder_is_needed(data_dir):
    message = message_of(data_dir)
    assert message.startswith("the data set folder needs --data_dir: give a folder")


def test_missing_folder(tmp_path):
    message = message_of(tmp_path / "none")
    assert message.startswith(f"--data_dir={tmp_path}/none does not exist; give")


def test_a_file_is_no_folder(tmp_path):
    write(tmp_path / "a.png", picture())
    message = message_of(tmp_path / "a.png")
    assert message.startswith(f"--data_dir={tmp_path}/a.png is no folder; give")


def test_empty_folder(tmp_path):
    assert message_of(tmp_path).startswith(f"{tmp_path} is empty; give a folder")


def test_no_sub_folders(tmp_path):
    write(tmp_path / "a.png", picture())
    write(tmp_path / "a.txt", b"")
    message = message_of(tmp_path)
    assert f"{tmp_path} has no sub-folders, only 2 files, 1 of them pictures" in message
    assert "put the pictures of each class into a sub-folder" in message


def test_a_test_folder_without_classes(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    write(tmp_path / "test" / "1.png", picture())
    assert f"{tmp_path}/test has no sub-folders, only 1 file" in message_of(tmp_path)


def test_one_class(tmp_path):
    fill(tmp_path, {"a": 3})
    message = message_of(tmp_path)
    assert f"{tmp_path} has one class only, a, where at least 2 are" in message
    assert "give --data_dir" not in message


def test_a_folder_around_the_classes(tmp_path):
    fill(tmp_path / "images", {"a": 3, "b": 3})
    message = message_of(tmp_path)
    assert "one class only, images" in message
    assert message.endswith(f"give --data_dir={tmp_path}/images")


def test_no_pictures(tmp_path):
    write(tmp_path / "a" / "1.txt", b"")
    write(tmp_path / "b" / "1.tif", b"")
    message = message_of(tmp_path)
    assert f"{tmp_path} holds no picture (.jpg, .jpeg, " in message


def test_a_class_without_pictures(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    write(tmp_path / "c d" / "1.txt", b"")
    message = message_of(tmp_path)
    assert message.startswith(f"{tmp_path}/c d holds no picture (.jpg, ")
    assert message.endswith("or remove the folder")


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


def test_a_test_part_without_pictures(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    (tmp_path / "test" / "a").mkdir(parents=True)
    assert f"{tmp_path}/test holds no picture (" in message_of(tmp_path)


def test_a_class_that_was_not_trained(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    fill(tmp_path / "test", {"a": 1, "c": 1})
    message = message_of(tmp_path)
    assert message == (
        f"{tmp_path}/test/c is a class that the training part does not have (its "
        "classes are a, b); rename or remove it"
    )


def test_two_folders_of_one_part(tmp_path):
    for name in ("train", "val", "validation"):
        fill(tmp_path / name, {"a": 3, "b": 3})
    assert "has both val and validation, which mean the same" in message_of(tmp_path)


def test_no_training_folder(tmp_path):
    for name in ("test", "val"):
        fill(tmp_path / name, {"a": 3, "b": 3})
    assert "has test, val but no train;" in message_of(tmp_path)


def test_a_name_that_is_no_text(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    with open(os.path.join(os.fsencode(tmp_path), b"a", b"\xff.png"), "wb") as stream:
        stream.write(picture())
    assert "whose name is not UTF-8; rename it" in message_of(tmp_path)


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
