import keras
import numpy as np
import pytest

from official.utils.testing import mains
from official.utils.training import checkpoints
from official.utils.training.checkpoints import Checkpoints
from official.utils.training.variables import named_variables
from official.utils.weights import pytorch_files
from official.vision.image_classification import (
    convert_weights,
    resnet,
    weights,
)
from official.vision.image_classification.classifier import MODELS


def run(*arguments):
    return mains.run_main(
        convert_weights.define_flags, convert_weights.run, (), arguments
    )


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = resnet.build_model("resnet8", 7)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.uniform(0.1, 1, variable.shape))
    return model


@pytest.fixture(scope="module")
def values(model):
    return {name: np.asarray(v.value) for name, v in named_variables(model).items()}


@pytest.fixture
def state_dict(model, tmp_path):
    path = str(tmp_path / "in.safetensors")
    pytorch_files.write_safetensors(path, weights.to_pytorch(model, "torchvision"))
    return path


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_from_pytorch_to_a_checkpoint_and_back(state_dict, values, tmp_path):
    folder = str(tmp_path / "converted")
    outcome = run("--model=resnet8", f"--input={state_dict}", f"--output={folder}")
    assert outcome.exit_code == 0, outcome.stderr
    # 7 convolutions with 4 variables each of batch norm, and 2 of the last layer.
    assert outcome.stdout.splitlines()[-1] == (
        f"{folder}: 37 tensors of resnet8, read back with a maximal difference of "
        "logits of 0"
    )
    assert_equal(checkpoints.read_initial(folder), values)
    _, state = Checkpoints(folder).load_latest()
    assert state["step"] == 0 and state["best_step"] is None

    target = str(tmp_path / "out.safetensors")
    arguments = ("--model=resnet8", f"--input={folder}/ckpt-0", f"--output={target}")
    outcome = run(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    assert f"{target}: 44 tensors of resnet8" in outcome.stdout
    with open(state_dict, "rb") as one, open(target, "rb") as other:
        assert one.read() == other.read()

    message = mains.assert_one_line_error(run(*arguments), target, "not overwritten")
    assert "--output" in message


def test_run_folder_and_keras_file(model, values, tmp_path):
    run_checkpoints = Checkpoints(str(tmp_path / "run" / "checkpoints"))
    run_checkpoints.save(named_variables(model), dict(step=5))
    model.save(str(tmp_path / "model.keras"))
    found = []
    for name in ("run", "model.keras"):
        target = str(tmp_path / f"from_{name}.safetensors")
        outcome = run(
            "--model=resnet8", f"--input={tmp_path / name}", f"--output={target}"
        )
        assert outcome.exit_code == 0, outcome.stderr
        found.append(
            weights.from_pytorch(pytorch_files.read_safetensors(target), model)
        )
    for each in found:
        assert_equal(each, values)


def test_hugging_faces_names(tmp_path):
    network = resnet.build_model("resnet18", 3, image_size=64)
    tensors = weights.to_pytorch(network, "torchvision")
    pytorch_files.write_safetensors(str(tmp_path / "in.safetensors"), tensors)
    target = str(tmp_path / "out.safetensors")
    outcome = run(
        "--model=resnet18",
        f"--input={tmp_path}/in.safetensors",
        f"--output={target}",
        "--naming=huggingface",
    )
    assert outcome.exit_code == 0, outcome.stderr
    found = pytorch_files.read_safetensors(target)
    np.testing.assert_array_equal(
        found["resnet.encoder.stages.2.layers.0.shortcut.convolution.weight"],
        tensors["layer3.0.downsample.0.weight"],
    )
    assert len(found) == len(tensors) == 122


def test_what_is_wrong(model, state_dict, tmp_path):
    target = str(tmp_path / "out")
    out = f"--output={target}"
    for arguments, fragments in (
        ((), ("--model, --input and --output are needed",)),
        ((f"--input={state_dict}", out), ("--model",)),
        (("--model=resnet14", f"--input={state_dict}", out), ("--model=resnet8",)),
        (("--model=resnet8", f"--input={tmp_path}/no", out), ("--input=", "ckpt-100")),
        (("--model=resnet8", f"--input={tmp_path}/no.h5", out), ("no.h5 is no file",)),
        (
            ("--model=resnet8", f"--input={state_dict}", f"{out}.keras"),
            ("only .safetensors files and folders",),
        ),
        (
            (
                "--model=resnet8",
                f"--input={state_dict}",
                f"{out}.safetensors",
                "--naming=huggingface",
            ),
            ("--naming=torchvision",),
        ),
    ):
        mains.assert_one_line_error(run(*arguments), *fragments)
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]


def test_checkpoint_of_another_network(tmp_path):
    Checkpoints(str(tmp_path / "run")).save(
        {"model/dense/kernel": keras.Variable(np.zeros((2, 2)))}, dict(step=1)
    )
    mains.assert_one_line_error(
        run("--model=resnet8", f"--input={tmp_path}/run", f"--output={tmp_path}/out"),
        "is no checkpoint of a residual network",
    )


def test_weights_that_are_no_numbers(model, tmp_path):
    tensors = weights.to_pytorch(model, "torchvision")
    tensors["conv1.weight"] = np.full_like(tensors["conv1.weight"], np.nan)
    path = str(tmp_path / "nan.safetensors")
    pytorch_files.write_safetensors(path, tensors)
    for target, fragment in (
        ("a", "is not finite"),
        ("a.safetensors", "(difference nan)"),
    ):
        mains.assert_one_line_error(
            run("--model=resnet8", f"--input={path}", f"--output={tmp_path}/{target}"),
            fragment,
        )


def test_every_network_can_be_named():
    assert tuple(MODELS) == tuple(resnet.VARIANTS)


def test_help_needs_no_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not now')")
    outcome = mains.run_process(
        "official.vision.image_classification.convert_weights",
        ["--help"],
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert outcome.exit_code == 0 and "--naming" in outcome.stdout, outcome
