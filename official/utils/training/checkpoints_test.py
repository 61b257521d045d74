import errno
import os
import pathlib
import signal
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.errors import UserError
from official.utils.logs import console
from official.utils.training import checkpoints
from official.utils.training.checkpoints import Checkpoints

DATA, INDEX = ".data-00000-of-00001", ".index"


@pytest.fixture(autouse=True)
def fresh_warnings():
    console.reset_warnings()


def variables(value=0.0):
    return {
        "model/kernel": keras.Variable(np.full((20, 30), value, "float32")),
        "model/seed": keras.Variable([1, 2], dtype="uint32"),
        "optimizer/iterations": keras.Variable(7, dtype="int64"),
    }


def save(folder, *steps, keep=3, best_step=None):
    manager = Checkpoints(str(folder), keep)
    for step in steps:
        manager.save(variables(step), dict(step=step, best_step=best_step))
    return manager


def contents(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def test_tensorflow_reads_it(tmp_path):
    save(tmp_path, 10, 20)
    prefix = tf.train.latest_checkpoint(str(tmp_path))
    assert prefix == str(tmp_path / "ckpt-20")
    reader = tf.train.load_checkpoint(str(tmp_path))
    assert reader.get_variable_to_shape_map() == {
        "model/kernel": [20, 30],
        "model/seed": [2],
        "optimizer/iterations": [],
        "state": [],
    }
    assert reader.get_tensor("model/kernel")[3, 4] == 20
    assert reader.get_tensor("state") == b'{"best_step": null, "step": 20}'


def test_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("runs/one", 10)
    assert tf.train.latest_checkpoint("runs/one") == "runs/one/ckpt-10"


def test_bytes_hold_no_clock_and_no_path(tmp_path):
    with mock.patch("time.time", return_value=1.0):
        save(tmp_path / "a", 10, 20)
    save(tmp_path / "elsewhere" / "b", 10, 20)
    one, other = contents(tmp_path / "a"), contents(tmp_path / "elsewhere" / "b")
    assert one == other
    assert sorted(one) == sorted(
        ["checkpoint"]
        + [f"ckpt-{s}{suffix}" for s in (10, 20) for suffix in (DATA, INDEX)]
    )
    assert not any(str(tmp_path).encode() in content for content in one.values())


def test_what_was_saved_is_loaded(tmp_path):
    manager = save(tmp_path, 10, 20)
    values, state = manager.load_latest()
    assert state == dict(step=20, best_step=None)
    found = variables()
    checkpoints.assign(found, values, "it")
    for name, variable in variables(20).items():
        assert values[name].dtype == variable.dtype
        np.testing.assert_array_equal(found[name], variable)


def test_empty_folder_has_none(tmp_path):
    assert Checkpoints(str(tmp_path / "none")).load_latest() is None
    assert Checkpoints(str(tmp_path)).load_latest() is None


@pytest.mark.parametrize(
    ("keep", "best_step", "kept"),
    [
        (1, None, [60]),
        (3, None, [40, 50, 60]),
        (9, None, [10, 20, 30, 40, 50, 60]),
        (1, 60, [60]),
        (2, 20, [20, 50, 60]),
        (2, 50, [50, 60]),
        (2, 15, [50, 60]),
    ],
)
def test_keeps_the_last_and_the_best(tmp_path, keep, best_step, kept):
    manager = save(tmp_path, *range(10, 70, 10), keep=keep, best_step=best_step)
    assert manager.steps() == kept
    assert len(os.listdir(tmp_path)) == 2 * len(kept) + 1
    state = tf.train.get_checkpoint_state(str(tmp_path))
    names = [os.path.basename(path) for path in state.all_model_checkpoint_paths]
    assert names == [f"ckpt-{step}" for step in kept]


def test_regular_ones_are_averaged(tmp_path):
    manager = Checkpoints(str(tmp_path), keep=1, average=3, every=10)
    for step in (10, 20, 27, 30, 40, 44):
        manager.save(variables(step), dict(step=step, best_step=None))
    assert manager.steps() == [30, 40, 44]
    values, steps = manager.load_average(44)
    assert steps == [30, 40, 44]
    assert values["model/kernel"].dtype == np.float32
    np.testing.assert_allclose(values["model/kernel"], 38)
    np.testing.assert_array_equal(values["model/seed"], [1, 2])
    assert values["optimizer/iterations"] == 7
    # One that the clock asked for does not count, unless it is the last.
    manager.save(variables(45), dict(step=45, best_step=None))
    assert manager.load_average(45)[1] == [30, 40, 45]
    assert manager.load_average(40)[1] == [30, 40]


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


def flip(path):
    content = bytearray(pathlib.Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    pathlib.Path(path).write_bytes(content)


def remove(path):
    os.remove(path)


@pytest.mark.parametrize("suffix", [DATA, INDEX])
@pytest.mark.parametrize("damage", [cut, empty, flip, remove])
def test_damaged_is_skipped(tmp_path, capsys, damage, suffix):
    manager = save(tmp_path, 10, 20)
    damage(tmp_path / f"ckpt-20{suffix}")
    values, state = manager.load_latest()
    assert state["step"] == 10 and values["model/kernel"][0, 0] == 10
    warning = capsys.readouterr().err
    if (damage, suffix) == (remove, INDEX):
        assert not warning  # Without its index it is none.
    else:
        assert f"{tmp_path}/ckpt-20 is damaged and is skipped (" in warning
        assert warning.count("\n") == 1


def test_index_of_another_checkpoint(tmp_path):
    # A run was killed between the two renames over a checkpoint of the same step.
    manager = save(tmp_path, 10, 20)
    manager.save(variables(21), dict(step=21))
    os.replace(tmp_path / f"ckpt-21{DATA}", tmp_path / f"ckpt-20{DATA}")
    os.remove(tmp_path / f"ckpt-21{INDEX}")
    assert manager.load_latest()[1]["step"] == 10


def test_all_damaged(tmp_path):
    manager = save(tmp_path, 10, 20)
    for step in (10, 20):
        cut(tmp_path / f"ckpt-{step}{DATA}")
    with pytest.raises(UserError, match=r"every checkpoint in .* --clean"):
        manager.load_latest()


@pytest.mark.parametrize("keep", [1, 3])
def test_damaged_later_one_gives_way(tmp_path, keep):
    manager = save(tmp_path, 10, keep=keep)
    save(tmp_path, 10, 30, keep=9)
    cut(tmp_path / f"ckpt-30{DATA}")
    assert manager.load_latest()[1]["step"] == 10
    manager.save(variables(20), dict(step=20))
    assert manager.load_latest()[1]["step"] == 20
    assert manager.steps() == [10, 20][-keep:]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-20")


def test_what_a_killed_run_left_is_deleted(tmp_path):
    manager = save(tmp_path, 10)
    left = [
        f"ckpt-15.tmp{DATA}.tempstate1234567890",
        f"ckpt-16.tmp{DATA}",
        f"ckpt-16.tmp{INDEX}.tempstate1234567890",
        f"ckpt-17.tmp{INDEX}",
        f"ckpt-5{DATA}",
        f"ckpt-17{DATA}",
    ]
    for name in [*left, "ckpt-notes.txt", "checkpoint.resumes"]:
        (tmp_path / name).write_bytes(b"0")
    assert manager.load_latest()[1]["step"] == 10
    manager.save(variables(20), dict(step=20))
    names = os.listdir(tmp_path)
    assert not set(left) & set(names)
    assert {"ckpt-notes.txt", "checkpoint.resumes"} < set(names)
    assert manager.steps() == [10, 20]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weight_that_is_not_finite_is_refused(tmp_path, value):
    manager = save(tmp_path, 10)
    before = contents(tmp_path)
    broken = variables()
    kernel = np.zeros((20, 30), "float32")
    kernel[19, 29] = value
    broken["model/kernel"].assign(kernel)
    with pytest.raises(UserError, match=r"model/kernel is not finite at step 20"):
        manager.save(broken, dict(step=20))
    assert contents(tmp_path) == before


def test_another_network_is_refused(tmp_path):
    values, _ = save(tmp_path, 10).load_latest()
    own = variables(1)
    own["model/kernel"] = keras.Variable(np.ones((20, 31), "float32"))
    own["model/bias"] = keras.Variable(1.0)
    own["model/other_bias"] = keras.Variable(1.0)
    del own["model/seed"]
    with pytest.raises(UserError) as caught:
        checkpoints.assign(own, values, "ckpt-10")
    assert str(caught.value).startswith(
        "ckpt-10 is of another network or optimizer: model/bias is missing; "
        "model/other_bias is missing; model/seed is unknown and 1 more."
    )
    assert own["model/kernel"].numpy().min() == 1


def test_another_shape_is_named():
    own = {"model/kernel": keras.Variable(np.ones((2, 3), "float32"))}
    with pytest.raises(UserError, match=r"model/kernel is \[3, 2\] there and \[2, 3\]"):
        checkpoints.assign(own, {"model/kernel": np.zeros((3, 2))}, "ckpt-10")


@pytest.mark.parametrize("failing", ["SaveV2", "rename"])
def test_full_disk(tmp_path, failing):
    manager = save(tmp_path, 10)
    before = contents(tmp_path)
    full = tf.errors.ResourceExhaustedError(None, None, "no space left\non device")
    where = tf.raw_ops if failing == "SaveV2" else tf.io.gfile
    with mock.patch.object(where, failing, side_effect=full):
        with pytest.raises(UserError) as caught:
            manager.save(variables(20), dict(step=20))
    assert str(caught.value) == (
        f"checkpoint {tmp_path}/ckpt-20 cannot be written (no space left); free space "
        "and start again: the run goes on from step 10"
    )
    assert contents(tmp_path) == before


def test_size_limit_of_a_file(tmp_path):
    resource = pytest.importorskip("resource")
    manager = save(tmp_path, 10)
    before = contents(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match=os.strerror(errno.EFBIG)) as caught:
            manager.save(variables(20), dict(step=20))
        assert "{{" not in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert contents(tmp_path) == before


def test_resumes_are_noted_in_order(tmp_path):
    save(tmp_path, 10, 20)
    assert Checkpoints(str(tmp_path)).resume(dict(step=10)) == [10]
    assert Checkpoints(str(tmp_path)).resume(dict(step=10)) == [10, 10]
    empty(tmp_path / "checkpoint.resumes")
    assert Checkpoints(str(tmp_path)).resume(dict(step=20)) == [20]


def test_resume_completes_what_a_killed_run_left(tmp_path):
    # It was killed between the rename of the index of step 40 and the state file.
    save(tmp_path, 10, 20, 30, 50, keep=9)
    cut(tmp_path / f"ckpt-50{DATA}")
    manager = save(tmp_path / "other", 40)
    for suffix in (DATA, INDEX):
        os.rename(
            tmp_path / "other" / f"ckpt-40{suffix}", tmp_path / f"ckpt-40{suffix}"
        )
    (tmp_path / f"ckpt-45.tmp{DATA}.tempstate1").write_bytes(b"0")
    manager = Checkpoints(str(tmp_path), keep=2)
    _, state = manager.load_latest()
    assert manager.resume(state | dict(best_step=10)) == [40]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-40")
    assert manager.steps() == [10, 30, 40, 50]
    assert len([name for name in os.listdir(tmp_path) if "ckpt-" in name]) == 8


def test_initial_weights(tmp_path):
    save(tmp_path / "run" / "checkpoints", 10, 20)
    folder = tmp_path / "run" / "checkpoints"
    for path, step in (
        (tmp_path / "run", 20),
        (folder, 20),
        (folder / "ckpt-10", 10),
    ):
        values = checkpoints.read_initial(str(path))
        assert sorted(values) == ["model/kernel", "model/seed"]
        assert values["model/kernel"][0, 0] == step
    with pytest.raises(UserError, match=r"--init_checkpoint=.*none is no readable"):
        checkpoints.read_initial(str(tmp_path / "none"))
