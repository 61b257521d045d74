import collections
import itertools

import numpy as np
import pytest

from official.bert import english, english_grammar, english_masked, english_words
from official.bert.vocabulary import SPECIAL

WORDS = english.vocabulary()
CLS, SEP, MASK = (SPECIAL.index(f"[{name}]") for name in ("CLS", "SEP", "MASK"))


def ids_of(text: str) -> list[int]:
    for mark in ",.":
        text = text.replace(mark, f" {mark}")
    return [WORDS.index(word) for word in text.lower().split()]


def sequence_of(*segments: str) -> list[int]:
    return [CLS] + [i for segment in segments for i in (*ids_of(segment), SEP)]


# ---- Against all possibilities one by one ----


def possibilities(segment, chosen, topic) -> dict[tuple[int, ...], float]:
    """Probability of each choice of words at chosen places, before what is seen there.

    Args:
        segment: ids; those at chosen places are not looked at.
        chosen: places in the segment.
        topic: its number.
    """
    grammar = english_grammar.grammar()
    # From the state and the chosen words so far to their probability.
    found = {(grammar.stop, ()): 1.0}
    for place, word in enumerate(segment):
        further = collections.Counter()
        for (state, words), probability in found.items():
            for following in np.flatnonzero(grammar.transitions[state]):
                step = probability * grammar.transitions[state, following]
                emission = grammar.emissions[topic, following]
                if place not in chosen:
                    further[following, words] += step * emission[word]
                    continue
                for each in np.flatnonzero(emission):
                    further[following, (*words, int(each))] += step * emission[each]
        found = {key: value for key, value in further.items() if value}
    return {
        words: probability
        for (state, words), probability in found.items()
        if state == grammar.stop
    }


def posteriors(segments, places, observed, next_probability):
    """Probabilities of all words at each chosen place of two segments.

    Args:
        segments: two lists of ids.
        places: two lists of chosen places, in ascending order.
        observed: two lists of what is seen there.
        next_probability: that the second segment follows the first.
    """
    seen_words = observed[0] + observed[1]
    total = [np.zeros(len(WORDS)) for _ in seen_words]
    for first, second in itertools.product(range(6), repeat=2):
        prior = (1 - next_probability) / 6 + next_probability * (first == second)
        pairs = itertools.product(
            possibilities(segments[0], places[0], first).items(),
            possibilities(segments[1], places[1], second).items(),
        )
        for (words1, chance1), (words2, chance2) in pairs:
            chance = prior * chance1 * chance2
            for word, seen in zip(words1 + words2, seen_words, strict=True):
                if seen == MASK:
                    chance *= 0.8
                else:
                    chance *= 0.1 * (word == seen) + 0.1 / len(WORDS)
            for where, word in enumerate(words1 + words2):
                total[where][word] += chance
    return [each / each.sum() for each in total]


@pytest.mark.parametrize(
    "first, second, places, seen",
    [
        # Agreement, kind and topic at once; both segments share the topic or not.
        (
            "These bakers bake the cake.", "The tiny spoons are washed by this cook.",
            ([1, 2], [2, 7]), (["[MASK]", "[MASK]"], ["[MASK]", "[MASK]"]),
        ),
        # Of words that are seen there, one fits and one does not.
        (
            "The sailor in the harbour is sad.", "This boat is boarded by the sailors.",
            ([2, 4], [1, 3]), (["sailor", "bakes"], ["[MASK]", "hooked"]),
        ),
        # A full stop and the word behind it, and one that stands at the end.
        (
            "There is one tree in the garden. The tree that the farmer waters is wild.",
            "This rose is planted by these farmers.",
            ([7, 8, 15], [0]), (["[MASK]", "[MASK]", "."], ["this"]),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("next_probability", [0.5, 0.9])
def test_equals_the_sum_over_all_possibilities(
    first, second, places, seen, next_probability
):
    segments = [ids_of(first), ids_of(second)]
    observed = [[WORDS.index(word) for word in words] for words in seen]
    expected = posteriors(segments, places, observed, next_probability)
    ids = np.array([[*sequence_of(first, second), 0, 0]])
    begins = (1, 2 + len(segments[0]))
    where = [
        begin + at for begin, each in zip(begins, places, strict=True) for at in each
    ]
    ids[0, where] = observed[0] + observed[1]
    words, probabilities = english.best_masked_predictions(
        ids, np.array([where]), next_probability=next_probability
    )
    assert words.dtype == np.int32 and probabilities.dtype == np.float64
    np.testing.assert_allclose(
        probabilities[0], [each.max() for each in expected], rtol=1e-6
    )
    assert words[0].tolist() == [each.argmax() for each in expected]


# ---- What it comes to ----


def masked_pairs(count: int):
    """Pairs of segments, half of them of one document, masked as for training.

    Returns:
        ids, positions and weights for `best_masked_predictions`, and the true words,
        int [count, 20].
    """
    documents = english.documents(0, 2 * count)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        document = documents[number]
        cut = int(generator.integers(1, len(document)))
        second = document[cut:]
        if generator.random() < 0.5:
            second = documents[count + number]
        rows.append(sequence_of(" ".join(document[:cut]), " ".join(second)))
    ids = np.zeros((count, max(map(len, rows))), np.int64)
    positions, truth = np.zeros((2, count, 20), np.int64)
    weights = np.zeros((count, 20))
    for row, values in enumerate(rows):
        ids[row, : len(values)] = values
        places = np.flatnonzero(ids[row] >= len(SPECIAL))
        places = generator.permutation(places)[: round(0.15 * len(places))]
        positions[row, : len(places)] = places
        weights[row, : len(places)] = 1
        truth[row, : len(places)] = ids[row, places]
        kind = generator.random(len(places))
        seen = np.where(kind < 0.9, generator.integers(0, len(WORDS), len(places)), -1)
        seen = np.where(kind < 0.8, MASK, seen)
        ids[row, places] = np.where(seen < 0, ids[row, places], seen)
    return ids, positions, weights, truth


def test_probabilities_are_the_accuracy_that_is_reached():
    ids, positions, weights, truth = masked_pairs(300)
    words, probabilities = english.best_masked_predictions(ids, positions, weights)
    is_place = weights > 0
    assert not words[~is_place].any() and not probabilities[~is_place].any()
    is_right, probabilities = (words == truth)[is_place], probabilities[is_place]
    assert 0.64 < probabilities.mean() < 0.72
    for low, high in ((0, 1), (0, 0.4), (0.4, 0.8), (0.8, 1)):
        those = (low <= probabilities) & (probabilities <= high)
        expected = probabilities[those]
        assert len(expected) > 100
        deviation = np.sqrt((expected * (1 - expected)).sum()) / len(expected)
        assert abs(is_right[those].mean() - expected.mean()) < 4 * deviation + 1e-3
    # No word is frequent enough to be a good guess by itself.
    assert np.bincount(truth[is_place]).max() / is_place.sum() < 0.2


def triples(words):
    return zip([0, *words], words, [*words[1:], 0], strict=False)


def test_the_rest_of_the_text_is_needed():
    # What stands on both sides of a word says less than all the text does.
    seen = collections.defaultdict(collections.Counter)
    sentences = [ids_of(text) for text in english.text(0, 30_000)]
    right = 0
    for words in sentences[:28_000]:
        for before, word, behind in triples(words):
            seen[before, behind][word] += 1
    for words in sentences[28_000:]:
        for before, word, behind in triples(words):
            counts = seen[before, behind]
            right += bool(counts) and counts.most_common(1)[0][0] == word
    assert 0.42 < right / sum(map(len, sentences[28_000:])) < 0.52


def test_single_segments_and_cut_ones():
    text = "These teachers solve the riddles in the library."
    whole = np.array([sequence_of(text)])
    whole[0, [2, 9]] = MASK
    words, probabilities = english.best_masked_predictions(whole, np.array([[2, 9]]))
    assert [WORDS[i] for i in words[0]] == ["teachers", "."]
    np.testing.assert_allclose(probabilities[0], [1 / 1.96, 1], rtol=1e-6)
    # Cut in front and behind.
    cut = np.array([[CLS, *ids_of(text)[1:-2], SEP]])
    cut[0, 3] = MASK
    words, probabilities = english.best_masked_predictions(cut, np.array([[3]]))
    assert WORDS[words[0, 0]] == "the"
    assert 0.4 < probabilities[0, 0] < 0.6


def test_result_does_not_depend_on_the_batch():
    ids, positions, weights, _ = masked_pairs(70)
    words, probabilities = english.best_masked_predictions(ids, positions, weights)
    for row in (3, 66):
        alone = english.best_masked_predictions(
            *(part[row : row + 1] for part in (ids, positions, weights))
        )
        np.testing.assert_array_equal(alone[0][0], words[row])
        np.testing.assert_allclose(alone[1][0], probabilities[row], rtol=1e-9)


def test_shares_of_what_is_seen():
    shares = english_masked.MASKED, english_masked.RANDOM, english_masked.KEPT
    assert shares == (0.8, 0.1, 0.1)
    assert english_words.vocabulary()[: len(SPECIAL)] == list(SPECIAL)
