"""ResNet-50 of `keras.applications` by Keras 3 or tf_keras; see serving.py.

The network is that of 2015 (version 1), and its convolutions have biases.
"""

import importlib
import math

import keras_serving
import resnet_serving
import serving
import tensorflow as tf


def main() -> None:
    """Serves until stdin ends."""
    arguments = resnet_serving.parser(__doc__.splitlines()[0])
    arguments.add_argument("--library", choices=("keras", "tf_keras"), default="keras")
    options = arguments.parse_args()
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    library = importlib.import_module(options.library)
    library.utils.set_random_seed(options.seed)
    if options.dtype == "bf16":
        library.mixed_precision.set_global_policy("mixed_bfloat16")
    model = library.applications.ResNet50(
        weights=None,
        input_shape=(options.image_size, options.image_size, 3),
        classes=resnet_serving.NUM_CLASSES,
        classifier_activation=None,
    )
    model.compile(
        library.optimizers.SGD(options.learning_rate, options.momentum),
        library.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    train = keras_serving.trainer(model, resnet_serving.random_batch(options))
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    versions = {"tensorflow": tf.__version__, options.library: library.__version__}
    serving.serve(options.batch_size, parameters, versions, train)


if __name__ == "__main__":
    main()
