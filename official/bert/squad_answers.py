"""From scores of pieces to answers, and the files that SQuAD's evaluation reads.

A span scores the sum of its first piece's start score and its last piece's end score,
and no answer the sum of both scores of [CLS] (Devlin et al. 2018). The original pairs
the 20 best starts with the 20 best ends; here all spans are compared.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from official.bert.questions import Question
from official.bert.squad_data import Windows
from official.utils.logs import files

# A score, and where the span begins and ends in the text, in bytes.
_Span = tuple[float, int, int]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        id: of the question.
        text: a part of the context, or "" for no answer.
        probability: of this text among those of `n_best`.
        n_best: the best texts with their probabilities, the best one first.
        null_odds: how much better no answer scores than the best span; infinite where
            there is no span.
    """

    id: str
    text: str
    probability: float
    n_best: tuple[tuple[str, float], ...]
    null_odds: float


def answers(
    questions: Sequence[Question],
    windows: Windows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    n_best: int = 20,
    max_answer_length: int = 30,
    null_threshold: float | None = None,
) -> list[Answer]:
    """Finds the best answers to each question.

    Spans are of whole words, and begin where no other window shows more of what stands
    around. A word scores as its best piece.

    Args:
        questions: those of the windows.
        windows: what the network read.
        start_logits: score of each piece as the first one, float [pieces].
        end_logits: score of each piece as the last one, float [pieces].
        n_best: how many texts to give, at least 1.
        max_answer_length: most pieces of a span, at least 1.
        null_threshold: no answer is given where its score exceeds that of the best span
            by more than this, and "" is one of the texts, beside the `n_best` others.
            None where all questions have answers, as in SQuAD 1.1.

    Returns:
        An answer to each question, in their order.
    """
    spans: list[list[_Span]] = [[] for _ in questions]
    null_scores = [np.inf] * len(questions)
    scores = np.stack([start_logits, end_logits]).astype(np.float64)
    for window, question in enumerate(windows.question_of.tolist()):
        pieces = slice(windows.offsets[window], windows.offsets[window + 1])
        # The window that is surest of an answer says whether there is one.
        null_score = scores[:, pieces.start].sum().item()
        null_scores[question] = min(null_scores[question], null_score)
        spans[question] += _best_spans(
            scores[:, pieces],
            windows.token_start[pieces],
            windows.token_end[pieces],
            windows.is_max_context[pieces],
            # Some may be the same text at another place.
            2 * n_best,
            max_answer_length,
        )
    return [
        _answer(question, sorted(found, key=_by_score), null, n_best, null_threshold)
        for question, found, null in zip(questions, spans, null_scores, strict=True)
    ]


def _by_score(span: _Span) -> float:
    return -span[0]


def _best_spans(
    scores: np.ndarray,
    token_start: np.ndarray,
    token_end: np.ndarray,
    is_max_context: np.ndarray,
    number: int,
    max_length: int,
) -> Iterator[_Span]:
    """The best spans of a window; its pieces as in `Windows`, scores [2, pieces]."""
    # The words of the text, by their first and last piece. No two begin alike, and
    # what is not of the text stands around it.
    is_change = np.diff(token_start) != 0
    bounds = np.flatnonzero(is_change) + 1
    if not bounds.size:
        return
    first, last = bounds[:-1], bounds[1:] - 1
    starts, ends = np.maximum.reduceat(scores, bounds, axis=1)[:, :-1]
    starts = np.where(is_max_context[first], starts, -np.inf)

    # [words, words of a span]: spans by their first word and their number of words.
    num_words = min(max_length, len(first))
    ends, last_pieces = (
        np.lib.stride_tricks.sliding_window_view(
            np.concatenate([of_words, np.full(num_words - 1, filler)]), num_words
        )
        for of_words, filler in ((ends, -np.inf), (last, len(token_start)))
    )
    is_short = last_pieces - first[:, np.newaxis] < max_length
    sums = np.where(is_short, starts[:, np.newaxis] + ends, -np.inf).ravel()
    best = np.arange(len(sums))
    if number < len(sums):
        best = np.argpartition(-sums, number - 1)[:number]
    for place in best[np.isfinite(sums[best])].tolist():
        word, more = divmod(place, num_words)
        begin, end = token_start[first[word]], token_end[last[word + more]]
        yield sums[place].item(), int(begin), int(end)


def _answer(
    question: Question,
    spans: Sequence[_Span],
    null_score: float,
    n_best: int,
    null_threshold: float | None,
) -> Answer:
    """The answer to a question by its spans, the best one first."""
    context = question.context.encode()
    found: dict[str, float] = {}
    for score, begin, end in spans:
        # The same text may stand at several places.
        found.setdefault(context[begin:end].decode(), score)
        if len(found) == n_best:
            break
    text, best = next(iter(found.items()), ("", -np.inf))
    null_odds = null_score - best
    if null_threshold is not None:
        found[""] = null_score
        if null_odds > null_threshold:
            text = ""
    elif not found:
        found[""] = 0.0
    ranked = sorted(found.items(), key=lambda item: -item[1])
    logits = np.array([score for _, score in ranked])
    weights = np.exp(logits - logits[0])
    probabilities = (weights / weights.sum()).tolist()
    listed = tuple(zip((text for text, _ in ranked), probabilities, strict=True))
    return Answer(question.id, text, dict(listed)[text], listed, null_odds)


def write(folder: str, found: Sequence[Answer]) -> None:
    """Writes predictions.json, nbest_predictions.json and null_odds.json.

    Args:
        folder: where to; it is made when there is none.
        found: answers to questions of different ids.

    Raises:
        UserError: the file system does not take it.
    """
    contents = {
        "predictions.json": {answer.id: answer.text for answer in found},
        "nbest_predictions.json": {
            answer.id: [
                {"text": text, "probability": probability}
                for text, probability in answer.n_best
            ]
            for answer in found
        },
        "null_odds.json": {answer.id: answer.null_odds for answer in found},
    }
    for name, content in contents.items():
        path = tf.io.gfile.join(folder, name)
        files.write_whole(path, files.json_text(content))
