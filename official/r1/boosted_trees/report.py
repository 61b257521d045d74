"""What the trees look at, and how far their chances can be trusted."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from official.r1.boosted_trees import engine
from official.utils.logs import files
from official.utils.run_folder import RunFolder
from official.utils.training.metrics import auc

_BINS = 10
_CURVE_POINTS = 200
_SHOWN_FEATURES = 20
_COLOR, _REFERENCE_COLOR = "#0072B2", "#737373"


def write(
    folder: RunFolder,
    model: str,
    names: Sequence[str],
    labels: np.ndarray,
    chances: np.ndarray,
) -> None:
    """Writes `report.json` and `report.png`.

    Args:
        folder: of the run.
        model: LightGBM's text.
        names: of the features.
        labels: of the test rows, 0 or 1.
        chances: predicted for them.
    """
    found = {
        "feature_importance": importance(model, names),
        "calibration": calibration(labels, chances),
        "roc": roc(labels, chances),
    }
    files.write_whole(folder.file("report.json"), files.json_text(found))
    files.write_whole(folder.file("report.png"), _picture(found))


def importance(model: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What each feature did for the trees, the most helpful first.

    Returns:
        For each `name`, `gain` (its share of what all splits gained) and `splits`.
    """
    gains, splits = engine.importance(model)
    total = gains.sum() or 1.0
    order = np.argsort(-gains, kind="stable")
    return [
        {"name": names[i], "gain": gains[i] / total, "splits": int(splits[i])}
        for i in order
    ]


def calibration(labels: np.ndarray, chances: np.ndarray) -> dict[str, Any]:
    """How often what was given a chance came true.

    Returns:
        `bins`: for tenths of the chances their `rows`, mean `predicted` chance and the
        share `observed`, tenths without rows left out; and `expected_error`, the mean
        distance of the two, weighted by rows.
    """
    tenth = np.minimum((chances * _BINS).astype(int), _BINS - 1)
    bins = [
        {
            "rows": int(mask.sum()),
            "predicted": float(chances[mask].mean()),
            "observed": float(labels[mask].mean()),
        }
        for mask in (tenth == i for i in range(_BINS))
        if mask.any()
    ]
    error = sum(
        each["rows"] * abs(each["predicted"] - each["observed"]) for each in bins
    )
    return {"bins": bins, "expected_error": error / len(labels)}


def roc(labels: np.ndarray, chances: np.ndarray) -> dict[str, Any] | None:
    """The ROC curve at 200 points at most; None where all labels are equal."""
    if labels.min() == labels.max():
        return None
    false, true, _ = roc_curve(labels, chances)
    kept = np.unique(np.linspace(0, len(false) - 1, _CURVE_POINTS).astype(int))
    return {
        "auc": auc(labels, chances),
        "false_positive_rate": false[kept],
        "true_positive_rate": true[kept],
    }


def _picture(found: dict[str, Any]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.6), dpi=110, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    shown = found["feature_importance"][:_SHOWN_FEATURES][::-1]
    left.barh(
        [each["name"] for each in shown], [each["gain"] for each in shown], color=_COLOR
    )
    left.set_title("share of the gain", fontsize=10)
    bins = found["calibration"]["bins"]
    error = found["calibration"]["expected_error"]
    predicted, observed = ([b[k] for b in bins] for k in ("predicted", "observed"))
    middle.plot(predicted, observed, marker="o", color=_COLOR)
    _label(middle, f"calibration (off by {error:.3f})", "predicted", "observed")
    if found["roc"]:
        rates = (found["roc"][f"{k}_positive_rate"] for k in ("false", "true"))
        right.plot(*rates, color=_COLOR)
        _label(
            right,
            f"ROC (area {found['roc']['auc']:.4f})",
            "false positives",
            "true positives",
        )
    else:
        right.set_title("no ROC: one label only", fontsize=10)
    for axes in (left, middle, right):
        axes.tick_params(labelsize=8)
        axes.grid(color="#E6E6E6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    return picture.getvalue()


def _label(axes, title: str, x: str, y: str) -> None:
    axes.plot([0, 1], [0, 1], linestyle="--", color=_REFERENCE_COLOR, linewidth=1)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
