import keras
import numpy as np
import pytest

from official.utils.testing import kills
from official.utils.training.checkpoints import Checkpoints


def save(folder, step=10, **values):
    variables = {
        name: keras.Variable(np.asarray(value, "float32"))
        for name, value in values.items()
    }
    Checkpoints(str(folder / "checkpoints")).save(variables, dict(step=step))
    return str(folder)


def test_equal_checkpoints(tmp_path):
    one = save(tmp_path / "one", a=[0.0, 1.0])
    kills.assert_same_checkpoint(one, save(tmp_path / "other", a=[0.0, 1.0]))


@pytest.mark.parametrize(
    "other",
    [
        dict(a=[-0.0, 1.0]),
        dict(a=[0.0, np.nextafter(np.float32(1), np.float32(2))]),
        dict(a=[[0.0, 1.0]]),
        dict(b=[0.0, 1.0]),
        dict(a=[0.0, 1.0], step=20),
    ],
)
def test_differences_are_found(tmp_path, other):
    one = save(tmp_path / "one", a=[0.0, 1.0])
    with pytest.raises(AssertionError):
        kills.assert_same_checkpoint(one, save(tmp_path / "other", **other))


def test_missing_checkpoint(tmp_path):
    one = save(tmp_path / "one", a=1.0)
    with pytest.raises(AssertionError):
        kills.assert_same_checkpoint(one, str(tmp_path))
