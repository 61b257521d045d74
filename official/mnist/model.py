"""The network that the MNIST model of 2019 trained, in plain Keras."""

import keras
from keras import layers

from official.utils.layers.dropout import Dropout

IMAGE_SHAPE = (28, 28, 1)
NUM_CLASSES = 10


def build_model() -> keras.Model:
    """Two 5x5 convolutions and two dense layers; 1,643,370 weights.

    Images: float [batch, 28, 28, 1], 0 for the ground and 1 for full ink. Outputs:
    logits, float32 [batch, 10].
    """
    images = keras.Input(IMAGE_SHAPE, name="image")
    # [28, 28, 1] -> [14, 14, 32]
    x = layers.Conv2D(32, 5, padding="same", activation="relu", name="conv1")(images)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    # -> [7, 7, 32]
    x = layers.Conv2D(32, 5, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    # 7 * 7 * 32 = 1568
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(1024, activation="relu", name="dense")(x)
    x = Dropout(0.4, name="dropout")(x)
    # float32: a loss in bfloat16 would lose what the last layers gained.
    logits = layers.Dense(NUM_CLASSES, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="mnist")
