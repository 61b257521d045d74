"""Questions about texts: SQuAD's files, and the windows in which a network reads them.

SQuAD (Rajpurkar et al. 2016, 2018) gives questions with texts that hold the answers,
since version 2.0 also questions whose text holds none. A text that is too long for a
network is read in windows that overlap, as in the original BERT (Devlin et al. 2018).
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from official.bert.questions import Question
from official.bert.tables import short
from official.bert.text import Tokenizer
from official.utils.data import json_fields
from official.utils.errors import UserError

# Questions that are divided at a time, which bounds what is held beside the result.
_CHUNK = 2048
_REMEDY = "check that it is a file of SQuAD 1.1 or 2.0"


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """What the network reads, [CLS] question [SEP] part of the text [SEP], in a row.

    Window w holds the places offsets[w] to offsets[w + 1] of the arrays that have an
    entry a piece. The windows of a question follow each other.

    Attributes:
        values: ids, int32 [pieces].
        offsets: int64 [windows + 1].
        segment_starts: where the text begins in each window, int32 [windows].
        question_of: number of its question, int32 [windows].
        starts: first piece of the answer, counted from the start of the window, int32
            [windows]; 0, that is [CLS], where the answer is not wholly in it.
        ends: its last piece, int32 [windows]; 0 likewise.
        token_start: where the word of a piece begins in the text, in bytes, int32
            [pieces]; -1 for pieces that are not of the text.
        token_end: where the word ends, int32 [pieces]; -1 likewise.
        is_max_context: whether the piece is of the text, and no other window shows more
            of what stands around it, bool [pieces].
    """

    values: np.ndarray
    offsets: np.ndarray
    segment_starts: np.ndarray
    question_of: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    token_start: np.ndarray
    token_end: np.ndarray
    is_max_context: np.ndarray

    def __len__(self) -> int:
        return len(self.question_of)


def for_training(questions: Sequence[Question]) -> tuple[list[Question], int]:
    """Leaves out the questions that teach nothing, as is the convention.

    Args:
        questions: any.

    Returns:
        Those whose first answer is in the text or that have none by intent, and how
        many were left out.
    """
    kept = [
        question
        for question in questions
        if question.is_impossible or _find_answer(question) is not None
    ]
    return kept, len(questions) - len(kept)


def _find_answer(question: Question) -> int | None:
    """The character at which the first answer begins: the nearest to what is given."""
    if question.is_impossible or not question.answers:
        return None
    text, given = question.answers[0], max(question.answer_start or 0, 0)
    nearest = (
        question.context.rfind(text, 0, given + len(text)),
        question.context.find(text, given),
    )
    found = [place for place in nearest if place >= 0]
    return min(found, key=lambda place: abs(place - given), default=None)


# ---- Reading ----

_field = functools.partial(json_fields.field, remedy=_REMEDY)


def read_questions(path: str) -> list[Question]:
    """Reads a file of SQuAD 1.1 or 2.0, maybe gzipped.

    Args:
        path: the file. Questions that are only to be answered need no `answers`.

    Returns:
        The questions in their order, at least one, with different ids.

    Raises:
        UserError: the file cannot be read, is no JSON, lacks fields or has them in
            another form, a text is empty, or an id is there twice.
    """
    questions, places = [], {}
    for where, paragraph in _paragraphs(path):
        context = _field(where, paragraph, "context", str)
        if not context.strip():
            raise UserError(f"{where} has an empty context; fill or remove it")
        for number, entry in enumerate(_field(where, paragraph, "qas", list), start=1):
            question = _question(f"question {number} of {where}", entry, context)
            if question.id in places:
                raise UserError(
                    f"question {number} of {where} has the id {short(question.id)} of "
                    f"{places[question.id]}; give it another"
                )
            places[question.id] = f"question {number} of {where}"
            questions.append(question)
    if not questions:
        raise UserError(f"{path} holds no questions; {_REMEDY}")
    return questions


def _paragraphs(path: str) -> Iterator[tuple[str, object]]:
    """Where each paragraph stands, in words, and what JSON gives for it."""
    articles = _field(path, json_fields.read(path, _REMEDY), "data", list)
    for number, article in enumerate(articles, start=1):
        where = f"article {number} in {path}"
        paragraphs = _field(where, article, "paragraphs", list)
        for place, paragraph in enumerate(paragraphs, start=1):
            yield f"paragraph {place} of {where}", paragraph


def _question(where: str, entry: object, context: str) -> Question:
    name = _field(where, entry, "id", str)
    where = f"{where} (id {short(name)})"
    asked = _field(where, entry, "question", str)
    is_impossible = _field(where, entry, "is_impossible", bool, default=False)
    texts, starts = [], []
    for answer in _field(where, entry, "answers", list, default=[]):
        text = _field(f"an answer to {where}", answer, "text", str)
        if not text.strip():
            raise UserError(f"{where} has an empty answer; fill or remove it")
        texts.append(text)
        starts.append(_field(f"an answer to {where}", answer, "answer_start", int))
    if is_impossible and texts:
        raise UserError(
            f"{where} has answers though its is_impossible is true; correct one of both"
        )
    start = starts[0] if starts else None
    return Question(name, asked, context, tuple(texts), start, is_impossible)


# ---- Windows ----


def make_windows(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    max_length: int = 384,
    doc_stride: int = 128,
    max_query_length: int = 64,
) -> Windows:
    """Divides texts into windows and finds the answers in them.

    Args:
        questions: those whose answer is not in the text get [CLS] as answer; see
            `for_training`.
        tokenizer: of the network.
        max_length: most pieces of a window.
        doc_stride: pieces from the start of one window's text to that of the next.
        max_query_length: pieces of a question that are read; the rest is cut.

    Returns:
        At least one window for each question.

    Raises:
        UserError: the lengths leave no room for a text.
    """
    if max_query_length < 1 or max_length < max_query_length + 4:
        raise UserError(
            f"--max_seq_length={max_length} leaves no room for a text beside "
            f"--max_query_length={max_query_length} pieces of a question, [CLS] and "
            "two [SEP]; give more, or cut questions to fewer, at least 1"
        )
    if doc_stride < 1:
        raise UserError(f"--doc_stride={doc_stride} must be at least 1; raise it")
    sizes = (max_length, doc_stride, max_query_length)
    parts = [
        _divide(questions[first : first + _CHUNK], first, tokenizer, *sizes)
        # Without questions, one empty part.
        for first in range(0, max(len(questions), 1), _CHUNK)
    ]
    fields = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(Windows)
        if field.name != "offsets"
    }
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Windows(offsets=_offsets(lengths), **fields)


@dataclasses.dataclass(frozen=True, eq=False)
class _Pieces:
    """The pieces of N texts in a row.

    Attributes:
        ids: int32 [pieces].
        starts: where the word of each begins in its text, in bytes, int32 [pieces].
        ends: where it ends, int32 [pieces].
        offsets: int64 [N + 1].
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray


def _pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> _Pieces:
    fields = tokenizer.tokenize_with_offsets(tf.constant(texts, tf.string))
    offsets = fields[0].row_splits.numpy().astype(np.int64)
    return _Pieces(*(field.values.numpy() for field in fields), offsets)


def _divide(
    questions: Sequence[Question],
    first_question: int,
    tokenizer: Tokenizer,
    max_length: int,
    doc_stride: int,
    max_query_length: int,
) -> Windows:
    """The windows of some questions; `first_question` is the number of the first."""
    asked = _pieces(tokenizer, [question.question for question in questions])
    # Questions about the same text share its pieces.
    number_of = {}
    for question in questions:
        number_of.setdefault(question.context, len(number_of))
    texts = _pieces(tokenizer, list(number_of))
    text_of = np.array([number_of[each.context] for each in questions], np.int64)

    # [questions]; there is a window after the first as long as pieces are left.
    num_asked = np.minimum(np.diff(asked.offsets), max_query_length)
    num_text = np.diff(texts.offsets)[text_of]
    room = max_length - 3 - num_asked
    stride = np.minimum(room, doc_stride)
    num_windows = 1 + -(-np.maximum(num_text - room, 0) // stride)

    # [windows]; `begin` and `size` are those of the part of the text.
    question_of = np.repeat(np.arange(len(questions)), num_windows)
    begin = _places(num_windows) * stride[question_of]
    size = np.minimum(num_text[question_of] - begin, room[question_of])
    segment_starts = num_asked[question_of] + 2
    lengths = segment_starts + size + 1
    first, last = _answers(questions, texts, text_of)[:, question_of]
    is_inside = (first >= begin) & (last < begin + size)
    shift = segment_starts - begin

    # [pieces]; `inner` counts them within their window.
    window = np.repeat(np.arange(len(lengths)), lengths)
    inner = _places(lengths)
    values = np.where(inner == 0, tokenizer.cls_id, tokenizer.sep_id)
    is_asked = (inner > 0) & (inner < segment_starts[window] - 1)
    values[is_asked] = asked.ids[
        (asked.offsets[question_of[window]] + inner - 1)[is_asked]
    ]
    is_text = (inner >= segment_starts[window]) & (inner < lengths[window] - 1)

    # [pieces of texts]; `place` counts them within their text.
    window = window[is_text]
    place = inner[is_text] - shift[window]
    source = texts.offsets[text_of[question_of[window]]] + place
    values[is_text] = texts.ids[source]
    token_start, token_end = np.full((2, len(values)), -1, np.int32)
    token_start[is_text] = texts.starts[source]
    token_end[is_text] = texts.ends[source]
    is_max_context = np.zeros(len(values), bool)
    # What stands around a piece on the shorter side counts; a long window is little
    # better than a short one: a hundredth a piece, as in the original.
    around = np.minimum(place - begin[window], (begin + size)[window] - 1 - place)
    is_max_context[is_text] = _is_best(
        _offsets(num_text)[question_of[window]] + place,
        window,
        100 * around + size[window],
    )
    return Windows(
        values=values.astype(np.int32),
        offsets=_offsets(lengths),
        segment_starts=segment_starts.astype(np.int32),
        question_of=(first_question + question_of).astype(np.int32),
        starts=np.where(is_inside, first + shift, 0).astype(np.int32),
        ends=np.where(is_inside, last + shift, 0).astype(np.int32),
        token_start=token_start,
        token_end=token_end,
        is_max_context=is_max_context,
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Where rows begin, and the last one ends, int64 [rows + 1]."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _places(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... within each row, int64 [sum of lengths]."""
    offsets = _offsets(lengths)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)


def _is_best(piece: np.ndarray, window: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Whether a piece scores best in this window, the first one of equal ones.

    Args:
        piece: the number of a question's piece, which other windows may hold too,
            int64 [pieces].
        window: the window that holds it here, int64 [pieces].
        score: int64 [pieces].

    Returns:
        bool [pieces].
    """
    if not piece.size:
        return np.zeros(0, bool)
    rank = score * (window.max() + 1) - window
    best = np.full(piece.max() + 1, np.iinfo(np.int64).min)
    np.maximum.at(best, piece, rank)
    return rank == best[piece]


def _answers(
    questions: Sequence[Question], texts: _Pieces, text_of: np.ndarray
) -> np.ndarray:
    """The first and last piece of each answer in its text, int64 [2, questions].

    They are all pieces of the words that the answer has a part in; -1 without any.
    """
    found = np.full((2, len(questions)), -1, np.int64)
    for number, question in enumerate(questions):
        place = _find_answer(question)
        if place is None:
            continue
        begin = len(question.context[:place].encode())
        end = begin + len(question.answers[0].encode())
        pieces = slice(*texts.offsets[text_of[number] : text_of[number] + 2])
        first = np.searchsorted(texts.ends[pieces], begin, side="right")
        last = np.searchsorted(texts.starts[pieces], end, side="left") - 1
        if first <= last:
            found[:, number] = first, last
    return found
