import subprocess
import sys

import numpy as np
import tensorflow as tf

from official.benchmark import saved_models


def save(folder, scale):
    class Model(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, name="values"),
                tf.TensorSpec([None], tf.int64, name="ids"),
            ]
        )
        def serve(self, values, ids):
            return {"sums": scale * tf.reduce_sum(values, -1), "next": ids + 1}

    model = Model()
    tf.saved_model.save(model, str(folder), {"serving_default": model.serve})


def ask(*models):
    outputs = [f"{model}.npz" for model in models]
    pairs = [text for pair in zip(models, outputs, strict=True) for text in pair]
    command = [sys.executable, "-I", saved_models.CLIENT, *map(str, pairs)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return outputs


def test_saved_models_are_asked_and_compared(tmp_path):
    save(tmp_path / "a", 1.0)
    save(tmp_path / "b", 1.0 + 1e-6)
    save(tmp_path / "c", 1.01)
    one, near, far = ask(*(tmp_path / name for name in "abc"))
    with np.load(one) as found:
        assert found["sums"].shape == found["next"].shape == (8,)
        assert 0 < np.abs(found["sums"]).max() <= 3
        assert set(found["next"]) <= set(range(1, 11))
    assert saved_models.difference(one, one) == (True, "equal")
    are_equal, text = saved_models.difference(one, near)
    assert are_equal and float(text) < 1e-5
    assert not saved_models.difference(one, far)[0]
    np.savez(tmp_path / "d.npz", sums=np.zeros(8, np.float32))
    are_equal, text = saved_models.difference(one, f"{tmp_path}/d.npz")
    assert not are_equal and text.startswith("outputs ")
    with np.load(one) as found:
        broken = dict(found) | {"sums": np.full(8, np.nan, np.float32)}
        np.savez(tmp_path / "e.npz", **broken)
        other = dict(found) | {"next": found["next"] + 1}
        np.savez(tmp_path / "f.npz", **other)
    assert not saved_models.difference(one, f"{tmp_path}/e.npz")[0]
    assert saved_models.difference(f"{tmp_path}/e.npz", f"{tmp_path}/e.npz")[0]
    assert saved_models.difference(one, f"{tmp_path}/f.npz") == (
        False,
        "next differs in 100.0% of its values",
    )


def save_reader(folder, name):
    """A model that takes strings: how bright a picture is, and a word on it."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=name)])
        def serve(self, content):
            pixels = tf.map_fn(
                lambda png: tf.ensure_shape(tf.io.decode_png(png, 3), [40, 48, 3]),
                content,
                fn_output_signature=tf.TensorSpec([40, 48, 3], tf.uint8),
            )
            means = tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2, 3])
            words = tf.where(means > 127, "bright", "dark")
            return {"means": means, "words": words}

    model = Model()
    tf.saved_model.save(model, str(folder), {"serving_default": model.serve})


def test_models_of_pictures_are_asked_and_those_of_text_are_not(tmp_path):
    save_reader(tmp_path / "a", "image_bytes")
    save_reader(tmp_path / "b", "sentence")
    pictures, text = ask(tmp_path / "a", tmp_path / "b")
    with np.load(pictures) as found:
        assert found["means"].shape == (8,) and 120 < found["means"].mean() < 135
        assert set(found["words"]) <= {b"bright", b"dark"}
    assert saved_models.difference(pictures, pictures) == (True, "equal")
    assert saved_models.difference(text, text) == (True, "not asked (takes text)")


def test_each_build_asks_both_models(tmp_path):
    save(tmp_path / "a", 1.0)
    save(tmp_path / "b", 2.0)
    models = [str(tmp_path / name) for name in "ab"]
    pythons = [sys.executable, sys.executable]
    answers = saved_models.ask(models, pythons, str(tmp_path), 300)
    # Each model is compared with itself, under the other build.
    assert answers == saved_models.Answers("equal / equal", {})
    (tmp_path / "b" / "saved_model.pb").write_bytes(b"damaged")
    failures = saved_models.ask(models, pythons, str(tmp_path), 300).failures
    assert sorted(failures) == [0, 1]
    status, reason, log_path = failures[0]
    assert status == "crashed" and reason.startswith("cannot serve the SavedModels: ")
    assert "saved-models-0.txt" in log_path


def test_a_missing_model_is_the_fault_of_its_side(tmp_path):
    (tmp_path / "a").mkdir()
    models = [str(tmp_path / name) for name in "ab"]
    found = saved_models.ask(models, ["python", "python"], str(tmp_path), 1)
    assert list(found.failures) == [1]
    assert saved_models.ask(models[::-1], [], "", 1).failures.keys() == {0}
    assert saved_models.ask(["/no", "/none"], [], "", 1).failures == {}
