import os
import subprocess
import sys

import lightgbm
import numpy as np
import pytest
import tensorflow as tf

from official.r1.boosted_trees import decay, train_higgs
from official.r1.boosted_trees.higgs_columns import COLUMNS
from official.r1.boosted_trees.recipes import RECIPES
from official.utils.flags import core as flags_core

# A client: TensorFlow alone, and any attempt to import this project fails.
CLIENT = """
import sys
sys.modules["official"] = None
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
lines = open(sys.argv[2]).read().splitlines()
np.savez(sys.argv[3], **{k: v.numpy() for k, v in serve(tf.constant(lines)).items()})
"""
OUTPUTS = ("class_ids", "classes", "logistic", "logits", "probabilities")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(True, id="xla"),
        pytest.param(False, id="plain", marks=pytest.mark.slow),
    ],
)
def trained(request, tmp_path_factory):
    """The SavedModel of a run, its booster, and rows with missing values."""
    folder = tmp_path_factory.mktemp("trained")
    train_higgs.run(
        flags_core.make_flags(
            train_higgs.define_flags,
            RECIPES,
            model_dir=str(folder / "run"),
            train_count=5000,
            n_trees=20,
            enable_xla=request.param,
        )
    )
    rows, _, _ = decay.make(2_000_000, 300)
    rows[::7, 3] = np.nan
    rows[::5, 25] = np.nan
    booster = lightgbm.Booster(model_file=str(folder / "run" / "model.txt"))
    return folder, booster, rows


def line_of(row):
    return ",".join("" if np.isnan(number) else repr(float(number)) for number in row)


def check(found, booster, rows):
    assert sorted(found) == sorted(OUTPUTS)
    logits = booster.predict(rows, raw_score=True)
    chances = booster.predict(rows)
    np.testing.assert_allclose(found["logits"][:, 0], logits, atol=1e-6)
    np.testing.assert_allclose(found["logistic"][:, 0], chances, atol=1e-6)
    both = np.stack([1 - chances, chances], axis=1)
    np.testing.assert_allclose(found["probabilities"], both, atol=1e-6)
    classes = (chances > 0.5).astype(int)
    np.testing.assert_array_equal(found["class_ids"][:, 0], classes)
    np.testing.assert_array_equal(found["classes"][:, 0].astype(int), classes)


def test_lines_where_the_project_is_not_installed(trained):
    folder, booster, rows = trained
    (folder / "lines.csv").write_text("\n".join(map(line_of, rows)))
    client = subprocess.run(
        [
            *(sys.executable, "-c", CLIENT, folder / "run" / "saved_model"),
            *(folder / "lines.csv", folder / "served.npz"),
        ],
        capture_output=True,
        text=True,
    )
    assert client.returncode == 0, client.stderr
    check(dict(np.load(folder / "served.npz", allow_pickle=True)), booster, rows)


def test_other_signatures(trained):
    folder, booster, rows = trained
    signatures = tf.saved_model.load(str(folder / "run" / "saved_model")).signatures
    for part in (rows, rows[:1]):
        found = signatures["matrix"](features=tf.constant(part))
        check({name: value.numpy() for name, value in found.items()}, booster, part)
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    name: tf.train.Feature(float_list=tf.train.FloatList(value=[x]))
                    for name, x in zip(COLUMNS, row, strict=True)
                    if not np.isnan(x)
                }
            )
        ).SerializeToString()
        for row in rows
    ]
    found = signatures["examples"](examples=tf.constant(examples))
    # An Example holds float32 numbers.
    rounded = rows.astype(np.float32).astype(np.float64)
    check({name: value.numpy() for name, value in found.items()}, booster, rounded)


def test_words_for_missing_values_and_lines_that_are_wrong(trained):
    folder, _, rows = trained
    serve = tf.saved_model.load(str(folder / "run" / "saved_model")).signatures[
        "serving_default"
    ]
    fields = line_of(rows[1]).split(",")
    lines = [",".join([word, *fields[1:]]) for word in ("", "NA", "nan", "NaN")]
    logits = serve(inputs=tf.constant(lines))["logits"].numpy()
    assert (logits == logits[0]).all()
    for line in ("1,2", ",".join(["x", *fields[1:]])):
        with pytest.raises(tf.errors.InvalidArgumentError):
            serve(inputs=tf.constant([line]))


@pytest.mark.slow
def test_saved_model_cli_runs_it(trained):
    folder, booster, rows = trained
    np.save(folder / "rows.npy", rows[:5])
    ran = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "saved_model_cli"),
            *("run", "--dir", folder / "run" / "saved_model", "--tag_set", "serve"),
            *("--signature_def", "matrix", "--outdir", folder / "cli"),
            *("--inputs", f"features={folder / 'rows.npy'}"),
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    found = np.load(folder / "cli" / "logistic.npy")[:, 0]
    np.testing.assert_allclose(found, booster.predict(rows[:5]), atol=1e-6)
