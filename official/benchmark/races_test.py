import pathlib
import sys

import pytest

from official.benchmark import machines, races, turns
from official.utils.errors import UserError

_PROGRAM = pathlib.Path(__file__).parent / "testdata" / "peer.py"


@pytest.fixture
def entrant(tmp_path):
    """Makes entrants of a program that only says that it trains."""

    def make(name, *arguments, accepts=lambda said: True):
        command = [sys.executable, str(_PROGRAM), *arguments]
        log_path = str(tmp_path / f"{name}.txt")
        environment = machines.environment()
        return races.Entrant(
            name, lambda: turns.Worker(command, log_path, 60, environment), accepts
        )

    return make


def test_rates_are_examples_a_second(entrant):
    ours, other = races.race(
        [entrant("official"), entrant("other", "--step_seconds=0.25")], 4, 3, 1.0
    )
    assert ours.rates == [8.0] * 3
    assert other.rates == [16.0] * 3
    assert other.versions == {"other": "1.2"}
    # A bare Python, in bytes.
    assert 2e6 < other.peak_memory_bytes < 1e9
    assert other.idle_cpu < 0.02
    assert ours.failure == other.failure == ""


def test_one_that_fails_is_named_and_the_others_go_on(entrant, capsys):
    results = races.race(
        [
            entrant("official"),
            # The warm-up is two turns.
            entrant("late", "--fails_at=3"),
            entrant("never", "--fails_at=0"),
            entrant("wrong", accepts=lambda said: said["parameters"] == 7),
            entrant("good"),
        ],
        *(4, 2, 0.1),
    )
    failures = {result.name: result.failure for result in results}
    assert failures["official"] == failures["good"] == ""
    assert (
        failures["late"]
        == failures["never"]
        == ("exit code 1: MemoryError: no more room")
    )
    assert failures["wrong"].startswith("it trains another network: {'batch_size': 4")
    assert [len(result.rates) for result in results] == [2, 0, 0, 0, 2]
    printed = capsys.readouterr().out
    assert "late did not run: exit code 1: MemoryError" in printed


def test_without_ours_there_is_no_race(entrant):
    with pytest.raises(UserError, match=r"^official does not run: exit code 1: Mem"):
        races.race([entrant("official", "--fails_at=1"), entrant("other")], 4, 1, 0.1)


def test_one_that_works_out_of_its_turn_is_found(entrant):
    results = races.race(
        [entrant("official"), entrant("restless", "--is_restless")], 4, 2, 0.1
    )
    assert results[1].idle_cpu > 0.02
