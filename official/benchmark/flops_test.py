import keras
import numpy as np
import pytest
import tensorflow as tf

from official.benchmark import flops
from official.utils.training.task import Loss


class SumTask:
    """The loss is the sum of what the network gives."""

    @staticmethod
    def loss(model, batch, training):
        outputs = model(batch["x"], training=training)
        return Loss(tf.reduce_sum(outputs), tf.constant(1.0))


def _counted(layers, shape, batch_size):
    inputs = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    batch = {"x": tf.ones([batch_size, *shape])}
    return flops.training_step(SumTask, keras.Model(inputs, x), batch)


def _conv2d(*args, **kwargs):
    return keras.layers.Conv2D(*args, **kwargs)


# A layer's products run forward, for its kernel's gradient, and for its input's, which
# the first layer does without.
@pytest.mark.parametrize("layers, shape, batch_size, products", [
    pytest.param(
        lambda: [keras.layers.Dense(7, "relu"), keras.layers.Dense(3)],
        (10,), 4,
        4 * (2 * 10 * 7 + 3 * 7 * 3),
        id="dense",
    ),
    pytest.param(
        lambda: [
            _conv2d(5, 3, padding="same"),
            _conv2d(4, 3, strides=2, padding="valid"),
        ],
        (8, 8, 3), 2,
        # The second one is [8, 8] -> [3, 3].
        2 * (2 * (8 * 8 * 5) * (3 * 3 * 3) + 3 * (3 * 3 * 4) * (3 * 3 * 5)),
        id="conv2d",
    ),
    pytest.param(
        lambda: [_conv2d(4, 1), _conv2d(6, 3, padding="same", groups=2)],
        (5, 5, 2), 1,
        2 * (25 * 4) * 2 + 3 * (25 * 6) * (9 * 4 // 2),
        id="groups",
    ),
    pytest.param(
        lambda: [keras.layers.Conv2DTranspose(3, 2, strides=2, padding="same")],
        (4, 4, 5), 1,
        # Each input is multiplied with the whole kernel.
        2 * (4 * 4 * 5) * (2 * 2 * 3),
        id="transposed",
    ),
    pytest.param(
        lambda: [keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)],
        (4, 4, 3), 1,
        2 * (4 * 4 * 3 * 2) * 9,
        id="depthwise",
    ),
    pytest.param(
        lambda: [keras.layers.Conv1D(4, 3, padding="valid")],
        (6, 2), 1,
        2 * (4 * 4) * (3 * 2),
        id="conv1d",
    ),
    pytest.param(
        lambda: [keras.layers.Conv3D(2, 2, padding="same")],
        (3, 3, 3, 2), 1,
        2 * (27 * 2) * (8 * 2),
        id="conv3d",
    ),
])  # fmt: skip
def test_counts_what_a_hand_counts(layers, shape, batch_size, products):
    assert _counted(layers(), shape, batch_size) == flops.Count(2 * products, ())


def test_counts_attention():
    batch_size, tokens, width, heads, size = 2, 6, 16, 2, 8
    x = keras.Input((tokens, width))
    outputs = keras.layers.MultiHeadAttention(heads, size)(x, x)
    counted = flops.training_step(
        SumTask, keras.Model(x, outputs), {"x": tf.ones([batch_size, tokens, width])}
    )
    # Query, key and value need no gradient of the input; the output's projection does.
    projection = batch_size * tokens * width * heads * size
    # Scores, and the weighted mean of the values.
    attention = 2 * batch_size * heads * tokens * tokens * size
    assert counted.flops == 2 * ((3 * 2 + 3) * projection + 3 * attention)
    assert counted.uncounted == ()


@pytest.mark.parametrize(
    "equation, shapes, products",
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("...ij,jk->...ik", [(7, 2, 3, 4), (4, 5)], 7 * 2 * 3 * 4 * 5),
        ("...ij,...jk->...ik", [(2, 3, 4), (6, 2, 4, 5)], 6 * 2 * 3 * 4 * 5),
        ("ij->ji", [(3, 4)], 0),
    ],
)
def test_counts_contractions(equation, shapes, products):
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    function = tf.function(lambda *x: tf.raw_ops.Einsum(inputs=x, equation=equation))
    assert flops.count(function.get_concrete_function(*specs)).flops == 2 * products


def test_names_what_it_cannot_count():
    x = keras.Input((5, 3))
    model = keras.Model(x, keras.layers.LSTM(4)(x))
    counted = flops.training_step(SumTask, model, {"x": np.ones([2, 5, 3], np.float32)})
    assert "MatMul" in counted.uncounted


def test_leaves_out_sizes_that_depend_on_data():
    function = tf.function(lambda a, b: tf.matmul(a, b) + tf.matmul(a[:2], b))
    specs = [tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([4, 3], tf.float32)]
    counted = flops.count(function.get_concrete_function(*specs))
    assert counted == flops.Count(0, ("MatMul",))
