import json

import numpy as np
import pytest

from official.benchmark import input as input_benchmark
from official.benchmark import micro, steps, suites
from official.utils.data.streams import ArrayTrainingStream, Share
from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.logs import results


class Clock:
    """A contender that takes a fixed time a step, and one for each call."""

    def __init__(self, step_seconds, call_seconds=0.0):
        self.calls = []
        self._step_seconds = step_seconds
        self._call_seconds = call_seconds

    def __call__(self, count):
        self.calls.append(count)
        return self._call_seconds + count * self._step_seconds


def test_turns_last_as_long_as_asked():
    assert micro.steps_within(micro.Contender(Clock(0.01)), 2.0) == 200
    assert micro.steps_within(micro.Contender(Clock(5.0)), 2.0) == 1
    # Whole executions, at least one.
    assert micro.steps_within(micro.Contender(Clock(0.01), 30), 2.0) == 210
    assert micro.steps_within(micro.Contender(Clock(0.5), 30), 2.0) == 30


def test_rates_and_ratios():
    slow, fast = Clock(0.02), Clock(0.005)
    contenders = {"slow": micro.Contender(slow), "fast": micro.Contender(fast)}
    rates = micro.take_turns(contenders, rounds=3, seconds=1.0)
    np.testing.assert_allclose(rates["slow"], [50.0] * 3)
    np.testing.assert_allclose(rates["fast"], [200.0] * 3)
    np.testing.assert_allclose(micro.ratios(rates, "fast", "slow"), [4.0] * 3)
    assert slow.calls[-3:] == [50] * 3
    assert fast.calls[-3:] == [200] * 3


def test_every_other_round_goes_backwards():
    turns = []

    def contender(name):
        return micro.Contender(lambda count: turns.append(name) or 1.0)

    contenders = {name: contender(name) for name in "abc"}
    micro.take_turns(contenders, rounds=2, seconds=1.0)
    assert "".join(turns[-6:]) == "abccba"


def test_batches_in_memory_come_again(monkeypatch):
    arrays = {"x": np.arange(12, dtype=np.int64)}
    stream = ArrayTrainingStream(arrays, batch_size=4, seed=0)
    original = stream.dataset(0, Share(1, 0, 1)).take(5).as_numpy_iterator()
    first, second, *_ = (list(batch["x"]) for batch in original)

    def seen(num_batches):
        dataset = micro.InMemory(stream, num_batches).dataset(0, Share(1, 0, 1))
        return [list(batch["x"]) for batch in dataset.take(5).as_numpy_iterator()]

    assert seen(1) == [first] * 5
    assert seen(2) == [first, second, first, second, first]
    # 4 rows of 8 bytes a batch.
    monkeypatch.setattr(micro, "_BYTES_IN_MEMORY", 63)
    assert seen(2) == [first] * 5


def test_the_loop_goes_on_where_it_was():
    recipe = suites.find("mnist/instant")
    training = steps.prepare(recipe, steps.settings_of(recipe, batch_size=8))
    contender = micro.loop_contender(training.loop, training.task.training_stream())
    assert contender.train(2) > 0
    contender.train(3)
    assert int(training.loop.optimizer.iterations) == 5


def test_input(tmp_path, capsys):
    metrics = input_benchmark.run(
        flags_core.make_flags(
            input_benchmark.define_flags,
            target="mnist/instant",
            seed=3,
            rounds=2,
            seconds=0.02,
            model_dir=tmp_path / "run",
        )
    )
    found = results.read_results(str(tmp_path / "run" / "results.json"))
    assert list(found) == list(results.REQUIRED_KEYS)
    assert found["metrics"] == metrics
    assert found["examples_per_second"] == metrics["input_examples_per_second"]
    assert metrics["times_training_speed"] > 1
    assert (found["model"], found["dataset"], found["seed"]) == ("mnist", "digits", 3)
    assert found["steps"] > 0
    assert 0 < found["startup_seconds"] < found["wall_seconds"]
    assert found["flags"]["target"] == "mnist/instant"
    assert found["flags"]["batch_size"] == 32
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "times training" in capsys.readouterr().out


def test_a_recipe_without_steps_is_refused(monkeypatch):
    recipe = suites.find("mnist/instant")
    other = recipe.__class__(**{**vars(recipe), "has_steps": False})
    monkeypatch.setattr(suites, "find", lambda key: other)
    flags_obj = flags_core.make_flags(input_benchmark.define_flags)
    with pytest.raises(UserError, match="does not train by steps"):
        input_benchmark.run(flags_obj)


def test_the_cache_follows_the_environment(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert micro.cache_folder() == "/somewhere/official-models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/her")
    assert micro.cache_folder() == "/home/her/.cache/official-models"
