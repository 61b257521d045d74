import os
import subprocess
import sys
import time

from official.utils.data import processes
from official.utils.errors import UserError
from official.utils.testing.data import PROJECT_ROOT
from official.utils.testing.errors import message_of


def half(number):
    if number % 2:
        raise UserError(f"{number} is odd")
    return number // 2


def sleep(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)


def test_results_keep_their_order_and_items_wait():
    for num_processes, ahead in ((1, 0), (2, 2)):
        taken = []

        def numbers(taken=taken):
            for number in range(0, 20, 2):
                taken.append(number)
                yield number

        found = processes.in_order(half, numbers(), num_processes)
        assert next(found) == 0
        assert len(taken) == 1 + ahead
        assert list(found) == list(range(1, 10))
        found = processes.in_order(half, [0, 2, 3, 4], num_processes)
        assert [next(found), next(found)] == [0, 1]
        assert message_of(next, found) == "3 is odd"


def test_a_process_that_is_killed():
    found = processes.in_order(os._exit, [1], 2)
    assert message_of(list, found) == (
        "one of 2 processes was killed, maybe for want of memory; lower --num_processes"
    )


def test_none_outlives_the_first_one(tmp_path):
    path = tmp_path / "id"
    code = (
        "from official.utils.data import processes, processes_test\n"
        f"list(processes.in_order(processes_test.sleep, [{str(path)!r}], 2))"
    )
    first = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_ROOT)
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    other = int(path.read_text())
    first.kill()
    first.wait()
    while is_running(other):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            # One that has ended, and that nobody has asked about, is Z.
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
