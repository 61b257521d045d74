import dataclasses

import pytest

from official.bert import squad_data, squad_metrics
from official.bert.questions import Question
from official.utils.testing.data import real_data


def asked(*answers, name="q", is_impossible=False):
    return Question(name, "?", "context", answers, 0, is_impossible)


IMPOSSIBLE = asked(name="none", is_impossible=True)


def scores(prediction, *answers):
    """Exact match and F1 of one prediction."""
    found = squad_metrics.evaluate([asked(*answers)], {"q": prediction})
    assert list(found) == ["exact_match", "f1"]
    return tuple(found.values())


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The  Cat's\tHat!", "cats hat"),
        ("an A-team of the Andes", "ateam of andes"),
        ("a", ""),
        ("U.S.A.", "usa"),
        # Punctuation beyond ASCII stays, as in the original.
        ("“Ärger”… the É", "“ärger”… é"),
        ("the\u00a0end", "end"),
        ("$1,000.50", "100050"),
        ("", ""),
    ],
)
def test_normalize_answer(text, expected):
    assert squad_metrics.normalize_answer(text) == expected


@pytest.mark.parametrize(
    "prediction, answers, expected",
    [
        ("The cat.", ("cat",), (1, 1)),
        # 1 of 2 words given, 1 of 1 wanted: 2 (1/2) 1 / (3/2)
        ("black cat", ("cat",), (0, 2 / 3)),
        # 2 of 3 and 2 of 4.
        ("x b b", ("b b c d",), (0, 4 / 7)),
        # A word counts as often as it stands on both sides.
        ("b b b", ("b",), (0, 1 / 2)),
        ("dog", ("cat",), (0, 0)),
        ("", ("cat",), (0, 0)),
        # The best match: one by one.
        ("black cat", ("dog", "cat", "the black cat"), (1, 1)),
        ("black cat", ("dog", "cat", "black"), (0, 2 / 3)),
        # Version 1.1 knows no F1 of answers without words.
        ("the", ("a",), (1, 0)),
    ],
)
def test_scores(prediction, answers, expected):
    assert scores(prediction, *answers) == pytest.approx(expected)


def test_means():
    questions = [asked("x", name=str(number)) for number in range(4)]
    given = {"0": "x", "1": "x y", "2": "z", "other": "x"}
    assert squad_metrics.evaluate(questions, given) == pytest.approx(
        {"exact_match": 1 / 4, "f1": (1 + 2 / 3) / 4}
    )


def test_impossible_questions():
    questions = [
        asked("x", name="0"),
        asked("x y", name="1"),
        asked("the", "z", name="2"),
        asked("the", name="3"),
        *(asked(name=name, is_impossible=True) for name in "456"),
    ]
    # "the" alone is no answer; articles are none either where nothing is right.
    given = {"0": "", "1": "x", "2": "", "3": "a", "4": "", "5": "x", "6": "the"}
    assert squad_metrics.evaluate(questions, given) == pytest.approx(
        {
            "exact_match": 3 / 7,
            "f1": (2 / 3 + 3) / 7,
            "has_answer_exact_match": 1 / 4,
            "has_answer_f1": (2 / 3 + 1) / 4,
            "no_answer_exact_match": 2 / 3,
            "no_answer_f1": 2 / 3,
        }
    )
    # What was never answered is wrong.
    assert squad_metrics.evaluate([IMPOSSIBLE], {}) == {
        "exact_match": 0,
        "f1": 0,
        "no_answer_exact_match": 0,
        "no_answer_f1": 0,
    }


def test_unknown_questions_do_not_count():
    questions = [asked("x", name="0"), asked(name="1")]
    expected = {"exact_match": 1, "f1": 1}
    assert squad_metrics.evaluate(questions, {"0": "x", "1": "x"}) == expected
    assert squad_metrics.evaluate(questions[1:], {"1": "x"}) == {}


# ---- The original's figures on real questions ----


FIGURES_1 = {"exact_match": 0.2504201680672269, "f1": 0.3848701223032225}
FIGURES_2 = {
    "exact_match": 0.2495798319327731,
    "f1": 0.35546601062916794,
    "has_answer_exact_match": 0.25,
    "has_answer_f1": 0.38235772337049384,
    "no_answer_exact_match": 0.24789915966386555,
    "no_answer_f1": 0.24789915966386555,
}


def tried(number, question):
    """Right answers, near ones, wrong ones and none by turns."""
    answer, start = question.answers[0], question.answer_start
    return (
        f"The {answer.upper()}!",
        question.context[max(start - 20, 0) : start + len(answer) + 10],
        question.context[:60],
        "",
    )[number % 4]


def test_real_questions():
    """The figures are what SQuAD's own scripts print for the same answers."""
    questions = squad_data.read_questions(real_data("xquad", "xquad.en.json"))
    given = {each.id: tried(number, each) for number, each in enumerate(questions)}
    assert squad_metrics.evaluate(questions, given) == pytest.approx(
        FIGURES_1, rel=1e-12
    )
    questions = [
        dataclasses.replace(each, answers=(), answer_start=None, is_impossible=True)
        if number % 5 == 0
        else each
        for number, each in enumerate(questions)
    ]
    assert squad_metrics.evaluate(questions, given) == pytest.approx(
        FIGURES_2, rel=1e-12
    )
