import pytest
from matplotlib import pyplot

from official.utils.errors import UserError
from official.utils.logs import curves
from official.utils.logs.metric_log import MetricLog


def write_log(path, records):
    with MetricLog(str(path)) as log:
        for name, step, value in records:
            log.log(name, value, step, unit="examples/s" if "second" in name else None)


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the last picture, by the title of the panel."""
    from matplotlib.figure import Figure

    axes_by_title = {}
    original = Figure.draw

    def draw(self, renderer):
        axes_by_title.update({axes.get_title(): axes for axes in self.axes})
        return original(self, renderer)

    monkeypatch.setattr(Figure, "draw", draw)
    return axes_by_title


def lines(axes):
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
    }


def test_panels_pair_training_validation_and_test(tmp_path, drawn):
    write_log(
        tmp_path / "metric.log",
        [
            ("train_accuracy", 10, 0.5),
            ("train_loss", 10, 2.0),
            ("learning_rate", 10, 0.1),
            ("examples_per_second", 10, 900.0),
            ("train_loss", 20, 1.0),
            ("learning_rate", 20, 0.05),
            ("validation_loss", 20, 1.5),
            ("validation_f1", 20, 0.25),
            ("loss", 20, 1.25),
            ("accuracy", 20, 0.625),
            ("baseline_accuracy", 20, 0.1),
        ],
    )
    path = tmp_path / "curves.png"
    assert curves.draw_curves(str(tmp_path / "metric.log"), str(path), "a run")
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert list(drawn) == ["loss", "accuracy", "f1", "learning rate"]
    assert lines(drawn["loss"]) == {
        "train": ([10, 20], [2.0, 1.0]),
        "validation": ([20], [1.5]),
        "test (1.25)": ([20], [1.25]),
    }
    accuracy = lines(drawn["accuracy"])
    assert accuracy["train"] == ([10], [0.5])
    assert accuracy["test (0.625)"] == ([20], [0.625])
    assert accuracy["baseline (0.1)"][1] == [0.1, 0.1]
    assert list(lines(drawn["f1"])) == ["validation"]
    # A single point would not show as a line.
    assert all(line.get_marker() == "o" for line in drawn["f1"].lines)
    assert pyplot.get_fignums() == []


def test_a_resume_overrides_and_nonfinite_values_are_left_out(tmp_path, drawn):
    write_log(
        tmp_path / "metric.log",
        [
            ("train_loss", 10, 3.0),
            ("train_loss", 20, 9.0),
            ("train_loss", 30, float("nan")),
            ("train_loss", 20, 2.0),
            ("train_loss", 15, 2.5),
        ],
    )
    curves.draw_curves(str(tmp_path / "metric.log"), str(tmp_path / "a.png"), "")
    assert lines(drawn["loss"])["train"] == ([10, 15, 20], [3.0, 2.5, 2.0])


def test_a_wide_loss_has_a_log_scale_and_many_points_no_markers(tmp_path, drawn):
    write_log(
        tmp_path / "metric.log",
        [("train_loss", step, 2.0**-step) for step in range(40)],
    )
    curves.draw_curves(str(tmp_path / "metric.log"), str(tmp_path / "a.png"), "")
    (axes,) = drawn.values()
    assert axes.get_title() == "loss, log scale"
    assert axes.get_yscale() == "log"
    assert axes.lines[0].get_marker() == "None"


def test_only_final_metrics(tmp_path, drawn):
    write_log(
        tmp_path / "metric.log",
        [("auc", 0, 0.8), ("best_auc", 0, 0.9), ("examples_per_second", 0, 5.0)],
    )
    assert curves.draw_curves(str(tmp_path / "metric.log"), str(tmp_path / "a"), "")
    assert list(drawn) == ["auc"]
    assert set(lines(drawn["auc"])) == {"test (0.8)", "best (0.9)"}


def test_nothing_to_draw(tmp_path):
    log, png = tmp_path / "metric.log", tmp_path / "a.png"
    write_log(log, [("examples_per_second", 1, 5.0), ("train_loss", None, 1.0)])
    assert not curves.draw_curves(str(log), str(png), "")
    assert not png.exists()
    with pytest.raises(UserError, match="absent"):
        curves.draw_curves(str(tmp_path / "absent"), str(png), "")
