import json
import math
import platform
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.errors import UserError
from official.utils.logs import results

COMPLETE = {
    "model": "mnist",
    "dataset": "embedded",
    "metrics": {"loss": 0.25, "accuracy": np.float32(0.5), "auc": math.nan},
    "steps": np.int64(100),
    "resumed_from_steps": (40,),
    "examples_per_second": math.inf,
    "startup_seconds": 4.5,
    "wall_seconds": 20.0,
    "peak_memory_bytes": 2**30,
    "seed": 0,
    "num_replicas": 1,
    "dtype": "fp32",
    "flags": {"batch_size": 32, "learning_rate": None},
    "versions": {},
    "more": "kept",
}


def test_what_is_written_is_read(tmp_path):
    path = str(tmp_path / "results.json")
    results.write_results(path, COMPLETE)
    read = results.read_results(path)
    assert list(read) == list(COMPLETE)
    assert read["metrics"] == {"loss": 0.25, "accuracy": 0.5, "auc": None}
    assert read["steps"] == 100
    assert read["resumed_from_steps"] == [40]
    assert read["examples_per_second"] is None
    assert read["flags"] == {"batch_size": 32, "learning_rate": None}
    text = (tmp_path / "results.json").read_text()
    assert text.startswith('{\n  "model": "mnist",\n') and text.endswith("}\n")


@pytest.mark.parametrize("key", results.REQUIRED_KEYS)
def test_incomplete_results_are_refused(tmp_path, key):
    path = tmp_path / "results.json"
    incomplete = {name: value for name, value in COMPLETE.items() if name != key}
    with pytest.raises(ValueError, match=key):
        results.write_results(str(path), incomplete)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b'{"model": "mn', b"[]", b"{}", b"\xff"])
def test_damaged_results_are_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        results.read_results(str(path))
    message = str(error.value)
    assert str(path) in message and "--model_dir" in message
    assert "\n" not in message


def test_missing_results_are_named(tmp_path):
    with pytest.raises(UserError, match=r"results\.json.*--model_dir"):
        results.read_results(str(tmp_path / "results.json"))


def test_versions():
    versions = results.versions()
    assert list(versions) == ["python", "tensorflow", "keras", "numpy", "official"]
    assert versions["python"] == platform.python_version()
    assert versions["tensorflow"] == tf.__version__
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__
    json.dumps(versions)


def test_peak_memory_is_that_of_this_program_and_grows():
    before = results.peak_memory_bytes()
    # TensorFlow alone takes more than 100 MiB; no test machine has 1 TiB in use.
    assert 100 * 2**20 < before < 2**40
    block = np.ones(before + 2**26, np.uint8)
    assert results.peak_memory_bytes() >= before + 2**26 and block[-1] == 1

    script = (
        "from official.utils.logs import results; print(results.peak_memory_bytes())"
    )
    child = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    if sys.platform == "linux":
        # A bare Python takes about 10 MiB, whatever its parent has.
        assert int(child.stdout) < 100 * 2**20
