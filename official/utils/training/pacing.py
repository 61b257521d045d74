"""How many steps one call of the training function runs."""

import math


class Pace:
    """Sets the number of steps so that a call lasts about a second, two at most.

    Signals, logs and stops are seen only between calls; a call of few steps wastes time
    in Python. The number has no influence on the weights.

    Attributes:
        rates: seconds a step and steps of each timed call, in order.
    """

    _target_seconds = 1.0

    def __init__(self):
        self.rates: list[tuple[float, int]] = []
        self._is_traced = False

    def next_count(self, most: int) -> int:
        """Steps of the next call, `most` at most."""
        if not self.rates:
            # The first call traces the step, the second measures it.
            return min(most, 1 if not self._is_traced else 2)
        seconds_a_step, steps = self.rates[-1]
        count = max(1, math.floor(self._target_seconds / max(seconds_a_step, 1e-6)))
        # From few steps the estimate is rough, so it grows tenfold at most.
        return min(most, count, 10 * steps)

    def record(self, seconds: float, steps: int) -> None:
        """Notes how long a call took."""
        if self._is_traced:
            self.rates.append((seconds / steps, steps))
        self._is_traced = True

    def steps_per_second(self) -> float:
        """Median over the timed steps; 0 before any was timed."""
        total = sum(steps for _, steps in self.rates)
        passed = 0
        for seconds_a_step, steps in sorted(self.rates):
            passed += steps
            if 2 * passed >= total:
                return 1 / seconds_a_step
        return 0.0
