import contextlib
import io
import os

import pytest

from official.utils.logs import console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def no_warnings():
    console.reset_warnings()
    yield
    console.reset_warnings()


def test_no_bar_where_there_is_no_terminal(capsys):
    with console.progress_bar(10, description="training") as bar:
        bar.update(5)
        bar.set_postfix(loss=0.5)
    assert isinstance(bar, console.SilentBar)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_stdout_where_it_is_a_terminal(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with console.progress_bar(100, initial=40, description="training") as bar:
        bar.update(30)
        bar.set_postfix(loss=0.123456)
    shown = terminal.getvalue()
    assert "training:" in shown
    assert "70/100" in shown
    assert "loss=0.123" in shown
    assert " step/s" in shown or " s/ step" in shown
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("size", [(0, 0), (24, 60)])
def test_terminals_with_and_without_a_size_get_a_bar(size):
    import fcntl
    import pty
    import struct
    import termios

    controller, terminal = pty.openpty()
    window = struct.pack("HHHH", *size, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, window)
    with open(terminal, "w", encoding="utf-8") as file:
        with console.progress_bar(100, file=file) as bar:
            bar.update(70)
    # A read gives what has arrived so far; Linux ends the last one with an error.
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(controller, 4096):
            shown += part
    os.close(controller)
    assert b"70/100" in shown


def test_results_table_is_aligned():
    table = console.results_table(
        {"accuracy": 0.91234, "examples_per_second": 123456.7, "loss": 1e-06},
        {"model_dir": "/tmp/run"},
    )
    assert table.splitlines() == [
        "accuracy             0.9123",
        "examples_per_second  123,500",
        "loss                 1.000e-06",
        "model_dir            /tmp/run",
    ]
    assert console.results_table({}, {}) == ""


def test_a_scaled_bar_counts_in_millions():
    screen = Terminal()
    with console.progress_bar(10_000_000, unit="byte", file=screen, scale=True) as bar:
        bar.update(2_500_000)
    assert "2.50M/10.0M" in screen.getvalue() and "byte/s" in screen.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9, "0.9000"),
        (1, "1.000"),
        (1234.4, "1234"),
        (9999.9, "10,000"),
        (28.349, "28.35"),
        (-12345.0, "-12,340"),
        (0.0, "0.000"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (None, "-"),
    ],
)
def test_four_significant_digits(value, text):
    assert console.results_table({"x": value}, {}) == f"x  {text}"


def test_a_warning_shows_once_until_reset(capsys):
    console.warn("--a has no effect")
    console.warn("--a has no effect")
    console.warn("--b has no effect")
    assert capsys.readouterr() == (
        "",
        "warning: --a has no effect\nwarning: --b has no effect\n",
    )
    console.reset_warnings()
    console.warn("--a has no effect")
    assert capsys.readouterr().err == "warning: --a has no effect\n"
