import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from official.benchmark import processes
from official.benchmark.processes import Command


def run(code, folder, time_limit=60.0, memory_limit=None):
    command = Command(
        [sys.executable, "-c", code],
        str(folder / "log.txt"),
        os.environ | {"PYTHONFAULTHANDLER": "1"},
        time_limit,
        memory_limit,
    )
    (ending,) = processes.run(command)
    return ending, (folder / "log.txt").read_text()


def test_a_good_end_has_times_and_a_log(tmp_path):
    code = "import sys, time; print('out'); print('err', file=sys.stderr)\n"
    code += "until = time.process_time() + 0.3\nwhile time.process_time() < until: pass"
    ending, log = run(code, tmp_path)
    assert (ending.status, ending.detail, ending.exit_code) == (processes.OK, "", 0)
    assert sorted(log.split()) == ["err", "out"]
    assert 0.3 <= ending.cpu_seconds < ending.seconds + 0.2 < 30


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("raise ValueError('no such layer')", "crashed", "ValueError: no such layer"),
        ("print('error: --x is wrong'); exit(1)", "crashed", "error: --x is wrong"),
        ("print('last words'); exit(3)", "crashed", "last words"),
        ("exit(3)", "crashed", "exit code 3"),
        ("import os; os.abort()", "crashed", "SIGABRT: "),
        ("raise MemoryError", "out of memory", "MemoryError"),
        (
            "print('OOM when allocating tensor of shape [9]'); exit(1)",
            "out of memory",
            "OOM when allocating",
        ),
        ("import os; os.kill(os.getpid(), 2)", "interrupted", "ended by SIGINT"),
        ("exit(130)", "interrupted", "ended by SIGINT"),
        ("exit(143)", "interrupted", "ended by SIGTERM"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "crashed",
            "killed by SIGKILL, not by the nightly",
        ),
    ],
)
def test_every_other_end_is_named(code, status, detail, tmp_path):
    ending, _ = run(code, tmp_path)
    assert ending.status == status
    assert ending.detail.startswith(detail)


def test_a_kill_by_the_system_is_told_from_others(tmp_path, monkeypatch):
    counts = iter([4, 5])
    monkeypatch.setattr(processes, "_system_oom_kills", lambda: next(counts))
    ending, _ = run("import os; os.kill(os.getpid(), 9)", tmp_path)
    assert ending.status == processes.OUT_OF_MEMORY


def test_a_run_that_hangs_shows_where_it_stood(tmp_path):
    code = "import time\ndef stuck():\n    time.sleep(600)\nstuck()"
    ending, log = run(code, tmp_path, time_limit=1.5)
    assert ending.status == processes.HUNG
    assert ending.detail == "still running after 2 s"
    assert ending.exit_code == -signal.SIGABRT
    assert 1.5 <= ending.seconds < 15
    assert "in stuck" in log


def test_a_run_that_ignores_signals_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE_SECONDS", 0.5)
    code = "import signal, time\nsignal.signal(signal.SIGABRT, signal.SIG_IGN)\n"
    ending, _ = run(code + "time.sleep(600)", tmp_path, time_limit=1.0)
    assert ending.status == processes.HUNG
    assert ending.exit_code == -signal.SIGKILL


def test_memory_of_the_whole_tree_is_limited(tmp_path):
    code = (
        "import subprocess, sys\n"
        "hog = 'x = bytearray(400 * 2**20); import time; time.sleep(600)'\n"
        "subprocess.run([sys.executable, '-c', hog])"
    )
    ending, _ = run(code, tmp_path, memory_limit=200 * 2**20)
    assert ending.status == processes.OUT_OF_MEMORY
    assert ending.peak_memory_bytes > 200 * 2**20
    assert ending.detail.endswith("GiB, the limit is 0.20")
    assert ending.seconds < 30


def test_nothing_is_left_running(tmp_path):
    code = (
        "import subprocess, sys\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(99)']\n"
        "left = subprocess.Popen(sleep)\n"
        "print(left.pid)"
    )
    ending, log = run(code, tmp_path)
    assert ending.status == processes.OK
    until = time.monotonic() + 10
    while psutil.pid_exists(int(log)) and time.monotonic() < until:
        if psutil.Process(int(log)).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(int(log))


def test_an_interrupt_ends_the_run_first(tmp_path):
    code = "import time; print(1, flush=True); time.sleep(600)"
    log = tmp_path / "log.txt"

    def interrupt():
        while not log.exists() or not log.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(code, tmp_path)
    thread.join()
    assert time.monotonic() - begun < 15
    children = psutil.Process().children()
    assert not [c for c in children if "time.sleep(600)" in " ".join(c.cmdline())]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends such runs")
def test_a_nightly_that_is_killed_leaves_no_run(tmp_path):
    code = f"""
import os, sys
from official.benchmark import processes
run = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
log = {str(tmp_path / "log.txt")!r}
processes.run(processes.Command([sys.executable, "-c", run], log, os.environ, 600))
"""
    log = tmp_path / "log.txt"
    with subprocess.Popen([sys.executable, "-c", code]) as nightly:
        until = time.monotonic() + 60
        while not log.exists() or not log.read_text().endswith("\n"):
            assert time.monotonic() < until
            time.sleep(0.02)
        nightly.kill()
    until = time.monotonic() + 10
    while psutil.pid_exists(int(log.read_text())):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_several_run_at_the_same_time(tmp_path):
    commands = [
        Command(
            [sys.executable, "-c", f"import time; time.sleep(1.5); exit({number})"],
            str(tmp_path / f"{number}.txt"),
            os.environ,
            60,
        )
        for number in (0, 7)
    ]
    begun = time.monotonic()
    endings = processes.run(*commands)
    assert [ending.exit_code for ending in endings] == [0, 7]
    assert time.monotonic() - begun < 2.9


def test_the_system_takes_the_run_before_the_nightly(tmp_path):
    path = "/proc/self/oom_score_adj"
    if not os.path.exists(path):
        pytest.skip("this system has no such score")
    # The score is set just after the start.
    code = f"import time; time.sleep(0.5); print(open('{path}').read())"
    _, log = run(code, tmp_path)
    assert log.strip() == "1000"


def test_logs_are_read_from_their_end(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"\xff" + b"a" * 100 + b"end")
    assert processes.log_text(str(path), 5) == "aaend"
    assert processes.log_text(str(tmp_path / "none"), 5) == ""
