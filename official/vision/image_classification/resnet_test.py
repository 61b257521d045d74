import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.training.variables import named_variables
from official.vision.image_classification import resnet

# With 1000 classes and with 10, as published with the networks.
NUM_PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet8": 75_290,
    "resnet14": 172_506,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}


def images_of(size, count=2):
    return (
        np.random.default_rng(0).normal(size=(count, size, size, 3)).astype("float32")
    )


def num_parameters(name):
    """Of the trainable variables, whose values are not made."""
    classes = 1000 if resnet.VARIANTS[name].has_large_stem else 10
    with keras.StatelessScope():
        model = resnet.build_model(name, classes, image_size=32)
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * (name in ("resnet101", "resnet152"))
        )
        for name in NUM_PARAMETERS
    ],
)
def test_number_of_parameters(name):
    assert num_parameters(name) == NUM_PARAMETERS[name]


def test_version_1_has_the_same_parameters():
    assert num_parameters("resnet50_v1") == NUM_PARAMETERS["resnet50"]
    first = {f"{name}_v1" for name in ("resnet50", "resnet101", "resnet152")}
    assert set(resnet.VARIANTS) == set(NUM_PARAMETERS) | first
    for name in first:
        variant = resnet.VARIANTS[name]
        assert variant.strides_first
        assert variant.blocks == resnet.VARIANTS[name.removesuffix("_v1")].blocks


def build(name, num_classes, size):
    keras.utils.set_random_seed(0)
    return resnet.build_model(name, num_classes, image_size=size)


@pytest.fixture(scope="module")
def resnet18():
    return build("resnet18", 5, 64)


@pytest.fixture(scope="module")
def resnet8():
    return build("resnet8", 5, 32)


def test_features(resnet18, resnet8):
    images = images_of(64)
    names = [*resnet.stage_names("resnet18"), "pool", "logits"]
    found = resnet.features(resnet18, names)(images)
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert list(shapes.items()) == [
        ("stem", (2, 16, 16, 64)),
        ("stage1", (2, 16, 16, 64)),
        ("stage2", (2, 8, 8, 128)),
        ("stage3", (2, 4, 4, 256)),
        ("stage4", (2, 2, 2, 512)),
        ("pool", (2, 512)),
        ("logits", (2, 5)),
    ]
    np.testing.assert_array_equal(found["logits"], resnet18(images))
    # The last block's output, behind its ReLU.
    np.testing.assert_allclose(
        found["pool"], np.asarray(found["stage4"]).mean((1, 2)), rtol=1e-5
    )
    assert np.asarray(found["stage3"]).min() == 0
    names = resnet.stage_names("resnet8")
    found = resnet.features(resnet8, names)(images_of(32))
    assert [tuple(found[name].shape) for name in names] == [
        (2, 32, 32, 16),
        (2, 32, 32, 16),
        (2, 16, 16, 32),
        (2, 8, 8, 64),
    ]


def test_every_layer_belongs_to_a_stage(resnet18):
    stages = [*resnet.stage_names("resnet18"), "pool", "logits"]
    found = [resnet.stage_of(layer.name) for layer in resnet18.layers]
    assert found[0] == "image" and list(dict.fromkeys(found[1:])) == stages


def test_bottlenecks_and_strides():
    """Version 1.5 halves the size in the 3x3 convolution, version 1 in the 1x1."""
    for name, strides in (("resnet50", [1, 2, 1]), ("resnet50_v1", [2, 1, 1])):
        with keras.StatelessScope():
            model = resnet.build_model(name, 2, image_size=64)
        layers = [model.get_layer(f"stage3_block1_{i}_conv") for i in (1, 2, 3)]
        assert [layer.strides[0] for layer in layers] == strides
        assert [layer.kernel.shape for layer in layers] == [
            (1, 1, 512, 256),
            (3, 3, 256, 256),
            (1, 1, 256, 1024),
        ]
        assert model.get_layer("stage4_block3").output.shape == (None, 2, 2, 2048)


FIRST_OUTPUTS = {
    "resnet18": [
        [-3.08037, -1.51591, 6.52268, -5.99746, -2.43243],
        [-2.25704, -1.44297, 5.95752, -6.30338, -2.74258],
    ],
    "resnet8": [
        [-0.07643, -0.05276, 0.20286, 0.16794, 0.00874],
        [-0.08397, -0.04082, 0.20987, 0.16063, 0.02094],
    ],
}


def test_first_outputs(resnet18, resnet8):
    for model in (resnet18, resnet8):
        found = np.asarray(model(images_of(model.input.shape[1])))
        np.testing.assert_allclose(found, FIRST_OUTPUTS[model.name], atol=5e-5)


def test_shortcut_without_parameters():
    """Every other pixel, between channels of zeros (2 before and 3 behind)."""
    images = images_of(6)
    found = np.asarray(resnet.ZeroPaddedShortcut(2, 5)(images))
    assert found.shape == (2, 3, 3, 8)
    np.testing.assert_array_equal(found[..., 2:5], images[:, ::2, ::2])
    assert not found[..., :2].any() and not found[..., 5:].any()


def test_names_are_the_same_when_built_again(resnet8):
    names = list(named_variables(resnet8))
    assert list(named_variables(build("resnet8", 5, 32))) == names
    assert len(names) == 7 * 5 + 2
    assert names[0] == "model/stem_conv/kernel"
    assert "model/stage2_block1_1_norm/moving_variance" in names
    assert names[-1] == "model/logits/bias"


def test_momentum_of_the_statistics(resnet8, resnet18):
    assert resnet8.get_layer("stem_norm").momentum == 0.997
    assert resnet18.get_layer("stem_norm").momentum == 0.9
    own = resnet.build_model("resnet8", 5, momentum=0.5)
    assert own.get_layer("stage3_block1_2_norm").momentum == 0.5


def test_mixed_bfloat16(resnet8):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("resnet8", 5, 32)
    finally:
        keras.config.set_dtype_policy(policy)
    outputs = model(images_of(32))
    assert outputs.dtype == tf.float32
    assert model.get_layer("stage3_block1").output.dtype == "bfloat16"
    assert {variable.dtype for variable in model.variables} == {"float32"}
    # The same seed gives the same weights.
    expected = np.asarray(resnet8(images_of(32)))
    np.testing.assert_allclose(outputs, expected, atol=0.03 * np.abs(expected).max())


def test_plain_keras_trains_saves_and_loads(tmp_path):
    model = build("resnet8", 3, 32)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = images_of(32, 8), np.arange(8) % 3
    before = np.asarray(model.get_layer("stem_norm").moving_mean)
    history = model.fit(
        images, labels, batch_size=8, epochs=2, shuffle=False, verbose=0
    )
    first, second = history.history["loss"]
    assert first == pytest.approx(np.log(3), abs=0.3) and second < first
    after = np.asarray(model.get_layer("stem_norm").moving_mean)
    assert np.abs(after - before).max() > 0
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded(images), model(images))
    assert list(named_variables(loaded)) == list(named_variables(model))
