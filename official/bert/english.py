"""Embedded English: text and tasks that need no file and no network.

    text, documents   sentences on six topics, for masked words and next sentences
    classification    in which mood is the one who acts?
    questions         who did what to whom?

The text comes from a hidden Markov model (see `english_grammar`), so that the best that
can be known about masked words is known: `english_masked.best_masked_predictions`. In
both tasks the order of words decides: the same words in another order may have another
answer.
"""

from collections.abc import Sequence

import numpy as np

from official.bert import english_grammar, english_people, english_words
from official.bert.classification_data import Classification, Part
from official.bert.english_masked import best_masked_predictions
from official.bert.english_words import Numbers, vocabulary
from official.bert.questions import Question
from official.utils.data import splits

__all__ = [
    "best_masked_predictions",
    "classification",
    "documents",
    "questions",
    "text",
    "vocabulary",
]

# Examples for training, validation and test.
CLASSIFICATION_SIZES = (50_000, 1_000, 2_000)
QUESTION_SIZES = (40_000, 1_000, 2_000)
# Sentences of a document.
FEWEST, MOST = 2, 4


# ---- Text ----


def text(seed: int, num_sentences: int) -> list[str]:
    """Draws sentences, each on a topic of its own.

    Args:
        seed: from 0 on.
        num_sentences: how many; the first ones stay the same where more are drawn.
    """
    topics = Numbers(seed, 0).below(len(english_words.TOPICS), num_sentences)
    return _sentences(topics, Numbers(seed, 1))


def documents(seed: int, num_documents: int) -> list[list[str]]:
    """Draws documents of `FEWEST` to `MOST` sentences on one topic each.

    Args:
        seed: from 0 on.
        num_documents: how many; the first ones stay the same where more are drawn.
    """
    numbers = Numbers(seed, 2).uniform(num_documents, 2)
    topics = (numbers[:, 0] * len(english_words.TOPICS)).astype(np.int64)
    lengths = FEWEST + (numbers[:, 1] * (MOST - FEWEST + 1)).astype(np.int64)
    sentences = _sentences(np.repeat(topics, lengths), Numbers(seed, 3))
    ends = np.cumsum(lengths).tolist()
    return [
        sentences[end - length : end]
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


def _sentences(topics: np.ndarray, numbers: Numbers) -> list[str]:
    words = vocabulary()
    uniform = numbers.uniform(len(topics), english_grammar.LONGEST, 2)
    drawn = english_grammar.draw(topics, uniform)
    return [english_words.write([words[i] for i in ids]) for ids in drawn]


# ---- Tasks ----


def classification(
    seed: int, sizes: Sequence[int] = CLASSIFICATION_SIZES
) -> Classification:
    """Sentences about a cheerful and a gloomy person, one of whom does something.

    The class is the mood of the one who acts, as in "The sad cook was called by the
    merry farmers." If the two adjectives change places, all words are still there and
    the class is the other one.

    Args:
        seed: divides a pool into training and validation sentences. The pool and the
            test sentences are the same whatever the seed.
        sizes: number of sentences for training, validation and test; all are different.
    """
    total = sum(sizes)
    # A few sentences come twice.
    uniform = Numbers(0, 4).uniform(total + total // 50 + 10, 20)
    found = dict(map(english_people.moody_act, uniform.tolist()))
    train, validation, test = (
        Part(
            [text for text, _ in part],
            None,
            np.array([label for _, label in part], np.int32),
        )
        for part in _divided(list(found.items()), sizes, seed)
    )
    return Classification(
        name="english",
        source="written by this program",
        label_names=("cheerful", "gloomy"),
        metrics=("accuracy",),
        train=train,
        validation=validation,
        test=test,
        notes=(),
    )


def questions(
    seed: int, sizes: Sequence[int] = QUESTION_SIZES
) -> tuple[list[Question], list[Question], list[Question]]:
    """Short stories with a question each, which a phrase of the story answers.

    In a sentence of the story somebody does something to somebody; one or two others
    are text on some topic. Who of the two is the answer depends on the order of words,
    as in "Today, the sad cooks were called by the farmer. Who called somebody?" In a
    quarter of the questions, as in "Who called the cooks?", it is the one who is not
    named, too.

    Args:
        seed: divides a pool into training and validation questions. The pool and the
            test questions are the same whatever the seed.
        sizes: number of questions for training, validation and test; all stories are
            different.

    Returns:
        Training, validation and test questions, with one answer each.
    """
    total = sum(sizes)
    drawn = total + total // 50 + 10
    numbers = Numbers(0, 5).uniform(drawn, 22)
    topics = (numbers[:, 0] * len(english_words.TOPICS)).astype(np.int64)
    lengths = 1 + (numbers[:, 1] * 2).astype(np.int64)
    sentences = _sentences(np.repeat(topics, lengths), Numbers(0, 6))
    ends = np.cumsum(lengths)
    begins = ends - lengths
    found = {}
    for number, row in enumerate(numbers[:, 2:].tolist()):
        others = sentences[begins[number] : ends[number]]
        question = english_people.question(row, others, f"english-{number}")
        found.setdefault(question.context, question)
    return tuple(_divided(list(found.values()), sizes, seed))


def _divided(drawn: list, sizes: Sequence[int], seed: int) -> list[list]:
    """Training, validation and test part of what was drawn."""
    _, num_validation, num_test = sizes
    assert len(drawn) >= sum(sizes), "too many were drawn twice"
    pool = drawn[num_test : sum(sizes)]
    kept, held_out = splits.split_indices(len(pool), num_validation, seed)
    return [
        [pool[i] for i in kept.tolist()],
        [pool[i] for i in held_out.tolist()],
        drawn[:num_test],
    ]
