"""Signals that end a run between two calls of the training function."""

import signal
import threading


class SignalWatch:
    """Remembers SIGTERM or SIGINT instead of ending the process; a context manager.

    Python sees a signal only when TensorFlow's function call returns, so that nothing
    is cut in the middle. A second SIGINT ends the process at once.

    Attributes:
        received: number of the signal, or None.
    """

    received: int | None = None

    def __enter__(self) -> "SignalWatch":
        self._before = {}
        # Elsewhere (a notebook's or a server's thread) Python cannot set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            # None: the handler was set by C code, which Python cannot set again.
            if handler is not None:
                signal.signal(number, handler)

    def _remember(self, number, frame):
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
