import sys

import numpy as np
import pytest

from official.benchmark import contenders, loop, micro, peers
from official.utils.data.streams import Share
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.logs import results

# Speaks as a peer, and says that a step takes a second.
_PROGRAM = """
import argparse, json, sys
parser = argparse.ArgumentParser()
for name in ("optimizer", "learning_rate", "momentum", "dtype", "seed"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--batch_size", type=int)
options = parser.parse_args()
print(json.dumps({"batch_size": options.batch_size, "parameters": PARAMETERS}))
sys.stdout.flush()
for line in sys.stdin:
    print(json.dumps({"seconds": float(json.loads(line)["steps"])}), flush=True)
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A program, in this environment, as the peer `other` of MNIST."""
    program = tmp_path / "other.py"
    program.write_text(_PROGRAM.replace("PARAMETERS", "1643370"))
    monkeypatch.setattr(
        peers, "PEERS", {"mnist": {"other": peers.Peer((), str(program))}}
    )
    monkeypatch.setattr(peers, "interpreter", lambda peer, folder: sys.executable)
    return program


def _run(**values):
    return loop.run(
        flags_core.make_flags(
            loop.define_flags,
            target="mnist/instant",
            rounds=1,
            seconds=0.02,
            **values,
        )
    )


def test_loop(tmp_path, peer, capsys):
    metrics = _run(model_dir=tmp_path / "run", peers="other")
    found = results.read_results(str(tmp_path / "run" / "results.json"))
    assert found["metrics"] == metrics
    names = ("fit", "fit_grouped", "other")
    assert set(metrics) == {
        *(f"ratio_to_{name}" for name in names),
        *(f"steps_per_second_{name}" for name in (*names, "official")),
        *(f"perceptron_ratio_to_{name}" for name in names[:2]),
        *(f"perceptron_steps_per_second_{name}" for name in (*names[:2], "official")),
    }
    ours = metrics["steps_per_second_official"]
    assert found["examples_per_second"] == pytest.approx(32 * ours)
    assert metrics["steps_per_second_other"] == 1.0
    # With one round a ratio is that of the rates.
    for name in names:
        ratio = ours / metrics[f"steps_per_second_{name}"]
        assert metrics[f"ratio_to_{name}"] == pytest.approx(ratio)
    printed = capsys.readouterr().out
    assert "mnist/instant, batch 32   official loop" in printed
    assert "perceptron, batch 32      fit(steps_per_execution=" in printed


def test_an_unknown_peer_is_one_line(peer):
    with pytest.raises(UserError, match=r"^--peers=caffe: mnist has only other$"):
        _run(peers="caffe")


def test_a_peer_that_ends_is_one_line(tmp_path, peer):
    peer.write_text("raise ImportError('no module named other')")
    with pytest.raises(UserError, match=r"--peers=other does not run: .*no module"):
        _run(peers="other")


def test_a_peer_with_another_network_is_found(peer):
    peer.write_text(_PROGRAM.replace("PARAMETERS", "7"))
    with pytest.raises(AssertionError, match="another network"):
        _run(peers="other")


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_fit_trains_as_the_loop_does(steps_per_execution):
    ours = contenders.perceptron(seed=1, dtype="fp32")
    stream = micro.InMemory(ours.task.training_stream(), 3)
    dataset = stream.dataset(0, Share(1, 0, 1))
    model = contenders.compiled_model(
        ours.task, ours.total_steps, dataset, steps_per_execution
    )
    history = model.fit(dataset, steps_per_epoch=8, shuffle=False, verbose=0).history
    means = ours.loop.train(ours.loop.batches(stream, 0), 0, 8)
    for name in ("loss", "accuracy"):
        # `fit` gives the mean over the epoch.
        assert history[name] == [pytest.approx(means[name].mean(), rel=1e-5)]
    assert model.count_params() == 784 * 128 + 128 + 128 * 10 + 10
    for theirs, own in zip(model.weights, ours.loop.model.weights, strict=True):
        np.testing.assert_allclose(theirs, own, atol=1e-6)


@pytest.mark.slow
def test_torch_trains_mnist(tmp_path, monkeypatch):
    # Downloads PyTorch.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _run(peers="torch")["steps_per_second_torch"] > 0


def test_fit_is_timed_to_its_last_step(monkeypatch):
    now = [5.0]
    monkeypatch.setattr(contenders.time, "perf_counter", lambda: now[0])

    class Model:
        def fit(self, dataset, verbose, callbacks, steps_per_epoch):
            now[0] += steps_per_epoch
            for callback in callbacks:
                callback.on_train_end()
            now[0] += 100  # It waits for its input to end.

    assert contenders.fit_seconds(Model(), None, steps_per_epoch=3) == 3
