"""What is wrong with files, and where they are; weights_test.py reads whole ones."""

import sys
from unittest import mock

import keras
import numpy as np
import pytest

from official.utils.testing.errors import message_of
from official.utils.training.variables import named_variables
from official.utils.weights import pytorch_files
from official.vision.image_classification import resnet, weight_files

TENSORS = {f"layer{i}.weight": np.full((4, 2, 3), i, np.float32) for i in range(5)} | {
    "layer0.num_batches_tracked": np.array(7, np.int64)
}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("length", [0, 4, 300, -1])
def test_truncated_safetensors(tmp_path, length):
    path = tmp_path / "a.safetensors"
    pytorch_files.write_safetensors(str(path), TENSORS)
    content = path.read_bytes()
    path.write_bytes(content[:length])
    message = message_of(weight_files.read, str(path), "resnet8")
    assert f"{path} is no whole safetensors file (" in message
    path.write_bytes(content)
    assert_equal(weight_files.read(str(path), "resnet8"), TENSORS)


@pytest.mark.parametrize("suffix", weight_files.SUFFIXES)
def test_missing_and_damaged_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert str(path) in message_of(weight_files.read, str(path), "resnet8")
    path.write_bytes(b"no model")
    message = message_of(weight_files.read, str(path), "resnet8")
    assert str(path) in message and "fetch" in message
    path.unlink()
    path.mkdir()
    assert str(path) in message_of(weight_files.read, str(path), "resnet8")


def test_missing_library(tmp_path):
    with mock.patch.dict(sys.modules, safetensors=None):
        path = str(tmp_path / "a.safetensors")
        for call in (
            lambda: pytorch_files.read_safetensors(path),
            lambda: pytorch_files.write_safetensors(path, {}),
        ):
            assert "`pip install safetensors`" in message_of(call)


def test_files_in_buckets_are_read(tmp_path):
    """HDF5 knows only files; `file://` stands for a store."""
    keras.utils.set_random_seed(0)
    model = resnet.build_model("resnet8", 10)
    path = tmp_path / "a.h5"
    model.save(str(path))
    found = weight_files.read(f"file://{path}", "resnet8")
    values, expected = (
        {name: np.asarray(v.value) for name, v in named_variables(each).items()}
        for each in (found, model)
    )
    assert_equal(values, expected)
