import glob
import json

import pytest
import tensorflow as tf

from official.benchmark import kernel, machines, peak
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.logs import console, results


def _key(dtype="fp32"):
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return (
        f"{machines.machine().id} tensorflow {tf.version.VERSION} {dtype} "
        f"threads {threads}"
    )


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "cache" / "peaks.json"
    path.parent.mkdir()
    path.write_text(json.dumps({_key(): {"flops_per_second": 1e15, "size": 7}}))
    return path


def _run(cache, **values):
    return kernel.run(
        flags_core.make_flags(
            kernel.define_flags,
            target="mnist/instant",
            rounds=2,
            seconds=0.02,
            peak_cache=cache,
            **values,
        )
    )


def test_kernel(cache, tmp_path, capsys):
    folder = tmp_path / "run"
    metrics = _run(cache, model_dir=folder, profile=True)
    # Multiplications of an image: conv1 without and the others with the gradient of
    # their input.
    products = 2 * 28 * 28 * 32 * 25 + 3 * (
        14 * 14 * 32 * 25 * 32 + 7 * 7 * 32 * 1024 + 1024 * 10
    )
    assert metrics["flops_per_step"] == 2 * 32 * products
    assert metrics["peak_flops_per_second"] == 1e15
    rate = 1000 / metrics["step_milliseconds"]
    assert metrics["flops_per_second"] == pytest.approx(rate * 64 * products)
    share = metrics["flops_per_second"] / 1e15
    assert metrics["share_of_peak"] == pytest.approx(share)
    found = results.read_results(str(folder / "results.json"))
    assert found["metrics"] == metrics
    assert found["examples_per_second"] == pytest.approx(32 * rate)
    (trace,) = glob.glob(f"{folder}/plugins/profile/*/*.xplane.pb")
    printed = capsys.readouterr().out
    assert f"profile of 5 steps: {trace}" in printed
    assert "product of 7 x 7 matrices" in printed


def test_a_profile_needs_a_folder(cache):
    with pytest.raises(UserError, match="--profile needs --model_dir"):
        _run(cache, profile=True)


def test_a_peak_below_the_step_is_doubted(cache, capsys):
    console.reset_warnings()
    cache.write_text(json.dumps({_key(): {"flops_per_second": 1.0, "size": 7}}))
    assert _run(cache)["share_of_peak"] > 1
    assert "--measure_peak" in capsys.readouterr().err


@pytest.fixture
def measured(monkeypatch):
    """Peaks that are as high as the number of measurements."""
    dtypes = []

    def measure(dtype):
        dtypes.append(dtype)
        return peak.Peak(float(len(dtypes)), 64)

    monkeypatch.setattr(peak, "measure", measure)
    return dtypes


def test_the_peak_is_measured_once_for_each_precision(tmp_path, measured):
    path = str(tmp_path / "new" / "peaks.json")
    assert peak.find("fp32", path) == peak.Peak(1.0, 64)
    assert peak.find("fp32", path) == peak.Peak(1.0, 64)
    assert peak.find("bf16", path) == peak.Peak(2.0, 64)
    assert peak.find("fp32", path, measure_anew=True) == peak.Peak(3.0, 64)
    assert peak.find("fp32", path) == peak.Peak(3.0, 64)
    assert peak.find("bf16", path) == peak.Peak(2.0, 64)
    assert measured == ["fp32", "bf16", "fp32"]
    (file,) = (tmp_path / "new").iterdir()
    entry = json.loads(file.read_text())[_key()]
    assert entry["machine"] == machines.machine().text


def test_a_busy_machine_is_said(tmp_path, measured, monkeypatch, capsys):
    console.reset_warnings()
    monkeypatch.setattr(machines, "busy", lambda: 0.1)
    peak.find("fp32", str(tmp_path / "peaks.json"))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(machines, "busy", lambda: 0.5)
    peak.find("fp32", str(tmp_path / "peaks.json"))
    assert capsys.readouterr().err == ""
    peak.find("bf16", str(tmp_path / "peaks.json"))
    assert "takes 50% of the cores" in capsys.readouterr().err


def test_another_tensorflow_has_a_peak_of_its_own(cache, measured, monkeypatch):
    monkeypatch.setattr(tf.version, "VERSION", "9.9")
    assert peak.find("fp32", str(cache)) == peak.Peak(1.0, 64)
    monkeypatch.undo()
    assert peak.find("fp32", str(cache)) == peak.Peak(1e15, 7)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"size": 1}}', '{"a": 1}'])
def test_a_damaged_cache_is_left_alone(tmp_path, measured, content):
    path = tmp_path / "peaks.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"no cache of peaks.*--peak_cache"):
        peak.find("fp32", str(path))
    assert path.read_text() == content
    assert measured == []


def test_a_cache_that_cannot_be_written(tmp_path, measured):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written.*--peak_cache"):
        peak.find("fp32", str(tmp_path / "file" / "peaks.json"))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_measures_a_plausible_peak(dtype, monkeypatch):
    monkeypatch.setattr(peak, "_TURN_SECONDS", 0.01)
    found = peak.measure(dtype, sizes=(64, 128))
    assert found.size in (64, 128)
    # More than a tenth of an operation a cycle, less than the largest GPU.
    assert 1e8 < found.flops_per_second < 1e16
