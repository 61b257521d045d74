import importlib.metadata
import json
import os

import numpy as np
import psutil
import pytest
import tensorflow as tf

from official.utils.logs import run_record


@pytest.fixture(autouse=True)
def fresh_cache():
    run_record.machine_config.cache_clear()
    yield
    run_record.machine_config.cache_clear()


def test_the_fields_are_those_of_2019_and_three_versions(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_ZEBRA", "1")
    monkeypatch.setenv("TF_ANT", "2")
    monkeypatch.setenv("NOT_TF_", "3")
    monkeypatch.setenv("TF_TOKEN_app_terraform_io", "secret")
    monkeypatch.setenv("TF_VAR_password", "secret")
    record = run_record.run_record("mnist", "fashion_mnist", {"seed": 1}, "nightly-1")
    assert list(record) == [
        "model_name",
        "dataset",
        "machine_config",
        "test_id",
        "run_date",
        "tensorflow_version",
        "keras_version",
        "python_version",
        "tensorflow_environment_variables",
        "run_parameters",
    ]
    assert record["model_name"] == "mnist"
    assert record["dataset"] == {"name": "fashion_mnist"}
    assert record["test_id"] == "nightly-1"
    assert record["tensorflow_version"] == {
        "version": tf.__version__,
        "git_hash": tf.version.GIT_VERSION,
    }
    import keras

    assert record["keras_version"] == keras.__version__
    variables = record["tensorflow_environment_variables"]
    names = [variable["name"] for variable in variables]
    assert names == sorted(names)
    assert not [name for name in names if not name.startswith("TF_")]
    assert not {"TF_TOKEN_app_terraform_io", "TF_VAR_password"} & set(names)
    assert {"name": "TF_ANT", "value": "2"} in variables
    assert {"name": "TF_ZEBRA", "value": "1"} in variables

    path = tmp_path / "benchmark_run.log"
    run_record.write_run_record(str(path), record)
    assert json.loads(path.read_text()) == record


def test_run_parameters_are_typed_and_sorted():
    record = run_record.run_record(
        "m",
        "d",
        {
            "use_xla": True,
            "batch_size": 256,
            "learning_rate": 0.1,
            "dtype": "fp32",
            "absent": None,
            "layers": ["a", "b"],
            "numpy": np.float32(0.5),
            "broken": float("nan"),
        },
    )
    assert record["test_id"] is None
    assert record["run_parameters"] == [
        {"name": "absent", "string_value": "None"},
        {"name": "batch_size", "long_value": 256},
        {"name": "broken", "string_value": "nan"},
        {"name": "dtype", "string_value": "fp32"},
        {"name": "layers", "string_value": "['a', 'b']"},
        {"name": "learning_rate", "float_value": 0.1},
        {"name": "numpy", "float_value": 0.5},
        {"name": "use_xla", "bool_value": True},
    ]


def test_machine_config_states_this_machine_once(monkeypatch):
    machine = run_record.machine_config()
    assert machine["memory_total"] == psutil.virtual_memory().total
    assert 0 < machine["memory_available"] <= machine["memory_total"]
    assert machine["cpu_info"]["num_cores"] == os.cpu_count()
    gpus = tf.config.list_physical_devices("GPU")
    assert machine["gpu_info"]["count"] == len(gpus)

    monkeypatch.setattr(run_record, "cpu_details", lambda: pytest.fail("probed again"))
    record = run_record.run_record("m", "d", {})
    assert record["machine_config"] == machine
    record["machine_config"]["cpu_info"]["num_cores"] = -1
    assert run_record.machine_config()["cpu_info"]["num_cores"] == os.cpu_count()


def test_py_cpuinfo_is_asked_the_fast_way_first(monkeypatch):
    from cpuinfo import cpuinfo

    found = {"brand_raw": "Fast", "hz_advertised": (2_500_000_000, 0)}
    monkeypatch.setattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo", lambda: found)
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: pytest.fail("slow way"))
    info = run_record.cpu_info()
    assert info == {
        "num_cores": os.cpu_count(),
        "cpu_info": "Fast",
        "mhz_per_cpu": 2500.0,
    }


@pytest.mark.parametrize("fast", [None, {}, {"hz_advertised": (1, 0)}])
def test_the_public_call_answers_where_the_fast_way_does_not(monkeypatch, fast):
    from cpuinfo import cpuinfo

    monkeypatch.setattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo", lambda: fast)
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"brand_raw": "Slow"})
    assert run_record.cpu_details() == {"brand_raw": "Slow"}
    monkeypatch.delattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo")
    assert run_record.cpu_details() == {"brand_raw": "Slow"}


def test_a_failing_probe_leaves_the_facts_out(monkeypatch):
    from cpuinfo import cpuinfo

    def fail():
        raise OSError("no such processor")

    monkeypatch.setattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo", fail)
    assert run_record.cpu_info() == {"num_cores": os.cpu_count()}


def test_gpus_are_counted_and_the_first_one_named(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda device: {"device_name": f"GPU {device}"},
    )
    assert run_record._gpu_info() == {"count": 2, "model": "GPU a"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {})
    assert run_record._gpu_info() == {"count": 2}


def test_keras_goes_by_two_names(monkeypatch):
    found = {"keras-nightly": "3.16.0.dev1"}

    def version(name):
        if name not in found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert run_record.keras_version() == "3.16.0.dev1"
    found["keras"] = "3.15.1"
    assert run_record.keras_version() == "3.15.1"
    found.clear()
    assert run_record.keras_version() is None
