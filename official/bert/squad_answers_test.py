import json

import numpy as np
import pytest

from official.bert import squad_answers, squad_data, text
from official.bert.questions import Question
from official.bert.squad_data_test import PIECES
from official.utils.testing.errors import message_of


@pytest.fixture(scope="module")
def tokenizer():
    return text.Tokenizer(PIECES, lower_case=False)


def asked(context, name="q"):
    return Question(name, "a", context, (), None, False)


def logits_of(windows, places, filler=-9.0):
    """Scores by place, all others low."""
    logits = np.full(len(windows.values), filler, np.float32)
    for place, score in places.items():
        logits[place] = score
    return logits


def answer(tokenizer, context, starts, ends, **settings):
    """The answer to a question of one window, whose text begins at place 3."""
    questions = [asked(context)]
    windows = squad_data.make_windows(questions, tokenizer)
    assert len(windows) == 1
    (found,) = squad_answers.answers(
        questions,
        windows,
        logits_of(windows, starts),
        logits_of(windows, ends),
        **settings,
    )
    return found


def softmax(*scores):
    weights = np.exp(np.array(scores))
    return (weights / weights.sum()).tolist()


# [CLS] a [SEP] é a ##b , c [SEP]
CONTEXT = "é ab,  c"


def test_best_spans(tokenizer):
    found = answer(tokenizer, CONTEXT, {3: 1.0, 4: 2.0}, {5: 1.0, 7: 0.5}, n_best=4)
    assert found.id == "q" and found.text == "ab"
    texts, probabilities = zip(*found.n_best, strict=True)
    assert texts == ("ab", "ab,  c", "é ab", "é ab,  c")
    # Sums of a start and an end score.
    assert probabilities == pytest.approx(softmax(3, 2.5, 2, 1.5))
    assert found.probability == probabilities[0]
    # Both scores of [CLS] against the best span.
    assert found.null_odds == -9 - 9 - 3


def test_what_is_no_span(tokenizer):
    # Places of the question, of [SEP] and backward spans score best, to no avail.
    found = answer(
        tokenizer,
        CONTEXT,
        {0: 9.0, 1: 9.0, 2: 9.0, 7: 5.0, 8: 9.0},
        {0: 9.0, 1: 9.0, 3: 5.0, 7: 1.0, 8: 9.0},
    )
    assert found.text == "c"
    assert found.n_best[0][0] == "c"
    # All 10 spans of 4 words.
    assert len(found.n_best) == 10


def test_longest_answers(tokenizer):
    starts, ends = {3: 3.0, 4: 2.5}, {7: 3.0, 5: 2.0}
    texts = {
        length: answer(tokenizer, CONTEXT, starts, ends, max_answer_length=length).text
        for length in (5, 4, 3, 2)
    }
    # In pieces: all, then those from the second word on.
    assert texts == {5: "é ab,  c", 4: "ab,  c", 3: "é ab", 2: "ab"}
    long = answer(tokenizer, CONTEXT, starts, ends, max_answer_length=1_000)
    assert long.text == texts[5]


def test_a_word_scores_as_its_best_piece(tokenizer):
    # The start on a second piece, the end on a first one.
    found = answer(tokenizer, CONTEXT, {5: 2.0, 3: 1.0}, {4: 2.0, 7: 1.0}, n_best=2)
    assert found.text == "ab" and found.null_odds == -18 - 4


def test_equal_texts_count_once(tokenizer):
    found = answer(tokenizer, "b a b", {3: 1.0, 5: 2.0}, {3: 1.0, 5: 2.0}, n_best=3)
    texts, probabilities = zip(*found.n_best, strict=True)
    assert texts == ("b", "b a b", "a b")
    assert probabilities == pytest.approx(softmax(4, 3, -7))


def test_no_answer(tokenizer):
    def at(null_threshold):
        return answer(
            tokenizer,
            CONTEXT,
            {0: 1.0, 4: 2.0},
            {0: 1.5, 5: 1.0},
            n_best=2,
            null_threshold=null_threshold,
        )

    # 2.5 for no answer, 3 for "ab".
    assert [at(threshold).text for threshold in (0.0, -0.5, -0.6)] == ["ab", "ab", ""]
    found = at(-0.6)
    assert found.null_odds == -0.5
    texts, probabilities = zip(*found.n_best, strict=True)
    assert texts[:2] == ("ab", "") and len(texts) == 3
    assert found.probability == probabilities[1]
    assert probabilities[1] / probabilities[0] == pytest.approx(np.exp(-0.5))
    assert "" not in dict(at(None).n_best)


def test_a_text_without_words(tokenizer):
    found = answer(tokenizer, "\u200b", {}, {})
    assert (found.text, found.probability, found.n_best) == ("", 1, (("", 1),))
    assert found.null_odds == np.inf
    found = answer(tokenizer, "\u200b", {}, {}, null_threshold=0.0)
    assert (found.text, found.n_best) == ("", (("", 1),))


def test_several_windows(tokenizer):
    questions = [asked("a b c d e f"), asked("g", "r")]
    windows = squad_data.make_windows(questions, tokenizer, 7, 2, 1)
    # "a b c", "c d e", "e f" and "g"; each window begins with 3 other pieces.
    assert np.diff(windows.offsets).tolist() == [7, 7, 6, 5]
    # "c" stands alone in the first window's last place and in the second one's first;
    # the first one counts, as it is no shorter.
    starts = logits_of(windows, {0: 3.0, 7: 1.0, 14: 2.0, 5: 4.0, 10: 8.0, 11: 2.0})
    ends = logits_of(windows, {0: 3.0, 7: 1.0, 14: 0.5, 5: 4.0, 12: 3.0})
    found = squad_answers.answers(questions, windows, starts, ends, null_threshold=9.0)
    assert [each.id for each in found] == ["q", "r"]
    assert [each.text for each in found] == ["c", "g"]
    # The least of the windows' scores for no answer.
    assert found[0].null_odds == 2 - 8
    assert found[1].null_odds == 0


def test_equal_to_all_spans_one_by_one(tokenizer):
    generator = np.random.default_rng(11)
    letters = list("abcdefgh  ,é")
    questions = [
        asked("".join(generator.choice(letters, 40)), str(number))
        for number in range(20)
    ]
    windows = squad_data.make_windows(questions, tokenizer, 20, 6, 1)
    assert len(windows) > 40
    starts, ends = generator.normal(size=(2, len(windows.values)))
    found = squad_answers.answers(questions, windows, starts, ends, 5, 6)
    for number, question in enumerate(questions):
        scores = {}
        for window in np.flatnonzero(windows.question_of == number):
            pieces = range(windows.offsets[window], windows.offsets[window + 1])
            words = {}
            for piece in pieces:
                if windows.token_start[piece] >= 0:
                    words.setdefault(windows.token_start[piece], []).append(piece)
            words = list(words.values())
            for first in range(len(words)):
                for last in range(first, len(words)):
                    length = words[last][-1] - words[first][0] + 1
                    if length > 6 or not windows.is_max_context[words[first][0]]:
                        continue
                    begin = windows.token_start[words[first][0]]
                    end = windows.token_end[words[last][0]]
                    span = question.context.encode()[begin:end].decode()
                    score = max(starts[words[first]]) + max(ends[words[last]])
                    scores[span] = max(score, scores.get(span, -np.inf))
        expected = sorted(scores, key=scores.get, reverse=True)[:5]
        assert [span for span, _ in found[number].n_best] == expected
        assert [share for _, share in found[number].n_best] == pytest.approx(
            softmax(*(scores[span] for span in expected))
        )


# ---- Files ----


def test_write(tmp_path):
    found = [
        squad_answers.Answer("1", "é", 0.75, (("é", 0.75), ("", 0.25)), -1.5),
        squad_answers.Answer("2", "", 1.0, (("", 1.0),), np.inf),
    ]
    folder = tmp_path / "new"
    squad_answers.write(str(folder), found)
    contents = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    assert contents == {
        "predictions.json": {"1": "é", "2": ""},
        "nbest_predictions.json": {
            "1": [
                {"text": "é", "probability": 0.75},
                {"text": "", "probability": 0.25},
            ],
            "2": [{"text": "", "probability": 1.0}],
        },
        "null_odds.json": {"1": -1.5, "2": None},
    }


def test_write_to_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    message = message_of(squad_answers.write, str(tmp_path / "file"), [])
    assert message.startswith(f"{tmp_path}/file/predictions.json cannot be written")
