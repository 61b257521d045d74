"""From sentences to ids and back, with SentencePiece.

Kudo and Richardson, "SentencePiece: A simple and language independent subword tokenizer
and detokenizer for Neural Text Processing", 2018, arXiv:1808.06226. In the graph
tensorflow-text runs it, in preparation the package `sentencepiece`, which is faster
there; both give the same ids.
"""

import base64
import io
import random
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from official.utils.errors import UserError

PAD, EOS, UNKNOWN = 0, 1, 2
KINDS = ("unigram", "bpe")
# Longer lines are passed over when a vocabulary is learnt, in bytes.
_LONGEST_LINE = 16_384
# Of more lines, so many are drawn.
_MOST_LINES = 2_000_000
_MAX_BYTES = 1 << 28


class SentencePieceText:
    """A vocabulary of both languages.

    Attributes:
        vocab_size: how many pieces there are.
    """

    def __init__(self, model: bytes):
        """Takes a serialised model, whose first ids are padding, end and unknown.

        Raises:
            UserError: `sentencepiece` is missing, or these are no such bytes.
        """
        self._model = model
        self._processor = _sentencepiece().SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError:
            raise UserError("these bytes are no SentencePiece model") from None
        self.vocab_size = self._processor.GetPieceSize()
        found = (self._processor.pad_id(), self._processor.eos_id())
        if found != (PAD, EOS):
            raise UserError(
                f"the SentencePiece model has padding {found[0]} and end of sentence "
                f"{found[1]}, where {PAD} and {EOS} are expected; train it with "
                f"--pad_id={PAD} --eos_id={EOS} --unk_id={UNKNOWN} --bos_id=-1"
            )
        self._in_graph = None

    @classmethod
    def from_facts(cls, facts: dict[str, str]) -> "SentencePieceText":
        """That of a checkpoint; see `to_facts`."""
        return cls(base64.b64decode(facts["sentencepiece"]))

    def to_facts(self) -> dict[str, str]:
        """What a checkpoint keeps, plain JSON."""
        return {"sentencepiece": base64.b64encode(self._model).decode()}

    def encode_many(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """The ids of sentences, int32 [pieces] each, with the end of the sentence."""
        # Where there is much to do, processes share it already.
        found = self._processor.EncodeAsIds(
            list(sentences), add_eos=True, num_threads=1
        )
        return [np.array(ids, np.int32) for ids in found]

    # ---- In the graph ----

    @property
    def resources(self) -> list[Any]:
        """What a SavedModel has to track."""
        return [self._tokenizer()]

    def encode(self, text: Any) -> Any:
        """The ids of sentences with their ends, the same as of `encode_many`.

        Args:
            text: string [N], UTF-8; what is invalid is unknown.

        Returns:
            int32 ragged [N, (pieces)].

        Raises:
            UserError: tensorflow-text is missing.
        """
        return self._tokenizer().tokenize(text)

    def decode(self, ids: Any) -> Any:
        """The sentences of ids.

        Args:
            ids: int32 [N, length]; what comes behind the first end of a sentence does
                not count.

        Returns:
            string [N].

        Raises:
            UserError: tensorflow-text is missing.
        """
        return self._tokenizer().detokenize(before_end(ids))

    def _tokenizer(self):
        if self._in_graph is None:
            try:
                import tensorflow as tf
                import tensorflow_text
            except ImportError:
                raise missing("tensorflow-text") from None
            # Outside of the graph that asks first: it serves others, too.
            with tf.init_scope():
                self._in_graph = tensorflow_text.SentencepieceTokenizer(
                    self._model, add_eos=True
                )
        return self._in_graph

    def __reduce__(self):
        # Processes of a pool make their own from the bytes.
        return SentencePieceText, (self._model,)


def before_end(ids: Any) -> Any:
    """Leaves out the first end of each sentence, what is behind it, and padding.

    Args:
        ids: int32 [N, length].

    Returns:
        int32 ragged [N, (pieces)].
    """
    import tensorflow as tf

    ends = tf.cast(tf.equal(ids, EOS), tf.int32)
    is_inside = tf.equal(tf.math.cumsum(ends, axis=1), 0)
    return tf.ragged.boolean_mask(ids, is_inside & tf.not_equal(ids, PAD))


def missing(package: str) -> UserError:
    """Says how a package of the extra is installed."""
    return UserError(
        f"translation needs {package}: pip install 'official-models[text]'"
    )


def _sentencepiece():
    try:
        import sentencepiece
    except ImportError:
        raise missing("sentencepiece") from None
    return sentencepiece


def learn(
    sentences: Iterable[str], vocab_size: int, kind: str = "unigram"
) -> SentencePieceText:
    """Learns a vocabulary.

    Args:
        sentences: of both languages.
        vocab_size: the most pieces; a small text gives fewer.
        kind: of `KINDS`.

    Returns:
        The vocabulary; the same sentences give the same.

    Raises:
        UserError: there is no text to learn from, or `vocab_size` is less than there
            are characters.
    """
    library, written = _sentencepiece(), io.BytesIO()
    if kind not in KINDS:
        raise UserError(f"--vocab_kind={kind}: should be among {', '.join(KINDS)}")
    lines = (s for s in sentences if s and len(s.encode()) <= _LONGEST_LINE)
    try:
        library.SentencePieceTrainer.Train(
            sentence_iterator=iter(_drawn(lines)),
            model_writer=written,
            vocab_size=vocab_size,
            model_type=kind,
            hard_vocab_limit=False,
            # All characters become pieces, but the rare ones that make up 1 / 20,000
            # of the text.
            character_coverage=0.99995,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNKNOWN,
            bos_id=-1,
            # As is usual: ligatures and wide letters are written as others are.
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=_LONGEST_LINE,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        if required := re.search(r"required_chars\. \d+ vs (\d+)", reason):
            reason = f"its characters alone need {required[1]}"
        raise UserError(
            f"no vocabulary of {vocab_size} pieces can be learnt from the training "
            f"text ({reason}); give another --vocab_size, or more text"
        ) from None
    return SentencePieceText(written.getvalue())


def _drawn(lines: Iterable[str]) -> list[str]:
    """At most `_MOST_LINES`; the library draws other ones in each process."""
    generator = random.Random(0)
    kept: list[str] = []
    for number, line in enumerate(lines, start=1):
        if len(kept) < _MOST_LINES:
            kept.append(line)
        # Each of the lines so far is among the kept ones as likely as another.
        elif (place := int(generator.random() * number)) < _MOST_LINES:
            kept[place] = line
    return kept


def read(path: str) -> Any:
    """Reads a vocabulary: a SentencePiece model, or a subtoken file of 2019.

    Args:
        path: the file.

    Returns:
        A `SentencePieceText` or a `subtokens.SubtokenText`.

    Raises:
        UserError: it cannot be read, or is neither.
    """
    from official.transformer import subtokens
    from official.utils.data.files import read_bytes

    content = read_bytes(path, _MAX_BYTES)
    if content[:1] in (b"'", b'"'):
        return subtokens.parse(content, path)
    try:
        return SentencePieceText(content)
    except UserError as error:
        raise UserError(
            f"--vocab_file={path}: {error}; name a SentencePiece model or a subtoken "
            "file of 2019"
        ) from None


def from_facts(facts: dict[str, Any]) -> Any:
    """The vocabulary that a checkpoint keeps."""
    from official.transformer import subtokens

    if "subtokens" in facts:
        return subtokens.SubtokenText(facts["subtokens"])
    return SentencePieceText.from_facts(facts)
