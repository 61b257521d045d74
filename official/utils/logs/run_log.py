"""Everything a run logs, in one place: metric log, TensorBoard, run record, curves."""

import os
from collections.abc import Callable, Mapping

import numpy as np

from official.utils.errors import UserError
from official.utils.flags.settings import Settings
from official.utils.logs import curves, run_record
from official.utils.logs.metric_log import MetricLog
from official.utils.logs.summaries import Summaries


class RunLog:
    """The log of one run; a context manager."""

    def __init__(
        self,
        model_dir: str,
        benchmark_log_dir: str | None,
        log_steps: int,
        is_chief: bool = True,
    ):
        """Opens the log.

        Args:
            model_dir: folder of the run.
            benchmark_log_dir: folder of benchmark_run.log and metric.log; None for
                `model_dir`.
            log_steps: steps between two lines of training metrics.
            is_chief: whether this is the one of several workers that writes; the others
                only look at the losses.
        """
        self._model_dir = model_dir
        self._log_dir = benchmark_log_dir or model_dir
        self._log_steps = log_steps
        self._is_chief = is_chief
        self._window: dict[str, list[float]] = {}
        self._metric_log = MetricLog(os.path.join(self._log_dir, "metric.log"))
        self._summaries = Summaries(model_dir)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *error) -> None:
        self._metric_log.close()
        self._summaries.close()

    def start(self, model_name: str, settings: Settings) -> None:
        """Writes `benchmark_run.log`."""
        if not self._is_chief:
            return
        record = run_record.run_record(
            model_name, settings.dataset, dict(settings), settings.benchmark_test_id
        )
        path = os.path.join(self._log_dir, "benchmark_run.log")
        run_record.write_run_record(path, record)

    def train(
        self,
        step: int,
        history: Mapping[str, np.ndarray],
        learning_rate: Callable[[int], float],
        examples_per_second: float,
    ) -> None:
        """Takes the metrics of the steps of one call.

        Args:
            step: number of the first step, counted from 0.
            history: metrics by name, [steps] each.
            learning_rate: gives the rate at a step.
            examples_per_second: the training speed so far; 0 while it is unknown.

        Raises:
            UserError: a loss is not finite; names the step.
        """
        losses = history["loss"]
        good = (
            int(np.argmin(np.isfinite(losses)))
            if not np.isfinite(losses).all()
            else len(losses)
        )
        for i in range(good):
            for name, values in history.items():
                self._window.setdefault(name, []).append(float(values[i]))
            if (step + i + 1) % self._log_steps == 0:
                self._write_window(step + i + 1, learning_rate, examples_per_second)
        if good < len(losses):
            raise UserError(
                f"the loss is {losses[good]} at step {step + good + 1}; lower "
                "--learning_rate, or set --clip_norm. No checkpoint has such weights"
            )

    def _write_window(self, step, learning_rate, examples_per_second) -> None:
        means = {
            f"train_{name}": float(np.mean(values))
            for name, values in self._window.items()
        }
        self._window.clear()
        if not self._is_chief:
            return
        means["learning_rate"] = learning_rate(step - 1)
        self._log(step, means)
        if examples_per_second:
            unit = "examples/second"
            self._metric_log.log("examples_per_second", examples_per_second, step, unit)
            means["examples_per_second"] = examples_per_second
        self._summaries.train(step, means)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes metrics of validation data, named `validation_...`."""
        self._evaluation(step, metrics, metrics)

    def final(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of the test set."""
        named = {f"test_{name}": value for name, value in metrics.items()}
        self._evaluation(step, metrics, named)

    def _evaluation(self, step, metrics, summaries) -> None:
        if self._is_chief:
            self._log(step, metrics)
            self._summaries.eval(step, summaries)

    def draw_curves(self, title: str) -> None:
        """Draws `curves.png` from the log."""
        self._metric_log.flush()
        curves.draw_curves(
            os.path.join(self._log_dir, "metric.log"),
            os.path.join(self._model_dir, "curves.png"),
            title,
        )

    def _log(self, step, metrics) -> None:
        for name, value in metrics.items():
            self._metric_log.log(name, value, step)
        self._metric_log.flush()
