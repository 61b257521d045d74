"""Weights of BERT between our names and layout and those of others."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from official.bert import checkpoint_names
from official.bert.checkpoint_names import HEADS, Entry
from official.bert.config import BertConfig
from official.utils.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Initial:
    """A network, as a checkpoint of any form holds it.

    Attributes:
        values: float32 weights by structural name; without the state of dropout.
        config: sizes and settings.
        vocabulary: pieces; None where none lies beside the weights.
        lower_case: whether text is read in lower case; None where nothing tells.
        label_names: of the classes, none where the output is a score; None where
            nothing tells, or there are no classes.
        has_spans: whether `model/logits/...` are those of spans.
    """

    values: dict[str, np.ndarray]
    config: BertConfig
    vocabulary: list[str] | None
    lower_case: bool | None
    label_names: tuple[str, ...] | None = None
    has_spans: bool = False

    @property
    def parts(self) -> set[str]:
        """Those of `checkpoint_names.HEADS` that the network has."""
        found = {
            entry.part
            for entry in checkpoint_names.entries("garden", self.config)
            if entry.ours in self.values and entry.part in HEADS
        }
        return found - {"classes" if self.has_spans else "spans"}


def from_theirs(
    tensors: Mapping[str, np.ndarray], form: str, config: BertConfig, source: str
) -> tuple[dict[str, np.ndarray], bool]:
    """Our weights from those of others.

    Args:
        tensors: by their names; nothing but the network's.
        form: whose names they are, of `checkpoint_names.FORMS`.
        config: the network's sizes.
        source: where they come from, for messages.

    Returns:
        float32 values by structural name, and whether there are logits of spans.

    Raises:
        UserError: a tensor is unmatched, missing or of another shape.
    """
    entries = list(checkpoint_names.entries(form, config))
    if form == "garden":  # Whose two heads have one name.
        entries = [entry for entry in entries if entry.part != "spans"]
    found = [e for e in entries if not tensors.keys().isdisjoint(e.theirs)]
    parts = {entry.part for entry in found}
    if {"classes", "spans"} <= parts:
        raise UserError(
            f"{source} has a head for classes and one for spans; there are networks "
            "with one of them only"
        )
    if form != "garden" and parts & {"classes", "next_sentence"}:
        parts.add("pooler")  # Classes of tokens, which have none, are another head.
    wanted = [entry for entry in entries if entry.part in parts | {"encoder"}]
    known = {name for entry in wanted for name in entry.theirs}
    check_names(tensors, known, source)
    _check_shapes(tensors, wanted, source)
    values = {}
    for entry in wanted:
        pieces = [np.asarray(tensors[name], np.float32) for name in entry.theirs]
        if entry.is_transposed:
            pieces = [piece.T for piece in pieces]
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)
        values[entry.ours] = np.asarray(joined, order="C")
    return values, "spans" in parts


def to_theirs(initial: Initial, form: str) -> dict[str, np.ndarray]:
    """Weights by the names and in the layout of others, the reverse of `from_theirs`.

    Args:
        initial: the network.
        form: of `checkpoint_names.FORMS`.

    Returns:
        float32 tensors by their names.

    Raises:
        UserError: a weight has no name there.
    """
    parts = initial.parts | {"encoder"}
    tensors, known = {}, set()
    for entry in checkpoint_names.entries(form, initial.config):
        if entry.part not in parts or entry.ours not in initial.values:
            continue
        known.add(entry.ours)
        value = initial.values[entry.ours]
        pieces = np.split(value, len(entry.theirs), axis=-1)
        for name, piece in zip(entry.theirs, pieces, strict=True):
            piece = piece.T if entry.is_transposed else piece
            tensors[name] = np.asarray(piece, np.float32, order="C")
    check_names(initial.values, known, "the network")
    return tensors


def check_names(found: Mapping[str, np.ndarray], known: set[str], source: str) -> None:
    """Checks that a network's tensors are all there, and no others.

    Raises:
        UserError: it names the first of those that are not matched.
    """
    unmatched = sorted(name for name in found if name not in known)
    missing = sorted(name for name in known if name not in found)
    if not unmatched and not missing:
        return
    listed = [
        f"{len(names)} {what} ({first(names)})"
        for what, names in (("unmatched", unmatched), ("missing", missing))
        if names
    ]
    raise UserError(
        f"{source} is of another network than its settings say: of its tensors "
        f"{' and '.join(listed)}; check num_hidden_layers in the configuration, and "
        "that it is a plain BERT"
    )


def _check_shapes(tensors, wanted: Iterable[Entry], source: str) -> None:
    differences = []
    for entry in wanted:
        here = list(entry.shape)
        if len(entry.theirs) > 1:
            here[-1] //= len(entry.theirs)
        if entry.is_transposed:
            here.reverse()
        for name in entry.theirs:
            there = list(tensors[name].shape)
            is_same = len(there) == len(here) and all(
                size in (None, found) for size, found in zip(here, there, strict=True)
            )
            if not is_same:
                shown = str(here).replace("None", "any")
                differences.append(f"{name} is {there} there and {shown} here")
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(
            f"{source} has other shapes than its settings say: "
            f"{'; '.join(differences[:3])}{more}; give the configuration that belongs "
            "to it"
        )


def first(names: Iterable[str]) -> str:
    """The first three of names, for a message."""
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
