"""Residual networks (ResNet v1 and v1.5, and those of CIFAR), in plain Keras.

He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385.
Version 1.5 strides on the 3x3 convolution of a bottleneck instead of on the first 1x1.

Shapes are [batch, height, width, channels]. The family stands as a table at the foot.
"""

import dataclasses
from collections.abc import Sequence

import keras
from keras import initializers, layers

from official.utils.layers.batch_normalization import BatchNormalization
from official.utils.layers.convolution import Convolution, MaxPooling

# Of the networks of 2019: 224-pixel ones, and those of CIFAR.
IMAGENET_MOMENTUM = 0.9
CIFAR_MOMENTUM = 0.997
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Variant:
    """One network of the family.

    Attributes:
        blocks: residual blocks of each stage.
        filters: channels of each stage; four times as many leave a bottleneck.
        has_bottlenecks: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
        strides_first: the first 1x1 convolution of a bottleneck strides (version 1)
            instead of the 3x3 (version 1.5).
        image_size: height and width that it is meant for.
        has_large_stem: 7x7 convolution and pooling, which quarter the size, instead of
            a 3x3 convolution.
        has_projections: shortcuts that change shape are 1x1 convolutions with batch
            norm; else they take every other pixel and add channels of zeros.
    """

    blocks: tuple[int, ...]
    filters: tuple[int, ...] = (64, 128, 256, 512)
    has_bottlenecks: bool = False
    strides_first: bool = False
    image_size: int = 224
    has_large_stem: bool = True
    has_projections: bool = True


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Adds layers to a graph; what they all share."""

    variant: Variant
    momentum: float

    def convolution(self, x, filters, kernel_size, strides, name):
        """Padded by (kernel_size - 1) / 2 on every side, then batch norm."""
        x = Convolution(
            filters,
            kernel_size,
            strides=strides,
            use_bias=False,
            kernel_initializer=initializers.HeNormal(),
            name=f"{name}_conv",
        )(x)
        return BatchNormalization(
            momentum=self.momentum, epsilon=EPSILON, name=f"{name}_norm"
        )(x)

    def basic(self, x, filters, strides, name):
        """Two 3x3 convolutions."""
        x = self.convolution(x, filters, 3, strides, f"{name}_1")
        x = layers.ReLU(name=f"{name}_1_relu")(x)
        return self.convolution(x, filters, 3, 1, f"{name}_2")

    def bottleneck(self, x, filters, strides, name):
        """1x1 to `filters`, 3x3, 1x1 to four times as many."""
        first, second = (strides, 1) if self.variant.strides_first else (1, strides)
        x = self.convolution(x, filters, 1, first, f"{name}_1")
        x = layers.ReLU(name=f"{name}_1_relu")(x)
        x = self.convolution(x, filters, 3, second, f"{name}_2")
        x = layers.ReLU(name=f"{name}_2_relu")(x)
        return self.convolution(x, 4 * filters, 1, 1, f"{name}_3")

    def shortcut(self, x, filters, strides, name):
        """The input in the shape of the block's output."""
        missing = filters - x.shape[-1]
        if strides == 1 and not missing:
            return x
        if self.variant.has_projections:
            return self.convolution(x, filters, 1, strides, f"{name}_shortcut")
        return ZeroPaddedShortcut(strides, missing, name=f"{name}_shortcut")(x)

    def block(self, x, filters, strides, name):
        """Residual branch and shortcut."""
        bottleneck = self.variant.has_bottlenecks
        residual = self.bottleneck if bottleneck else self.basic
        outputs = 4 * filters if bottleneck else filters
        shortcut = self.shortcut(x, outputs, strides, name)
        x = layers.Add(name=f"{name}_add")(
            [residual(x, filters, strides, name), shortcut]
        )
        return layers.ReLU(name=name)(x)

    def stem(self, x):
        """The first layers, to a quarter of the size or to the same."""
        variant = self.variant
        if variant.has_large_stem:
            # [224, 224, 3] -> [112, 112, 64] -> [56, 56, 64]
            x = self.convolution(x, variant.filters[0], 7, 2, "stem")
            # The largest is the same before and after a ReLU, and now there are fewer.
            x = MaxPooling(3, strides=2, name="stem_pool")(x)
            return layers.ReLU(name="stem")(x)
        x = self.convolution(x, variant.filters[0], 3, 1, "stem")
        return layers.ReLU(name="stem")(x)


@keras.saving.register_keras_serializable(package="official.resnet")
class ZeroPaddedShortcut(layers.Layer):
    """Every `strides`-th pixel, with `missing` channels of zeros around (option A)."""

    def __init__(self, strides: int, missing: int, **kwargs):
        """Sets the step between pixels and the number of channels to add."""
        super().__init__(**kwargs)
        self.strides = strides
        self.missing = missing

    def call(self, inputs):
        """[batch, h, w, c] to [batch, h / strides, w / strides, c + missing]."""
        x = inputs[:, :: self.strides, :: self.strides]
        before = self.missing // 2
        channels = (before, self.missing - before)
        return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), channels))

    def get_config(self):
        """Arguments of the constructor."""
        return super().get_config() | dict(strides=self.strides, missing=self.missing)


def build_model(
    name: str,
    num_classes: int,
    image_size: int | None = None,
    momentum: float | None = None,
) -> keras.Model:
    """Builds a network with fresh weights.

    Images: float [batch, size, size, 3], normalised. Outputs: logits, float32 [batch,
    num_classes]. The outputs of the stages are the layers `stem`, `stage1`, `stage2`,
    ...; the averaged features, [batch, channels], are `pool`.

    Args:
        name: of `VARIANTS`.
        num_classes: outputs; there is none for the background.
        image_size: height and width; None for those of the variant.
        momentum: of the moving statistics; None for that of 2019.

    Returns:
        The model.
    """
    variant = VARIANTS[name]
    size = image_size or variant.image_size
    if momentum is None:
        momentum = IMAGENET_MOMENTUM if variant.has_large_stem else CIFAR_MOMENTUM
    builder = _Builder(variant, momentum)
    images = keras.Input((size, size, 3), name="image")
    x = builder.stem(images)
    for stage, (filters, blocks) in enumerate(
        zip(variant.filters, variant.blocks, strict=True), start=1
    ):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            # The last block of a stage carries its name.
            block_name = f"stage{stage}_block{block}"
            x = builder.block(x, filters, strides, block_name)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    # float32: a loss in bfloat16 would lose what the last layers gained.
    logits = layers.Dense(
        num_classes,
        kernel_initializer=initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(images, logits, name=name)


def stage_names(name: str) -> list[str]:
    """Names of the parts of a network, from the images on: stem, stage1, ..."""
    return ["stem", *(f"stage{i}" for i in range(1, len(VARIANTS[name].blocks) + 1))]


def stage_of(layer_name: str) -> str:
    """The part that a layer belongs to: stem, stage1, ..., pool or logits."""
    return layer_name.split("_")[0]


def features(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """The intermediate outputs of a network, as a model that shares its weights.

    Args:
        model: from `build_model`.
        names: of `stage_names`, and `pool` or `logits`.

    Returns:
        A model from images to a dict by name, in the order of `names`; stages are
        [batch, height, width, channels], at 1/4, 1/8, 1/16 and 1/32 of the size of the
        images for the networks of 224 pixels.
    """
    outputs = {}
    for name in names:
        last = [layer for layer in model.layers if stage_of(layer.name) == name][-1]
        outputs[name] = last.output
    return keras.Model(model.input, outputs, name=f"{model.name}_features")


_BOTTLENECKS = dict(has_bottlenecks=True)
_VERSION_1 = dict(has_bottlenecks=True, strides_first=True)
_CIFAR = dict(
    filters=(16, 32, 64), image_size=32, has_large_stem=False, has_projections=False
)

VARIANTS = {
    # Version 1.5, for images of 224 pixels.
    "resnet18": Variant((2, 2, 2, 2)),
    "resnet34": Variant((3, 4, 6, 3)),
    "resnet50": Variant((3, 4, 6, 3), **_BOTTLENECKS),
    "resnet101": Variant((3, 4, 23, 3), **_BOTTLENECKS),
    "resnet152": Variant((3, 8, 36, 3), **_BOTTLENECKS),
    # Version 1, whose weights Keras has.
    "resnet50_v1": Variant((3, 4, 6, 3), **_VERSION_1),
    "resnet101_v1": Variant((3, 4, 23, 3), **_VERSION_1),
    "resnet152_v1": Variant((3, 8, 36, 3), **_VERSION_1),
    # 6n + 2 layers, for images of 32 pixels.
    "resnet8": Variant((1, 1, 1), **_CIFAR),
    "resnet14": Variant((2, 2, 2), **_CIFAR),
    "resnet20": Variant((3, 3, 3), **_CIFAR),
    "resnet32": Variant((5, 5, 5), **_CIFAR),
    "resnet44": Variant((7, 7, 7), **_CIFAR),
    "resnet56": Variant((9, 9, 9), **_CIFAR),
    "resnet110": Variant((18, 18, 18), **_CIFAR),
}
