"""How BERT is pre-trained, on masked words and next sentences, on the shared loop."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.bert import (
    documents,
    english,
    masking,
    model,
    pretraining_data,
    pretraining_records,
    sequences,
)
from official.bert.model import INPUTS
from official.bert.task import BertTask
from official.utils.data import text_lines
from official.utils.data.buckets import (
    BucketedEvaluationStream,
    BucketedTrainingStream,
    Ragged,
    Rows,
)
from official.utils.data.records import RecordEvaluationStream, RecordTrainingStream
from official.utils.data.streams import EvaluationStream, Share, TrainingStream
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.layers.tokens import ByRow
from official.utils.training.task import Loss

_SPLITS = ("train", "validation", "test")
_ENGLISH_DOCUMENTS = 40_000
# The best of the embedded text takes some milliseconds a sequence.
_MOST_HELD_OUT_ENGLISH = 500


class PretrainingTask(BertTask):
    """Finds masked words, and tells whether a sentence follows another."""

    name = "bert_pretraining"
    metric = "masked_lm_accuracy"

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        self._records = None
        if settings.dataset == "records":
            return self._load_records()
        if settings.dataset == "english":
            found = english.documents(0, _ENGLISH_DOCUMENTS)
            self.set_network(
                lambda: itertools.chain.from_iterable(found), english.vocabulary()
            )
            to_ids = pretraining_data.tokenize_function(self.tokenizer)
            if not settings.use_next_sentence:
                found = [
                    [sentence] for sentence in itertools.chain.from_iterable(found)
                ]
            tokenised = to_ids(found)
            source = "documents of the embedded English"
        else:
            paths = text_lines.find(_patterns(settings.input_files), "--input_files")
            column, is_line = settings.text_column, not settings.use_next_sentence
            self.set_network(
                lambda: itertools.chain.from_iterable(
                    documents.read(paths, column, is_line)
                )
            )
            tokenised = pretraining_data.read_documents(
                paths, self.tokenizer, column, is_line
            )
            source = f"{len(paths)} of --input_files"
        self._parts = self._divided(
            pretraining_data.make_instances(
                tokenised,
                self.tokenizer,
                settings.max_seq_length,
                settings.short_seq_prob,
                settings.seed,
                settings.use_next_sentence,
            )
        )
        lengths = self._parts["train"].lengths
        special = 3 if settings.use_next_sentence else 2
        share = np.round(settings.masked_lm_prob * (lengths - special))
        self._picks_per_row = float(
            np.clip(share, 1, settings.max_predictions_per_seq).mean()
        )
        sizes = ", ".join(f"{len(self._parts[split]):,} {split}" for split in _SPLITS)
        return (
            f"{settings.dataset}, {source} ({sizes} sequences, "
            f"{lengths.sum():,} pieces); {self.describe_network()}"
        )

    def _divided(
        self, instances: Iterator[pretraining_data.Instance]
    ) -> dict[str, Rows]:
        ids, starts, is_random = [], [], []
        for instance in instances:
            ids.append(instance.ids)
            starts.append(instance.segment_start)
            is_random.append(instance.is_random_next)
        is_english = self.settings.dataset == "english"
        most = _MOST_HELD_OUT_ENGLISH if is_english else pretraining_data.MOST_HELD_OUT
        parts = pretraining_data.divide(len(ids), self.settings.seed, most)
        if not parts["test"].size:
            raise UserError(
                f"the text gives {len(ids)} sequences, too few to hold some out for "
                "validation; give more text, or lower --max_seq_length"
            )
        starts, is_random = np.array(starts, np.int32), np.array(is_random, np.int32)
        return {
            split: self.rows(
                {"ids": Ragged.of([ids[i] for i in rows])},
                {"segment_start": starts[rows], "is_random_next": is_random[rows]},
            )
            for split, rows in parts.items()
        }

    def _load_records(self) -> str:
        settings = self.settings
        if not (settings.vocab_file or settings.init_checkpoint or self.recorded):
            raise UserError(
                "--dataset=records needs --vocab_file, the vocabulary that the records "
                "were made with"
            )
        self.set_network(lambda: ())
        self._records = pretraining_records.open_files(
            _patterns(settings.input_files), settings
        )
        self._picks_per_row = min(
            settings.max_predictions_per_seq,
            settings.masked_lm_prob * settings.max_seq_length,
        )
        records = self._records
        sizes = ", ".join(f"{int(records.keep[s].sum()):,} {s}" for s in _SPLITS)
        return (
            f"records, {len(records.files.paths)} of --input_files ({sizes} "
            f"sequences); {self.describe_network()}"
        )

    def explain(self, error: tf.errors.OpError) -> UserError | None:
        """See `Task.explain`."""
        records = getattr(self, "_records", None)
        return records.files.explain(error, records.parse) if records else None

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        settings = self.settings
        return model.build_pretraining_model(
            self.config, settings.use_next_sentence, settings.recompute
        )

    # ---- Batches ----

    def training_stream(self) -> TrainingStream:
        """See `Task.training_stream`."""
        settings, records = self.settings, self._records
        if records:
            return RecordTrainingStream(
                records.files,
                settings.batch_size,
                settings.seed,
                records.parse,
                records.keep["train"],
                parallel_calls=self._calls,
            )
        return BucketedTrainingStream(
            self._parts["train"],
            settings.batch_size,
            settings.seed,
            self._mask,
            self._calls,
        )

    def evaluation_stream(self, split: str) -> EvaluationStream:
        """See `Task.evaluation_stream`; the masks of a row are always the same."""
        settings, records = self.settings, self._records
        batch_size = settings.eval_batch_size or settings.batch_size
        if records:
            return RecordEvaluationStream(
                records.files,
                batch_size,
                records.parse,
                records.keep[split],
                self._calls,
            )
        return BucketedEvaluationStream(
            self._parts[split], batch_size, self._mask, self._calls
        )

    def _mask(self, batch):
        """Hides words of a batch of sequences, and makes the network's inputs."""
        settings = self.settings
        vocabulary = self.facts["vocabulary"]
        masked = masking.mask(
            batch["ids"],
            batch["ids_length"],
            batch["seed"],
            self.tokenizer,
            settings.masked_lm_prob,
            settings.max_predictions_per_seq,
            masking.continuations(vocabulary) if settings.do_whole_word_mask else None,
        )
        inputs = sequences.network_inputs(
            masked.pop("input_word_ids"), batch["ids_length"], batch["segment_start"]
        )
        result = inputs | masked | {"next_sentence_labels": batch["is_random_next"]}
        if "example_weight" in batch:
            result["example_weight"] = batch["example_weight"]
        return result

    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy of masked words, and of next sentences; see `Task.loss`.

        The original divides the first sum by the number of words and the second by that
        of rows. Here both are divided by the number of words, and the second is taken
        times the mean number of words a row first: so sums of parts of a batch add up.
        """
        names = (*INPUTS, "masked_lm_positions")
        outputs = model({name: batch[name] for name in names}, training=training)
        labels = tf.reshape(batch["masked_lm_ids"], [-1])
        weights = batch["masked_lm_weights"]
        rows = batch.get("example_weight", tf.ones_like(weights[:, 0]))
        weights = tf.reshape(weights * rows[:, tf.newaxis], [-1])
        logits = outputs["masked_lm"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        hits = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
        total, weight = tf.reduce_sum(losses * weights), tf.reduce_sum(weights)
        metrics = {
            "masked_lm_loss": (total, weight),
            "masked_lm_accuracy": (_sum(hits, weights), weight),
        }
        if self.settings.use_next_sentence:
            labels, logits = batch["next_sentence_labels"], outputs["next_sentence"]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            hits = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
            metrics["next_sentence_accuracy"] = (
                _sum(hits, rows),
                tf.reduce_sum(rows),
            )
            total += tf.reduce_sum(losses * rows) * self._picks_per_row
        return Loss(total, weight, metrics)

    def more_metrics(self, model: keras.Model, split: str) -> dict[str, float]:
        """What the generator of the embedded text knows; see `Task.more_metrics`."""
        if self.settings.dataset != "english" or split != "test":
            return {}
        hits = total = 0.0
        for batch in self.evaluation_stream(split).dataset(Share(1, 0, 1)):
            found = {name: value.numpy() for name, value in batch.items()}
            weights = found["masked_lm_weights"] * found["example_weight"][:, None]
            words, _ = english.best_masked_predictions(
                found["input_word_ids"], found["masked_lm_positions"], weights
            )
            hits += float(((words == found["masked_lm_ids"]) * weights).sum())
            total += float(weights.sum())
        return {"best_masked_lm_accuracy": hits / total}

    # ---- Export ----

    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """The encoder: texts, or ids, to hidden states.

        `serving_default(text: string [N])` and `serve_ids(input_word_ids, input_mask,
        input_type_ids: int32 [N, length])` give `sequence_output`, float32 [N, length,
        hidden], and `pooled_output`, [N, hidden], where it was trained.
        """
        inputs = {name: model.input[name] for name in INPUTS}
        last = model.get_layer(f"block{self.config.num_hidden_layers}").output
        ids = inputs["input_word_ids"]
        outputs = {"sequence_output": ByRow(name="sequence_output")(last, ids)}
        if self.settings.use_next_sentence:
            outputs["pooled_output"] = model.get_layer("pooler").output
        encoder = keras.Model(inputs, outputs)

        def encode(inputs):
            found = encoder(inputs, training=False)
            return {name: tf.cast(value, tf.float32) for name, value in found.items()}

        def encode_text(text):
            length = self.settings.max_seq_length
            return encode(sequences.serving_inputs(self.tokenizer, [text], length))

        spec = tf.TensorSpec([None], tf.string, name="text")
        return {
            "serving_default": Signature(encode_text, [spec], self.tokenizer.resources),
            "serve_ids": self.ids_signature(encode),
        }

    def predict(self, model: keras.Model) -> None:
        """There is nothing to predict."""
        raise UserError(
            "run_pretraining has no --mode=predict; train run_classifier or run_squad "
            "with --init_checkpoint, or load the SavedModel for hidden states"
        )


def _sum(hits, weights):
    return tf.reduce_sum(tf.cast(hits, tf.float32) * weights)


def _patterns(inputs: str | None) -> list[str]:
    if not inputs:
        raise UserError("--input_files is missing: files or patterns between commas")
    return [pattern.strip() for pattern in inputs.split(",")]
