import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.layers import randomness
from official.utils.layers.batch_normalization import BatchNormalization
from official.utils.layers.dropout import Dropout

IMAGES = np.random.default_rng(0).normal(1, 2, (8, 6, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_batch_normalization_agrees_with_keras(dtype):
    """Outputs, gradients and moving mean; the variance is the unbiased one."""
    arguments = dict(momentum=0.8, epsilon=1e-3, dtype=dtype)
    ours, theirs = (
        BatchNormalization(**arguments),
        keras.layers.BatchNormalization(**arguments),
    )
    found = []
    for layer in (ours, theirs):
        layer.build(IMAGES.shape)
        layer.gamma.assign([1.0, 2.0, 0.5])
        layer.beta.assign([0.0, 1.0, -1.0])
        images = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images, training=True)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
        gradients = tape.gradient(total, [images, layer.gamma.value, layer.beta.value])
        found.append((outputs, *gradients))
        assert outputs.dtype == layer.compute_dtype
    tolerance = 1e-4 if dtype == "float32" else 3e-2
    for mine, other in zip(*found, strict=True):
        scale = np.abs(np.asarray(other, np.float32)).max()
        np.testing.assert_allclose(
            np.asarray(mine, np.float32) / scale,
            np.asarray(other, np.float32) / scale,
            atol=tolerance,
        )
    np.testing.assert_allclose(
        ours.moving_mean, theirs.moving_mean, rtol=tolerance, atol=1e-3
    )
    n = 8 * 6 * 5
    unbiased = (np.asarray(theirs.moving_variance) - 0.8) * n / (n - 1) + 0.8
    np.testing.assert_allclose(ours.moving_variance, unbiased, rtol=tolerance)
    for layer in (ours, theirs):
        layer.moving_variance.assign([1.0, 2.0, 3.0])
        layer.moving_mean.assign([0.5, 1.0, 1.5])
    np.testing.assert_allclose(
        np.asarray(ours(IMAGES, training=False), np.float32),
        np.asarray(theirs(IMAGES, training=False), np.float32),
        atol=10 * tolerance,
    )


def test_batch_normalization_uses_the_fused_kernel_in_a_graph():
    layer = BatchNormalization()
    layer.build(IMAGES.shape)
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        tf.TensorSpec(IMAGES.shape, tf.float32)
    )
    kinds = {operation.type for operation in graph.graph.get_operations()}
    assert "FusedBatchNormV3" in kinds


@pytest.mark.parametrize("shape", [(4, 7), (4, 5, 7)])
def test_batch_normalization_leaves_other_shapes_to_keras(shape):
    values = np.random.default_rng(1).normal(3, 2, shape).astype(np.float32)
    ours, theirs = BatchNormalization(), keras.layers.BatchNormalization()
    np.testing.assert_array_equal(
        ours(values, training=True), theirs(values, training=True)
    )
    np.testing.assert_array_equal(ours.moving_variance, theirs.moving_variance)


def test_frozen_batch_normalization_moves_nothing():
    layer = BatchNormalization(trainable=False)
    layer(IMAGES, training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


def test_layers_train_with_fit_and_reload_from_a_keras_file(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            BatchNormalization(),
            keras.layers.Flatten(),
            Dropout(0.5),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.arange(8) % 2
    before = model.evaluate(IMAGES, labels, verbose=0)
    model.fit(IMAGES, labels, epochs=15, verbose=0)
    assert model.evaluate(IMAGES, labels, verbose=0) < before
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(reloaded.layers[0], BatchNormalization)
    np.testing.assert_array_equal(
        reloaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_dropout_in_the_loop_keeps_no_state_and_scales_what_stays():
    layer = Dropout(0.25)
    layer.path_in_model = "block/dropout"
    counter = layer.seed_generator.state.numpy()
    step, part = tf.constant(3, tf.int64), tf.constant(0, tf.int64)
    with randomness.at(randomness.Position(7, step, part)):
        first = layer(tf.ones([1000, 10]), training=True).numpy()
        again = layer(tf.ones([1000, 10]), training=True).numpy()
        rest = layer(tf.ones([10, 10]), training=False).numpy()
    assert randomness.current() is None
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(rest, np.ones([10, 10]))
    np.testing.assert_array_equal(layer.seed_generator.state.numpy(), counter)
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert (first == 0).mean() == pytest.approx(0.25, abs=0.02)


def dropped(layer, shape, **options):
    """Which of so many units fall out, in the first step of a run with seed 0."""

    @tf.function(**options)
    def call(zero):
        with randomness.at(randomness.Position(0, zero, zero)):
            return layer(tf.ones(shape), training=True)

    return call(tf.constant(0, tf.int64)).numpy() == 0


def test_neighbours_drop_out_independently():
    """A random number of 32 bits serves two of them."""
    layer = Dropout(0.1)
    layer.path_in_model = "dropout"
    found = dropped(layer, [1_000_000])
    assert found.mean() == pytest.approx(0.1, abs=0.001)
    for distance in (1, 2):
        pairs = found[:-distance][::2] & found[distance:][::2]
        assert pairs.mean() == pytest.approx(0.01, abs=0.0006)


@pytest.mark.parametrize("shape", [[1], [3, 7, 5], [0, 4]])
def test_dropout_is_the_same_under_xla(shape):
    layer = Dropout(0.4)
    layer.path_in_model = "dropout"
    found = dropped(layer, shape)
    assert found.shape == tuple(shape)
    np.testing.assert_array_equal(found, dropped(layer, shape, jit_compile=True))


def test_dropout_takes_a_noise_shape_and_keeps_bfloat16():
    layer = Dropout(0.5, noise_shape=(None, 1, 4), dtype="bfloat16")
    layer.path_in_model = "dropout"
    zero = tf.constant(0, tf.int64)
    with randomness.at(randomness.Position(0, zero, zero)):
        outputs = layer(tf.ones([6, 5, 4], tf.bfloat16), training=True)
    assert outputs.dtype == tf.bfloat16
    mask = np.asarray(outputs, np.float32) > 0
    assert (mask == mask[:, :1]).all()
    assert 0 < mask.mean() < 1
