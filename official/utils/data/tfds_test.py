import os
import shutil

import numpy as np
import pytest

from official.utils.data import record_counts, records, tfds
from official.utils.data.streams import Share
from official.utils.testing import mains
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of
from official.utils.testing.tfds import prepared_mnist


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    return prepared_mnist(tmp_path_factory)


@pytest.fixture
def copy(prepared, tmp_path):
    shutil.copytree(os.path.join(prepared, "mnist"), tmp_path / "mnist")
    return tmp_path


def test_find(tmp_path):
    assert tfds.find(str(tmp_path), "mnist") is None
    for version in ("3.0.1", "3.0.10", "incomplete.X_3.0.11"):
        (tmp_path / "mnist" / version).mkdir(parents=True)
        (tmp_path / "mnist" / version / tfds.METADATA).write_text("{}")
    newest = str(tmp_path / "mnist" / "3.0.10")
    assert tfds.find(str(tmp_path), "mnist") == newest
    assert tfds.find(str(tmp_path / "mnist"), "mnist") == newest
    assert tfds.find(newest, "mnist") == newest
    assert tfds.find(str(tmp_path), "cifar10") is None
    assert tfds.find(str(tmp_path / "mnist"), "cifar10") is None


def test_split_is_what_tfds_reads(prepared):
    import tensorflow_datasets

    split = tfds.open_split(tfds.find(prepared, "mnist"), "test")
    assert split.name == "mnist 3.0.1"
    assert split.files.counts == (10_000,)
    assert record_counts.count_records(split.files.paths[0], "") == (
        10_000,
        split.files.num_bytes,
    )
    stream = records.RecordEvaluationStream(split.files, 500, split.parse)
    found = list(stream.dataset(Share(1, 0, 1)).as_numpy_iterator())
    builder = tensorflow_datasets.builder_from_directory(tfds.find(prepared, "mnist"))
    theirs = builder.as_dataset("test", batch_size=500)
    for ours, batch in zip(found, theirs.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(ours["image"], batch["image"])
        np.testing.assert_array_equal(ours["label"], batch["label"])


def test_a_prepared_set_is_not_prepared_again(prepared):
    folder = tfds.find(prepared, "mnist")
    before = os.stat(os.path.join(folder, tfds.METADATA)).st_mtime_ns
    assert tfds.prepare("mnist", prepared) == folder
    assert os.stat(os.path.join(folder, tfds.METADATA)).st_mtime_ns == before


def test_unknown_split(prepared):
    message = message_of(tfds.open_split, tfds.find(prepared, "mnist"), "dev")
    assert "no split dev; it has" in message and "train" in message


def test_damaged_metadata(copy):
    folder = tfds.find(str(copy), "mnist")
    with open(os.path.join(folder, tfds.METADATA), "w") as file:
        file.write("{no JSON")
    assert f"{folder} is no folder of a prepared" in message_of(
        tfds.open_split, folder, "test"
    )


def test_missing_and_truncated_shards(copy):
    folder = tfds.find(str(copy), "mnist")
    shard = os.path.join(folder, "mnist-test.tfrecord-00000-of-00001")
    os.truncate(shard, os.path.getsize(shard) - 100)
    message = message_of(tfds.open_split, folder, "test")
    assert f"{shard} is truncated" in message and "record 9999 " in message
    os.remove(shard)
    assert f"{shard} is missing" in message_of(tfds.open_split, folder, "test")


def test_preparing_needs_the_files_or_leave_to_fetch_them(tmp_path):
    message = message_of(tfds.prepare, "mnist", str(tmp_path / "out"))
    assert "lacks t10k-images-idx3-ubyte.gz, " in message and "--download" in message
    for name in os.listdir(real_data("mnist"))[:3]:
        shutil.copy(os.path.join(real_data("mnist"), name), tmp_path)
    arguments = ("mnist", str(tmp_path / "out"), str(tmp_path))
    assert "-ubyte.gz in --manual_dir" in message_of(tfds.prepare, *arguments)
    assert not tfds.find(str(tmp_path / "out"), "mnist")


def test_preparing_refuses_other_files(tmp_path):
    shutil.copytree(real_data("mnist"), tmp_path / "raw")
    path = tmp_path / "raw" / "t10k-labels-idx1-ubyte.gz"
    os.chmod(path, 0o600)
    path.write_bytes(b"other bytes")
    arguments = ("mnist", str(tmp_path / "out"), str(tmp_path / "raw"))
    assert "mnist could not be prepared" in message_of(tfds.prepare, *arguments)
    assert not tfds.find(str(tmp_path / "out"), "mnist")


def test_unknown_set(tmp_path):
    message = message_of(tfds.prepare, "no_such_set", str(tmp_path))
    assert "TFDS knows no set no_such_set" in message


def test_command(prepared):
    def run(*arguments):
        return mains.run_main(tfds.define_flags, tfds.run, (), arguments)

    mains.assert_one_line_error(run("--dataset=mnist"), "--data_dir")
    outcome = run("--dataset=mnist", f"--data_dir={prepared}")
    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-1] == os.path.join(prepared, "mnist", "3.0.1")
