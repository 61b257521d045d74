"""Weights against PyTorch's and Keras' own networks, and those that do not fit."""

import copy
from unittest import mock

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.testing.errors import message_of
from official.utils.training import checkpoints
from official.utils.training.variables import named_variables
from official.utils.weights import pytorch_files
from official.vision.image_classification import resnet, weight_files, weights


def images_of(size, count=2):
    """Noise over random fields of 16 pixels, so that images differ as a whole."""
    generator = np.random.default_rng(0)
    fields = generator.normal(0, 2, (count, size // 16, size // 16, 3))
    fields = fields.repeat(16, axis=1).repeat(16, axis=2)
    return (fields + generator.normal(size=fields.shape)).astype("float32")


def set_values(model, values):
    checkpoints.assign(named_variables(model), values, "the test")


def values_of(model):
    return {name: np.asarray(v.value) for name, v in named_variables(model).items()}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def hugging_face(**config):
    """A network of Hugging Face's with random weights.

    The statistics are those of images, disturbed: others would drown the images. Small
    gammas keep the layers from magnifying the rounding of each other.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    network = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(**config)
    )
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.3, 0.6)
        norm.bias.data.uniform_(-0.3, 0.3)
        norm.momentum = 1.0
    logits_of(network.train(), images_of(64, 4))
    for norm in norms:
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.4)
    return network.eval()


def state_of(network):
    return {
        name: tensor.numpy().copy() for name, tensor in network.state_dict().items()
    }


def with_weights_of(network, name, num_classes, image_size=64):
    """Ours, with the weights of one of Hugging Face's."""
    model = resnet.build_model(name, num_classes, image_size)
    set_values(model, weights.from_pytorch(state_of(network), model))
    return model


def logits_of(network, images):
    import torch

    with torch.no_grad():
        return network(torch.tensor(images.transpose(0, 3, 1, 2))).logits.numpy()


@pytest.fixture(scope="module")
def hugging_face_50():
    return hugging_face(num_labels=1000)


@pytest.fixture(scope="module")
def resnet50(hugging_face_50):
    return with_weights_of(hugging_face_50, "resnet50", 1000, image_size=224)


@pytest.fixture(scope="module")
def hugging_face_small():
    """ResNet-50 with fewer blocks and an eighth of its channels."""
    return hugging_face(
        num_labels=5,
        depths=[1, 2, 2, 2],
        embedding_size=8,
        hidden_sizes=[32, 64, 128, 256],
    )


@pytest.fixture(scope="module")
def small_bottlenecks(hugging_face_small):
    variant = resnet.Variant((1, 2, 2, 2), (8, 16, 32, 64), has_bottlenecks=True)
    with mock.patch.dict(resnet.VARIANTS, small_bottlenecks=variant):
        yield with_weights_of(hugging_face_small, "small_bottlenecks", 5)


def assert_same_logits(ours, theirs):
    # Images differ by far more than the networks may.
    assert np.abs(theirs[0] - theirs[1]).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def assert_is_state_of(network, tensors):
    """Bit for bit, but for the batches that PyTorch counted."""
    expected = {
        name: np.array(0) if name.endswith("num_batches_tracked") else value
        for name, value in state_of(network).items()
    }
    assert_equal(tensors, expected)


def test_resnet50_of_hugging_face_at_224_pixels(hugging_face_50, resnet50):
    images = images_of(224)
    assert_same_logits(np.asarray(resnet50(images)), logits_of(hugging_face_50, images))
    tensors = weights.to_pytorch(resnet50, "huggingface")
    assert_is_state_of(hugging_face_50, tensors)


def test_small_bottlenecks_to_hugging_face(hugging_face_small, small_bottlenecks):
    import torch

    network = type(hugging_face_small)(hugging_face_small.config).eval()
    tensors = weights.to_pytorch(small_bottlenecks, "huggingface")
    network.load_state_dict(
        {name: torch.tensor(value) for name, value in tensors.items()}, strict=True
    )
    images = images_of(64)
    ours = np.asarray(small_bottlenecks(images))
    assert_same_logits(ours, logits_of(network, images))
    assert_same_logits(ours, logits_of(hugging_face_small, images))
    assert_is_state_of(hugging_face_small, tensors)


def our_gradients(model, images, labels):
    """Cross entropy in training, and gradients in PyTorch's layout."""
    convolutions = [each for each in model.layers if each.name.endswith("_conv")]
    layers = (convolutions[0], convolutions[-1], model.get_layer("logits"))
    kernels = [layer.kernel.value for layer in layers]
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(
            labels, model(images, training=True), from_logits=True
        )
        loss = tf.reduce_mean(losses)
    gradients = [gradient.numpy() for gradient in tape.gradient(loss, kernels)]
    return float(loss), [
        gradient.transpose((3, 2, 0, 1) if gradient.ndim == 4 else (1, 0))
        for gradient in gradients
    ]


def assert_same_gradients(network, name):
    """First and last convolution and the last layer, with the batch's statistics.

    In float32 an activation next to 0 falls on either side by chance, which moves the
    gradient of the first layer by some percent, PyTorch's own too. In float64 nothing
    hides a difference.
    """
    import torch

    num_classes = network.config.num_labels
    images, labels = images_of(64, 4), np.arange(4) * num_classes // 5
    double = copy.deepcopy(network).double().train()
    pixels = torch.tensor(images.transpose(0, 3, 1, 2)).double()
    outputs = double(pixels, labels=torch.tensor(labels))
    outputs.loss.backward()
    theirs = [
        weight.grad.numpy()
        for weight in (
            double.resnet.embedder.embedder.convolution.weight,
            double.resnet.encoder.stages[3].layers[-1].layer[2].convolution.weight,
            double.classifier[1].weight,
        )
    ]
    policy = keras.config.dtype_policy()
    for dtype, loss_tolerance, tolerance in (
        ("float64", 1e-6, 1e-3),
        ("float32", 1e-4, 0.2),
    ):
        keras.config.set_dtype_policy(dtype)
        try:
            model = with_weights_of(network, name, num_classes)
        finally:
            keras.config.set_dtype_policy(policy)
        assert model.get_layer("stem_conv").kernel.dtype == dtype
        loss, ours = our_gradients(model, images, labels)
        assert loss == pytest.approx(outputs.loss.item(), rel=loss_tolerance)
        for mine, other in zip(ours, theirs, strict=True):
            scale = np.abs(other).max()
            assert scale > 1e-4
            np.testing.assert_allclose(mine / scale, other / scale, atol=tolerance)


def test_gradients_of_small_bottlenecks(hugging_face_small, small_bottlenecks):
    assert_same_gradients(hugging_face_small, small_bottlenecks.name)


@pytest.mark.slow
def test_gradients_of_resnet50(hugging_face_50):
    assert_same_gradients(hugging_face_50, "resnet50")


def test_names_of_torchvision(resnet50):
    tensors = weights.to_pytorch(resnet50, "torchvision")
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    names = [name for name in tensors if name not in counters]
    # 53 convolutions, 4 for each of their batch norms, kernel and bias of the last.
    assert len(names) == 53 + 53 * 4 + 2 == 267 and len(counters) == 53
    assert names[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "layer1.0.conv1.weight",
    ]
    assert names[-2:] == ["fc.weight", "fc.bias"]
    shapes = {name: value.shape for name, value in tensors.items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer2.0.downsample.1.running_var"] == (512,)
    assert shapes["layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.2.bn3.num_batches_tracked"] == ()
    assert shapes["fc.weight"] == (1000, 2048)
    assert "layer1.1.downsample.0.weight" not in names
    for name in names:
        assert tensors[name].dtype == np.float32 and tensors[name].flags.c_contiguous


def test_from_one_naming_to_the_other_bit_for_bit(
    hugging_face_small, small_bottlenecks, tmp_path
):
    path, model = str(tmp_path / "a.safetensors"), small_bottlenecks
    pytorch_files.write_safetensors(path, weights.to_pytorch(model, "torchvision"))
    values = weights.read_initial(path, model, new_head=False)
    assert_equal(values, weights.from_pytorch(state_of(hugging_face_small), model))
    assert_equal(values, values_of(model))


@pytest.fixture(scope="module")
def hugging_face_18():
    return hugging_face(
        num_labels=10,
        layer_type="basic",
        depths=[2, 2, 2, 2],
        hidden_sizes=[64, 128, 256, 512],
    )


@pytest.fixture(scope="module")
def resnet18(hugging_face_18):
    return with_weights_of(hugging_face_18, "resnet18", 10)


def test_resnet18(hugging_face_18, resnet18):
    images = images_of(64)
    assert_same_logits(np.asarray(resnet18(images)), logits_of(hugging_face_18, images))


def test_hugging_face_loads_a_folder(hugging_face_small, small_bottlenecks, tmp_path):
    hugging_face_small.config.save_pretrained(tmp_path)
    pytorch_files.write_safetensors(
        str(tmp_path / "model.safetensors"),
        weights.to_pytorch(small_bottlenecks, "huggingface"),
    )
    network = type(hugging_face_small).from_pretrained(tmp_path).eval()
    images = images_of(64)
    ours = np.asarray(small_bottlenecks(images))
    assert_same_logits(ours, logits_of(network, images))
    assert_same_logits(ours, logits_of(hugging_face_small, images))


@pytest.fixture(scope="module")
def application():
    """Keras' own, with random biases and statistics, for three classes."""
    network = keras.applications.ResNet50(
        weights=None, classes=3, input_shape=(64, 64, 3), classifier_activation=None
    )
    generator = np.random.default_rng(0)
    norms = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for variable in network.trainable_variables:
        if variable.name != "kernel":
            low, high = (0.3, 0.6) if variable.name == "gamma" else (-0.3, 0.3)
            variable.assign(generator.uniform(low, high, variable.shape))
    for norm in norms:
        norm.momentum = 0.0
    network(images_of(64, 4), training=True)
    for norm in norms:
        factor = generator.uniform(0.7, 1.4, norm.moving_variance.shape)
        norm.moving_variance.assign(norm.moving_variance * factor)
    return network


@pytest.fixture(scope="module")
def resnet50_v1():
    return resnet.build_model("resnet50_v1", 3, image_size=64)


def test_keras_application(application, resnet50_v1):
    values = weights.from_keras_application(application, resnet50_v1)
    set_values(resnet50_v1, values)
    images = images_of(64)
    assert_same_logits(np.asarray(resnet50_v1(images)), np.asarray(application(images)))
    norm = application.get_layer("conv2_block1_0_bn")
    bias = application.get_layer("conv2_block1_0_conv").bias
    path = "model/stage1_block1_shortcut_norm"
    np.testing.assert_allclose(
        values[f"{path}/moving_mean"], np.subtract(norm.moving_mean, bias), atol=1e-7
    )


def test_smallest_variances_keep_their_epsilon(application, resnet50_v1):
    """Of a variance near 0 the difference of the epsilons is a part that counts."""
    variance = application.get_layer("conv1_bn").moving_variance
    before = variance.numpy()
    variance.assign(np.full(64, 1e-8))
    values = weights.from_keras_application(application, resnet50_v1)
    variance.assign(before)
    np.testing.assert_allclose(
        values["model/stem_norm/moving_variance"], 2e-8, rtol=1e-6
    )


def write_published_format(application, path):
    """As Keras 1 and 2 wrote weights, and Keras still publishes them."""
    layers = [layer for layer in application.layers if layer.variables]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.6"
        for layer in layers:
            group = file.create_group(layer.name)
            variables = layer.trainable_variables + layer.non_trainable_variables
            names = [f"{layer.name}/{variable.name}:0" for variable in variables]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, variables, strict=True):
                group[name] = variable.numpy()


@pytest.mark.parametrize(
    "name", ["published.h5", pytest.param("a.weights.h5", marks=pytest.mark.slow)]
)
def test_files_of_weights_without_a_network(application, resnet50_v1, tmp_path, name):
    path = str(tmp_path / name)
    if name.startswith("published"):
        write_published_format(application, path)
    else:
        application.save_weights(path)
    found = weight_files.read(path, "resnet50_v1")
    assert weights.num_classes(found, path) == 3
    assert_equal(
        weights.convert(found, resnet50_v1, False, path),
        weights.from_keras_application(application, resnet50_v1),
    )
    message = message_of(weight_files.read, path, "resnet50")
    assert (
        f"{path} holds weights without" in message and "--model=resnet50_v1" in message
    )


def test_applications_are_of_version_1(application, resnet50):
    message = message_of(weights.from_keras_application, application, resnet50, True)
    assert "strides (2, 2) in conv3_block1_1_conv where resnet50 has (1, 1)" in message
    assert message.endswith("give --model=resnet50_v1")


def test_torchvision_has_no_version_1(resnet50_v1, resnet50):
    assert "resnet50_v1 strides on the first 1x1" in message_of(
        weights.to_pytorch, resnet50_v1, "torchvision"
    )
    tensors = weights.to_pytorch(resnet50, "torchvision")
    assert "give --model=resnet50, or" in message_of(
        weights.from_pytorch, tensors, resnet50_v1, True
    )


@pytest.mark.slow
def test_version_1_of_hugging_face(resnet50_v1):
    network = hugging_face(num_labels=3, downsample_in_bottleneck=True)
    set_values(resnet50_v1, weights.from_pytorch(state_of(network), resnet50_v1))
    images = images_of(64)
    assert_same_logits(np.asarray(resnet50_v1(images)), logits_of(network, images))


# What follows needs no other network; the smallest is enough.


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(0)
    return resnet.build_model("resnet8", 10)


@pytest.fixture
def tensors(small):
    return weights.to_pytorch(small, "torchvision")


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_networks_of_ours_that_keras_saved(small, tmp_path, name):
    path = str(tmp_path / name)
    small.save(path)
    assert_equal(weights.read_initial(path, small, False), values_of(small))
    assert weights.num_classes(weight_files.read(path, "resnet8"), path) == 10


def test_small_networks_are_not_hugging_faces(small):
    message = message_of(weights.to_pytorch, small, "huggingface")
    assert "resnet8" in message and "--naming=torchvision" in message


def test_new_head(small, tensors):
    other = resnet.build_model("resnet8", 3)
    message = message_of(weights.from_pytorch, tensors, other, False, "a.safetensors")
    assert message == (
        "a.safetensors has 10 classes and the data 3; --new_head takes all but the "
        "last layer"
    )
    values = weights.from_pytorch(tensors, other, new_head=True)
    whole = weights.from_pytorch(tensors, small)
    head = {"model/logits/kernel", "model/logits/bias"}
    assert whole.keys() - values.keys() == head
    assert_equal(values, {name: whole[name] for name in values})
    bare = {name: value for name, value in tensors.items() if "fc." not in name}
    assert_equal(weights.from_pytorch(bare, other, new_head=True), values)
    message = message_of(weights.from_pytorch, bare, small)
    assert "2 missing (fc.weight, fc.bias); it has no last layer; --new_head" in message
    assert weights.num_classes(tensors, "it") == 10
    assert "it has no last layer" in message_of(weights.num_classes, bare, "it")


def test_unmatched_and_missing_tensors(small, tensors):
    for i in range(4):
        tensors[f"layer1.0.se.fc{i}.weight"] = np.zeros(1)
    assert (
        "4 unmatched (layer1.0.se.fc0.weight, layer1.0.se.fc1.weight, "
        "layer1.0.se.fc2.weight, ...); relatives"
    ) in message_of(weights.from_pytorch, tensors, small)
    del tensors["layer2.0.bn2.running_var"]
    message = message_of(weights.from_pytorch, tensors, small, False, "a.safetensors")
    assert message.startswith("a.safetensors is of another network than resnet8: ")
    assert ", ...) and 1 missing (layer2.0.bn2.running_var); relatives" in message


def test_other_shape(small, tensors):
    tensors["layer2.0.conv1.weight"] = np.zeros((32, 8, 3, 3))
    message = message_of(weights.from_pytorch, tensors, small)
    assert (
        "layer2.0.conv1.weight is [32, 8, 3, 3] there and [32, 16, 3, 3] in resnet8"
    ) in message


def test_another_depth(resnet18, small):
    """Names alone tell which network it is."""
    deeper = weights.to_pytorch(resnet.build_model("resnet14", 10), "torchvision")
    message = message_of(weights.from_pytorch, deeper, small)
    assert "it has 2, 2, 2 basic blocks in its stages, resnet8 1, 1, 1 basic" in message
    assert message.endswith("give --model=resnet14")
    assert message_of(
        weights.from_pytorch, weights.to_pytorch(resnet18, "huggingface"), small
    ).endswith("give --model=resnet18")


def test_bottlenecks_are_told_from_basic_blocks(resnet18, resnet50, resnet50_v1):
    for naming in ("torchvision", "huggingface"):
        tensors = weights.to_pytorch(resnet50, naming)
        message = message_of(weights.from_pytorch, tensors, resnet18)
        assert "3, 4, 6, 3 bottlenecks in its stages, resnet18 2, 2, 2, 2" in message
        assert message.endswith("give --model=resnet50")


def test_deeper_application(application, resnet18):
    message = message_of(weights.from_keras_application, application, resnet18)
    assert message.endswith("give --model=resnet50_v1")


def test_names_of_another_family(small):
    message = message_of(
        weights.from_pytorch, {"features.0.weight": np.zeros(1)}, small
    )
    assert "has no ResNet's names" in message and "features.0.weight" in message


def test_half_precision(small, tensors, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        path = str(tmp_path / f"{dtype}.safetensors")
        stored = {
            name: torch.tensor(value).to(dtype) for name, value in tensors.items()
        }
        save_file(stored, path)
        values = weights.read_initial(path, small, new_head=False)
        kernel = values["model/stem_conv/kernel"]
        assert kernel.dtype == np.float32
        expected = stored["conv1.weight"].float().numpy().transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, expected)
        assert (kernel == values_of(small)["model/stem_conv/kernel"]).all() == (
            dtype == torch.float64
        )
    save_file({"conv1.weight": torch.zeros(2, dtype=torch.float8_e5m2)}, path)
    assert "conv1.weight in F8_E5M2" in message_of(pytorch_files.read_safetensors, path)


def test_order_of_the_counters_is_of_no_matter(small, tensors):
    """timm's own files have none."""
    bare = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    assert len(bare) == len(tensors) - 7
    assert_equal(
        weights.from_pytorch(dict(reversed(bare.items())), small),
        dict(reversed(values_of(small).items())),
    )


def test_another_keras_model(small, tmp_path):
    """One whose layers have automatic names, among them batch norm."""
    path = str(tmp_path / "a.keras")
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    keras.Model(inputs, x).save(path)
    message = message_of(weights.read_initial, path, small, False)
    assert f"--init_checkpoint={path} is of another network than resnet8" in message
    assert "unmatched (conv2d/kernel, conv2d/bias, batch_normalization/gamma" in message


def test_every_network_has_other_names():
    """So that the hint names one network, but for the place of the strides."""
    keys = [
        (variant.blocks, variant.has_bottlenecks, variant.strides_first)
        for variant in resnet.VARIANTS.values()
    ]
    assert len(set(keys)) == len(keys)
