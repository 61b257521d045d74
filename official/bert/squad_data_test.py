import dataclasses
import json

import numpy as np
import pytest

from official.bert import squad_answers, squad_data, squad_metrics, text, vocabulary
from official.bert.questions import Question
from official.bert.vocabulary import SPECIAL
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

PIECES = (*SPECIAL, *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh"), ",", "é")


@pytest.fixture(scope="module")
def tokenizer():
    return text.Tokenizer(PIECES, lower_case=False)


def about(context, answer="", start=None, asked="a", name="q"):
    """A question; without an answer, an impossible one."""
    answers = (answer,) if answer else ()
    return Question(name, asked, context, answers, start, not answer)


def window_of(windows, number):
    """Pieces, starts and ends of words, and max-context marks of one window."""
    here = slice(windows.offsets[number], windows.offsets[number + 1])
    return (
        " ".join(PIECES[piece] for piece in windows.values[here]),
        windows.token_start[here].tolist(),
        windows.token_end[here].tolist(),
        windows.is_max_context[here].tolist(),
    )


def span_text(question, windows, number):
    """The text between the positions of the answer in a window."""
    first = windows.offsets[number]
    begin = windows.token_start[first + windows.starts[number]]
    end = windows.token_end[first + windows.ends[number]]
    return question.context.encode()[begin:end].decode()


# ---- Windows ----


def test_one_window(tokenizer):
    windows = squad_data.make_windows([about("é ab, c", "ab", 2)], tokenizer)
    assert window_of(windows, 0) == (
        "[CLS] a [SEP] é a ##b , c [SEP]",
        [-1, -1, -1, 0, 3, 3, 5, 7, -1],
        [-1, -1, -1, 2, 5, 5, 6, 8, -1],
        [False] * 3 + [True] * 5 + [False],
    )
    assert windows.segment_starts.tolist() == [3]
    assert (windows.starts.tolist(), windows.ends.tolist()) == ([4], [5])
    dtypes = {
        field.name: getattr(windows, field.name).dtype
        for field in dataclasses.fields(windows)
    }
    assert dtypes.pop("offsets") == np.int64
    assert dtypes.pop("is_max_context") == np.bool_
    assert set(dtypes.values()) == {np.dtype(np.int32)}


def test_windows_overlap(tokenizer):
    question = about("a b c d e f g", "d", 6, asked="h h h h")
    windows = squad_data.make_windows([question], tokenizer, 10, 2, 3)
    assert [window_of(windows, number)[0] for number in range(len(windows))] == [
        "[CLS] h h h [SEP] a b c d [SEP]",
        "[CLS] h h h [SEP] c d e f [SEP]",
        "[CLS] h h h [SEP] e f g [SEP]",
    ]
    # "c" has a neighbour in the first window, "d" in the second; "f" has none in the
    # second and one on each side in the third; "e" is the first piece of the third.
    marks = [window_of(windows, number)[3][5:-1] for number in range(3)]
    assert marks == [[1, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1]]
    assert windows.starts.tolist() == windows.ends.tolist() != [0, 0, 0]
    assert windows.starts.tolist() == [8, 6, 0]
    assert windows.question_of.tolist() == [0, 0, 0]


def test_an_answer_that_is_cut_counts_as_none(tokenizer):
    question = about("a b c d e f", "d e", 6)
    windows = squad_data.make_windows([question], tokenizer, 8, 2, 1)
    assert windows.starts.tolist() == [0, 4]
    assert windows.ends.tolist() == [0, 5]


def test_a_stride_beyond_the_window_leaves_no_gap(tokenizer):
    windows = squad_data.make_windows([about("a b c d e")], tokenizer, 6, 100, 1)
    assert [window_of(windows, number)[0] for number in range(len(windows))] == [
        "[CLS] a [SEP] a b [SEP]",
        "[CLS] a [SEP] c d [SEP]",
        "[CLS] a [SEP] e [SEP]",
    ]


@pytest.mark.parametrize(
    "answer, start, expected",
    [
        ("d", 5, "d"),
        # Parts of words stand for whole ones.
        ("c", 4, "bc"),
        ("c, d", 4, "bc, d"),
        # Spaces around it change nothing.
        (" bc", 2, "bc"),
        # Not where it is said to be: the nearest place.
        ("a", 2, "a"),
        ("a", 9, "ag"),
        ("h", -3, "h"),
        ("h", 999, "h"),
        ("h", None, "h"),
    ],
)
def test_answers_are_whole_words(tokenizer, answer, start, expected):
    question = about("é a bc, d ag h", answer, start)
    windows = squad_data.make_windows([question], tokenizer)
    assert span_text(question, windows, 0) == expected


def test_the_nearest_of_equal_answers(tokenizer):
    places = []
    for start in (0, 1, 2, 3, 4, 5, 6, 7, 50, -1):
        windows = squad_data.make_windows([about("b a b a", "b", start)], tokenizer)
        places.append(int(windows.starts[0]) - 3)
    assert places == [0, 0, 0, 2, 2, 2, 2, 2, 2, 0]


def test_without_an_answer(tokenizer):
    questions = [about("a b"), about("a b", "c", 0), about("a b", "b", 2)]
    windows = squad_data.make_windows(questions, tokenizer)
    assert windows.starts.tolist() == windows.ends.tolist() == [0, 0, 4]
    kept, num_left_out = squad_data.for_training(questions)
    assert kept == [questions[0], questions[2]] and num_left_out == 1
    unknown = dataclasses.replace(questions[0], is_impossible=False)
    assert squad_data.for_training([unknown]) == ([], 1)


def test_empty_texts(tokenizer):
    windows = squad_data.make_windows(
        [about("\u200b", asked=" "), about("b")], tokenizer
    )
    assert window_of(windows, 0)[0] == "[CLS] [SEP] [SEP]"
    assert windows.segment_starts.tolist() == [2, 3]
    assert len(squad_data.make_windows([], tokenizer)) == 0
    assert len(squad_data.make_windows([about("\u200b")], tokenizer)) == 1


def test_lengths_that_leave_no_room(tokenizer):
    def message(*sizes):
        return message_of(squad_data.make_windows, [about("a")], tokenizer, *sizes)

    assert message(7, 1, 4).startswith(
        "--max_seq_length=7 leaves no room for a text beside --max_query_length=4 "
    )
    assert "--max_query_length=0" in message(100, 1, 0)
    assert message(8, 0, 4) == "--doc_stride=0 must be at least 1; raise it"
    assert len(squad_data.make_windows([about("a b")], tokenizer, 8, 1, 4)) == 1


def expected_windows(tokenizer, asked, ids, starts, max_length, doc_stride):
    """Pieces, segment start, word starts and marks of each window, by loops."""
    room = max_length - len(asked) - 3
    spans = [(0, min(room, len(ids)))]
    while spans[-1][1] < len(ids):
        begin = spans[-1][0] + min(room, doc_stride)
        spans.append((begin, min(begin + room, len(ids))))

    def context(span, place):
        begin, end = span
        return min(place - begin, end - 1 - place) + 0.01 * (end - begin)

    for begin, end in spans:
        head = [tokenizer.cls_id, *asked, tokenizer.sep_id]
        marks = []
        for place in range(begin, end):
            around = [each for each in spans if each[0] <= place < each[1]]
            best = max(around, key=lambda each: context(each, place))
            marks.append(best == (begin, end))
        outside = [-1] * len(head)
        yield (
            [*head, *ids[begin:end], tokenizer.sep_id],
            len(head),
            [*outside, *starts[begin:end], -1],
            [*[False] * len(head), *marks, False],
        )


def test_windows_equal_loops(tokenizer, monkeypatch):
    monkeypatch.setattr(squad_data, "_CHUNK", 3)
    generator = np.random.default_rng(7)

    def drawn(most):
        letters = list("abcdefgh  ,é")
        return "".join(generator.choice(letters, generator.integers(0, most)))

    for sizes in ((16, 4, 5), (9, 3, 5), (24, 1, 2), (30, 50, 9)):
        contexts = [drawn(60) for _ in range(4)]
        questions = [
            about(contexts[generator.integers(0, 4)], asked=drawn(14))
            for _ in range(11)
        ]
        windows = squad_data.make_windows(questions, tokenizer, *sizes)
        asked = tokenizer.tokenize([each.question for each in questions]).to_list()
        ids, starts, _ = (
            each.to_list()
            for each in tokenizer.tokenize_with_offsets(
                [each.context for each in questions]
            )
        )
        expected = [
            (number, *window)
            for number in range(len(questions))
            for window in expected_windows(
                tokenizer,
                asked[number][: sizes[2]],
                ids[number],
                starts[number],
                *sizes[:2],
            )
        ]
        fields = (windows.values, windows.token_start, windows.is_max_context)
        values, token_starts, marks = (
            [part.tolist() for part in np.split(field, windows.offsets[1:-1])]
            for field in fields
        )
        found = zip(
            windows.question_of.tolist(),
            values,
            windows.segment_starts.tolist(),
            token_starts,
            marks,
            strict=True,
        )
        assert list(found) == expected


# ---- Reading ----


def entry(**changes):
    """The JSON of a question."""
    answers = [{"text": "bc", "answer_start": 2}, {"text": "b", "answer_start": 2}]
    return {"id": "q1", "question": "why?", "answers": answers} | changes


def write(folder, *paragraphs):
    path = folder / "questions.json"
    content = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_read(tmp_path):
    more = [entry(id="q2", answers=[], is_impossible=True), {"id": "3", "question": ""}]
    path = write(
        tmp_path,
        {"context": "a bc\n", "qas": [entry(is_impossible=False), *more]},
        {"context": "é", "qas": []},
    )
    assert squad_data.read_questions(path) == [
        Question("q1", "why?", "a bc\n", ("bc", "b"), 2, False),
        Question("q2", "why?", "a bc\n", (), None, True),
        Question("3", "", "a bc\n", (), None, False),
    ]


@pytest.mark.parametrize(
    "paragraph, expected",
    [
        ({"qas": []}, "paragraph 2 of article 1 in {} lacks the field context; "),
        ({"context": "x"}, "paragraph 2 of article 1 in {} lacks the field qas; "),
        (
            {"context": " \n", "qas": []},
            "paragraph 2 of article 1 in {} has an empty context; ",
        ),
        ("x", "paragraph 2 of article 1 in {} is no JSON object; "),
    ],
)
def test_wrong_paragraphs(tmp_path, paragraph, expected):
    path = write(tmp_path, {"context": "a", "qas": [entry()]}, paragraph)
    message = message_of(squad_data.read_questions, path)
    assert message.startswith(expected.format(path))


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"id": None}, "question 1 of {} lacks the field id; "),
        ({"id": "q"}, "question 1 of {} has the id q of question 1 of "),
        ({"question": None}, "question 1 of {} (id q1) lacks the field question; "),
        ({"question": 3}, "question 1 of {} (id q1) has a field question that is not "),
        (
            {"id": "x\ny", "is_impossible": 1},
            "question 1 of {} (id 'x\\ny') has a field is_impossible that is not ",
        ),
        (
            {"is_impossible": True},
            "question 1 of {} (id q1) has answers though its is_impossible is true; ",
        ),
        (
            {"answers": [{"text": "a"}]},
            "an answer to question 1 of {} (id q1) lacks the field answer_start; ",
        ),
        (
            {"answers": [{"answer_start": 0}]},
            "an answer to question 1 of {} (id q1) lacks the field text; ",
        ),
        (
            {"answers": [{"answer_start": 0, "text": ""}]},
            "question 1 of {} (id q1) has an empty answer; ",
        ),
        (
            {"answers": ["a"]},
            "an answer to question 1 of {} (id q1) is no JSON object; ",
        ),
    ],
)
def test_wrong_questions(tmp_path, changes, expected):
    path = write(
        tmp_path,
        {"context": "a", "qas": [entry(id="q")]},
        {"context": "a", "qas": [entry(**changes)]},
    )
    message = message_of(squad_data.read_questions, path)
    assert message.startswith(expected.format(f"paragraph 2 of article 1 in {path}"))


@pytest.mark.parametrize(
    "content, expected",
    [
        ("[]", "{} is no JSON object; check that it is a file of SQuAD 1.1 or 2.0"),
        ("{}", "{} lacks the field data; "),
        ('{"data": 3}', "{} has a field data that is not an array; "),
        ('{"data": []}', "{} holds no questions; "),
        ('{"data": [{}]}', "article 1 in {} lacks the field paragraphs; "),
        ("id\tquestion", "{} is no JSON (Expecting value: line 1 column 1 (char 0)); "),
    ],
)
def test_wrong_files(tmp_path, content, expected):
    path = tmp_path / "questions.json"
    path.write_text(content)
    message = message_of(squad_data.read_questions, str(path))
    assert message.startswith(expected.format(path))


# ---- Real data ----


@pytest.fixture(scope="module")
def real_questions():
    return squad_data.read_questions(real_data("xquad", "xquad.en.json"))


def test_real_answers_are_found_by_their_positions(real_questions):
    pieces = vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))
    questions = real_questions
    assert len(questions) == 1190
    assert squad_data.for_training(questions) == (questions, 0)
    windows = squad_data.make_windows(questions, text.Tokenizer(pieces))
    # A question has at most 4 windows, and each answer is whole in one at least.
    assert len(windows) == 1232
    logits = np.zeros((2, len(windows.values)), np.float32)
    has_answer = windows.ends > 0
    for row, places in zip(logits, (windows.starts, windows.ends), strict=True):
        row[(windows.offsets[:-1] + places)[has_answer]] = 1
    assert set(windows.question_of[has_answer]) == set(range(1190))

    found = squad_answers.answers(questions, windows, *logits, max_answer_length=100)
    given = {answer.id: answer.text for answer in found}
    wrong = [
        (given[question.id], question.answers[0])
        for question in questions
        if squad_metrics.evaluate([question], given)["exact_match"] < 1
    ]
    # Its one answer ends within a number of the text.
    assert wrong == [
        ("7,000,000 square kilometres (2,700", "7,000,000 square kilometres (2,70")
    ]
    figures = squad_metrics.evaluate(questions, given)
    assert figures["exact_match"] == pytest.approx(1189 / 1190)
    assert figures["f1"] > 0.9997
