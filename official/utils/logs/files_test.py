import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.utils.errors import UserError
from official.utils.logs import files


def test_write_whole_makes_the_folder_replaces_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    files.write_whole(str(path), "first, longer")
    files.write_whole(str(path), "zweites ä")
    assert path.read_text(encoding="utf-8") == "zweites ä"
    assert [child.name for child in path.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_whole(str(path), "old")

    def fail(*arguments, **options):
        raise OSError("killed before the rename")

    monkeypatch.setattr(tf.io.gfile, "rename", fail)
    with pytest.raises(UserError, match=r"a\.txt cannot be written \(killed"):
        files.write_whole(str(path), "new")
    assert path.read_text() == "old"
    assert (tmp_path / "a.txt.tmp").read_text() == "new"


def test_other_file_systems_and_the_present_folder(tmp_path, monkeypatch):
    files.write_whole("ram://logs/a.bin", b"\x00\xff")
    assert files.read_whole("ram://logs/a.bin", "bytes", "-") == b"\x00\xff"
    monkeypatch.chdir(tmp_path)
    files.write_whole("bare_name.txt", "x")
    assert (tmp_path / "bare_name.txt").read_text() == "x"


def test_read_whole_names_path_and_remedy(tmp_path):
    with pytest.raises(UserError, match=r"no file of results at .*absent.*run it"):
        files.read_whole(str(tmp_path / "absent"), "results", "run it")
    with pytest.raises(UserError, match="is a folder"):
        files.read_whole(str(tmp_path), "results", "run it")


def test_plain_converts_numbers_and_keeps_the_order():
    value = {
        "z": np.float32(0.5),
        "a": np.int64(3),
        "flag": np.bool_(True),
        "tensor": tf.constant([1.5, 2.0], tf.bfloat16),
        "text": tf.constant("word"),
        "array": np.array([[1, 2], [3, 4]]),
        "pair": (np.float64("inf"), math.nan),
        "path": pathlib.PurePosixPath("/a/b"),
        "none": None,
    }
    converted = files.plain(value)
    assert converted == {
        "z": 0.5,
        "a": 3,
        "flag": True,
        "tensor": [1.5, 2.0],
        "text": "word",
        "array": [[1, 2], [3, 4]],
        "pair": [None, None],
        "path": "/a/b",
        "none": None,
    }
    assert list(converted) == list(value)
    assert type(converted["a"]) is int and type(converted["flag"]) is bool
    assert list(json.loads(files.json_text(value))) == list(value)


def test_plain_refuses_what_json_cannot_hold():
    with pytest.raises(TypeError, match="object"):
        files.plain({"a": [object()]})


def test_importing_the_modules_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from official.utils.logs import console, curves, files, metric_log\n"
        "from official.utils.logs import results, run_record, summaries\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'psutil', 'cpuinfo',"
        " 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    root = pathlib.Path(__file__).resolve().parents[3]
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True
    )
    assert output.stdout.strip() == "[]", output.stderr
