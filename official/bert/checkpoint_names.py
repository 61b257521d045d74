"""What TF1's BERT and Hugging Face's call the variables of our networks.

TF1's are those of the code of 2018, Hugging Face's those of `BertForPreTraining`,
`BertForMaskedLM`, `BertForSequenceClassification` and `BertForQuestionAnswering`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # It brings TensorFlow, which --help need not wait for.
    from official.bert.config import BertConfig

FORMS = ("tf1", "hugging_face", "garden")

# Parts that a checkpoint may have beside the encoder, each of them as a whole.
HEADS = ("pooler", "masked_lm", "next_sentence", "classes", "spans")
LOGITS = "model/logits/kernel"
POOLER = "model/pooler/kernel"
# Where Keras' dropout stands; it is no weight, and others have none.
RANDOM_STATE = "seed_generator_state"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One of our variables.

    Attributes:
        part: "encoder", or of `HEADS`.
        ours: its structural name.
        theirs: the tensor that it is; or three, which stand side by side in ours.
        shape: that of ours; None where it may be any.
        is_transposed: whether theirs are.
    """

    part: str
    ours: str
    theirs: tuple[str, ...]
    shape: tuple[int | None, ...]
    is_transposed: bool


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A layer; the names of its variables come from `_VARIABLES`.

    Names may hold `{block}`, from 1 in ours and from 0 in theirs, and `{piece}`, of
    `_PIECES`.

    Attributes:
        part: see `Entry`.
        kind: of `_VARIABLES`.
        sizes: inputs and outputs, or the only size: fields of `BertConfig`, "outputs"
            for any number, or a number.
        ours: our name.
        tf1: the name in TF1.
        hugging_face: Hugging Face's.
    """

    part: str
    kind: str
    sizes: tuple[str | int, ...]
    ours: str
    tf1: str
    hugging_face: str


@dataclasses.dataclass(frozen=True)
class _Variable:
    """What stands behind the name of a layer, and which of its sizes a variable has."""

    ours: str
    tf1: str
    hugging_face: str
    axes: tuple[int, ...]
    transposed_in: tuple[str, ...] = ()


_VARIABLES = {
    "table": (_Variable("", "", ".weight", (0, 1)),),
    "norm": (
        _Variable("/gamma", "/gamma", ".weight", (0,)),
        _Variable("/beta", "/beta", ".bias", (0,)),
    ),
    "dense": (
        _Variable("/kernel", "/kernel", ".weight", (0, 1), ("hugging_face",)),
        _Variable("/bias", "/bias", ".bias", (1,)),
    ),
    # TF1's heads are no layers, but a matrix and a bias.
    "head": (
        _Variable("/kernel", "_weights", ".weight", (0, 1), ("tf1", "hugging_face")),
        _Variable("/bias", "_bias", ".bias", (1,)),
    ),
    "bias": (_Variable("/bias", "_bias", ".bias", (0,)),),
}
_PIECES = ("query", "key", "value")

_WIDTH = "hidden_size"
_INSIDE = "intermediate_size"
_TF1_BLOCK = "bert/encoder/layer_{block}/"
_HUGGING_FACE_BLOCK = "bert.encoder.layer.{block}."


def _block_layer(kind, sizes, ours, theirs) -> _Layer:
    """A layer of a block, of which the two others have the same names."""
    dotted = theirs.replace("/", ".")
    return _Layer(
        "encoder",
        kind,
        sizes,
        "block{block}/" + ours,
        _TF1_BLOCK + theirs,
        _HUGGING_FACE_BLOCK + dotted,
    )


_EMBEDDINGS = (
    _Layer(
        *("encoder", "table", ("vocab_size", _WIDTH), "embeddings/word"),
        "bert/embeddings/word_embeddings",
        "bert.embeddings.word_embeddings",
    ),
    _Layer(
        *("encoder", "table", ("max_position_embeddings", _WIDTH)),
        "embeddings/position",
        "bert/embeddings/position_embeddings",
        "bert.embeddings.position_embeddings",
    ),
    _Layer(
        *("encoder", "table", ("type_vocab_size", _WIDTH), "embeddings/type"),
        "bert/embeddings/token_type_embeddings",
        "bert.embeddings.token_type_embeddings",
    ),
    _Layer(
        *("encoder", "norm", (_WIDTH,), "embeddings/norm"),
        "bert/embeddings/LayerNorm",
        "bert.embeddings.LayerNorm",
    ),
)
_BLOCK = (
    _block_layer(
        *("dense", (_WIDTH, _WIDTH), "attention/query_key_value"),
        "attention/self/{piece}",
    ),
    _block_layer(
        *("dense", (_WIDTH, _WIDTH), "attention/output_projection"),
        "attention/output/dense",
    ),
    _block_layer("norm", (_WIDTH,), "attention_norm", "attention/output/LayerNorm"),
    _block_layer(
        "dense", (_WIDTH, _INSIDE), "feed_forward/intermediate", "intermediate/dense"
    ),
    _block_layer(
        "dense", (_INSIDE, _WIDTH), "feed_forward/output_projection", "output/dense"
    ),
    _block_layer("norm", (_WIDTH,), "feed_forward_norm", "output/LayerNorm"),
)
_HEAD_LAYERS = (
    _Layer(
        *("pooler", "dense", (_WIDTH, _WIDTH), "pooler"),
        "bert/pooler/dense",
        "bert.pooler.dense",
    ),
    _Layer(
        *("masked_lm", "dense", (_WIDTH, _WIDTH), "word_transform/dense"),
        "cls/predictions/transform/dense",
        "cls.predictions.transform.dense",
    ),
    _Layer(
        *("masked_lm", "norm", (_WIDTH,), "word_transform/norm"),
        "cls/predictions/transform/LayerNorm",
        "cls.predictions.transform.LayerNorm",
    ),
    _Layer(
        *("masked_lm", "bias", ("vocab_size",), "word_bias"),
        "cls/predictions/output",
        "cls.predictions",
    ),
    _Layer(
        *("next_sentence", "head", (_WIDTH, 2), "next_sentence"),
        "cls/seq_relationship/output",
        "cls.seq_relationship",
    ),
    _Layer("classes", "head", (_WIDTH, "outputs"), "logits", "output", "classifier"),
    _Layer("spans", "head", (_WIDTH, 2), "logits", "cls/squad/output", "qa_outputs"),
)


def entries(form: str, config: "BertConfig") -> Iterator[Entry]:
    """All variables that a network may have.

    Args:
        form: of `FORMS`, whose names are wanted; those of "garden" are ours.
        config: the network's sizes.

    Yields:
        Each variable; `model/logits/...` twice, as that of classes and that of spans.
    """
    for layer in _EMBEDDINGS:
        yield from _of_layer(layer, form, config, 0)
    for block in range(config.num_hidden_layers):
        for layer in _BLOCK:
            yield from _of_layer(layer, form, config, block)
    for layer in _HEAD_LAYERS:
        yield from _of_layer(layer, form, config, 0)


def _of_layer(layer, form, config, block) -> Iterator[Entry]:
    sizes = [
        size if isinstance(size, int) else vars(config).get(size)
        for size in layer.sizes
    ]
    pieces = _PIECES if "{piece}" in layer.tf1 else ("",)
    for variable in _VARIABLES[layer.kind]:
        ours = f"model/{layer.ours}{variable.ours}".format(block=block + 1)
        shape = [sizes[axis] for axis in variable.axes]
        if len(pieces) > 1:
            shape[-1] *= len(pieces)
        if form == "garden":
            theirs = (ours,)
        else:
            template = getattr(layer, form) + getattr(variable, form)
            theirs = tuple(template.format(block=block, piece=each) for each in pieces)
        is_transposed = form in variable.transposed_in
        yield Entry(layer.part, ours, theirs, tuple(shape), is_transposed)


# What Hugging Face's files may hold twice: the copy by what it repeats.
HUGGING_FACE_COPIES: Mapping[str, str] = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def is_dropped_of_tf1(name: str) -> bool:
    """Whether a tensor of a TF1 checkpoint is the optimizer's and not the network's."""
    return name == "global_step" or name.endswith(("/adam_m", "/adam_v"))
