"""SQuAD's measures of answers: exact match and F1 of words.

They are those of its evaluations (Rajpurkar et al. 2016 for version 1.1 and 2018 for
2.0), as fractions.
"""

import collections
import re
import string
from collections.abc import Mapping, Sequence

from official.bert.questions import Question

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """What is compared of an answer.

    Args:
        text: any.

    Returns:
        The words in lower case with a space between them, without articles and the
        punctuation marks of ASCII.
    """
    letters = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", letters).split())


def evaluate(
    questions: Sequence[Question], predictions: Mapping[str, str]
) -> dict[str, float]:
    """Compares answers with the good ones; the best match counts.

    Args:
        questions: with good answers, or impossible, for which "" is right. Others are
            passed over: nothing is known of them.
        predictions: an answer by the id of each question; a missing one is wrong.

    Returns:
        `exact_match` and `f1`, means over the questions. With impossible ones, as in
        SQuAD 2.0, also `has_answer_exact_match`, `has_answer_f1`,
        `no_answer_exact_match` and `no_answer_f1`, over those that have an answer, if
        there are any, and those that have none. Empty without questions.
    """
    known = [question for question in questions if _is_known(question)]
    has_impossible = any(question.is_impossible for question in known)
    groups = {"": known}
    if has_impossible:
        groups["has_answer_"] = [each for each in known if not each.is_impossible]
        groups["no_answer_"] = [each for each in known if each.is_impossible]
    scores = {
        question.id: _scores(question, predictions.get(question.id), has_impossible)
        for question in known
    }
    figures = {}
    for prefix, group in groups.items():
        for place, name in enumerate(("exact_match", "f1")):
            if group:
                total = sum(scores[question.id][place] for question in group)
                figures[f"{prefix}{name}"] = total / len(group)
    return figures


def _is_known(question: Question) -> bool:
    return question.is_impossible or bool(question.answers)


def _scores(
    question: Question, prediction: str | None, has_impossible: bool
) -> tuple[float, float]:
    """Exact match and F1 of a prediction.

    Answers without words, such as "the" or "?", equal no answer in version 2.0, and
    have no F1 in version 1.1.
    """
    if prediction is None:
        return 0.0, 0.0
    given = normalize_answer(prediction)
    good = [normalize_answer(answer) for answer in question.answers]
    if has_impossible:
        good = list(filter(None, good)) or [""]
    exact_match = float(given in good)
    if has_impossible and not given:
        return exact_match, exact_match
    return exact_match, max(_f1(given.split(), answer.split()) for answer in good)


def _f1(given: Sequence[str], good: Sequence[str]) -> float:
    """Harmonic mean of precision and recall; words count as often as they stand."""
    common = collections.Counter(given) & collections.Counter(good)
    # 2 p r / (p + r) with p = common / given and r = common / good
    return 2 * common.total() / max(len(given) + len(good), 1)
