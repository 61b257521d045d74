"""The grammar of the embedded English: a hidden Markov model, and drawing from it.

A state is a place in the plan of a sentence together with those features that words on
both sides of it share: whether the subject is one or many, whether the object is, what
kind of thing is done, in which mood. A word depends on the state and on the topic,
which stays the same through a document. So words depend on each other over distances,
yet everything about them can be computed exactly.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from official.bert import english_words as words

LONGEST = 14
# Each word of a choice is so much rarer than the one before it.
_RARER = 0.6


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A place in the plan of a sentence.

    Attributes:
        features: what its words depend on besides the topic; each is 0 or 1.
        choices: the words, from the topic and the features in that order.
        chance: that what begins here is there.
        length: number of slots that are there or not together.
    """

    features: tuple[str, ...]
    choices: Callable[..., Sequence[str]]
    chance: float = 1.0
    length: int = 1


def _fixed(*choices: str) -> _Slot:
    return _Slot((), lambda topic: choices)


def _slot(features: str, choices: Callable[..., Sequence[str]]) -> _Slot:
    return _Slot(tuple(features.split()), choices)


def _maybe(chance: float, *slots: _Slot) -> tuple[_Slot, ...]:
    first = dataclasses.replace(slots[0], chance=chance, length=len(slots))
    return (first, *slots[1:])


# ---- Slots. `number` is that of the people, `count` that of the things ----

_DAY = (_fixed(*words.DAYS), _fixed(","))
_PLACE = (
    _fixed(*words.PREPOSITIONS),
    _fixed("the"),
    _slot("", lambda topic: topic.places),
)
_DEGREE = _slot("mood", lambda topic, mood: words.DEGREES[:: 1 - 2 * mood])
_MOOD = _slot("mood", lambda topic, mood: words.MOODS[mood])
_ADJECTIVE = _slot("", lambda topic: topic.adjectives)
_PEOPLE_THE = _slot("number", lambda topic, number: words.DETERMINERS[number])
_PEOPLE = _slot("number", lambda topic, number: [n.forms[number] for n in topic.people])
_PEOPLE_ARE = _slot("number", lambda topic, number: words.IS[number : number + 1])
_THINGS_THE = _slot("count", lambda topic, count: words.DETERMINERS[count])
_THINGS = _slot(
    "kind count",
    lambda topic, kind, count: [noun.forms[count] for noun in topic.kinds[kind][1]],
)
_THINGS_ARE = _slot("count", lambda topic, count: words.IS[count : count + 1])
_AMOUNT = _slot("count", lambda topic, count: words.AMOUNTS[count])
_DO = _slot(
    "kind number",
    lambda topic, kind, number: [v.present[number] for v in topic.kinds[kind][0]],
)
_DONE = _slot("kind", lambda topic, kind: [verb.past for verb in topic.kinds[kind][0]])
_HOW = _slot(
    "mood",
    lambda topic, mood: (
        words.MOOD_ADVERBS[mood][0], words.ADVERBS[0], words.MOOD_ADVERBS[mood][1],
        *words.ADVERBS[1:],
    ),
)  # fmt: skip
_OFTEN = _fixed(*words.ADVERBS)

# How often each plan is taken. All end in a full stop.
_PLANS: tuple[tuple[float, tuple[_Slot, ...]], ...] = (
    # Today, the happy baker gladly bakes some warm cakes in the kitchen.
    (0.3, (
        *_maybe(0.2, *_DAY), _PEOPLE_THE, *_maybe(0.6, _MOOD), _PEOPLE,
        *_maybe(0.5, _HOW), _DO, _THINGS_THE, *_maybe(0.5, _ADJECTIVE), _THINGS,
        *_maybe(0.4, *_PLACE),
    )),
    # Every warm cake is often baked by the happy bakers in the kitchen.
    (0.2, (
        _THINGS_THE, *_maybe(0.5, _ADJECTIVE), _THINGS, _THINGS_ARE,
        *_maybe(0.4, _OFTEN), _DONE, _fixed("by"), _PEOPLE_THE, *_maybe(0.5, _MOOD),
        _PEOPLE, *_maybe(0.3, *_PLACE),
    )),
    # These bakers in the kitchen are very happy.
    (0.15, (
        _PEOPLE_THE, _PEOPLE, *_PLACE, _PEOPLE_ARE, *_maybe(0.6, _DEGREE), _MOOD,
    )),
    # The baker who bakes these cakes is rather sad.
    (0.15, (
        _PEOPLE_THE, _PEOPLE, _fixed("who"), _DO, _THINGS_THE, _THINGS, _PEOPLE_ARE,
        *_maybe(0.6, _DEGREE), _MOOD,
    )),
    # The cakes that the baker bakes are warm.
    (0.1, (
        _THINGS_THE, _THINGS, _fixed("that"), _PEOPLE_THE, _PEOPLE, _DO, _THINGS_ARE,
        _ADJECTIVE,
    )),
    # There are two warm cakes in the kitchen.
    (0.1, (
        _fixed("there"), _THINGS_ARE, _AMOUNT, *_maybe(0.6, _ADJECTIVE), _THINGS,
        *_PLACE,
    )),
)  # fmt: skip


# ---- From plans to states ----


@dataclasses.dataclass(frozen=True, eq=False)
class Grammar:
    """A hidden Markov model whose states' words depend on a topic.

    Attributes:
        transitions: float64 [states, states], from a state (row) to the next one.
        emissions: float64 [topics, states, vocabulary], probabilities of words.
        stop: the state of the full stop, before which and behind which a sentence
            begins.
    """

    transitions: np.ndarray
    emissions: np.ndarray
    stop: int = 0

    @property
    def num_topics(self) -> int:
        """Number of topics, all equally frequent."""
        return self.emissions.shape[0]


# Number of the plan, number of the slot, and the features that are settled there.
_State = tuple[int, int, tuple[tuple[str, int], ...]]
_STOP: _State = (-1, 0, ())


@functools.cache
def grammar() -> Grammar:
    """The grammar with its tables."""
    starts: dict[_State, float] = {}
    for number, (weight, _) in enumerate(_PLANS):
        for state, chance in _entered(number, 0, ()):
            starts[state] = weight * chance
    found = {_STOP: starts}
    waiting = list(starts)
    while waiting:
        state = waiting.pop()
        if state not in found:
            number, place, settled = state
            found[state] = dict(_entered(number, place + 1, settled))
            waiting += found[state]
    return _tables(found)


def _entered(
    number: int, place: int, settled: tuple[tuple[str, int], ...]
) -> Iterator[tuple[_State, float]]:
    """States that may come next, with probabilities.

    Args:
        number: of the plan.
        place: the slot that is next if it is there.
        settled: features of the state before.
    """
    slots = _PLANS[number][1]
    if place == len(slots):
        yield _STOP, 1.0
        return
    slot = slots[place]
    # A feature matters from the first to the last slot whose words depend on it.
    matters = [
        name
        for name in ("number", "count", "kind", "mood")
        if any(name in slot.features for slot in slots[: place + 1])
        and any(name in slot.features for slot in slots[place:])
    ]
    values = [tuple((name, value) for name, value in settled if name in matters)]
    for name in matters:
        if name not in dict(settled):
            values = [(*old, (name, value)) for old in values for value in (0, 1)]
    for each in values:
        yield (number, place, tuple(sorted(each))), slot.chance / len(values)
    if slot.chance < 1:
        for state, chance in _entered(number, place + slot.length, settled):
            yield state, (1 - slot.chance) * chance


def _tables(found: dict[_State, dict[_State, float]]) -> Grammar:
    index = {state: row for row, state in enumerate(found)}
    vocabulary = {word: row for row, word in enumerate(words.vocabulary())}
    transitions = np.zeros((len(index), len(index)))
    emissions = np.zeros((len(words.TOPICS), len(index), len(vocabulary)))
    for state, following in found.items():
        for other, chance in following.items():
            transitions[index[state], index[other]] = chance
        number, place, settled = state
        is_stop = (number, place, settled) == _STOP
        slot = _fixed(".") if is_stop else _PLANS[number][1][place]
        for topic_number, topic in enumerate(words.TOPICS):
            features = [dict(settled)[name] for name in slot.features]
            choices = slot.choices(topic, *features)
            weights = _RARER ** np.arange(len(choices))
            ids = [vocabulary[word] for word in choices]
            emissions[topic_number, index[state], ids] = weights / weights.sum()
    return Grammar(transitions, emissions)


# ---- Drawing ----


def draw(topics: np.ndarray, uniform: np.ndarray) -> list[list[int]]:
    """Draws sentences.

    Args:
        topics: the number of each sentence's topic, int64 [N].
        uniform: random numbers from 0 to 1, [N, LONGEST, 2].

    Returns:
        Ids of the words of each sentence, in `vocabulary()`; the last is a full stop.
    """
    model = grammar()
    next_state = _Drawing(model.transitions)
    next_word = _Drawing(model.emissions.reshape(-1, model.emissions.shape[2]))
    state = np.full(len(topics), model.stop)
    ids = np.empty((len(topics), LONGEST), np.int64)
    lengths = np.zeros(len(topics), np.int64)
    for place in range(LONGEST):
        state = next_state(state, uniform[:, place, 0])
        ids[:, place] = next_word(
            topics * len(model.transitions) + state, uniform[:, place, 1]
        )
        is_end = (state == model.stop) & (lengths == 0)
        lengths[is_end] = place + 1
    assert lengths.all()
    return [row[:n] for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)]


class _Drawing:
    """Draws columns of a table of probabilities, most of which are 0."""

    def __init__(self, table: np.ndarray):
        """Prepares; each row of `table` adds up to 1."""
        counts = (table > 0).sum(axis=1)
        self._columns = np.zeros((len(table), counts.max()), np.int64)
        # What lies at or above the last bound does not exist.
        self._bounds = np.full(self._columns.shape, 2.0)
        for row, count in enumerate(counts):
            columns = np.flatnonzero(table[row])
            self._columns[row, :count] = columns
            self._bounds[row, : count - 1] = np.cumsum(table[row, columns])[:-1]

    def __call__(self, rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        chosen = (uniform[:, None] >= self._bounds[rows]).sum(axis=1)
        return self._columns[rows, chosen]
