"""Starts the workers of one run as processes on loopback."""

import concurrent.futures
import socket
import subprocess
from collections.abc import Sequence

from official.utils.testing import mains
from official.utils.testing.mains import Outcome


def start_workers(
    module: str, arguments: Sequence[str], number: int = 2
) -> list[subprocess.Popen]:
    """Starts `number` workers of a main; the first is the chief.

    Args:
        module: the main, such as `official.mnist.mnist`.
        arguments: its flags, without those of the distribution.
        number: how many.

    Returns:
        The processes, in the order of `--worker_hosts`.
    """
    hosts = ",".join(f"127.0.0.1:{port}" for port in _free_ports(number))
    return [
        mains.start_main(
            module,
            [
                *arguments,
                "--distribution_strategy=multi_worker_mirrored",
                f"--worker_hosts={hosts}",
                f"--task_index={index}",
            ],
        )
        for index in range(number)
    ]


def outcomes(processes: Sequence[subprocess.Popen], timeout: float) -> list[Outcome]:
    """Waits for the workers and says how they ended.

    Args:
        processes: from `start_workers`.
        timeout: seconds after which all are killed and TimeoutExpired is raised.
    """

    def outcome(process):
        stdout, stderr = process.communicate(timeout=timeout)
        return Outcome(process.returncode, stdout, stderr)

    # Read at once, lest one fills its pipe and keeps the others waiting.
    with concurrent.futures.ThreadPoolExecutor(len(processes)) as pool:
        try:
            return list(pool.map(outcome, processes))
        except BaseException:
            for process in processes:
                process.kill()
            raise


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
