"""Draws the metric log of a run as one picture of curves over steps."""

import io
import math
from collections.abc import Mapping

from official.utils.logs import files, metric_log

# Okabe and Ito's palette: told apart by the colour-blind, and in grey.
_TRAIN_COLOR = "#0072B2"
_VALIDATION_COLOR = "#D55E00"
_TEST_COLOR = "#000000"
_REFERENCE_COLOR = "#737373"

_PANEL_WIDTH, _PANEL_HEIGHT = 4.6, 3.2  # Inches.
_DOTS_PER_INCH = 110
_MAX_COLUMNS = 3
# Few enough points to see each as a dot.
_MAX_MARKED_POINTS = 30
# A loss that falls by more than two decades is a flat line on a linear axis.
_LOG_SCALE_RATIO = 100.0

# Steps and values of one curve, in the order of the steps.
Curve = tuple[list[int], list[float]]


def draw_curves(metric_log_path: str, png_path: str, title: str) -> bool:
    """Draws the loss, the metrics and the learning rate of a run over steps.

    One panel for the loss, one for each further metric that was logged as `train_X`
    or `validation_X`, and one for `learning_rate`. The final test value `X` is a star
    in the panel of its metric; `best_X` and `baseline_X` are level lines. A run that
    logged no metric but final ones gets a panel for each.

    Where a step was logged twice (a run that resumed from before it), the later record
    counts. Values that are not finite are left out.

    Args:
        metric_log_path: the `metric.log` to read.
        png_path: the picture to write.
        title: stands above the panels.

    Returns:
        Whether there was anything to draw; without data no file is written.

    Raises:
        UserError: the log is missing or damaged.
    """
    curves, units = _read_curves(metric_log_path)
    panels = _panel_names(curves)
    if not panels:
        return False

    # The object interface: no global state of pyplot, no display, safe in a notebook.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # 4 panels as 2 x 2 rather than 3 + 1.
    num_columns = min(len(panels), 2 if len(panels) == 4 else _MAX_COLUMNS)
    num_rows = math.ceil(len(panels) / num_columns)
    figure = Figure(
        figsize=(_PANEL_WIDTH * num_columns, _PANEL_HEIGHT * num_rows + 0.4),
        dpi=_DOTS_PER_INCH,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=12)
    # One range of steps for all, so that panels can be compared down a column.
    last_step = max(steps[-1] for steps, _ in curves.values())
    for index, name in enumerate(panels):
        axes = figure.add_subplot(num_rows, num_columns, index + 1)
        _draw_panel(axes, name, curves, units.get(name))
        axes.set_xlim(-0.03 * max(last_step, 1), 1.03 * max(last_step, 1))
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    files.write_whole(png_path, picture.getvalue())
    return True


def _read_curves(path: str) -> tuple[dict[str, Curve], dict[str, str]]:
    """Returns the curves by the name logged, and the units by the metric's name."""
    points: dict[str, dict[int, float]] = {}
    units: dict[str, str] = {}
    for record in metric_log.read(path):
        name, step, value = record["name"], record.get("global_step"), record["value"]
        if step is None or value is None:
            continue
        points.setdefault(name, {})[step] = value
        if record.get("unit"):
            units[_metric_of(name)] = record["unit"]
    curves = {}
    for name, values in points.items():
        steps = sorted(values)
        curves[name] = (steps, [values[step] for step in steps])
    return curves, units


def _metric_of(name: str) -> str:
    """Returns "accuracy" for "train_accuracy" and "validation_accuracy"."""
    return name.removeprefix("train_").removeprefix("validation_")


def _panel_names(curves: Mapping[str, Curve]) -> list[str]:
    """Returns the metrics to draw: loss first, the learning rate last."""
    # `dict` for a set that keeps the order of the log.
    names = dict.fromkeys(
        _metric_of(name) for name in curves if name != _metric_of(name)
    )
    if not names:
        no_metrics = {"learning_rate", "examples_per_second"}
        names = dict.fromkeys(
            name
            for name in curves
            if name not in no_metrics and not name.startswith(("best_", "baseline_"))
        )
    panels = ["loss"] if names.pop("loss", "absent") is None else []
    panels += names
    if "learning_rate" in curves:
        panels.append("learning_rate")
    return panels


def _draw_panel(axes, name: str, curves: Mapping[str, Curve], unit: str | None) -> None:
    """Draws all that is known of one metric."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if name == "learning_rate":
        # Blue without a name: the panel has one curve.
        _draw_line(axes, curves[name], _TRAIN_COLOR, None)
    else:
        for key, color in (("train", _TRAIN_COLOR), ("validation", _VALIDATION_COLOR)):
            if f"{key}_{name}" in curves:
                _draw_line(axes, curves[f"{key}_{name}"], color, key)
        if name in curves:
            steps, values = curves[name]
            axes.plot(
                steps,
                values,
                linestyle="none",
                marker="*",
                markersize=11,
                color=_TEST_COLOR,
                markeredgecolor="white",
                label=f"test ({values[-1]:.4g})",
                zorder=3,
            )
        for key, style in (("best", "--"), ("baseline", ":")):
            if f"{key}_{name}" in curves:
                level = curves[f"{key}_{name}"][1][-1]
                axes.axhline(
                    level,
                    linestyle=style,
                    color=_REFERENCE_COLOR,
                    label=f"{key} ({level:.4g})",
                    zorder=1,
                )
        axes.legend(fontsize=9, frameon=False)

    values = [value for line in axes.lines for value in line.get_ydata()]
    label = name.replace("_", " ") + (f" ({unit})" if unit else "")
    if name == "loss" and min(values) > 0:
        if max(values) / min(values) > _LOG_SCALE_RATIO:
            axes.set_yscale("log")
            label += ", log scale"
    axes.set_title(label, fontsize=10)
    axes.set_xlabel("step", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # "20k" for 20000.
    axes.tick_params(labelsize=8)
    if name == "learning_rate":
        axes.set_ylim(bottom=0.0)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    axes.grid(color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_line(axes, curve: Curve, color: str, label: str | None) -> None:
    """Draws one curve; points stand out where there are few."""
    steps, values = curve
    axes.plot(
        steps,
        values,
        color=color,
        label=label,
        linewidth=1.4,
        marker="o" if len(steps) <= _MAX_MARKED_POINTS else None,
        markersize=6 if len(steps) == 1 else 3.5,
    )
