"""What the tasks of BERT share: vocabulary, network, weights and export."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.bert import (
    checkpoint_names,
    foreign_checkpoints,
    learn_vocab,
    model,
    vocabulary,
)
from official.bert import config as configs
from official.bert.config import BertConfig
from official.bert.text import Tokenizer
from official.utils.data.buckets import Rows
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.logs import console
from official.utils.training.task import Task
from official.utils.training.variables import named_variables

# Parts above the encoder, which another task has none of or others.
_HEADS = ("pooler", "logits", "word_transform", "word_bias", "next_sentence")
_LEARNT_PIECES = 8000


class BertTask(Task):
    """A task on the encoder.

    Attributes:
        config: sizes and settings of the network; `load` or a checkpoint sets it.
    """

    _tokenizer: Tokenizer | None = None

    @property
    def config(self) -> BertConfig:
        """Sizes and settings of the network."""
        return BertConfig(**self.facts["config"])

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the network, built once."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(
                self.facts["vocabulary"], self.facts["lower_case"]
            )
        return self._tokenizer

    @property
    def _calls(self) -> int:
        return self.settings.num_parallel_calls or os.cpu_count() or 1

    # ---- Vocabulary and network ----

    def set_network(
        self, texts: Callable[[], Iterable[str]], embedded: list[str] | None = None
    ) -> None:
        """Sets `facts`: vocabulary and settings of the network.

        They are those of the run's checkpoint, else of the flags, else of
        `--init_checkpoint`; else the vocabulary is learnt.

        Args:
            texts: gives the training text, to learn a vocabulary from.
            embedded: the vocabulary of an embedded data set, which needs not be learnt.

        Raises:
            UserError: a file is wrong, or two of them do not fit each other.
        """
        settings = self.settings
        if self.recorded:
            self.facts = dict(self.recorded)
            return
        initial = None
        if settings.init_checkpoint:
            initial = foreign_checkpoints.read_initial(settings.init_checkpoint)
        lower_case = settings.lower_case
        if lower_case is None:
            known = initial is not None and initial.lower_case is not None
            lower_case = initial.lower_case if known else True
        # The embedded vocabulary has no capitals.
        lower_case = lower_case or embedded is not None
        is_learnt = False
        if settings.vocab_file:
            pieces = vocabulary.read(settings.vocab_file)
        elif initial is not None:
            pieces = initial.vocabulary
            if pieces is None:
                raise UserError(
                    f"--init_checkpoint={settings.init_checkpoint} comes without a "
                    "vocabulary; give its vocab.txt with --vocab_file"
                )
        elif embedded is not None:
            pieces = list(embedded)
        else:
            is_learnt = True
            pieces = learn_vocab.learn(
                texts(), settings.vocab_size or _LEARNT_PIECES, lower_case
            )
        if settings.bert_config_file:
            config = configs.read(settings.bert_config_file)
        elif initial is not None:
            config = initial.config
        else:
            is_small = is_learnt or embedded is not None
            size = settings.model_size or ("tiny" if is_small else "base")
            config = configs.of_size(
                size, len(pieces), max_position_embeddings=self._positions()
            )
        if config.vocab_size != len(pieces):
            source = settings.bert_config_file or settings.init_checkpoint
            raise UserError(
                f"the vocabulary has {len(pieces)} pieces, but {source} is a network "
                f"of {config.vocab_size}; give the vocab.txt that belongs to it"
            )
        if settings.max_seq_length > config.max_position_embeddings:
            raise UserError(
                f"--max_seq_length={settings.max_seq_length} is more than the "
                f"{config.max_position_embeddings} positions of the network; lower it"
            )
        rates = {
            "hidden_dropout_prob": settings.hidden_dropout,
            "attention_probs_dropout_prob": settings.attention_dropout,
        }
        given = {name: rate for name, rate in rates.items() if rate is not None}
        config = dataclasses.replace(config, **given)
        self.facts = {
            "config": dataclasses.asdict(config),
            "vocabulary": list(pieces),
            "lower_case": bool(lower_case),
        }

    def _positions(self) -> int:
        return max(512, self.settings.max_seq_length)

    def describe_network(self) -> str:
        """The network in a few words, for the first line of a run."""
        config = self.config
        return (
            f"BERT of {config.num_hidden_layers} layers, {config.hidden_size} wide, "
            f"{config.vocab_size:,} pieces"
        )

    # ---- Weights ----

    def initial_values(self, path: str, model: keras.Model) -> dict[str, np.ndarray]:
        """The encoder of a checkpoint, and those heads that both have; see `Task`."""
        values = dict(foreign_checkpoints.read_initial(path).values)
        variables = named_variables(model)
        fresh = []
        for name, variable in variables.items():
            is_head = name.split("/")[1] in _HEADS
            found = values.get(name)
            if name.endswith(checkpoint_names.RANDOM_STATE):
                values[name] = np.asarray(variable.value)
            elif is_head and (found is None or found.shape != tuple(variable.shape)):
                values[name] = np.asarray(variable.value)
                fresh.append(name.removeprefix("model/"))
        for name in list(values):
            if name not in variables and name.split("/")[1] in _HEADS:
                del values[name]
        if fresh:
            print(f"fresh weights: {', '.join(fresh)}", flush=True)
        return values

    def learning_rate_scales(self, model: keras.Model) -> dict[str, float]:
        """`--layer_decay` once for each block between a variable and the heads."""
        decay, blocks = self.settings.layer_decay, self.config.num_hidden_layers
        if decay == 1:
            return {}
        scales = {}
        for name, variable in named_variables(model).items():
            if not variable.trainable:
                continue
            part = name.split("/")[1]
            if part == "embeddings":
                scales[name] = decay ** (blocks + 1)
            elif part.startswith("block"):
                scales[name] = decay ** (blocks + 1 - int(part.removeprefix("block")))
        return scales

    # ---- Batches ----

    def rows(self, ragged: Mapping[str, Any], arrays: Mapping[str, Any]) -> Rows:
        """Examples in the form that the hardware wants."""
        settings = self.settings
        needs_one_shape = (
            settings.pad_to_max_length or settings.distribution_strategy == "tpu"
        )
        return Rows(
            ragged,
            arrays,
            # XLA compiles anew for each length.
            multiple=64 if settings.enable_xla else 8,
            fixed_length=settings.max_seq_length if needs_one_shape else None,
        )

    # ---- Export ----

    def ids_signature(self, function: Callable[..., Mapping[str, Any]]) -> Signature:
        """A signature with the inputs of 2019.

        Args:
            function: takes the network's inputs by name.
        """
        inputs = [tf.TensorSpec([None, None], tf.int32, name=n) for n in model.INPUTS]
        return Signature(
            lambda *ids: function(dict(zip(model.INPUTS, ids, strict=True))), inputs
        )

    def warn_of_cut(self, lengths: np.ndarray, what: str) -> None:
        """Says how many sequences are as long as they may be, and so perhaps cut."""
        number = int((lengths >= self.settings.max_seq_length).sum())
        if number:
            console.warn(
                f"{number:,} of {len(lengths):,} {what} reach --max_seq_length="
                f"{self.settings.max_seq_length}; what is longer is cut"
            )
