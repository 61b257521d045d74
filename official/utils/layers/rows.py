"""A tensor whose rows are written one step after the other, without a copy."""

from typing import Any

import keras
from keras import ops


def empty_rows(number: Any, size: int, dtype: str) -> Any:
    """Zeros, [number, size], that `write_rows` may change."""
    if keras.backend.backend() != "tensorflow":
        return ops.zeros((number, size), dtype)
    import tensorflow as tf

    # Zeros would be folded into a constant of the graph, and that be written to.
    return tf.raw_ops.Empty(shape=[number, size], dtype=tf.as_dtype(dtype), init=True)


def pick_rows(values: Any, rows: Any) -> Any:
    """Rows, [count, size], of [number, size], by their numbers, int32 [count]."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(values, rows, axis=0)
    import tensorflow as tf

    # ops.take goes over the numbers first, for some might be negative.
    return tf.gather(values, rows)


def write_rows(values: Any, rows: Any, news: Any) -> Any:
    """Writes some rows.

    TensorFlow's scatter copies the whole tensor in each step of a loop. This writes
    into the tensor that it is given, which is not to be used again.

    Args:
        values: [number, size], of `empty_rows`, or computed from it.
        rows: int32 [count], which.
        news: [count, size], of the same dtype.

    Returns:
        The tensor to go on with.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.scatter_update(values, rows[:, None], news)
    import tensorflow as tf

    # The kernel takes one number after the other: those of eight bytes are fewer.
    dtype, size = values.dtype, values.shape[-1]
    packed = 8 // dtype.size
    if size is None or size % packed:
        return tf.raw_ops.InplaceUpdate(x=values, i=rows, v=news)

    def in_eights(x):
        return tf.bitcast(tf.reshape(x, [-1, size // packed, packed]), tf.int64)

    written = tf.raw_ops.InplaceUpdate(x=in_eights(values), i=rows, v=in_eights(news))
    return tf.reshape(tf.bitcast(written, dtype), [-1, size])
