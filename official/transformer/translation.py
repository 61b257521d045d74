"""From sentences to translations: in batches by length, and back in order."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from official.transformer import decoding
from official.transformer.decoding import DecodingOptions

# Widths of batches, so that not each length is a shape of its own.
_MULTIPLE = 8


class Translation(NamedTuple):
    """One translation of a sentence.

    Attributes:
        text: the translation.
        score: its log probability by its length; see `decoding.decode`.
    """

    text: str
    score: float


class Translator:
    """Translates lists of sentences with one network.

    Attributes:
        num_cut: sentences so far that were longer than the network takes.
    """

    def __init__(
        self,
        model: Any,
        text: Any,
        options: DecodingOptions,
        max_length: int,
        batch_size: int,
    ):
        """Takes what it translates with.

        Args:
            model: a `model.Transformer`.
            text: the vocabulary, such as a `text.SentencePieceText`.
            options: how translations are found.
            max_length: most pieces of a sentence; what is longer is cut.
            batch_size: sentences at a time.
        """
        self.num_cut = 0
        self._text = text
        self._max_length = max_length
        self._batch_size = batch_size
        self._search = tf.function(
            lambda inputs: self._find(model, inputs, options),
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
            autograph=False,
        )

    def _find(self, model, inputs, options):
        found = decoding.decode(model, inputs, options)
        outputs = found["outputs"]
        beams, length = tf.shape(outputs)[1], tf.shape(outputs)[2]
        texts = self._text.decode(tf.reshape(outputs, [-1, length]))
        return tf.reshape(texts, [-1, beams]), found["scores"]

    def translate(
        self, sentences: Sequence[str], n_best: int = 1
    ) -> list[list[Translation]]:
        """Translates.

        Args:
            sentences: as they stand in a file; an empty one stays empty.
            n_best: translations of each, at most the beam size.

        Returns:
            For each sentence, in order, its translations, the best first.
        """
        found = [[Translation("", 0.0)] for _ in sentences]
        rows = [i for i, sentence in enumerate(sentences) if sentence.strip()]
        ids = self._text.encode_many([sentences[i] for i in rows])
        lengths = [len(each) for each in ids]
        # The longest first: what does not fit into memory shows at once.
        order = np.argsort([-length for length in lengths], kind="stable")
        for first in range(0, len(order), self._batch_size):
            batch = order[first : first + self._batch_size]
            texts, scores = (
                each.numpy()
                for each in self._search(self._padded([ids[i] for i in batch]))
            )
            for i, row, values in zip(batch, texts, scores, strict=True):
                found[rows[i]] = [
                    Translation(text.decode(), float(score))
                    for text, score in zip(row[:n_best], values[:n_best], strict=True)
                ]
        return found

    def _padded(self, ids):
        self.num_cut += sum(len(each) > self._max_length for each in ids)
        # The last piece is the end of the sentence.
        ids = [
            each
            if len(each) <= self._max_length
            else np.append(each[: self._max_length - 1], each[-1])
            for each in ids
        ]
        width = -(-max(map(len, ids)) // _MULTIPLE) * _MULTIPLE
        batch = np.zeros((len(ids), width), np.int32)
        for row, each in zip(batch, ids, strict=True):
            row[: len(each)] = each
        return tf.constant(batch)
