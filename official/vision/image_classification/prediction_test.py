import os

import numpy as np
import pytest
import tensorflow as tf

from official.utils.testing.errors import message_of
from official.vision.image_classification import prediction
from official.vision.image_classification.picture_tree_test import fill, picture, write

# ---- The files of --input ----


def test_files_folders_and_patterns(tmp_path):
    fill(tmp_path / "folder", {"inner": 2})
    for name in ("a.png", "b.txt", "c[1].png", "folder/note.txt"):
        write(tmp_path / name, picture())
    inner = [f"{tmp_path}/folder/inner/{number:03}.png" for number in range(2)]
    for inputs, expected in (
        ("b.txt", ["b.txt"]),
        ("c[1].png", ["c[1].png"]),
        ("folder", inner),
        ("?.*", ["a.png", "b.txt"]),
        ("fold*,a.png,?.png,folder/inner", [*inner, "a.png"]),
    ):
        inputs = ",".join(f"{tmp_path}/{pattern}" for pattern in inputs.split(","))
        expected = [os.path.join(tmp_path, name) for name in expected]
        assert prediction.find_files(inputs) == expected


def test_inputs_that_match_nothing(tmp_path):
    assert "needs --input=FILES" in message_of(prediction.find_files, "")
    write(tmp_path / "folder" / "note.txt", b"")
    for pattern in (f"{tmp_path}/folder", f"{tmp_path}/*.png"):
        message = message_of(prediction.find_files, pattern)
        assert message == f"--input={pattern} matches no picture; check the path"


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    fill(tmp_path, {"open": 1, "locked": 1})
    list_folder = tf.io.gfile.listdir

    def refuse(path):
        # No permission keeps root out.
        if path.rstrip("/").endswith("locked"):
            message = f"{path}; Permission denied"
            raise tf.errors.PermissionDeniedError(None, None, message)
        return list_folder(path)

    monkeypatch.setattr(tf.io.gfile, "listdir", refuse)
    assert message_of(prediction.find_files, str(tmp_path)) == (
        f"--input={tmp_path} cannot be read ({tmp_path}/locked/; Permission denied); "
        "check the path and that you have the right to read it"
    )


def test_a_file_system_that_is_not_there():
    assert message_of(prediction.find_files, "nosuch://bucket/*.png") == (
        "--input=nosuch://bucket/*.png cannot be read (File system scheme 'nosuch' not "
        "implemented (file: 'nosuch://bucket/*.png')); check the path and that you "
        "have the right to read it"
    )


@pytest.mark.parametrize("pattern", ["", "/inner", "/inner/*"])
def test_a_name_that_is_no_text(tmp_path, pattern):
    fill(tmp_path, {"inner": 1})
    path = os.path.join(os.fsencode(tmp_path), b"inner", b"\xff.png")
    with open(path, "wb") as stream:
        stream.write(picture())
    message = message_of(prediction.find_files, f"{tmp_path}{pattern}")
    assert message.startswith(f"--input={tmp_path}{pattern} holds the file or folder b")
    assert message.endswith("\\xff.png', whose name is not UTF-8; rename it")


# ---- Pictures that cannot be decoded ----


def test_the_first_damaged_file_is_found(tmp_path):
    fill(tmp_path, {"a": 2})
    good = [f"{tmp_path}/a/{number:03}.png" for number in range(2)]
    assert prediction.find_damaged(good) is None
    write(tmp_path / "text.png", b"These are only words.")
    bad = [f"{tmp_path}/text.png", f"{tmp_path}/missing.png"]
    expected = (
        f"{bad[0]} can no longer be decoded (it is no JPEG, PNG, GIF, BMP or WebP "
        "file, whatever its name); restore or remove it, and start again"
    )
    assert str(prediction.find_damaged([*good, *bad])) == expected
    # As the parts of a data set have them.
    paths = np.array([path.encode() for path in [*good, *bad]])
    assert str(prediction.find_damaged(paths)) == expected
    message = str(prediction.find_damaged(bad[1:]))
    assert message.startswith(f"{bad[1]} can no longer be decoded (it cannot be read: ")


def test_what_is_left_out_is_named(tmp_path, capsys):
    def classify(contents):
        assert contents.shape == (1,)
        return {"probabilities": tf.constant([[0.25, 0.75]])}

    fill(tmp_path, {"a": 1})
    write(tmp_path / "a" / "empty.jpg", b"")
    prediction.write(classify, ("cat", "dog"), str(tmp_path), None, 1, batch_size=8)
    found = capsys.readouterr()
    assert found.out.splitlines() == [
        "file,class_1,probability_1",
        f"{tmp_path}/a/000.png,dog,0.7500",
    ]
    assert f"{tmp_path}/a/empty.jpg is left out: it is empty" in found.err
