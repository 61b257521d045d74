import itertools
import re
import time

import numpy as np
import pytest

from official.bert import english, english_words
from official.bert.vocabulary import SPECIAL


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+|[^a-z\s]", text.lower())


# ---- Vocabulary and text ----


def test_vocabulary():
    pieces = english.vocabulary()
    assert len(pieces) == len(set(pieces)) == 254
    assert pieces[:5] == list(SPECIAL) and pieces[-3:] == [",", ".", "?"]
    words = pieces[5:-3]
    assert words == sorted(words)
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    # Every word occurs.
    seen = set(",.?")
    for text in english.text(0, 20_000):
        seen.update(words_of(text))
    for text in english.classification(0).train.text_a:
        seen.update(words_of(text))
    for question in english.questions(0, (2000, 1, 1))[0]:
        seen.update(words_of(question.context), words_of(question.question))
    assert seen == set(pieces[5:])


def test_tokenizer_makes_one_piece_of_each_word():
    pytest.importorskip("tensorflow_text")
    from official.bert.text import Tokenizer

    pieces = english.vocabulary()
    texts = english.text(0, 300) + english.classification(0, (300, 1, 1)).train.text_a
    for question in english.questions(0, (100, 1, 1))[0]:
        texts += [question.context, question.question]
    found = Tokenizer(pieces).tokenize(texts).to_list()
    for text, ids in zip(texts, found, strict=True):
        assert [pieces[i] for i in ids] == words_of(text)


def test_text():
    sentences = english.text(0, 5)
    assert sentences == [
        "The merry pupil always solves some riddles behind the classroom.",
        "The farmer who brushes the horses is happy.",
        "This baker near the kitchen is rather cheerful.",
        "The waiters often serve the warm cake.",
        "The singers who rehearse this song are rather unhappy.",
    ]
    assert english.text(0, 3) == sentences[:3]
    assert english.text(1, 5) != sentences


def test_documents():
    documents = english.documents(0, 600)
    assert documents[0] == [
        "This baker serves these cakes in the kitchen.",
        "The cook in the kitchen is very happy.",
        "Every cook near the kitchen is rather gloomy.",
    ]
    assert english.documents(0, 20) == documents[:20]
    assert {len(document) for document in documents} == {2, 3, 4}
    people = [
        {form for noun in topic.people for form in noun.forms}
        for topic in english_words.TOPICS
    ]
    topics = []
    for document in documents:
        words = set(words_of(" ".join(document)))
        found = [topic for topic in range(6) if words & people[topic]]
        assert len(found) <= 1
        topics += found
    counts = np.bincount(topics, minlength=6)
    assert len(topics) > 570 and counts.min() > 65 and counts.max() < 135


def test_all_is_drawn_in_a_few_seconds():
    start = time.process_time()
    english.documents(0, 20_000)
    english.classification(0)
    english.questions(0)
    assert time.process_time() - start < 10


# ---- Classification ----


def test_classification():
    data = english.classification(0)
    assert data.name == "english" and data.notes == ()
    assert data.label_names == ("cheerful", "gloomy") and data.metrics == ("accuracy",)
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [50_000, 1_000, 2_000]
    for part in parts:
        assert part.text_b is None and part.labels.dtype == np.int32
        # Five deviations of a fair coin.
        assert abs(part.labels.mean() - 0.5) < 2.5 / len(part) ** 0.5
    texts = [text for part in parts for text in part.text_a]
    assert len(set(texts)) == 53_000
    lengths = [len(words_of(text)) for text in texts]
    assert min(lengths) == 8 and max(lengths) == 17
    labels = [data.label_names[label] for label in data.test.labels[:4]]
    assert list(zip(data.test.text_a, labels, strict=False)) == [
        ("Yesterday, the unhappy gardener praised the jolly captain.", "gloomy"),
        ("The tearful singers thanked the cheerful waiters.", "gloomy"),
        (
            "It was the gloomy plumbers whom the merry baker never called.",
            "cheerful",
        ),
        (
            "Today, the jolly farmers visited the grumpy shepherds near the workshop.",
            "cheerful",
        ),
    ]


def test_label_is_the_mood_of_the_one_who_acts():
    moods = [set(mood) for mood in english_words.MOODS]
    deeds = {deed.past for deed in english_words.DEEDS}
    data = english.classification(0, (3000, 1, 1)).train
    seen = set()
    for text, label in zip(data.text_a, data.labels, strict=True):
        words = words_of(text)
        verb = next(at for at, word in enumerate(words) if word in deeds)
        places = [
            next(at for at, word in enumerate(words) if word in mood) for mood in moods
        ]
        form = next((word for word in ("whom", "who", "by") if word in words), "active")
        # Who acts stands in front of the verb and nearest to it, or behind it in the
        # passive voice.
        if form == "by":
            actor = max(places)
        else:
            actor = max(place for place in places if place < verb)
        assert places[label] == actor
        seen.add((form, int(label), places[0] < places[1]))
    # In each form the one who acts stands in front, or behind, and has both moods.
    assert len(seen) == 4 * 2


def test_adjectives_that_change_places_change_the_label():
    # With the same random numbers but for the first one, which is the label.
    uniform = english_words.Numbers(3, 0).uniform(200, 20)
    for row in uniform.tolist():
        sentences = {
            english.english_people.moody_act([label, *row[1:]]) for label in (0.2, 0.7)
        }
        assert {label for _, label in sentences} == {0, 1}


def test_bags_of_words_do_not_tell_the_class():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    data = english.classification(0)
    texts, labels = data.train.text_a[:12_000], data.train.labels[:12_000]
    for longest in (1, 2):
        counter = CountVectorizer(
            ngram_range=(1, longest), token_pattern=r"[a-z]+|[.,]"
        )
        train = counter.fit_transform(texts)
        test = counter.transform(data.test.text_a)
        model = LogisticRegression(max_iter=300).fit(train, labels)
        # Chance: .5, deviation .011. The goal is below .65.
        assert model.score(test, data.test.labels) < 0.56, longest


def test_seed_divides_the_pool_and_leaves_the_test_part():
    sizes = (300, 100, 50)
    first, again, other = (english.classification(seed, sizes) for seed in (0, 0, 1))
    assert first.train.text_a == again.train.text_a
    assert first.test.text_a == other.test.text_a
    assert first.validation.text_a != other.validation.text_a
    pools = [{*d.train.text_a, *d.validation.text_a} for d in (first, other)]
    assert pools[0] == pools[1]


# ---- Questions ----


def test_questions():
    parts = english.questions(0)
    assert [len(part) for part in parts] == [40_000, 1_000, 2_000]
    questions = [question for part in parts for question in part]
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.context for question in questions}) == len(questions)
    for question in questions:
        (answer,) = question.answers
        end = question.answer_start + len(answer)
        assert question.context[question.answer_start : end] == answer
        assert not question.is_impossible
        # It is a whole phrase, and not a part of a longer one.
        assert question.context[end] in " ." and answer.lower().startswith("the ")
    counts = [question.context.count(".") for question in questions]
    assert set(counts) == {2, 3}
    lengths = [len(words_of(q.context + q.question)) for q in questions]
    assert max(lengths) <= 61
    first = parts[2][0]
    assert first.question == "Who was called by somebody?"
    assert first.context == (
        "The sailors in the harbour are rather tearful. The captain called the sailor. "
        "The huge ships are anchored by the cheerful captain near the island."
    )
    assert first.answers == ("the sailor",) and first.answer_start == 66


def test_order_of_words_decides_the_answer():
    # Whoever knows who the two people are, and which of them is named, but not the
    # order, is right where one is named and in half of the other cases.
    is_named, says_first = [], []
    deeds = {deed.past for deed in english_words.DEEDS}
    for question in english.questions(0, (1, 1, 2000))[2]:
        is_named.append("somebody" not in question.question)
        (sentence,) = (
            text
            for text in re.findall(r"[^.]+\.", question.context)
            if deeds & set(words_of(text))
        )
        people = [
            word
            for word in words_of(sentence)
            if any(word in noun.forms for noun in english_words.PEOPLE)
        ]
        assert len(people) == 2
        answer = words_of(question.answers[0])[-1]
        says_first.append(people.index(answer) == 0)
        # The voice and the form of the question say which one.
        is_passive = "by" in words_of(sentence)
        asks_for_actor = words_of(question.question)[1] in deeds
        assert (people.index(answer) == 0) == (asks_for_actor != is_passive)
        if is_named[-1]:
            assert people[1 - people.index(answer)] in question.question
    assert abs(np.mean(is_named) - 0.25) < 0.05
    assert abs(np.mean(says_first) - 0.5) < 0.056
    assert np.mean(is_named) + (1 - np.mean(is_named)) / 2 < 0.65


def test_forms_of_questions():
    questions = english.questions(0, (2000, 1, 1))[0]
    seen = {tuple(question.question.split()[:2]) for question in questions}
    pasts = [deed.past for deed in english_words.DEEDS]
    assert seen == {
        ("Whom", "did"), ("Who", "was"), *itertools.product(["Who"], pasts),
    }  # fmt: skip
