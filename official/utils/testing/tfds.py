"""A TFDS folder of real data for tests, prepared without a network."""

import fcntl
import os

import pytest

from official.utils.data import tfds
from official.utils.testing.data import real_data


def prepared_mnist(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Gives the folder that holds `mnist/3.0.1`; skips the test without real data.

    Preparing takes 20 s. It is done once for all processes of a run of pytest, in the
    folder that they share, under a lock.
    """
    raw = real_data("mnist")
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "tfds"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tfds.prepare("mnist", str(folder), manual_dir=raw)
    return str(folder)
