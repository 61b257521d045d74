import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.mnist import dataset, mnist, model
from official.utils.flags import core as flags_core
from official.utils.testing.data import real_data
from official.utils.training import checkpoints
from official.utils.training.variables import named_variables

# A client: TensorFlow alone, and any attempt to import this project fails.
CLIENT = """
import sys
sys.modules["official"] = None
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
print(serve.structured_input_signature)
images = np.load(sys.argv[2])
starts = range(0, len(images), 500)
found = [serve(image=tf.constant(images[i:i + 500])) for i in starts]
np.savez(
    sys.argv[3],
    classes=np.concatenate([part["classes"] for part in found]),
    probabilities=np.concatenate([part["probabilities"] for part in found]),
    one=serve(image=tf.constant(images[:1]))["probabilities"],
)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a model trained on MNIST for 60 steps, and the test images."""
    folder = tmp_path_factory.mktemp("trained")
    flags = flags_core.make_flags(
        mnist.define_flags,
        dataset="mnist",
        data_dir=real_data("mnist"),
        model_dir=str(folder / "run"),
        train_steps=60,
    )
    metrics = mnist.run(flags)
    test = dataset.load("mnist", real_data("mnist"), seed=0).test
    np.save(folder / "images.npy", test.images)
    np.save(folder / "some.npy", test.images[:5])
    return folder, metrics, test


def test_saved_model_serves_what_the_model_in_memory_gives(trained):
    folder, metrics, test = trained
    client = subprocess.run(
        [
            sys.executable,
            "-c",
            CLIENT,
            folder / "run" / "saved_model",
            folder / "images.npy",
            folder / "served.npz",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert client.returncode == 0, client.stderr
    assert "TensorSpec(shape=(None, 28, 28), dtype=tf.uint8" in client.stdout
    served = np.load(folder / "served.npz")

    network = model.build_model()
    latest = tf.train.latest_checkpoint(str(folder / "run" / "checkpoints"))
    values = checkpoints.read(latest)
    variables = named_variables(network)
    checkpoints.assign(variables, {name: values[name] for name in variables}, latest)
    pixels = test.images[..., np.newaxis].astype(np.float32) / 255
    logits = network.predict(pixels, batch_size=500, verbose=0)
    expected = tf.nn.softmax(logits).numpy()
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(served["one"], expected[:1], atol=1e-6)
    np.testing.assert_array_equal(served["classes"], expected.argmax(-1))

    recorded = json.loads((folder / "run" / "results.json").read_text())["metrics"]
    accuracy = (served["classes"] == test.labels).mean()
    assert accuracy == pytest.approx(recorded["accuracy"], abs=1e-9)
    assert metrics == recorded
    assert recorded["accuracy"] > 0.85


def test_saved_model_cli_runs_it(trained):
    folder, _, _ = trained
    cli = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
    ran = subprocess.run(
        [
            *(cli, "run", "--dir", folder / "run" / "saved_model"),
            *("--tag_set", "serve", "--signature_def", "serving_default"),
            *("--inputs", f"image={folder / 'some.npy'}"),
            *("--outdir", folder / "cli"),
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    probabilities = np.load(folder / "cli" / "probabilities.npy")
    assert probabilities.shape == (5, 10)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    classes = np.load(folder / "cli" / "classes.npy")
    np.testing.assert_array_equal(classes, probabilities.argmax(-1))


def test_other_modes_work_from_the_checkpoint(trained, capsys, tmp_path):
    folder, metrics, test = trained
    run_dir = str(folder / "run")

    def run(**flags):
        return mnist.run(
            flags_core.make_flags(mnist.define_flags, model_dir=run_dir, **flags)
        )

    # The data set is the one of the run, though none is named.
    evaluated = run(mode="eval")
    assert evaluated["accuracy"] == metrics["accuracy"]
    assert evaluated["loss"] == pytest.approx(metrics["loss"], rel=1e-6)

    run(mode="export", export_dir=str(tmp_path / "again"))
    serve = tf.saved_model.load(str(tmp_path / "again")).signatures["serving_default"]
    found = serve(image=tf.constant(test.images[:20]))
    for i in range(20):
        png = tf.io.encode_png(test.images[i][..., np.newaxis])
        (tmp_path / f"{i:02}.png").write_bytes(png.numpy())
    capsys.readouterr()
    run(mode="predict", input=str(tmp_path / "*.png"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "\t" in line]
    assert len(lines) == 20
    for i, line in enumerate(lines):
        path, digit, probability = line.split("\t")
        assert path.endswith(f"{i:02}.png")
        assert int(digit) == found["classes"][i]
        expected = float(tf.reduce_max(found["probabilities"][i]))
        assert float(probability) == pytest.approx(expected, abs=1e-4)


def test_mirrored_run_exports_plain_variables(tmp_path):
    metrics = mnist.run(
        flags_core.make_flags(
            mnist.define_flags,
            model_dir=str(tmp_path / "run"),
            train_steps=20,
            distribution_strategy="mirrored",
            num_virtual_cpus=2,
        )
    )
    loaded = tf.saved_model.load(str(tmp_path / "run" / "saved_model"))
    test = dataset.load("digits", None, seed=0).test
    classes = loaded.signatures["serving_default"](image=tf.constant(test.images))
    accuracy = (classes["classes"].numpy() == test.labels).mean()
    assert accuracy == pytest.approx(metrics["accuracy"], abs=1e-9)
