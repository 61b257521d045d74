"""How questions about texts are answered, on the shared loop."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.bert import (
    english,
    model,
    sequences,
    squad_answers,
    squad_data,
    squad_export,
    squad_metrics,
)
from official.bert.questions import Question
from official.bert.squad_data import Windows
from official.bert.task import BertTask
from official.utils.data import splits
from official.utils.data.buckets import (
    BucketedEvaluationStream,
    BucketedTrainingStream,
    Ragged,
    Rows,
)
from official.utils.data.streams import EvaluationStream, Share, TrainingStream
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.training.task import Loss

_SPLITS = ("train", "validation", "test")
# Of the texts, for validation; at most so many of them.
_HELD_OUT_SHARE, _MOST_HELD_OUT = 0.05, 500


class SquadTask(BertTask):
    """Finds the part of a text that answers a question."""

    name = "bert_squad"
    metric = "f1"

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings, notes, embedded = self.settings, "", None
        if settings.dataset == "english":
            train, validation, test = english.questions(settings.seed)
            source, embedded = "stories of the embedded English", english.vocabulary()
        else:
            for name in ("train_file", "predict_file"):
                if not settings[name]:
                    raise UserError(f"--{name} is missing: a JSON file of SQuAD")
            found = squad_data.read_questions(os.path.expanduser(settings.train_file))
            found, left_out = squad_data.for_training(found)
            if left_out:
                notes = (
                    f"; {left_out:,} training questions have no answer in their text"
                )
            train, validation = _divided(found, settings.seed)
            path = os.path.expanduser(settings.predict_file)
            test = squad_data.read_questions(path)
            source = f"{settings.train_file}, test from {settings.predict_file}"
        self._questions = dict(zip(_SPLITS, (train, validation, test), strict=True))
        self.set_network(lambda: _texts(train), embedded)
        self.facts["has_impossible"] = any(each.is_impossible for each in train)
        self._windows = {
            split: self._make_windows(self._questions[split]) for split in _SPLITS
        }
        sizes = ", ".join(
            f"{len(self._questions[split]):,} {split}" for split in _SPLITS
        )
        return (
            f"{settings.dataset}, {source} ({sizes} questions, "
            f"{len(self._windows['train']):,} training windows{notes}); "
            f"{self.describe_network()}"
        )

    def _make_windows(self, questions: Sequence[Question]) -> Windows:
        settings = self.settings
        return squad_data.make_windows(
            questions,
            self.tokenizer,
            settings.max_seq_length,
            settings.doc_stride,
            settings.max_query_length,
        )

    def _rows(self, windows: Windows) -> Rows:
        return self.rows(
            {"ids": Ragged(windows.values, windows.offsets)},
            {
                "segment_start": windows.segment_starts,
                "start": windows.starts,
                "end": windows.ends,
            },
        )

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        return model.build_span_model(self.config, self.settings.recompute)

    def training_stream(self) -> TrainingStream:
        """See `Task.training_stream`."""
        settings = self.settings
        return BucketedTrainingStream(
            self._rows(self._windows["train"]),
            settings.batch_size,
            settings.seed,
            parallel_calls=self._calls,
        )

    def evaluation_stream(self, split: str) -> EvaluationStream:
        """See `Task.evaluation_stream`."""
        return self._stream(self._windows[split])

    def _stream(self, windows: Windows) -> BucketedEvaluationStream:
        settings = self.settings
        batch_size = settings.eval_batch_size or settings.batch_size
        return BucketedEvaluationStream(
            self._rows(windows), batch_size, parallel_calls=self._calls
        )

    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Mean of the cross entropies of first and last piece; see `Task.loss`."""
        logits = _logits(model, batch, training)
        losses = 0.0
        for place, name in enumerate(("start", "end")):
            losses += 0.5 * tf.nn.sparse_softmax_cross_entropy_with_logits(
                batch[name], logits[..., place]
            )
        weights = batch.get("example_weight", tf.ones_like(losses))
        return Loss(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))

    def more_metrics(self, model: keras.Model, split: str) -> dict[str, float]:
        """Exact match and F1 of the answers; see `Task.more_metrics`."""
        questions = self._questions[split]
        found = self._answers(model, questions, self._windows[split])
        return squad_metrics.evaluate(
            questions, {answer.id: answer.text for answer in found}
        )

    def _answers(
        self, model: keras.Model, questions: Sequence[Question], windows: Windows
    ) -> list[squad_answers.Answer]:
        settings = self.settings
        stream = self._stream(windows)
        call = tf.function(lambda batch: _logits(model, batch, training=False))
        scores = np.zeros((len(windows.values), 2), np.float32)
        order = iter(stream.order)
        for batch in stream.dataset(Share(1, 0, 1)):
            logits = call(batch).numpy()
            # Padding of the last batch finds no row left.
            for row, window in zip(logits, order, strict=False):
                first, end = windows.offsets[window : window + 2]
                scores[first:end] = row[: end - first]
        return squad_answers.answers(
            questions,
            windows,
            scores[:, 0],
            scores[:, 1],
            settings.n_best_size,
            settings.max_answer_length,
            self._null_threshold,
        )

    @property
    def _null_threshold(self) -> float | None:
        has_impossible = self.facts["has_impossible"]
        return self.settings.null_score_diff_threshold if has_impossible else None

    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """Questions and texts, or ids, to answers or scores.

        `serving_default(question, context: string [N])` gives `answers`, string [N],
        and `probabilities`, float32 [N]; `serve_ids(input_word_ids, input_mask,
        input_type_ids: int32 [N, length])` gives `start_logits` and `end_logits`,
        float32 [N, length].
        """
        settings = self.settings

        def answer(question, context):
            return squad_export.answer(
                model,
                self.tokenizer,
                question,
                context,
                self.config.max_position_embeddings,
                settings.max_query_length,
                settings.max_answer_length,
                self._null_threshold,
            )

        def scores(inputs):
            logits = model(inputs, training=False)
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}

        names = ("question", "context")
        specs = [tf.TensorSpec([None], tf.string, name=name) for name in names]
        return {
            "serving_default": Signature(answer, specs, self.tokenizer.resources),
            "serve_ids": self.ids_signature(scores),
        }

    def predict(self, model: keras.Model) -> None:
        """Answers the questions of `--input`, a JSON file of SQuAD."""
        settings = self.settings
        if not settings.input or not settings.output:
            raise UserError(
                "--mode=predict needs --input=FILE, a JSON file of SQuAD, and "
                "--output=FOLDER for the answers"
            )
        folder = os.path.expanduser(settings.output)
        if tf.io.gfile.exists(folder):
            raise UserError(
                f"--output={settings.output} exists and is not overwritten; name "
                "another folder"
            )
        questions = squad_data.read_questions(os.path.expanduser(settings.input))
        found = self._answers(model, questions, self._make_windows(questions))
        squad_answers.write(folder, found)
        print(f"{len(found)} answers: {folder}", flush=True)


def _logits(model: keras.Model, batch: Mapping[str, Any], training: bool):
    """float32 [rows, length, 2], of which padding is never chosen."""
    inputs = sequences.network_inputs(
        batch["ids"], batch["ids_length"], batch["segment_start"]
    )
    padding = 1 - tf.cast(inputs["input_mask"], tf.float32)
    return model(inputs, training=training) - 1e9 * padding[..., tf.newaxis]


def _divided(
    questions: list[Question], seed: int
) -> tuple[list[Question], list[Question]]:
    """Training and validation part; the questions of a text stay together."""
    texts = list(dict.fromkeys(each.context for each in questions))
    held_out = min(_MOST_HELD_OUT, int(_HELD_OUT_SHARE * len(texts)))
    if not held_out:
        raise UserError(
            f"--train_file has {len(texts)} texts, too few to hold some out for "
            "validation; give 20 or more"
        )
    _, out = splits.split_indices(len(texts), held_out, seed)
    validation = {texts[i] for i in out.tolist()}
    return (
        [each for each in questions if each.context not in validation],
        [each for each in questions if each.context in validation],
    )


def _texts(questions: Sequence[Question]) -> list[str]:
    contexts = dict.fromkeys(each.context for each in questions)
    return [*contexts, *(each.question for each in questions)]
