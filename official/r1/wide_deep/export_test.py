import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.r1.wide_deep import census_like, census_main, movielens_main
from official.utils.flags import core as flags_core

# A client: TensorFlow alone, and any attempt to import this project fails.
CLIENT = """
import sys
sys.modules["official"] = None
import numpy as np
import tensorflow as tf
given = np.load(sys.argv[2], allow_pickle=True)
model = tf.saved_model.load(sys.argv[1])
columns = {n: tf.constant(given[n]) for n in given.files if n != "examples"}
found = {f"columns_{n}": v for n, v in model.signatures["columns"](**columns).items()}
examples = tf.constant(given["examples"])
found.update(model.signatures["serving_default"](examples=examples))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in found.items()})
"""


def example(row):
    features = {}
    for name, value in row.items():
        if isinstance(value, str):
            content = tf.train.BytesList(value=[value.encode()])
            features[name] = tf.train.Feature(bytes_list=content)
        else:
            content = tf.train.FloatList(value=[value])
            features[name] = tf.train.Feature(float_list=content)
    message = tf.train.Example(features=tf.train.Features(feature=features))
    return message.SerializeToString()


def run(main, folder, **flags):
    return main.run(
        flags_core.make_flags(
            main.define_flags, main.RECIPES, model_dir=str(folder), **flags
        )
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A census model of 100 steps, its metrics, and the rows that it was tested on."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    metrics = run(census_main, folder, train_steps=100, steps_between_evals=100)
    return folder, metrics, census_like.load()[1]


def test_saved_model_gives_what_was_evaluated(trained, tmp_path):
    folder, metrics, test = trained
    rows = [
        {name: values[i] for name, values in test.columns.items()} for i in range(10000)
    ]
    # What an example lacks is missing; what the training never saw is unseen.
    lacking = {k: v for k, v in rows[0].items() if k not in ("age", "education")}
    rows += [rows[0] | {"occupation": "Astronaut"}, lacking]
    columns = {name: list(values) for name, values in test.columns.items()}
    for row in rows[-2:]:
        for name, values in columns.items():
            is_text = isinstance(values[0], str)
            values.append(row.get(name, "?" if is_text else np.float32("nan")))
    np.savez(
        tmp_path / "given.npz",
        examples=np.array([example(row) for row in rows], object),
        **{
            name: np.array(values, object)
            if isinstance(values[0], str)
            else np.array(values, np.float32)
            for name, values in columns.items()
        },
    )
    client = subprocess.run(
        [
            *(sys.executable, "-c", CLIENT, folder / "saved_model"),
            *(tmp_path / "given.npz", tmp_path / "served.npz"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert client.returncode == 0, client.stderr
    served = np.load(tmp_path / "served.npz", allow_pickle=True)
    names = ["class_ids", "classes", "logistic", "logits", "probabilities"]
    assert sorted(name for name in served.files if "columns_" not in name) == names
    for name in names:
        np.testing.assert_array_equal(served[name], served[f"columns_{name}"])
    assert [served[name].shape[1] for name in names] == [1, 1, 1, 1, 2]
    classes = served["class_ids"][:10000, 0]
    assert (classes == test.labels).mean() == pytest.approx(metrics["accuracy"])
    words = np.array([b"<=50K", b">50K"])[served["class_ids"]]
    np.testing.assert_array_equal(served["classes"], words)
    np.testing.assert_allclose(
        served["probabilities"][:, 1:], 1 / (1 + np.exp(-served["logits"])), atol=1e-6
    )
    assert metrics["accuracy"] > metrics["baseline_accuracy"] + 0.02
    # Neither of the two is the row that it was made from.
    assert len(set(served["logits"][[0, 10000, 10001], 0])) == 3


@pytest.mark.slow
def test_saved_model_cli_runs_it(trained, tmp_path):
    folder, _, test = trained
    cli = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
    row = {name: values[:1].tolist() for name, values in test.columns.items()}
    ran = subprocess.run(
        [
            *(cli, "run", "--dir", folder / "saved_model", "--tag_set", "serve"),
            *("--signature_def", "serving_default"),
            *("--input_examples", f"examples=[{row}]"),
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Result for output key probabilities" in ran.stdout


def test_other_modes_work_from_the_checkpoint(trained, tmp_path, capsys):
    folder, metrics, test = trained
    assert run(census_main, folder, mode="eval") == pytest.approx(
        {name: value for name, value in metrics.items() if "validation" not in name}
    )
    path = tmp_path / "rows.csv"
    names = [*reversed(test.columns), "comment"]
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        for i in range(5):
            table.writerow([*(test.columns[n][i] for n in names[:-1]), "?"])
    out = tmp_path / "out.csv"
    run(census_main, folder, mode="predict", input=str(path), output=str(out))
    with open(out) as file:
        header, *lines = csv.reader(file)
    assert header == ["row", "class", "probability of >50K"]
    serve = tf.saved_model.load(str(folder / "saved_model")).signatures["columns"]
    found = serve(**{n: tf.constant(v[:5]) for n, v in test.columns.items()})
    for i, (number, word, share) in enumerate(lines):
        assert number == str(i + 1)
        assert word == found["classes"][i, 0].numpy().decode()
        assert float(share) == pytest.approx(float(found["logistic"][i, 0]), abs=1e-6)


@pytest.mark.slow
def test_ratings_are_exported_and_predicted(tmp_path, capsys):
    folder = tmp_path / "run"
    metrics = run(movielens_main, folder, train_steps=100, steps_between_evals=100)
    assert metrics["best_rmse"] < metrics["rmse"] < 0.98 * metrics["baseline_rmse"]
    path = tmp_path / "rows.csv"
    path.write_text(
        "item_id,user_id,timestamp,genres\nm3,u5,1.42e9,\nm3,u5,1.42e9,Horror|Western\n"
        "m9999,nobody,,\n"
    )
    capsys.readouterr()
    run(movielens_main, folder, mode="predict", input=str(path))
    lines = capsys.readouterr().out.split("row,rating\n")[1].splitlines()
    serve = tf.saved_model.load(str(folder / "saved_model")).signatures
    given = [
        {"user_id": "u5", "item_id": "m3", "timestamp": 1.42e9},
        {"user_id": "u5", "item_id": "m3", "timestamp": 1.42e9, "genres": ""},
        {"user_id": "nobody", "item_id": "m9999"},
    ]
    given[1]["genres"] = "Horror|Western"
    answers = serve["serving_default"](
        examples=tf.constant([example(row) for row in given])
    )["rating"]
    assert answers.shape == (3,)
    for i, line in enumerate(lines):
        assert line == f"{i + 1},{answers[i].numpy():.4f}"
    assert 2 < answers[2] < 4
