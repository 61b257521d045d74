"""What the programs that train by Keras' `fit` share."""

from collections.abc import Callable

import tensorflow as tf


def trainer(model, batch) -> Callable[[int], float]:
    """Trains a compiled model on one batch that lies in memory, as most people do.

    Args:
        model: of Keras 3 or tf_keras.
        batch: inputs and labels.

    Returns:
        A function of a number of steps: runs that many as one epoch of `fit`, and
        returns the loss.
    """
    # The tuner of tf.data has nothing to tune here, and `fit` waits at its end until
    # that wakes up: after 2.55, 5.11, 10.23 s and so on from its beginning.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensors(batch).repeat().with_options(options)

    def train(count):
        history = model.fit(dataset, steps_per_epoch=count, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    return train
