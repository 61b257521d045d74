"""How the MNIST model is trained, exported and asked, on the shared loop."""

import glob
import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from official.mnist import dataset, model, pictures, records
from official.utils.data import synthetic
from official.utils.data.records import RecordEvaluationStream, RecordTrainingStream
from official.utils.data.streams import (
    ArrayEvaluationStream,
    ArrayTrainingStream,
    EvaluationStream,
    Share,
    TrainingStream,
)
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.training.losses import classification_loss
from official.utils.training.task import Loss, Task

_SPLITS = ("train", "validation", "test")


class MnistTask(Task):
    """Classifies pictures of digits."""

    name = "mnist"

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        self._parts = None
        if settings.dataset == "mnist":
            self._parts = records.find(settings.data_dir, settings.seed)
        if self._parts is not None:
            return self._load_parts()
        self._data = dataset.load(
            settings.dataset, settings.data_dir, settings.seed, settings.download
        )
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
        return self._description(source)

    def _load_parts(self) -> str:
        """Takes records as they come from their files, batch by batch."""
        self._arrays = {}
        if not self.settings.use_synthetic_data:
            return self._description(self._parts.source)
        example = RecordEvaluationStream(
            self._parts.test.files, len(self._parts.test), self._parts.test.parse
        )
        (form,) = example.dataset(Share(1, 0, 1)).as_numpy_iterator()
        del form["example_weight"]
        self._arrays = {
            split: synthetic.like(form, len(self._part(split))) for split in _SPLITS
        }
        self._parts = None
        return self._description("made-up pictures of its form (--use_synthetic_data)")

    def _part(self, split: str) -> records.Part:
        return getattr(self._parts, split)

    def _description(self, source: str) -> str:
        sizes = ", ".join(
            f"{len(self._part(split)):,} {split}"
            if self._parts
            else f"{len(self._arrays[split]['label']):,} {split}"
            for split in _SPLITS
        )
        return f"{self.settings.dataset}, {source} ({sizes} images)"

    def explain(self, error: tf.errors.OpError) -> UserError | None:
        """See `Task.explain`."""
        parts = getattr(self, "_parts", None)
        return parts.explain(error) if parts else None

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        return model.build_model()

    def training_stream(self) -> TrainingStream:
        """See `Task.training_stream`."""
        settings = self.settings
        calls = settings.num_parallel_calls or os.cpu_count() or 1
        if self._parts is None:
            return ArrayTrainingStream(
                self._arrays["train"],
                settings.batch_size,
                settings.seed,
                parallel_calls=calls,
            )
        part = self._parts.train
        return RecordTrainingStream(
            part.files,
            settings.batch_size,
            settings.seed,
            part.parse,
            part.keep,
            parallel_calls=calls,
        )

    def evaluation_stream(self, split: str) -> EvaluationStream:
        """See `Task.evaluation_stream`."""
        settings = self.settings
        batch_size = settings.eval_batch_size or settings.batch_size
        if self._parts is None:
            return ArrayEvaluationStream(self._arrays[split], batch_size)
        part = self._part(split)
        calls = settings.num_parallel_calls or os.cpu_count() or 1
        return RecordEvaluationStream(
            part.files, batch_size, part.parse, part.keep, calls
        )

    def loss(
        self, network: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy and accuracy; see `Task.loss`."""
        logits = network(_to_input(batch["image"]), training=training)
        return classification_loss(logits, batch)

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
        images = pictures.decode_images(paths, invert=self.settings.invert)
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
