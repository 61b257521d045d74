import numpy as np
import pytest
import tensorflow as tf

from official.utils.layers.rows import empty_rows, write_rows


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [3, 8])
def test_a_loop_writes_rows(dtype, size):
    @tf.function(autograph=False)
    def run(number):
        def step(i, values):
            news = tf.cast(tf.fill([2, size], i + 1), values.dtype)
            return i + 1, write_rows(values, tf.stack([i, 7 - i]), news)

        start = (tf.constant(0), empty_rows(8, size, dtype))
        shapes = (tf.TensorShape([]), tf.TensorShape([None, size]))
        return tf.while_loop(lambda i, values: i < number, step, start, shapes)[1]

    ends = [1, 2, 3, 0, 0, 3, 2, 1]
    expected = np.repeat(np.array(ends, "float32")[:, None], size, axis=1)
    np.testing.assert_array_equal(tf.cast(run(3), tf.float32), expected)
    # Nothing of one call is left in the next.
    expected[[1, 2, 5, 6]] = 0
    np.testing.assert_array_equal(tf.cast(run(1), tf.float32), expected)
