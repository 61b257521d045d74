import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.layers import convolution
from official.utils.layers.convolution import Convolution, MaxPooling


def images_of(size, channels=3):
    shape = (2, size, size + 1, channels)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def gradients_of(layers, images):
    """The outputs, and the gradients of their squares for images and kernel."""
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = images
        for layer in layers:
            outputs = layer(outputs)
        total = tf.reduce_sum(outputs**2)
    kernels = [layer.kernel.value for layer in layers if hasattr(layer, "kernel")]
    return outputs, *tape.gradient(total, [images, *kernels])


@pytest.fixture(params=[True, False], ids=["tensorflow", "any backend"])
def path(request, monkeypatch):
    """The kernel that pads by itself, and the path of other backends."""
    if not request.param:
        monkeypatch.setattr(convolution, "_is_tensorflow", lambda: False)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_convolution_is_zero_padding_and_valid(path, kernel_size, strides, size):
    ours = Convolution(4, kernel_size, strides=strides)
    theirs = keras.layers.Conv2D(4, kernel_size, strides=strides)
    padding = keras.layers.ZeroPadding2D((kernel_size - 1) // 2)
    images = images_of(size)
    theirs.build(padding(images).shape)
    ours.build(images.shape)
    bias = np.arange(4.0)
    ours.set_weights([theirs.kernel, bias])
    theirs.set_weights([theirs.kernel, bias])
    found = gradients_of([ours], images)
    expected = gradients_of([padding, theirs], images)
    assert ours.compute_output_shape(images.shape) == tuple(found[0].shape)
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_convolution_differs_from_same_where_it_strides():
    """Over an even size Keras' `same` begins a pixel later."""
    images = images_of(8)
    ours = Convolution(4, 3, strides=2)
    theirs = keras.layers.Conv2D(4, 3, strides=2, padding="same")
    theirs.build(images.shape)
    ours.build(images.shape)
    ours.set_weights(theirs.get_weights())
    assert np.abs(np.subtract(ours(images), theirs(images))).max() > 0.1


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("pool_size", [1, 3, 5])
def test_pooling_never_takes_the_padding(path, pool_size, strides, size):
    pad = (pool_size - 1) // 2
    # Zeros would be the largest here.
    images = images_of(size) - 10
    padded = np.pad(
        images,
        ((0, 0), (pad, pad), (pad, pad), (0, 0)),
        constant_values=images.min(),
    )
    ours = MaxPooling(pool_size, strides=strides)
    theirs = keras.layers.MaxPooling2D(pool_size, strides=strides)
    found = ours(images)
    np.testing.assert_array_equal(found, theirs(padded))
    assert ours.compute_output_shape(images.shape) == tuple(found.shape)


def test_unknown_sizes():
    inputs = keras.Input((None, None, 3))
    outputs = MaxPooling(3, strides=2)(Convolution(4, 7, strides=2)(inputs))
    assert outputs.shape == (None, None, None, 4)
    model = keras.Model(inputs, outputs)
    assert model(images_of(16)).shape == (2, 4, 5, 4)
    assert model(images_of(33)).shape == (2, 9, 9, 4)


def test_layers_are_saved(tmp_path):
    inputs = keras.Input((8, 9, 3))
    x = Convolution(4, 3, strides=2, use_bias=False, name="conv")(inputs)
    model = keras.Model(inputs, MaxPooling(3, strides=2, name="pool")(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("conv")) is Convolution
    assert type(loaded.get_layer("pool")) is MaxPooling
    np.testing.assert_array_equal(loaded(images_of(8)), model(images_of(8)))


def test_even_kernels_are_refused():
    with pytest.raises(AssertionError):
        Convolution(4, 2)


@pytest.mark.parametrize("strides", [1, 2])
def test_bfloat16_without_instructions(monkeypatch, strides):
    """The bits of a convolution in float32 of the same numbers, rounded."""
    monkeypatch.setattr(convolution.hardware, "has_bfloat16", lambda: False)
    layer = Convolution(4, 3, strides=strides, use_bias=False, dtype="mixed_bfloat16")
    images = tf.cast(tf.constant(images_of(8)), tf.bfloat16)
    layer.build(images.shape)
    reference = Convolution(4, 3, strides=strides, use_bias=False)
    reference.build(images.shape)
    reference.kernel.assign(tf.cast(layer.kernel, tf.bfloat16))

    @tf.function
    def gradients(layer, images, upstream):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
        kernel = layer.kernel.value
        return outputs, *tape.gradient(outputs, [images, kernel], upstream)

    upstream = tf.cast(
        tf.random.stateless_normal(layer(images).shape, [1, 2]), "bfloat16"
    )
    found = gradients(layer, images, upstream)
    expected = gradients(
        reference, *(tf.cast(x, "float32") for x in (images, upstream))
    )
    assert found[0].dtype == found[1].dtype == tf.bfloat16
    assert found[2].dtype == tf.float32
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(
            tf.cast(mine, tf.float32), tf.cast(tf.cast(other, tf.bfloat16), tf.float32)
        )
