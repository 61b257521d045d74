"""How the classifier is trained, exported and asked, on the shared loop."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.utils.data.records import RecordEvaluationStream, RecordTrainingStream
from official.utils.data.streams import (
    ArrayEvaluationStream,
    ArrayTrainingStream,
    EvaluationStream,
    TrainingStream,
)
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.training import checkpoints
from official.utils.training.losses import classification_loss
from official.utils.training.task import Loss, Task
from official.utils.training.variables import named_variables
from official.vision.image_classification import (
    augmentation,
    dataset,
    parts,
    prediction,
    preprocessing,
    resnet,
    weight_files,
    weights,
)

TOP_K = 5
# The last layer, which --new_head leaves as it is made.
_HEAD = ("model/logits/kernel", "model/logits/bias")


class ClassificationTask(Task):
    """Classifies pictures."""

    name = "resnet"

    def __init__(self, settings):
        """Keeps the flags and what follows from them and the network."""
        super().__init__(settings)
        variant = resnet.VARIANTS[settings.model]
        is_large = variant.has_large_stem
        self._size = settings.image_size or variant.image_size
        self._crop = settings.crop or ("distorted" if is_large else "pad")
        self._normalization = settings.normalization or (
            "mean" if is_large else "per_image"
        )
        # The margin that the crops of 2019 leave; small pictures are taken whole.
        self._resize = round(self._size * 256 / 224) if is_large else self._size
        self._calls = settings.num_parallel_calls or os.cpu_count() or 1

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        if settings.use_synthetic_data:
            data = dataset.synthetic(settings.dataset, self._size, settings.num_classes)
        else:
            data = dataset.load(settings)
        self._data = data
        names = list(data.class_names)
        if settings.num_classes and settings.num_classes < len(names):
            raise UserError(
                f"--num_classes={settings.num_classes}, but the data set has "
                f"{len(names)} classes; leave the flag out"
            )
        names += [
            f"unused {label}" for label in range(len(names), settings.num_classes or 0)
        ]
        self.facts = {"class_names": names}
        sizes = ", ".join(
            f"{len(getattr(data, split)):,} {split}"
            for split in ("train", "validation", "test")
        )
        return f"{data.name}, {data.source} ({sizes} images, {len(names)} classes)"

    def explain(self, error: tf.errors.OpError) -> UserError | None:
        """See `Task.explain`."""
        data = getattr(self, "_data", None)
        for part in (data.train, data.validation, data.test) if data else ():
            found = None
            if isinstance(part, parts.Records):
                found = part.files.explain(error, functools.partial(_decoded, part))
            elif isinstance(part, parts.Files):
                found = prediction.find_damaged(part.paths)
            if found is not None:
                return found
        return None

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        settings = self.settings
        model = resnet.build_model(
            settings.model,
            len(self.facts["class_names"]),
            self._size,
            settings.batch_norm_momentum,
        )
        if settings.freeze:
            stages = resnet.stage_names(settings.model)
            if settings.freeze not in stages:
                raise UserError(
                    f"--freeze={settings.freeze}: {settings.model} has "
                    f"{', '.join(stages)}"
                )
            frozen = stages[: stages.index(settings.freeze) + 1]
            for layer in model.layers:
                if resnet.stage_of(layer.name) in frozen:
                    layer.trainable = False
        return model

    def initial_values(self, path: str, model: keras.Model) -> dict[str, np.ndarray]:
        """See `Task.initial_values`; `path` may also be a file of PyTorch or Keras."""
        new_head = self.settings.new_head
        variables = named_variables(model)
        fresh = {name: variables[name].numpy() for name in _HEAD}
        if path.endswith(weight_files.SUFFIXES):
            values = weights.read_initial(path, model, new_head)
        else:
            values = checkpoints.read_initial(path)
            found = values.get(_HEAD[0])
            here = variables[_HEAD[0]].shape
            if not new_head and found is not None and found.shape[0] == here[0]:
                if found.shape != tuple(here):
                    raise UserError(
                        f"--init_checkpoint={path} has {found.shape[1]} classes and "
                        f"the data {here[1]}; --new_head takes all but the last layer"
                    )
        return values | (fresh if new_head else {})

    def training_stream(self) -> TrainingStream:
        """See `Task.training_stream`."""
        settings, part = self.settings, self._data.train
        if isinstance(part, parts.Records):
            return RecordTrainingStream(
                part.files,
                settings.batch_size,
                settings.seed,
                part.parse,
                part.keep,
                transform=self._training_batch,
                parallel_calls=self._calls,
            )
        return ArrayTrainingStream(
            _arrays(part),
            settings.batch_size,
            settings.seed,
            transform=self._training_batch,
            parallel_calls=self._calls,
        )

    def evaluation_stream(self, split: str) -> EvaluationStream:
        """See `Task.evaluation_stream`."""
        settings, part = self.settings, getattr(self._data, split)
        batch_size = settings.eval_batch_size or settings.batch_size
        if isinstance(part, parts.Records):
            return RecordEvaluationStream(
                part.files,
                batch_size,
                lambda records: self._evaluation_batch(part.parse(records)),
                part.keep,
                self._calls,
            )
        return ArrayEvaluationStream(
            _arrays(part), batch_size, self._evaluation_batch, self._calls
        )

    def _training_batch(self, batch):
        """Decodes, crops and augments: `image` is uint8 [rows, size, size, 3] then."""
        settings, size = self.settings, self._size
        seeds = batch["seed"]
        if self._crop == "distorted":
            rows, read, is_decoded = _pictures(batch)
            crop = preprocessing.random_crop
            if is_decoded:
                crop = preprocessing.random_crop_of_pixels
            images = _map(
                lambda row, seed: crop(read(row), seed, size), size, rows, seeds
            )
        else:
            images = self._whole(batch)
            if self._crop == "pad":
                images = preprocessing.pad_crop_flip(images, seeds, size // 8)
        if settings.rand_augment_layers:
            images = _map(
                lambda image, seed: augmentation.rand_augment(
                    image,
                    seed,
                    settings.rand_augment_layers,
                    settings.rand_augment_magnitude,
                ),
                size,
                images,
                seeds,
            )
        result = {"image": images, "label": batch["label"]}
        if self._mixes:
            result["seed"] = seeds
        return result

    def _evaluation_batch(self, batch):
        result = {
            name: batch[name] for name in ("label", "example_weight") if name in batch
        }
        return result | {"image": self._whole(batch)}

    def _whole(self, batch):
        """Images as evaluation takes them, uint8 [rows, size, size, 3]."""
        size, resize = self._size, self._resize
        rows, read, is_decoded = _pictures(batch)
        if is_decoded and rows.shape[1:3] == (size, size) and resize == size:
            return rows
        crop = preprocessing.center_crop
        if is_decoded:
            crop = preprocessing.center_crop_of_pixels
        return _map(lambda row: crop(read(row), size, resize), size, rows)

    @property
    def _mixes(self) -> bool:
        return self.settings.mixup_alpha > 0 or self.settings.cutmix_alpha > 0

    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy and accuracies; see `Task.loss`."""
        settings, targets = self.settings, None
        images = preprocessing.normalize(batch["image"], self._normalization)
        if training and self._mixes:
            targets = tf.one_hot(batch["label"], len(self.facts["class_names"]))
            images, targets = augmentation.mix(
                images,
                targets,
                batch["seed"],
                settings.mixup_alpha,
                settings.cutmix_alpha,
            )
        return classification_loss(
            model(images, training=training),
            batch,
            targets,
            settings.label_smoothing if training else 0.0,
            TOP_K,
        )

    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """`serving_default(image_bytes)` and `serve_pixels(image)`.

        `image_bytes` is string [N], each a JPEG, PNG, GIF, BMP or WebP file; `image` is
        uint8 [N, height, width, 3]. Both give `classes`, int64 [N], `labels`, string
        [N], and `probabilities`, float32 [N, classes].
        """
        names = self.facts["class_names"]

        def classify(images):
            images = preprocessing.normalize(images, self._normalization)
            probabilities = tf.nn.softmax(model(images, training=False))
            classes = tf.argmax(probabilities, axis=-1)
            return {
                "classes": classes,
                "labels": tf.gather(tf.constant(names), classes),
                "probabilities": probabilities,
            }

        def from_bytes(image_bytes):
            return classify(self._whole({"image_bytes": image_bytes}))

        def from_pixels(image):
            return classify(self._whole({"image": image}))

        content = tf.TensorSpec([None], tf.string, name="image_bytes")
        pixels = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
        return {
            "serving_default": Signature(from_bytes, [content]),
            "serve_pixels": Signature(from_pixels, [pixels]),
        }

    def predict(self, model: keras.Model) -> None:
        """Writes a line of CSV for each file of `--input`."""
        settings = self.settings
        prediction.write(
            tf.function(
                self.signatures(model)["serving_default"].function,
                input_signature=[tf.TensorSpec([None], tf.string)],
            ),
            self.facts["class_names"],
            settings.input,
            settings.output,
            settings.top_k,
            settings.eval_batch_size or settings.batch_size,
        )


def _arrays(part: parts.Part) -> dict[str, np.ndarray]:
    if isinstance(part, parts.Arrays):
        return {"image": part.images, "label": part.labels}
    return {"path": part.paths, "label": part.labels}


def _pictures(batch):
    """Rows of pictures, a function that reads one, and whether it gives pixels."""
    if "image" in batch:
        return batch["image"], tf.identity, True
    if "image_bytes" in batch:
        return batch["image_bytes"], tf.identity, False
    return batch["path"], tf.io.read_file, False


def _map(function, size, *tensors):
    """A function of each row, which gives uint8 [size, size, 3]."""
    return tf.map_fn(
        lambda row: function(*row),
        tensors,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
    )


def _decoded(part: parts.Records, serialized):
    """Parses records and decodes their pictures, to find one that is damaged."""
    batch = part.parse(serialized)
    for content in batch["image_bytes"]:
        preprocessing.decode(content)
    return batch
