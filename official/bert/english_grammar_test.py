import collections

import numpy as np

from official.bert import english_grammar, english_words
from official.bert.english_words import TOPICS, Numbers, vocabulary


def drawn(count: int, topics=None) -> list[list[str]]:
    words = vocabulary()
    if topics is None:
        topics = Numbers(0, 0).below(len(TOPICS), count)
    uniform = Numbers(0, 1).uniform(count, english_grammar.LONGEST, 2)
    return [[words[i] for i in row] for row in english_grammar.draw(topics, uniform)]


def test_probabilities_add_up():
    grammar = english_grammar.grammar()
    assert grammar.num_topics == 6
    assert grammar.transitions.shape == (163, 163)
    assert grammar.emissions.shape == (6, 163, len(vocabulary()))
    np.testing.assert_allclose(grammar.transitions.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(grammar.emissions.sum(axis=2), 1, rtol=1e-12)
    # Only a full stop stands at the end, and it stands nowhere else.
    is_stop = grammar.emissions[:, :, vocabulary().index(".")] > 0
    assert is_stop.all(axis=0).nonzero()[0].tolist() == [grammar.stop]
    assert is_stop.sum() == 6


def test_sentences():
    sentences = drawn(6000)
    lengths = {len(words) for words in sentences}
    assert min(lengths) == 6 and max(lengths) == english_grammar.LONGEST
    assert all(words.index(".") == len(words) - 1 for words in sentences)
    texts = {" ".join(words) for words in sentences}
    # One of each plan.
    assert {
        "today , the cook sadly stacks this tiny spoon .",
        "this loud violin is always played by the sad drummer .",
        "some teachers in the classroom are very merry .",
        "the farmers who water every tree are rather joyful .",
        "the roofs that this painter repairs are old .",
        "there is one horse near the meadow .",
    } <= texts


def test_agreement_over_distance():
    singular = {n.forms[0] for n in english_words.PEOPLE}
    plural = {n.forms[1] for n in english_words.PEOPLE}
    seen = collections.Counter()
    for words in drawn(3000):
        if "who" not in words:
            continue
        person = words[words.index("who") - 1]
        assert person in singular | plural
        verb = "is" if person in singular else "are"
        # Behind the object, which has a number of its own.
        assert verb in words and {"is": "are", "are": "is"}[verb] not in words
        seen[verb] += 1
    assert min(seen.values()) > 150


def test_a_topic_has_its_own_words():
    words_of = [set(), set()]
    for topic, words in enumerate(words_of):
        for sentence in drawn(2000, np.full(2000, topic)):
            words.update(sentence)
    assert {"baker", "cakes", "washes", "kitchen", "tiny"} <= words_of[0]
    assert {"farmer", "roses", "grooms", "garden", "wild"} <= words_of[1]
    common = words_of[0] & words_of[1]
    of_topics = {
        word
        for topic in TOPICS
        for noun in topic.people
        for word in (*noun.forms, *topic.places, *topic.adjectives)
    }
    assert not common & of_topics and {"the", "happy", "are"} <= common


def test_first_sentences_stay_the_same_where_more_are_drawn():
    topics = np.arange(60) % 6
    uniform = Numbers(7, 0).uniform(60, english_grammar.LONGEST, 2)
    few = english_grammar.draw(topics[:20], uniform[:20])
    assert english_grammar.draw(topics, uniform)[:20] == few


def test_frequencies():
    sentences = drawn(20_000)
    # Plans begin with "there" in .1 of the sentences, and with a day in .3 * .2.
    first = collections.Counter(words[0] for words in sentences)
    for words, share in ((("there",), 0.1), (("today", "tonight"), 0.06)):
        found = sum(first[word] for word in words) / len(sentences)
        assert abs(found - share) < 5 * (share * (1 - share) / len(sentences)) ** 0.5
    # Of three choices, each is .6 times as frequent as the one before.
    people = collections.Counter(word for words in sentences for word in words)
    ratio = people["cook"] / people["baker"]
    assert abs(ratio - 0.6) < 0.1
