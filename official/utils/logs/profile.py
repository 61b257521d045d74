"""A TensorFlow profile of some steps."""

import tensorflow as tf


class ProfileWindow:
    """Profiles the steps of `--profile_steps`; a context manager.

    The profile opens in TensorBoard's profile plugin.

    Attributes:
        stops: steps before which a call of the training function has to end, so that
            the window begins and ends between calls.
    """

    def __init__(self, window: tuple[int, int] | None, folder: str):
        """Names the window.

        Args:
            window: first step and the step after the last; None profiles nothing.
            folder: where `plugins/profile` is written.
        """
        self.stops = window or ()
        self._window = window
        self._folder = folder
        self._is_on = False

    def __enter__(self) -> "ProfileWindow":
        return self

    def __exit__(self, *error) -> None:
        self._stop()

    def at(self, step: int) -> None:
        """Begins or ends the profile if `step` is the next one and it is time."""
        if self._window is None:
            return
        first, last = self._window
        if not self._is_on and first <= step < last:
            tf.profiler.experimental.start(self._folder)
            self._is_on = True
        elif self._is_on and step >= last:
            self._stop()

    def _stop(self):
        if self._is_on:
            tf.profiler.experimental.stop()
            self._is_on = False
