"""Several machines that grow the same trees, by LightGBM's own messages.

Each machine has its share of the training rows, and all of the validation rows, so that
all stop at the same tree. They add up their counts of gradients, and each then finds
the same splits.
"""

import dataclasses
import os
import sys
import threading
import time
from typing import Any

import numpy as np
import psutil

from official.r1.boosted_trees.dataset import Part
from official.utils.errors import UserError
from official.utils.flags.settings import Settings

# For all to be there, and for a lost one to be given up.
_MINUTES_TO_MEET = 5
_SECONDS_WITHOUT = 30.0
_SECONDS_BETWEEN_LOOKS = 2.0
# Where a send fails LightGBM notices by itself; where it waits to receive it does not.
MACHINE_IS_GONE = (
    "another machine is gone; start all of them again: the run goes on from its last "
    "checkpoint"
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The machines of a run.

    Attributes:
        hosts: host:port of each.
        index: of this one.
    """

    hosts: tuple[str, ...] = ()
    index: int = 0

    @property
    def number(self) -> int:
        """How many there are."""
        return max(len(self.hosts), 1)

    @property
    def is_chief(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def share(self, part: Part) -> Part:
        """This machine's share of the training rows."""
        if self.number == 1:
            return part
        return part.take(np.arange(self.index, len(part), self.number))

    def parameters(self) -> dict[str, Any]:
        """LightGBM's parameters that join the machines."""
        if self.number == 1:
            return {}
        return {
            "tree_learner": "data",
            "machines": ",".join(self.hosts),
            "num_machines": self.number,
            "local_listen_port": int(self.hosts[self.index].rpartition(":")[2]),
            "time_out": _MINUTES_TO_MEET,
            "pre_partition": True,
        }


def cluster_of(settings: Settings) -> Cluster:
    """The machines that `--machines` names.

    Raises:
        UserError: an entry is no host:port, stands there twice, or this machine is none
            of them.
    """
    if not settings.machines or not settings.mode.startswith("train"):
        return Cluster()
    hosts = tuple(host.strip() for host in settings.machines.split(","))
    for host in hosts:
        name, _, port = host.rpartition(":")
        if not name or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UserError(
                f"--machines={settings.machines}: {host!r} should be host:port, as in "
                "10.0.0.1:12400"
            )
    if len(set(hosts)) < len(hosts):
        raise UserError(f"--machines={settings.machines} names a machine twice")
    if len(hosts) < 2:
        raise UserError(
            f"--machines={settings.machines} is one machine; leave it out, or name all"
        )
    if settings.machine_index >= len(hosts):
        raise UserError(
            f"--machine_index={settings.machine_index}: --machines names {len(hosts)}, "
            "counted from 0"
        )
    if not settings.model_dir:
        raise UserError(
            "--model_dir is needed with --machines: one folder that all see"
        )
    return Cluster(hosts, settings.machine_index)


class Watch:
    """Ends the process when another machine is gone; a context manager.

    LightGBM waits without end for a machine that is gone, in a call that Python cannot
    interrupt. So a thread looks at the connections between the machines: where one is
    lost and no tree comes for half a minute, it prints one line and ends the process
    with exit code 1.
    """

    def __init__(self, cluster: Cluster):
        """Watches nothing where there is one machine."""
        self._ports = {int(host.rpartition(":")[2]) for host in cluster.hosts}
        self._is_over = threading.Event()
        self._last_tree = time.monotonic()

    def __enter__(self) -> "Watch":
        if self._ports:
            threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._is_over.set()

    def note_tree(self) -> None:
        """Says that a tree is done."""
        self._last_tree = time.monotonic()

    def _look(self) -> None:
        most, lost_at = 0, None
        while not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            number = _connections(self._ports)
            most = max(most, number)
            if number == most:
                continue
            now = time.monotonic()
            lost_at = lost_at or now
            if now - max(lost_at, self._last_tree) > _SECONDS_WITHOUT:
                print(f"error: {MACHINE_IS_GONE}", file=sys.stderr, flush=True)
                os._exit(1)


def _connections(ports: set[int]) -> int:
    """How many connections this process has to or from one of the ports."""
    process = psutil.Process()
    # An older psutil has another name for it.
    find = getattr(process, "net_connections", None) or process.connections
    return sum(
        connection.status == psutil.CONN_ESTABLISHED
        and bool(ports & {connection.laddr.port, connection.raddr.port})
        for connection in find("tcp")
    )
