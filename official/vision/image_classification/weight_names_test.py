import pytest

from official.vision.image_classification import weight_names

LAYERS = (
    "stem_conv",
    "stem_norm",
    "stage1_block1_2_conv",
    "stage2_block1_shortcut_conv",
    "stage2_block1_shortcut_norm",
    "stage4_block12_3_norm",
    "logits",
)


@pytest.mark.parametrize(
    ("naming", "names"),
    [
        (
            "torchvision",
            "conv1 bn1 layer1.0.conv2 layer2.0.downsample.0 layer2.0.downsample.1 "
            "layer4.11.bn3 fc",
        ),
        (
            "huggingface",
            "resnet.embedder.embedder.convolution "
            "resnet.embedder.embedder.normalization "
            "resnet.encoder.stages.0.layers.0.layer.1.convolution "
            "resnet.encoder.stages.1.layers.0.shortcut.convolution "
            "resnet.encoder.stages.1.layers.0.shortcut.normalization "
            "resnet.encoder.stages.3.layers.11.layer.2.normalization classifier.1",
        ),
        (
            "keras.applications",
            "conv1_conv conv1_bn conv2_block1_2_conv conv3_block1_0_conv "
            "conv3_block1_0_bn conv5_block12_3_bn predictions",
        ),
        ("official", " ".join(LAYERS)),
    ],
)
def test_layers(naming, names):
    naming = weight_names.NAMINGS[naming]
    assert [naming.layer(layer) for layer in LAYERS] == names.split()


def test_variables():
    ours = [
        "model/stem_conv/kernel",
        "model/stem_norm/gamma",
        "model/stem_norm/moving_variance",
        "model/logits/bias",
    ]
    for naming, theirs in (
        ("torchvision", "conv1.weight bn1.weight bn1.running_var fc.bias"),
        (
            "keras.applications",
            "conv1_conv/kernel conv1_bn/gamma conv1_bn/moving_variance "
            "predictions/bias",
        ),
    ):
        naming = weight_names.NAMINGS[naming]
        assert [naming.variable(name) for name in ours] == theirs.split()


@pytest.mark.parametrize("naming", weight_names.NAMINGS)
def test_blocks(naming):
    naming = weight_names.NAMINGS[naming]
    names = [
        naming.variable(f"model/{layer}/kernel")
        for layer in (
            "stem_conv",
            "stage1_block1_1_conv",
            "stage1_block1_shortcut_conv",
            "stage2_block1_2_conv",
            *(f"stage2_block{block}_1_conv" for block in range(2, 12)),
        )
    ]
    assert naming.blocks(iter(names)) == ((1, 11), False)
    names.append(naming.variable("model/stage1_block1_3_conv/kernel"))
    assert naming.blocks(iter(names)) == ((1, 11), True)
    assert naming.blocks([]) == ((), False)


def test_layouts():
    pytorch, keras = (weight_names.NAMINGS[n] for n in ("torchvision", "official"))
    # [height, width, in, out] becomes [out, in, height, width].
    assert [pytorch.axes(rank) for rank in (4, 2, 1)] == [(3, 2, 0, 1), (1, 0), (0,)]
    assert [keras.axes(rank) for rank in (4, 1)] == [(0, 1, 2, 3), (0,)]


def test_namings_of_pytorch():
    assert weight_names.PYTORCH_NAMINGS == tuple(
        name for name, naming in weight_names.NAMINGS.items() if naming.is_pytorch
    )
