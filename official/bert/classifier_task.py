"""How sentences and pairs are classified, or scored, on the shared loop."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.bert import (
    classification_data,
    classifier_prediction,
    english,
    metrics,
    model,
    sequences,
    vocabulary,
)
from official.bert.task import BertTask
from official.utils.data.buckets import (
    BucketedEvaluationStream,
    BucketedTrainingStream,
    Ragged,
    Rows,
)
from official.utils.data.streams import EvaluationStream, Share, TrainingStream
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.training.losses import classification_loss
from official.utils.training.task import Loss

_SPLITS = ("train", "validation", "test")
# As many pieces as the English network that was published.
_MADE_UP_PIECES = 30_522
_MADE_UP_ROWS = 512


class ClassifierTask(BertTask):
    """Classifies a text or a pair of texts; scores them where labels are numbers."""

    name = "bert_classifier"

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        if settings.use_synthetic_data:
            return self._make_up()
        embedded = None
        if settings.dataset == "english":
            data = english.classification(settings.seed)
            embedded = english.vocabulary()
        else:
            columns = classification_data.Columns(
                settings.text_a, settings.text_b, settings.label
            )
            data = classification_data.load(
                settings.dataset, settings.data_dir, settings.seed, columns
            )
        self._metrics = data.metrics
        self.metric = data.metrics[0]
        self.set_network(lambda: _texts(data.train), embedded)
        self.facts |= {
            "label_names": list(data.label_names),
            "num_texts": 1 if data.train.text_b is None else 2,
        }
        self._parts = {split: self._pack(getattr(data, split)) for split in _SPLITS}
        self.warn_of_cut(self._parts["train"].lengths, "training sequences")
        sizes = ", ".join(f"{len(self._parts[split]):,} {split}" for split in _SPLITS)
        kinds = f"{len(data.label_names)} classes" if data.label_names else "scores"
        notes = "".join(f"; {note}" for note in data.notes)
        return (
            f"{data.name}, {data.source} ({sizes} examples, {kinds}{notes}); "
            f"{self.describe_network()}"
        )

    def _make_up(self) -> str:
        """Random sequences of full length, to measure speed without reading."""
        self._metrics = (self.metric,)
        pieces = self.settings.vocab_size or _MADE_UP_PIECES
        self.set_network(lambda: (), vocabulary.made_up(pieces))
        self.facts |= {"label_names": ["class 0", "class 1"], "num_texts": 1}
        generator = np.random.default_rng(0)
        shape = (_MADE_UP_ROWS, self.settings.max_seq_length)
        ids = generator.integers(0, self.config.vocab_size, shape)
        rows = self.rows(
            {"ids": Ragged.of(ids)},
            {
                "segment_start": np.full(_MADE_UP_ROWS, shape[1], np.int32),
                "label": generator.integers(0, 2, _MADE_UP_ROWS, np.int32),
            },
        )
        self._parts = dict.fromkeys(_SPLITS, rows)
        return (
            f"made-up sequences of {shape[1]} pieces (--use_synthetic_data); "
            f"{self.describe_network()}"
        )

    def _pack(self, part: classification_data.Part) -> Rows:
        ids, starts = sequences.pack_all(
            self.tokenizer, part.text_a, part.text_b, self.settings.max_seq_length
        )
        return self.rows({"ids": ids}, {"segment_start": starts, "label": part.labels})

    @property
    def _is_regression(self) -> bool:
        return not self.facts["label_names"]

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        outputs = len(self.facts["label_names"]) or 1
        return model.build_classifier(self.config, outputs, self.settings.recompute)

    def training_stream(self) -> TrainingStream:
        """See `Task.training_stream`."""
        settings = self.settings
        return BucketedTrainingStream(
            self._parts["train"],
            settings.batch_size,
            settings.seed,
            parallel_calls=self._calls,
        )

    def evaluation_stream(self, split: str) -> EvaluationStream:
        """See `Task.evaluation_stream`."""
        settings = self.settings
        batch_size = settings.eval_batch_size or settings.batch_size
        return BucketedEvaluationStream(
            self._parts[split], batch_size, parallel_calls=self._calls
        )

    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy and accuracy, or the squared error; see `Task.loss`."""
        logits = model(_inputs(batch), training=training)
        if not self._is_regression:
            return classification_loss(logits, batch)
        losses = tf.square(logits[:, 0] - batch["label"])
        weights = batch.get("example_weight", tf.ones_like(losses))
        return Loss(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))

    def more_metrics(self, model: keras.Model, split: str) -> dict[str, float]:
        """F1, correlations and the like; see `Task.more_metrics`."""
        names = [name for name in self._metrics if name != "accuracy"]
        if not names:
            return {}
        logits = self._outputs(model, split)
        labels = self._parts[split].arrays["label"]
        guesses = logits[:, 0] if self._is_regression else logits.argmax(axis=-1)
        return metrics.compute(names, labels, guesses)

    def _outputs(self, model: keras.Model, split: str) -> np.ndarray:
        """Logits of every example in its order, float32 [examples, outputs]."""
        stream = self.evaluation_stream(split)
        call = tf.function(lambda batch: model(_inputs(batch), training=False))
        found = [call(batch).numpy() for batch in stream.dataset(Share(1, 0, 1))]
        logits = np.concatenate(found)[: len(self._parts[split])]
        result = np.empty_like(logits)
        result[stream.order] = logits
        return result

    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """Texts, or ids, to classes and probabilities, or to scores.

        `serving_default(text: string [N])`, or `(text_a, text_b)` for pairs, and
        `serve_ids(input_word_ids, input_mask, input_type_ids: int32 [N, length])`.
        """
        label_names = tf.constant(self.facts["label_names"], tf.string)
        length = self.settings.max_seq_length

        def answer(inputs):
            logits = model(inputs, training=False)
            if self._is_regression:
                return {"score": logits[:, 0]}
            probabilities = tf.nn.softmax(logits)
            classes = tf.argmax(probabilities, axis=-1)
            return {
                "classes": classes,
                "labels": tf.gather(label_names, classes),
                "probabilities": probabilities,
            }

        def classify(*texts):
            return answer(sequences.serving_inputs(self.tokenizer, texts, length))

        names = ["text"] if self.facts["num_texts"] == 1 else ["text_a", "text_b"]
        specs = [tf.TensorSpec([None], tf.string, name=name) for name in names]
        return {
            "serving_default": Signature(classify, specs, self.tokenizer.resources),
            "serve_ids": self.ids_signature(answer),
        }

    def predict(self, model: keras.Model) -> None:
        """Writes labels and probabilities of the lines of `--input`."""
        settings = self.settings
        if not settings.input:
            raise UserError(
                "--mode=predict needs --input=FILE: a text a line, or two with a tab "
                "between them for pairs"
            )
        classifier_prediction.predict(
            self.signatures(model)["serving_default"].function,
            settings.input,
            settings.output,
            self.facts["label_names"],
            self.facts["num_texts"],
            settings.eval_batch_size or settings.batch_size,
        )


def _inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    return sequences.network_inputs(
        batch["ids"], batch["ids_length"], batch["segment_start"]
    )


def _texts(part: classification_data.Part) -> Sequence[str]:
    return part.text_a + (part.text_b or [])
