"""How the Transformer learns to translate on the shared loop."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from official.transformer import (
    bleu,
    decoding,
    numbers,
    parallel_text,
    prediction,
    prepared,
    text,
    wmt14,
)
from official.transformer import config as configs
from official.transformer.config import TransformerConfig
from official.transformer.decoding import DecodingOptions
from official.transformer.model import Transformer
from official.transformer.translation import Translator
from official.utils.data.buckets import BucketedEvaluationStream, Rows
from official.utils.data.streams import EvaluationStream, TrainingStream
from official.utils.data.token_batches import TokenTrainingStream
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.logs import console
from official.utils.training.losses import projected_cross_entropy
from official.utils.training.task import Loss, Task

_SPLITS = ("train", "validation", "test")
_FLAG_OF_SPLIT = {"train": "train", "validation": "validation", "test": "eval"}
# Rows of an evaluation batch.
_EVALUATION_ROWS = 64
# Logits are in memory for so many bytes at a time, but for so many tokens at least:
# products of few rows are slow.
_LOGITS_BYTES = 8 << 20
_LOGITS_ROWS = 256


class TransformerTask(Task):
    """Translates sentences."""

    name = "transformer"
    metric = "bleu"
    counts_tokens = True

    _text: Any = None

    @property
    def config(self) -> TransformerConfig:
        """Sizes and settings of the network."""
        return TransformerConfig(**self.facts["config"])

    @property
    def text(self) -> Any:
        """The vocabulary, built once."""
        if self._text is None:
            self._text = text.from_facts(self.facts["vocabulary"])
        return self._text

    # ---- Data ----

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        if settings.dataset == "numbers":
            source = self._load_numbers()
        else:
            source = self._load_files()
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in self._pairs.items())
        empty = sum(pairs.num_empty for pairs in self._pairs.values())
        long = sum(pairs.num_long for pairs in self._pairs.values())
        if empty:
            console.warn(f"{empty:,} pairs with an empty side are left out")
        if long:
            console.warn(
                f"{long:,} pairs of more than --max_length={settings.max_length} "
                "pieces are left out"
            )
        config = self.config
        return (
            f"{settings.dataset}, {source} ({sizes} pairs); Transformer of "
            f"{config.encoder_layers} + {config.decoder_layers} layers, "
            f"{config.hidden_size} wide, {config.vocab_size:,} pieces"
        )

    def _load_numbers(self) -> str:
        drawn = numbers.draw(self.settings.seed)
        both = {split: numbers.sentences(drawn[split]) for split in _SPLITS}
        self._set_network(lambda: [line for side in both["train"] for line in side])
        self._references = {split: both[split] for split in _SPLITS[1:]}
        self._pairs = {
            split: prepared.of_sentences(*sides, self.text, self.settings.max_length)
            for split, sides in both.items()
        }
        return "embedded numbers in English and German words"

    def _load_files(self) -> str:
        settings = self.settings
        if settings.dataset == "wmt14_en_de":
            found = wmt14.find(settings.data_dir)
        else:
            found = {
                split: parallel_text.find(
                    settings[f"{flag}_source"],
                    settings[f"{flag}_target"],
                    settings.data_dir,
                    flag,
                )
                for split, flag in _FLAG_OF_SPLIT.items()
            }
        self._set_network(
            lambda: itertools.chain.from_iterable(parallel_text.pairs(*found["train"]))
        )
        self._references = {
            split: tuple(map(list, zip(*_full_pairs(*found[split]), strict=True)))
            for split in _SPLITS[1:]
        }
        self._pairs = {}
        if settings.mode != "eval":
            self._pairs["train"] = prepared.of_files(
                *found["train"],
                self.text,
                settings.max_length,
                os.path.join(self.folder, "prepared"),
                settings.num_parallel_calls or os.cpu_count() or 1,
            )
            self.files_in_use = (self._pairs["train"].path,)
        for split, sides in self._references.items():
            self._pairs[split] = prepared.of_sentences(
                *sides, self.text, settings.max_length
            )
        return ", ".join(found["train"][0] + found["train"][1])

    def _set_network(self, sentences) -> None:
        """Sets `facts`: vocabulary and settings of the network."""
        settings = self.settings
        if self.recorded:
            self.facts = dict(self.recorded)
            return
        if settings.vocab_file:
            vocabulary = text.read(settings.vocab_file)
        else:
            vocabulary = text.learn(
                sentences(), settings.vocab_size, settings.vocab_kind
            )
        names = ("norm", "dropout", "attention_dropout", "activation_dropout")
        given = {n: settings[n] for n in names if settings[n] is not None}
        config = configs.of_size(settings.model_size, vocabulary.vocab_size, **given)
        self._text = vocabulary
        self.facts = {
            "config": dataclasses.asdict(config),
            "vocabulary": vocabulary.to_facts(),
        }

    # ---- Training ----

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        return Transformer(self.config, name="transformer")

    def _rows(self, split: str) -> Rows:
        settings, pairs = self.settings, self._pairs[split]
        needs_one_shape = settings.distribution_strategy == "tpu"
        return Rows(
            {"inputs": pairs.inputs, "targets": pairs.targets},
            # XLA compiles anew for each length.
            multiple=32 if settings.enable_xla else 1,
            fixed_length=settings.max_length if needs_one_shape else None,
        )

    def training_stream(self) -> TrainingStream:
        """Batches of `--batch_size` tokens; see `Task.training_stream`."""
        settings = self.settings
        return TokenTrainingStream(
            self._rows("train"),
            settings.batch_size,
            settings.seed,
            multiple=settings.gradient_accumulation_steps,
        )

    def evaluation_stream(self, split: str) -> EvaluationStream:
        """See `Task.evaluation_stream`."""
        rows = self.settings.eval_batch_size or _EVALUATION_ROWS
        return BucketedEvaluationStream(self._rows(split), rows)

    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy of smoothed labels and accuracy, a piece; see `Task.loss`."""
        names = ("inputs", "targets")
        inputs = {name: tf.cast(batch[name], tf.int32) for name in names}
        memory = model.encode(inputs["inputs"], training=training)
        x = model.decode(inputs["targets"], memory, inputs["inputs"], training=training)
        weights = tf.cast(tf.not_equal(inputs["targets"], 0), tf.float32)
        if "example_weight" in batch:
            weights *= batch["example_weight"][:, tf.newaxis]
        weights = tf.reshape(weights, [-1])
        weight = tf.reduce_sum(weights)
        total, hits = projected_cross_entropy(
            x,
            *model.output_weights(),
            tf.reshape(inputs["targets"], [-1]),
            weights,
            self.settings.label_smoothing,
            self._num_parts(),
            training,
        )
        return Loss(total, weight, {"accuracy": (hits, weight)})

    def _num_parts(self) -> int:
        """Parts of a batch whose logits are in memory one after the other."""
        settings = self.settings
        tokens = settings.batch_size // settings.gradient_accumulation_steps
        rows = max(_LOGITS_ROWS, _LOGITS_BYTES // (4 * self.config.vocab_size))
        return -(-tokens // rows)

    # ---- Translation ----

    def _options(self) -> DecodingOptions:
        settings = self.settings
        return DecodingOptions(
            settings.beam_size,
            settings.length_penalty,
            settings.max_extra_length,
            settings.sampling_temperature,
            settings.seed,
        )

    def translator(self, model: keras.Model, options: DecodingOptions) -> Translator:
        """Translates with a network.

        Args:
            model: of `build_model`; later calls with the same one trace nothing.
            options: how translations are found.
        """
        known = self.__dict__.setdefault("_translators", {})
        key = (id(model), options)
        if key not in known:
            known[key] = Translator(
                model,
                self.text,
                options,
                self.settings.max_length,
                self.settings.decode_batch_size,
            )
        return known[key]

    def more_metrics(self, model: keras.Model, split: str) -> dict[str, float]:
        """BLEU and exact matches; of validation data by greedy search, for speed."""
        options = self._options()
        if split == "validation":
            options = dataclasses.replace(options, beam_size=1)
        sources, references = self._references[split]
        found = self.translator(model, options).translate(sources)
        hypotheses = [best[0].text for best in found]
        matches = sum(a == b for a, b in zip(hypotheses, references, strict=True))
        score, signature = bleu.corpus_bleu(hypotheses, references)
        if split == "test":
            print(f"bleu: {signature}", flush=True)
        return {
            "bleu": score,
            "bleu_char": bleu.corpus_bleu(hypotheses, references, "char")[0],
            "exact_match": matches / len(references),
        }

    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """Sentences, or ids, to translations.

        `serving_default(text: string [N])` gives `translation`, string [N], and
        `score`, float32 [N]; `serve_ids(inputs: int32 [N, length])` gives `outputs`,
        int32 [N, longest], and `scores`, float32 [N].
        """
        options, most = self._options(), self.settings.max_length

        def translate_ids(inputs):
            found = decoding.decode(model, inputs, options)
            return {"outputs": found["outputs"][:, 0], "scores": found["scores"][:, 0]}

        ids = tf.TensorSpec([None, None], tf.int32, name="inputs")
        signatures = {"serve_ids": Signature(translate_ids, [ids])}

        def translate(text):
            ids = self.text.encode(text)
            # What is too long is cut, and ends as the others do.
            ends = ids[:, -1:]
            ids = tf.concat([ids[:, :-1][:, : most - 1], ends], axis=1)
            found = translate_ids(ids.to_tensor(0))
            return {
                "translation": self.text.decode(found["outputs"]),
                "score": found["scores"],
            }

        spec = tf.TensorSpec([None], tf.string, name="text")
        return signatures | {
            "serving_default": Signature(translate, [spec], self.text.resources)
        }

    def predict(self, model: keras.Model) -> None:
        """Translates the lines of `--input`."""
        settings = self.settings
        prediction.translate_file(
            self.translator(model, self._options()),
            settings.input,
            settings.output,
            settings.n_best,
        )


def _full_pairs(sources: Sequence[str], targets: Sequence[str]) -> list:
    pairs = [pair for pair in parallel_text.pairs(sources, targets) if all(pair)]
    if not pairs:
        raise UserError(f"{sources[0]} and {targets[0]} hold no pair of sentences")
    return pairs
