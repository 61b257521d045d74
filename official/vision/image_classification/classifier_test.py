import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official.utils.flags import core as flags_core
from official.utils.testing import kills, mains, workers
from official.vision.image_classification import (
    classifier,
    dataset,
    preprocessing,
    recipes,
    resnet,
)

MODULE = "official.vision.image_classification.classifier"
OWN_FLAGS = (
    "batch_norm_momentum crop cutmix_alpha freeze image_size input label_smoothing "
    "max_skipped_fraction mixup_alpha model new_head normalization num_classes output "
    "rand_augment_layers rand_augment_magnitude top_k validation_fraction"
)
# A small network on small pictures, with everything that is random switched on.
SMALL = [
    *("--model=resnet8", "--batch_size=16", "--eval_batch_size=64"),
    *("--optimizer=sgd", "--learning_rate=0.05", "--momentum=0.9"),
    *("--schedule=cosine", "--weight_decay=0.002", "--batch_norm_momentum=0.9"),
]
AUGMENTED = [
    *("--rand_augment_layers=1", "--mixup_alpha=0.2", "--cutmix_alpha=1"),
    *("--label_smoothing=0.1",),
]
CLIENT = """
import sys
sys.modules["official"] = None
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures
contents = [open(path, "rb").read() for path in sys.argv[3:]]
found = serve["serving_default"](image_bytes=tf.constant(contents))
pixels = tf.io.decode_image(contents[0], channels=3)[tf.newaxis]
of_pixels = serve["serve_pixels"](image=pixels)
np.savez(
    sys.argv[2],
    labels=found["labels"].numpy().astype(bytes),
    **{name: found[name] for name in ("classes", "probabilities")},
    of_pixels=of_pixels["probabilities"],
)
"""


def run(*arguments):
    return mains.run_main(
        classifier.define_flags, classifier.run, recipes.RECIPES, arguments
    )


def results(model_dir):
    with open(os.path.join(model_dir, "results.json")) as file:
        return json.load(file)


def write_pictures(folder, number, classes, size=(40, 36), extension="jpg", seed=0):
    """Pictures whose class is told by a colour; one sub-folder a class."""
    generator = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        os.makedirs(os.path.join(folder, name))
        for i in range(number):
            pixels = generator.integers(0, 120, (size[1], size[0], 3))
            pixels[..., label % 3] += 120
            path = os.path.join(folder, name, f"{i:03}.{extension}")
            Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, 40, ("blue sky", "grass", "rust"), (40, 36))
    return folder


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """The folder of a run on pictures of the user's own."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    outcome = run(
        *SMALL,
        *("--dataset=folder", f"--data_dir={pictures}", f"--model_dir={folder}"),
        *("--train_steps=30", "--steps_between_evals=15", "--label_smoothing=0.1"),
    )
    assert outcome.exit_code == 0, outcome
    assert "3 classes" in outcome.stdout.splitlines()[0]
    # 3 * 3 * 3 * 16 + ... + 64 * 3, of nine convolutions or the dense layer.
    assert "weight decay 0.002 takes 8 kernel" in outcome.stdout
    return folder


def test_flags_are_frozen():
    found = flags_core.flags_by_set(classifier.define_flags())
    assert found["classifier"] == sorted(OWN_FLAGS.split())


def test_choices_of_flags_are_those_of_the_modules():
    """They stand in the main too, so that --help need not wait for TensorFlow."""
    assert set(classifier.MODELS) == set(resnet.VARIANTS)
    assert set(classifier.NORMALIZATIONS) == set(preprocessing.SCHEMES)
    assert classifier.DATASETS == dataset.NAMES
    assert list(classifier.STAGES) == resnet.stage_names("resnet50")


def test_own_pictures_are_learnt(trained):
    found = results(trained)
    assert found["metrics"]["accuracy"] > 0.8
    assert "top_5_accuracy" not in found["metrics"]
    assert found["flags"]["num_classes"] is None


def test_class_names_stand_in_the_checkpoint(trained):
    latest = tf.train.latest_checkpoint(str(trained / "checkpoints"))
    state = json.loads(tf.train.load_checkpoint(latest).get_tensor("state"))
    assert state["facts"] == {"class_names": ["blue sky", "grass", "rust"]}


def test_saved_model_gives_what_predict_gives(trained, tmp_path):
    generator = np.random.default_rng(5)
    paths = []
    for i, (name, size) in enumerate(
        [
            ("a.png", (40, 36)),
            ("b.jpg", (90, 60)),
            ("c.bmp", (20, 31)),
            ("d,e.gif", (33, 33)),
        ]
    ):
        paths.append(str(tmp_path / name))
        pixels = generator.integers(0, 120, (size[1], size[0], 3))
        pixels[..., i % 3] += 120
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    client = subprocess.run(
        [
            sys.executable,
            "-c",
            CLIENT,
            trained / "saved_model",
            tmp_path / "s.npz",
            *paths,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert client.returncode == 0, client.stderr
    served = np.load(tmp_path / "s.npz")
    output = tmp_path / "table.csv"
    outcome = run(
        *("--mode=predict", f"--model_dir={trained}", f"--output={output}"),
        f"--input={tmp_path}/*.[pjbg]*",
    )
    assert outcome.exit_code == 0, outcome
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert [row["file"] for row in rows] == paths
    names = ["blue sky", "grass", "rust"]
    for row, label, class_, probabilities in zip(
        rows, served["labels"], served["classes"], served["probabilities"], strict=True
    ):
        order = np.argsort(-probabilities)
        assert [row[f"class_{i}"] for i in (1, 2, 3)] == [names[j] for j in order]
        assert label.decode() == row["class_1"] == names[class_]
        for rank, j in enumerate(order, start=1):
            # Written with four digits.
            assert float(row[f"probability_{rank}"]) == pytest.approx(
                probabilities[j], abs=5.1e-5
            )
    np.testing.assert_allclose(
        served["of_pixels"], served["probabilities"][:1], atol=1e-6
    )


def test_predict_takes_folders_and_names_what_is_no_picture(trained, pictures):
    bad = pictures / "rust" / "zzz.png"
    bad.write_bytes(b"no picture")
    try:
        outcome = run(
            *("--mode=predict", f"--model_dir={trained}", "--top_k=1"),
            f"--input={pictures / 'rust'}",
        )
    finally:
        bad.unlink()
    assert outcome.exit_code == 0, outcome
    assert "zzz.png is left out" in outcome.stderr
    rows = list(csv.DictReader(io.StringIO(outcome.stdout)))
    assert len(rows) == 40
    assert set(rows[0]) == {"file", "class_1", "probability_1"}
    assert sum(row["class_1"] == "rust" for row in rows) > 30


@pytest.mark.parametrize(
    "flags, fragments",
    [
        ((), ("--mode=predict needs --input",)),
        (("--input=nothing*",), ("--input=nothing*", "matches no picture")),
        (("--input={bad}",), ("none of 1 files", "give jpg")),
        (("--input={good}", "--output={good}"), ("--output=", "not overwritten")),
    ],
)
def test_what_predict_refuses(trained, pictures, tmp_path, flags, fragments):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    names = dict(bad=tmp_path / "bad.png", good=pictures / "rust" / "000.jpg")
    flags = [flag.format(**names) for flag in flags]
    outcome = run("--mode=predict", f"--model_dir={trained}", *flags)
    mains.assert_one_line_error(outcome, *fragments)


def test_other_modes_need_no_flags_of_the_run(trained, tmp_path):
    assert run("--mode=eval", f"--model_dir={trained}").exit_code == 0
    outcome = run(
        "--mode=export", f"--model_dir={trained}", f"--export_dir={tmp_path}/again"
    )
    assert outcome.exit_code == 0
    loaded = tf.saved_model.load(f"{tmp_path}/again")
    found = loaded.signatures["serve_pixels"](tf.zeros([2, 50, 70, 3], tf.uint8))
    assert found["probabilities"].shape == (2, 3)


def test_a_run_on_other_classes_is_refused(trained, tmp_path):
    write_pictures(tmp_path / "other", 10, ("blue sky", "grass", "sand"))
    outcome = run(
        *("--mode=eval", f"--model_dir={trained}", f"--data_dir={tmp_path}/other")
    )
    mains.assert_one_line_error(outcome, "other class names", "rust", "sand")


def test_fine_tuning_takes_a_new_head_and_keeps_frozen_stages(trained, tmp_path):
    write_pictures(tmp_path / "other", 30, ("moss", "sea"))
    flags = [
        *SMALL,
        *("--dataset=folder", f"--data_dir={tmp_path}/other", "--train_steps=8"),
        f"--init_checkpoint={trained}",
    ]
    outcome = run(*flags, f"--model_dir={tmp_path}/run")
    mains.assert_one_line_error(outcome, "has 3 classes and the data 2", "--new_head")
    outcome = run(
        *flags, "--new_head", "--freeze=stage2", f"--model_dir={tmp_path}/run2"
    )
    assert outcome.exit_code == 0, outcome
    before, after = (
        tf.train.load_checkpoint(tf.train.latest_checkpoint(f"{folder}/checkpoints"))
        for folder in (trained, tmp_path / "run2")
    )
    shapes = after.get_variable_to_shape_map()
    assert shapes["model/logits/kernel"] == [64, 2]
    weights = [
        name for name in shapes if name.startswith("model/") and "logits" not in name
    ]
    same = {
        name
        for name in weights
        if np.array_equal(before.get_tensor(name), after.get_tensor(name))
    }
    frozen = {name for name in weights if "stage3" not in name}
    # All of them, the moving statistics too; and nothing of stage 3.
    assert same == frozen
    assert not any("optimizer" in name and "stage1" in name for name in shapes)


@pytest.mark.parametrize(
    "flags, fragments",
    [
        (("--num_classes=2",), ("--num_classes=2", "3 classes")),
        (("--freeze=stage4",), ("--freeze=stage4", "resnet8 has stem, stage1")),
        (("--batch_size=1000",), ("--batch_size=1000", "lower it")),
        (("--init_checkpoint=nothing",), ("--init_checkpoint=nothing",)),
    ],
)
def test_wrong_flags_are_one_line(pictures, tmp_path, flags, fragments):
    outcome = run(
        *SMALL,
        *("--dataset=folder", f"--data_dir={pictures}", f"--model_dir={tmp_path}/run"),
        *flags,
    )
    mains.assert_one_line_error(outcome, *fragments)


def test_a_file_that_is_damaged_after_the_check_is_named(tmp_path, monkeypatch):
    write_pictures(tmp_path / "data", 20, ("a", "b"))
    # Of another size, so that the files are read while it trains.
    os.makedirs(tmp_path / "data" / "c")
    write_pictures(tmp_path / "more", 20, ("c",), size=(30, 50))
    for name in os.listdir(tmp_path / "more" / "c"):
        os.rename(tmp_path / "more" / "c" / name, tmp_path / "data" / "c" / name)
    load = dataset.load

    def load_and_damage(settings):
        found = load(settings)
        with open(found.train.paths[0], "wb") as file:
            file.write(b"\xff\xd8\xff\xe0 no longer a picture")
        load_and_damage.path = os.fsdecode(found.train.paths[0])
        return found

    monkeypatch.setattr(dataset, "load", load_and_damage)
    outcome = run(
        *SMALL,
        *("--dataset=folder", f"--data_dir={tmp_path}/data", "--train_steps=20"),
        f"--model_dir={tmp_path}/run",
    )
    mains.assert_one_line_error(outcome, load_and_damage.path, "can no longer be")


def test_kills_change_no_bit_with_augmentation_on(tmp_path):
    arguments = [
        *SMALL,
        *AUGMENTED,
        *("--deterministic", "--train_steps=40", "--checkpoint_steps=10", "--seed=3"),
        *("--steps_between_evals=20", "--mode=train"),
    ]
    whole = mains.run_process(MODULE, [*arguments, f"--model_dir={tmp_path}/whole"])
    assert whole.exit_code == 0, whole
    deaths = kills.run_with_kills(
        MODULE,
        arguments,
        f"{tmp_path}/killed",
        last_step=40,
        kills=1,
        kills_while_writing=0,
    )
    assert 0 < deaths[0].step < 40
    kills.assert_same_checkpoint(f"{tmp_path}/whole", f"{tmp_path}/killed")


@pytest.mark.slow
def test_replicas_and_workers_reach_the_accuracy_of_one_device(tmp_path):
    flags = ["--recipe=shapes"]
    one = mains.run_process(
        MODULE, [*flags, f"--model_dir={tmp_path}/one"], timeout=900
    )
    mirrored = mains.run_process(
        MODULE,
        [
            *flags,
            *("--distribution_strategy=mirrored", "--num_virtual_cpus=2"),
            f"--model_dir={tmp_path}/mirrored",
        ],
        timeout=900,
    )
    started = workers.start_workers(MODULE, [*flags, f"--model_dir={tmp_path}/two"])
    for outcome in (one, mirrored, *workers.outcomes(started, timeout=900)):
        assert outcome.exit_code == 0, outcome
    accuracies = {
        name: results(tmp_path / name)["metrics"]["accuracy"]
        for name in ("one", "mirrored", "two")
    }
    print(accuracies)
    assert accuracies["one"] > 0.85
    for name in ("mirrored", "two"):
        assert results(tmp_path / name)["num_replicas"] == 2
        assert accuracies[name] == pytest.approx(accuracies["one"], abs=0.03)
