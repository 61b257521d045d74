"""Fine-tunes BERT-base of keras-hub on TensorFlow; see serving.py."""

import math
import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import bert_serving
import keras
import keras_hub
import keras_serving
import serving
import tensorflow as tf


def main() -> None:
    """Serves until stdin ends."""
    options = bert_serving.parser(__doc__.splitlines()[0]).parse_args()
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    keras.utils.set_random_seed(options.seed)
    if options.dtype == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=options.vocab_size,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        intermediate_dim=3072,
        dropout=0.1,
        max_sequence_length=512,
    )
    model = keras_hub.models.BertTextClassifier(
        backbone, num_classes=bert_serving.NUM_CLASSES, preprocessor=None
    )
    model.compile(
        keras.optimizers.AdamW(
            options.learning_rate,
            weight_decay=0.0,
            global_clipnorm=options.clip_norm or None,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    inputs, labels = bert_serving.random_batch(options)
    names = ("token_ids", "padding_mask", "segment_ids")
    batch = dict(zip(names, inputs.values(), strict=True)), labels
    train = keras_serving.trainer(model, batch)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    versions = {"tensorflow": tf.__version__, "keras_hub": keras_hub.__version__}
    serving.serve(options.batch_size, parameters, versions, train)


if __name__ == "__main__":
    main()
