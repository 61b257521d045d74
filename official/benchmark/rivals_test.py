import json
import pathlib
import subprocess
import sys

import pytest

from official.benchmark import peak, peers, races, rivals, worker
from official.utils.errors import UserError
from official.utils.flags import core as flags_core

_PROGRAM = pathlib.Path(__file__).parent / "testdata" / "peer.py"
_RESULTS = [
    races.Result("official", rates=[8.0, 12.0, 10.0], peak_memory_bytes=3 << 30),
    races.Result("quick", rates=[8.0, 8.0, 8.0], peak_memory_bytes=4 << 30),
    races.Result(
        "lean", "is smaller", rates=[4.0, 6.0, 4.0], peak_memory_bytes=2 << 30
    ),
    races.Result("broken", failure="no compiler"),
]


def test_metrics():
    # 10 examples a second of 3 FLOP each, where 60 can be had.
    assert rivals.metrics_of("fp32", _RESULTS, 3.0, 60.0) == {
        "fp32_share_of_peak": 0.5,
        "fp32_ratio_to_best_peer": 1.25,  # of 1, 1.5 and 1.25
        "fp32_memory_to_leanest_peer": 1.5,
        "fp32_ratio_to_quick": 1.25,
        "fp32_ratio_to_lean": 2.0,
        "fp32_examples_per_second_official": 10.0,
        "fp32_examples_per_second_quick": 8.0,
        "fp32_examples_per_second_lean": 4.0,
        "fp32_peak_memory_bytes_official": 3 << 30,
        "fp32_peak_memory_bytes_quick": 4 << 30,
        "fp32_peak_memory_bytes_lean": 2 << 30,
    }


def test_table():
    assert rivals.table("fp32", _RESULTS, 3.0, 60.0).splitlines() == [
        "fp32      examples/s   rounds   ours to it  of peak  peak memory",
        "official  10           8 to 12              50.0%    3.00 GiB",
        "quick     8            8 to 8   1.25        40.0%    4.00 GiB",
        "lean      4            4 to 6   2.00                 2.00 GiB",
        "broken    did not run",
        "broken did not run: no compiler",
        "lean: is smaller",
        "ours is 1.25 times the best peer, quick",
        "our memory is 1.50 times that of the leanest peer, lean",
        "peak of matrix products in fp32: 0.0 GFLOP/s",
    ]


def test_one_that_failed_is_named_with_the_reason():
    failure = "exit code 1: MemoryError: no more room"
    results = [
        races.Result("official", rates=[8.0, 8.0]),
        races.Result("never", failure=failure),
        races.Result("good", rates=[8.0, 8.0]),
    ]
    text = rivals.table("bf16", results, 1e9, 1e10)
    assert "never did not run: exit code 1: MemoryError: no more room" in text
    assert "times the best peer, good" in text


def test_one_that_worked_out_of_its_turn_is_named():
    results = [
        races.Result("official", rates=[8.0, 8.0], idle_cpu=0.02),
        races.Result("restless", rates=[8.0, 8.0], idle_cpu=0.021),
    ]
    text = rivals.table("fp32", results, 1e9, 1e10)
    assert "restless took " in text
    assert "official took " not in text


def test_ours_alone():
    metrics = rivals.metrics_of("bf16", _RESULTS[:1], 3.0, 60.0)
    assert "bf16_ratio_to_best_peer" not in metrics
    assert metrics["bf16_share_of_peak"] == 0.5
    assert "best peer" not in rivals.table("bf16", _RESULTS[:1], 3.0, 60.0)


def _run(**values):
    return rivals.run(
        flags_core.make_flags(rivals.define_flags, target="mnist/instant", **values)
    )


def test_mnist(tmp_path, monkeypatch, capsys):
    other = peers.Peer((), str(_PROGRAM), ("--step_seconds=0.5",))
    monkeypatch.setattr(peers, "PEERS", {"mnist": {"other": other}})
    monkeypatch.setattr(peers, "interpreter", lambda peer, folder: sys.executable)
    monkeypatch.setattr(peak, "find", lambda *arguments: peak.Peak(1e12, 512))
    metrics = _run(
        dtypes="fp32",
        flags="batch_size=16",
        rounds=2,
        seconds=0.05,
        model_dir=tmp_path / "run",
    )
    assert metrics["fp32_examples_per_second_other"] == 32.0
    ours = metrics["fp32_examples_per_second_official"]
    assert metrics["fp32_ratio_to_other"] == pytest.approx(ours / 32)
    found = json.loads((tmp_path / "run" / "rivals.json").read_text())
    assert found["metrics"] == metrics
    assert (found["step"]["batch_size"], found["step"]["parameters"]) == (16, 1643370)
    # kernel_test.py pins the products of a step.
    share = found["step"]["flops"] / 16 * ours / 1e12
    assert metrics["fp32_share_of_peak"] == pytest.approx(share)
    (rates,) = (r["rates"] for r in found["results"]["fp32"] if r["name"] == "official")
    assert len(rates) == 2
    assert "1,643,370 weights" in capsys.readouterr().out


def test_wrong_flags_are_one_line():
    with pytest.raises(UserError, match=r"^--dtypes=fp64: should be among fp32, bf16"):
        _run(dtypes="fp64")
    with pytest.raises(UserError, match=r"^--peers=caffe: mnist has only torch$"):
        _run(peers="caffe")
    with pytest.raises(UserError, match=r"^--flags=batch_size: should be name=value"):
        _run(flags="batch_size")
    with pytest.raises(UserError, match="colour"):
        _run(flags="colour=red", peers="torch")


def test_flags_of_a_main():
    assert worker.values_of(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}


def _first_answers(program, *arguments):
    model = program.split("_")[0]
    (path,) = {p.program for p in peers.PEERS[model].values() if program in p.program}
    ran = subprocess.run(
        [sys.executable, path, "--batch_size=2", *arguments],
        input='{"steps": 1}\n{"steps": 2}\n',
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_torch_has_our_network():
    pytest.importorskip("torch")
    said, first, second = _first_answers("resnet_torch", "--image_size=32")
    assert (said["batch_size"], said["parameters"]) == (2, 25_557_032)
    # ln 1000 = 6.9, and two pictures are learnt by heart.
    assert 6 < first["loss"] < 8
    assert second["loss"] < first["loss"]
    assert second["seconds"] > 0


@pytest.mark.slow
def test_hugging_face_has_our_bert():
    pytest.importorskip("transformers")
    said, first, second = _first_answers(
        "bert_torch", "--sequence_length=16", "--learning_rate=1e-4"
    )
    # Base with 30,522 pieces (bert/model_test.py), and 2 classes.
    assert said["parameters"] == 109_482_240 + 2 * 768 + 2
    assert 0.2 < first["loss"] < 2
    assert second["seconds"] > 0


@pytest.mark.slow
def test_keras_has_version_1():
    said, first, second = _first_answers(
        "resnet_keras", "--library=keras", "--image_size=32"
    )
    # The biases of 26,560 channels more than version 1.5.
    assert said["parameters"] == 25_557_032 + 26_560
    assert second["loss"] < first["loss"]


def test_a_peer_is_told_what_it_takes(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(peers.turns, "Worker", lambda *given: started.append(given))
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    names = ("batch_size", "optimizer", "learning_rate", "momentum", "seed")
    settings = dict.fromkeys(names, 1) | {"dtype": "auto"}
    sizes = {"image_size": 64, "threads": 2, "vocab_size": 9}
    for name in ("tf_keras", "tf_keras_onednn", "torch_compiled"):
        peer = peers.find("resnet", name)
        peers.start(peer, "python", settings, "bf16", "log", sizes, 9.0)
    peers.start(peers.find("mnist", "torch"), "p", settings, "fp32", "log", sizes)
    commands = [" ".join(given[0]) for given in started]
    assert "--library=tf_keras --batch_size=1 " in commands[0]
    assert commands[0].endswith("--dtype=bf16 --seed=1 --image_size=64 --threads=2")
    assert "resnet_torch.py --compile " in commands[2]
    assert commands[3].endswith("--dtype=fp32 --seed=1")
    assert [given[2] for given in started] == [9.0, 9.0, 9.0, 300.0]
    set_to = [given[3].get("TF_ENABLE_ONEDNN_OPTS") for given in started]
    assert set_to == [None, "1", None, None]
