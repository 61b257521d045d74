import numpy as np
import pytest
import tensorflow as tf

from official.benchmark import wide_deep_contenders, wide_deep_fit
from official.utils.flags import core as flags_core
from official.utils.testing.errors import message_of


def run(**values):
    return wide_deep_fit.run(
        flags_core.make_flags(wide_deep_fit.define_flags, **values)
    )


@pytest.mark.slow
def test_feature_space_gives_what_the_network_takes():
    task = wide_deep_contenders.make_task("census_like", None, 0, 1000)
    task.load()
    space = wide_deep_contenders.feature_space(task)
    columns = wide_deep_contenders.raw_columns(task)
    columns = {name: values[:4000] for name, values in columns.items()}
    space.adapt(tf.data.Dataset.from_tensor_slices(columns).batch(4096))
    some = {name: values[:500] for name, values in columns.items()}
    theirs = wide_deep_contenders.network_inputs(task, space(some))
    ours = task.training_stream()
    for name, sizes in (
        ("wide_ids", task.features.wide_sizes),
        ("embedded_ids", task.features.embedded_sizes),
    ):
        ids = theirs[name].numpy()
        assert ids.shape == (500, ours.arrays[name].shape[1])
        assert (ids >= 0).all() and (ids < sizes).all(), name
    np.testing.assert_allclose(
        theirs["numbers"].numpy(),
        task.features.prepare(
            {n: v[:500] for n, v in task.parts["train"].columns.items()}
        )["numbers"],
        rtol=0.1,
        atol=0.1,
    )


@pytest.mark.slow
def test_race(capsys):
    found = run(batch_size=3000, rounds=1, seconds=0.01)
    for name in ("official", "fit", "fit_cached"):
        assert found[f"examples_per_second_{name}"] > 100
    assert found["ratio_to_fit"] > 0 and found["prepare_seconds"] > 0
    assert "27,000 rows into ids" in capsys.readouterr().out


def test_missing_folder_is_one_line():
    assert message_of(run, dataset="census") == (
        "--dataset=census needs --data_dir=DIR"
    )
