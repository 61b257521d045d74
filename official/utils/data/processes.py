"""Work in several processes whose results come in order."""

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from official.utils.errors import UserError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], num_processes: int
) -> Iterator[_Result]:
    """Maps items; few of them are held at a time.

    Args:
        function: can be pickled, as items and results can. In other processes it finds
            no accelerator.
        items: what it takes.
        num_processes: how many there are beside this one; 1: this one does the work.

    Yields:
        The results in the order of the items.

    Raises:
        UserError: a process was killed; and what `function` raises.
    """
    if num_processes == 1:
        yield from map(function, items)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        num_processes,
        # TensorFlow does not survive a fork.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
    )
    waiting: collections.deque = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            # One more than there are processes, so that none waits for this one.
            if len(waiting) > num_processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError(
            f"one of {num_processes} processes was killed, maybe for want of memory; "
            "lower --num_processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    # The first process ends the others, in order; they end with it if it is killed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Each would take all of its memory. Before TensorFlow is imported, which reads it.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
