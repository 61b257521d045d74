import functools
import json
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.utils.logs import console
from official.utils.testing import errors
from official.vision.image_classification import picture_check, picture_tree
from official.vision.image_classification.picture_tree_test import (
    encoded,
    fill,
    find,
    picture,
    write,
)


@pytest.fixture(autouse=True)
def fresh_warnings():
    console.reset_warnings()


def check(folder, max_skipped_fraction=0.01):
    """The pictures of a folder, and what decoding found."""
    tree = find(folder)
    return tree, picture_check.check(tree, max_skipped_fraction, calls=2)


def message_of(folder, *arguments) -> str:
    """Message of the UserError that `check` must raise; checks that it is one line."""
    return errors.message_of(check, folder, *arguments)


def good_names(tree, checked) -> list[str]:
    return [tree.names[row] for row in np.flatnonzero(checked.is_good)]


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
        write(tmp_path / "a" / name, content)
    write(tmp_path / "b" / "1.png", picture())
    tree, checked = check(tmp_path)
    assert "warning:" not in capfd.readouterr().err
    assert checked.is_good.all() and checked.images.dtype == np.uint8
    assert tree.names == [*(f"a/{name}" for name in sorted(formats())), "b/1.png"]
    for name, image in zip(sorted(formats()), checked.images[:-1], strict=True):
        expected = np.array(formats()[name][1])
        error = np.abs(image.astype(int) - expected).max()
        # GIF's palette and WebP's colour space are not exact.
        assert error <= 4, (name, image[0, 0], expected)


# ---- Damaged files ----


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


def test_reasons(tmp_path):
    for name, (content, reason) in damaged().items():
        write(tmp_path / name, content)
        found = picture_check.reason(str(tmp_path / name))
        assert reason in found and "\n" not in found, (name, found)
    for name, (content, _) in formats().items():
        write(tmp_path / name, content)
        assert picture_check.reason(str(tmp_path / name)) is None
    for path in (tmp_path, tmp_path / "missing.png"):
        assert picture_check.reason(str(path)).startswith("it cannot be read: ")


def test_a_size_that_a_decoder_takes_but_memory_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_check, "MAX_PIXELS", 100)
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
    tree, checked = check(tmp_path, 0.25)
    assert good_names(tree, checked) == [
        f"{name}/{index:03}.png" for name in "ab" for index in range(3)
    ]


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
        _, checked = check(tmp_path, fraction)
        assert checked.is_good.sum() == total - bad
        verb = "is" if bad == 1 else "are"
        last = capsys.readouterr().err.splitlines()[-1]
        assert f"{bad} of {total} pictures" in last and last.endswith(
            f"{verb} left out"
        )
        return
    message = message_of(tmp_path, fraction)
    allowed = {19: 0, 20: 1 if fraction else 0, 100: 7}[total]
    assert message == (
        f"{tmp_path}/b/bad0.jpg cannot be decoded (it is empty)"
        f"{f', nor can {bad - 1} more' if bad > 1 else ''}; of {total} pictures "
        f"--max_skipped_fraction={fraction:g} leaves out {allowed} at most: repair or "
        "remove what is damaged, or raise the flag"
    )


# ---- Pictures that stay in memory ----


def test_pictures_that_memory_does_not_hold(tmp_path, monkeypatch):
    fill(tmp_path, {"a": 3, "b": 3})
    num_bytes = 6 * 8 * 6 * 3
    monkeypatch.setattr(picture_check, "MEMORY_BYTES", num_bytes)
    assert check(tmp_path)[1].images.shape == (6, 6, 8, 3)
    monkeypatch.setattr(picture_check, "MEMORY_BYTES", num_bytes - 1)
    assert check(tmp_path)[1].images is None


# ---- The file that keeps what a check found ----


@pytest.fixture
def checks(monkeypatch) -> list[str]:
    """Names of the files that are decoded; every check counts as a long one."""
    monkeypatch.setattr(picture_check, "CACHE_AFTER_SECONDS", -1.0)
    decode, names = picture_check._decode, []

    def recorded(paths, rows, *arguments):
        names.extend(os.path.basename(path.decode()) for path in paths[rows])
        return decode(paths, rows, *arguments)

    monkeypatch.setattr(picture_check, "_decode", recorded)
    return names


def mixed_tree(folder) -> None:
    """Pictures of two sizes, and a damaged one."""
    fill(folder, {"a": 15})
    fill(folder, {"b": 15}, size=(4, 4))
    write(folder / "a" / "bad.png", b"text")


def test_a_check_is_kept(tmp_path, checks, capsys):
    mixed_tree(tmp_path)
    first, first_checked = check(tmp_path)
    assert len(checks) >= 31
    cache = json.loads((tmp_path / picture_tree.CHECK_FILE).read_text())
    assert set(cache) == {"tensorflow", "pictures"} and len(cache["pictures"]) == 30
    stat = (tmp_path / "b" / "003.png").stat()
    state = [stat.st_size, stat.st_mtime_ns]
    assert cache["pictures"]["b/003.png"] == [*state, 4, 4]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", picture_tree.CHECK_FILE]
    checks.clear()
    console.reset_warnings()
    capsys.readouterr()
    second, second_checked = check(tmp_path)
    # What was damaged is looked at again, and named again.
    assert set(checks) == {"bad.png"}
    assert "a/bad.png is left out: it is no JPEG" in capsys.readouterr().err
    assert good_names(first, first_checked) == good_names(second, second_checked)
    assert first_checked.images is None and second_checked.images is None
    assert first.source == second.source


def test_changed_files_are_checked_again(tmp_path, checks):
    mixed_tree(tmp_path)
    check(tmp_path)
    path = tmp_path / "a" / "004.png"
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    (tmp_path / "a" / "bad.png").unlink()
    write(tmp_path / "b" / "new.png", picture(size=(4, 4)))
    (tmp_path / "b" / "005.png").unlink()
    checks.clear()
    tree, checked = check(tmp_path)
    assert set(checks) == {"004.png", "new.png"}
    names = good_names(tree, checked)
    assert len(names) == 29 and "b/new.png" in names and "a/004.png" not in names
    cache = json.loads((tmp_path / picture_tree.CHECK_FILE).read_text())
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
    path = tmp_path / picture_tree.CHECK_FILE
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert check(tmp_path)[1].is_good.sum() == 30
    assert len(set(checks)) == 16
    assert len(json.loads(path.read_text())["pictures"]) == 30


def test_a_folder_that_cannot_be_written(tmp_path, checks, monkeypatch):
    mixed_tree(tmp_path)

    def refuse(*arguments, **options):
        raise tf.errors.PermissionDeniedError(None, None, "read-only")

    monkeypatch.setattr(tf.io.gfile, "rename", refuse)
    assert check(tmp_path)[1].is_good.sum() == 30
    assert not (tmp_path / picture_tree.CHECK_FILE).exists()


def test_a_quick_check_and_arrays_leave_no_file(tmp_path, checks, monkeypatch):
    fill(tmp_path / "same", {"a": 3, "b": 3})
    check(tmp_path / "same")
    assert sorted(os.listdir(tmp_path / "same")) == ["a", "b"]
    mixed_tree(tmp_path / "mixed")
    monkeypatch.setattr(picture_check, "CACHE_AFTER_SECONDS", 600.0)
    check(tmp_path / "mixed")
    assert sorted(os.listdir(tmp_path / "mixed")) == ["a", "b"]


def test_arrays_do_not_rely_on_an_earlier_check(tmp_path, checks):
    mixed_tree(tmp_path)
    check(tmp_path)
    # One size is left.
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(picture())
    (tmp_path / "a" / "bad.png").unlink()
    checks.clear()
    _, checked = check(tmp_path)
    assert len(set(checks)) == 15 and len(checks) >= 30
    assert checked.images[:, 0, 0].tolist() == [
        *([index, 0, 7] for index in range(15)),
        *([200, 30, 60] for _ in range(15)),
    ]
