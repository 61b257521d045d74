import pytest

from official.utils.errors import UserError
from official.utils.flags import core as flags_core
from official.utils.testing import mains


def outcome_of(run, *arguments):
    def define_flags():
        return flags_core.shared_flags(("digits",), "digits")

    return mains.run_main(define_flags, run, (), arguments)


def test_streams_and_exit_code():
    def run(flags_obj):
        print(f"batches of {flags_obj.batch_size}")
        return {}

    outcome = outcome_of(run, "--batch_size=7")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == "batches of 7\n"
    with pytest.raises(AssertionError):
        mains.assert_one_line_error(outcome)


def test_one_line_error():
    def run(flags_obj):
        raise UserError("--data_dir=x is empty; name another")

    outcome = outcome_of(run)
    line = mains.assert_one_line_error(outcome, "--data_dir=x", "name another")
    assert line == "error: --data_dir=x is empty; name another"
    with pytest.raises(AssertionError, match="elsewhere"):
        mains.assert_one_line_error(outcome, "elsewhere")


@pytest.mark.parametrize("message", ["two\nlines", "Traceback (most recent call last)"])
def test_errors_that_are_not_one_line(message):
    def run(flags_obj):
        raise UserError(message)

    with pytest.raises(AssertionError):
        mains.assert_one_line_error(outcome_of(run))


def test_a_bug_is_no_outcome():
    def run(flags_obj):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        outcome_of(run)


def test_native_log_and_warnings_are_no_error_lines():
    log = (
        "WARNING: All log messages before absl::InitializeLog() is called\n"
        "E0000 00:00:1795374121.136960    6892 cuda_platform.cc:52] no GPU\n"
        "2026-01-31 09:30:00.123456: W tensorflow/core/kernel.cc:1] slow\n"
        "warning: --tpu has no effect\n"
        "\n"
        "error: wrong\n"
        "Error in sys.excepthook\n"
    )
    lines = mains.Outcome(1, "", log).error_lines()
    assert lines == ["error: wrong", "Error in sys.excepthook"]
