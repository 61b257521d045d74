"""How the MNIST model is trained, exported and asked, on the shared loop."""

import glob
import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from official.mnist import dataset, model
from official.utils.data import synthetic
from official.utils.data.streams import ArrayEvaluationStream, ArrayTrainingStream
from official.utils.errors import UserError
from official.utils.training.task import Loss, Signature, Task


class MnistTask(Task):
    """Classifies pictures of digits."""

    name = "mnist"

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        self._data = dataset.load(settings.dataset, settings.data_dir, settings.seed)
        self._arrays = {
            split: {"image": part.images, "label": part.labels}
            for split, part in (
                ("train", self._data.train),
                ("validation", self._data.validation),
                ("test", self._data.test),
            )
        }
        source = (
            f"read from {settings.data_dir}"
            if settings.data_dir and settings.dataset != "digits"
            else "the embedded set of real 8x8 digits from scikit-learn"
        )
        if settings.use_synthetic_data:
            source = "made-up pictures of its form (--use_synthetic_data)"
            self._arrays = {
                split: synthetic.like(arrays, len(arrays["label"]))
                for split, arrays in self._arrays.items()
            }
        sizes = ", ".join(
            f"{len(arrays['label']):,} {split}"
            for split, arrays in self._arrays.items()
        )
        return f"{settings.dataset}, {source} ({sizes} images)"

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        return model.build_model()

    def training_stream(self) -> ArrayTrainingStream:
        """See `Task.training_stream`."""
        return ArrayTrainingStream(
            self._arrays["train"],
            self.settings.batch_size,
            self.settings.seed,
            parallel_calls=self.settings.num_parallel_calls or os.cpu_count() or 1,
        )

    def evaluation_stream(self, split: str) -> ArrayEvaluationStream:
        """See `Task.evaluation_stream`."""
        batch_size = self.settings.eval_batch_size or self.settings.batch_size
        return ArrayEvaluationStream(self._arrays[split], batch_size)

    def loss(
        self, network: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy and accuracy; see `Task.loss`."""
        labels = batch["label"]
        logits = network(_to_input(batch["image"]), training=training)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        guesses = tf.argmax(logits, axis=-1, output_type=labels.dtype)
        hits = tf.cast(guesses == labels, tf.float32)
        weights = batch.get("example_weight", tf.ones_like(losses))
        weight = tf.reduce_sum(weights)
        return Loss(
            total=tf.reduce_sum(losses * weights),
            weight=weight,
            metrics={"accuracy": (tf.reduce_sum(hits * weights), weight)},
        )

    def signatures(self, network: keras.Model) -> Mapping[str, Signature]:
        """`serving_default(image: uint8 [N, 28, 28])`; see `Task.signatures`."""

        def classify(image):
            probabilities = tf.nn.softmax(network(_to_input(image), training=False))
            classes = tf.argmax(probabilities, axis=-1)
            return {"classes": classes, "probabilities": probabilities}

        pixels = tf.TensorSpec([None, 28, 28], tf.uint8, name="image")
        return {"serving_default": Signature(classify, [pixels])}

    def predict(self, network: keras.Model) -> None:
        """Prints file, class and probability for each file of `--input`."""
        paths = _input_files(self.settings.input)
        images = dataset.decode_images(paths, invert=self.settings.invert)
        classify = self.signatures(network)["serving_default"].function
        for start in range(0, len(paths), 256):
            rows = slice(start, start + 256)
            found = classify(tf.constant(images[rows]))
            for path, digit, probabilities in zip(
                paths[rows],
                found["classes"].numpy(),
                found["probabilities"].numpy(),
                strict=True,
            ):
                print(f"{path}\t{digit}\t{probabilities[digit]:.4f}")


def _to_input(images):
    """uint8 [N, 28, 28] to float32 [N, 28, 28, 1] between 0 and 1."""
    return tf.cast(images, tf.float32)[..., tf.newaxis] / 255


def _input_files(pattern_list: str | None) -> list[str]:
    """Files that `--input` names: paths and glob patterns between commas."""
    if not pattern_list:
        raise UserError("--mode=predict needs --input=FILES: png, jpg, bmp or gif")
    paths = []
    for pattern in pattern_list.split(","):
        found = sorted(glob.glob(os.path.expanduser(pattern)))
        if not found:
            raise UserError(f"--input={pattern} matches no file")
        paths += found
    return paths
