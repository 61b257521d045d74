import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from official.mnist import dataset, mnist, recipes, records
from official.utils.data.records import RecordEvaluationStream, RecordTrainingStream
from official.utils.data.streams import Share
from official.utils.testing import kills, mains
from official.utils.testing.data import real_data
from official.utils.testing.tfds import prepared_mnist
from official.utils.training.loop import Loop
from official.utils.training.pacing import Pace

FLAGS = dict(
    dataset="mnist",
    deterministic=True,
    mode="train",
    batch_size=64,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.05,
    train_steps=30,
    checkpoint_steps=10,
    steps_between_evals=20,
    eval_batch_size=500,
)


def write_shards(folder, part, images, labels, number, compression="", as_png=False):
    """Writes pictures into shards of the documented form."""
    suffix = {"": "", "GZIP": ".gz", "ZLIB": ".zlib"}[compression]
    for shard, rows in enumerate(np.array_split(np.arange(len(labels)), number)):
        name = f"{part}-{shard:05}-of-{number:05}.tfrecord{suffix}"
        with tf.io.TFRecordWriter(str(folder / name), compression) as writer:
            for image, label in zip(images[rows], labels[rows], strict=True):
                data = image.tobytes()
                if as_png:
                    data = tf.io.encode_png(image[..., np.newaxis]).numpy()
                features = {
                    "image": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[data])
                    ),
                    "label": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[label])
                    ),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


def raw(part):
    folder = real_data("mnist")
    return (
        dataset.read_idx_images(f"{folder}/{part}-images-idx3-ubyte.gz"),
        dataset.read_idx_labels(f"{folder}/{part}-labels-idx1-ubyte.gz"),
    )


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    return prepared_mnist(tmp_path_factory)


@pytest.fixture(scope="module")
def shard_folder(tmp_path_factory):
    """The first 2,400 and 500 pictures of MNIST."""
    folder = tmp_path_factory.mktemp("shards")
    for part, name, count in (("train", "train", 2400), ("t10k", "test", 500)):
        images, labels = raw(part)
        write_shards(folder, name, images[:count], labels[:count], 4, "GZIP")
    return str(folder)


@pytest.fixture
def folder(request, tfds_folder, shard_folder):
    return {"tfds": tfds_folder, "shards": shard_folder}[request.param]


both = pytest.mark.parametrize("folder", ["tfds", "shards"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def determinism():
    """Switches off what `--deterministic` switches on for the whole process."""
    yield
    from tensorflow.python.framework import config

    config.disable_op_determinism()


def run(data_dir, model_dir, **flags):
    flags = {**FLAGS, "data_dir": data_dir, "model_dir": model_dir, **flags}
    return mains.run_main(
        mnist.define_flags,
        mnist.run,
        recipes.RECIPES,
        [f"--{name}={value}" for name, value in flags.items()],
    )


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def test_raw_files_come_first(tmp_path):
    assert records.find(None, 0) is None
    assert records.find(str(tmp_path), 0) is None
    assert records.find(real_data("mnist"), 0) is None


@pytest.mark.parametrize("as_png", [False, True])
def test_shards_give_the_pictures_back(tmp_path, as_png):
    images, labels = raw("t10k")
    write_shards(tmp_path, "train", images[:36], labels[:36], 2, "ZLIB", as_png)
    write_shards(tmp_path, "test", images[36:50], labels[36:50], 1, "", as_png)
    parts = records.find(str(tmp_path), seed=1)
    assert "3 TFRecord files in" in parts.source
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [33, 3, 14]
    stream = RecordEvaluationStream(parts.test.files, 14, parts.test.parse)
    (batch,) = stream.dataset(Share(1, 0, 1)).as_numpy_iterator()
    np.testing.assert_array_equal(batch["image"], images[36:50])
    np.testing.assert_array_equal(batch["label"], labels[36:50])
    assert (batch["image"].dtype, batch["label"].dtype) == (np.uint8, np.int32)
    held_out = RecordEvaluationStream(
        parts.validation.files, 14, parts.validation.parse, parts.validation.keep
    )
    train = RecordTrainingStream(
        parts.train.files, 11, 0, parts.train.parse, parts.train.keep
    )
    seen = [
        *held_out.dataset(Share(1, 0, 1)),
        *train.dataset(0, Share(1, 0, 1)).take(3),
    ]
    seen = np.concatenate([batch["image"] for batch in seen])
    assert sorted(image.tobytes() for image in seen) == sorted(
        image.tobytes() for image in images[:36]
    )


def test_tfds_folder_holds_mnist(tfds_folder):
    parts = records.find(tfds_folder, seed=0)
    assert "TFDS (mnist 3.0.1)" in parts.source
    sizes = [len(part) for part in (parts.train, parts.validation, parts.test)]
    assert sizes == [55_000, 5_000, 10_000]
    stream = RecordEvaluationStream(parts.test.files, 1000, parts.test.parse)
    found = list(stream.dataset(Share(1, 0, 1)).as_numpy_iterator())
    images, labels = raw("t10k")
    # TFDS shuffles what it writes.
    assert sorted(image.tobytes() for batch in found for image in batch["image"]) == (
        sorted(image.tobytes() for image in images)
    )
    seen = np.bincount(np.concatenate([batch["label"] for batch in found]))
    assert seen.tolist() == np.bincount(labels).tolist()


@both
def test_stopped_runs_end_in_the_same_bits(folder, tmp_path, monkeypatch):
    outcome = run(folder, tmp_path / "whole")
    assert outcome.exit_code == 0, outcome
    assert "training on mnist, " in outcome.stdout.splitlines()[0]
    # Calls of another length than those that the clock would give.
    monkeypatch.setattr(Pace, "next_count", lambda self, most: min(most, 3))
    assert run(folder, tmp_path / "parts", max_train_steps=7).exit_code == 0
    train = Loop.train

    def train_and_send(self, batches, first_step, count):
        history = train(self, batches, first_step, count)
        if first_step < 23 <= first_step + count:
            os.kill(os.getpid(), signal.SIGTERM)
        return history

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "train", train_and_send)
        assert run(folder, tmp_path / "parts").exit_code == 143
    assert run(folder, tmp_path / "parts").exit_code == 0
    found = results(tmp_path / "parts")
    assert found["resumed_from_steps"][0] == 7
    assert 23 <= found["resumed_from_steps"][1] < 30
    assert found["metrics"] == results(tmp_path / "whole")["metrics"]
    kills.assert_same_checkpoint(tmp_path / "whole", tmp_path / "parts")


def test_two_replicas_and_synthetic_data(shard_folder, tmp_path):
    outcome = run(
        shard_folder,
        tmp_path / "two",
        mode="train_and_eval",
        distribution_strategy="mirrored",
        num_virtual_cpus=2,
        train_steps=5,
    )
    assert outcome.exit_code == 0, outcome
    assert results(tmp_path / "two")["num_replicas"] == 2
    outcome = run(shard_folder, tmp_path / "b", train_steps=5, use_synthetic_data=True)
    assert outcome.exit_code == 0, outcome
    assert "made-up pictures of its form" in outcome.stdout


def test_damaged_records_are_one_line(shard_folder, tmp_path):
    images, labels = raw("t10k")
    data = tmp_path / "data"
    data.mkdir()
    write_shards(data, "train", images[:240], labels[:240], 2)
    mains.assert_one_line_error(run(data, tmp_path / "run"), "test*.tfrecord*")
    write_shards(data, "test", images[:50], labels[:50], 1)
    path = data / "train-00001-of-00002.tfrecord"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 240 * 50 + 400] + b"?" + whole[-5000:])
    mains.assert_one_line_error(run(data, tmp_path / "run"), str(path), "record ")
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    mains.assert_one_line_error(run(data, tmp_path / "run"), f"{path}: record 0 is")
    write_shards(data, "train", images[:240], np.r_[labels[:200], [10] * 40], 2)
    mains.assert_one_line_error(
        run(data, tmp_path / "run"), f"{path}: record 80 does not", "labels from 0 to 9"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tfds", "shards"])
def test_killed_runs_end_in_the_same_bits(kind, tfds_folder, shard_folder, tmp_path):
    data_dir = {"tfds": tfds_folder, "shards": shard_folder}[kind]
    flags = {**FLAGS, "train_steps": 100, "data_dir": data_dir}
    flags = [f"--{name}={value}" for name, value in flags.items()]
    module = "official.mnist.mnist"
    whole = mains.run_process(module, [*flags, f"--model_dir={tmp_path / 'whole'}"])
    assert whole.exit_code == 0, whole
    deaths = kills.run_with_kills(
        module, flags, str(tmp_path / "killed"), last_step=100, kills=2
    )
    assert len(deaths) == 2
    kills.assert_same_checkpoint(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tfds", "shards"])
def test_accuracy(kind, tfds_folder, tmp_path):
    data_dir = tfds_folder
    if kind == "shards":
        data_dir = tmp_path / "data"
        data_dir.mkdir()
        write_shards(data_dir, "train", *raw("train"), 12)
        write_shards(data_dir, "test", *raw("t10k"), 2)
    outcome = mains.run_main(
        mnist.define_flags,
        mnist.run,
        recipes.RECIPES,
        ["--recipe=mnist", f"--data_dir={data_dir}", f"--model_dir={tmp_path / 'run'}"],
    )
    assert outcome.exit_code == 0, outcome
    found = results(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    print(found["metrics"], found["wall_seconds"], found["examples_per_second"])
    assert found["metrics"]["accuracy"] >= 0.991
