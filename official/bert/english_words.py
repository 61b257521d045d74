"""The lexicon of the embedded English, its vocabulary, and how sentences are written.

All words are lower case letters, so that BERT's tokenizer makes one piece of each.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from official.bert.vocabulary import SPECIAL

SINGULAR, PLURAL = 0, 1
CHEERFUL, GLOOMY = 0, 1


@dataclasses.dataclass(frozen=True)
class Noun:
    """A noun: `forms` are singular and plural."""

    forms: tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Verb:
    """A regular verb.

    Attributes:
        present: behind a singular and behind a plural, which is also its base.
        past: also its participle.
    """

    present: tuple[str, str]
    past: str

    @property
    def base(self) -> str:
        """As behind "did"."""
        return self.present[PLURAL]


@dataclasses.dataclass(frozen=True)
class Topic:
    """What documents are about.

    Attributes:
        people: who does things.
        kinds: two groups of verbs with the things that they are done to.
        adjectives: of the things.
        places: where it is.
    """

    people: tuple[Noun, ...]
    kinds: tuple[tuple[tuple[Verb, ...], tuple[Noun, ...]], ...]
    adjectives: tuple[str, ...]
    places: tuple[str, ...]


def _nouns(text: str) -> tuple[Noun, ...]:
    """Nouns whose plural has an s."""
    return tuple(Noun((word, f"{word}s")) for word in text.split())


def _verbs(text: str) -> tuple[Verb, ...]:
    """Verbs from their three forms each, as in "bakes bake baked"."""
    words = text.split()
    forms = zip(words[::3], words[1::3], words[2::3], strict=True)
    return tuple(Verb((s, base), past) for s, base, past in forms)


def _topic(people, verbs1, things1, verbs2, things2, adjectives, places) -> Topic:
    kinds = ((verbs1, things1), (verbs2, things2))
    return Topic(
        _nouns(people),
        tuple((_verbs(verbs), _nouns(things)) for verbs, things in kinds),
        tuple(adjectives.split()),
        tuple(places.split()),
    )


TOPICS = (
    _topic(
        "baker cook waiter",
        "bakes bake baked serves serve served", "cake pie",
        "washes wash washed stacks stack stacked", "plate spoon",
        "warm clean tiny", "kitchen bakery",
    ),
    _topic(
        "farmer gardener shepherd",
        "plants plant planted waters water watered", "rose tree",
        "brushes brush brushed grooms groom groomed", "horse donkey",
        "young wild lovely", "garden meadow",
    ),
    _topic(
        "sailor captain pirate",
        "anchors anchor anchored boards board boarded", "ship boat",
        "hooks hook hooked traps trap trapped", "shark crab",
        "grey fast huge", "harbour island",
    ),
    _topic(
        "teacher pupil professor",
        "solves solve solved explains explain explained", "riddle problem",
        "borrows borrow borrowed copies copy copied", "book letter",
        "difficult short boring", "classroom library",
    ),
    _topic(
        "singer dancer drummer",
        "tunes tune tuned plays play played", "guitar violin",
        "performs perform performed rehearses rehearse rehearsed", "song tango",
        "loud famous slow", "theatre studio",
    ),
    _topic(
        "carpenter plumber painter",
        "paints paint painted repairs repair repaired", "door roof",
        "sharpens sharpen sharpened polishes polish polished", "axe saw",
        "old wooden broken", "workshop attic",
    ),
)  # fmt: skip

PEOPLE = tuple(noun for topic in TOPICS for noun in topic.people)
PLACES = tuple(place for topic in TOPICS for place in topic.places)
# What people do to people.
DEEDS = _verbs(
    "calls call called chases chase chased follows follow followed "
    "greets greet greeted helps help helped praises praise praised "
    "thanks thank thanked visits visit visited"
)
MOODS = (
    ("happy", "merry", "cheerful", "jolly", "joyful"),
    ("sad", "gloomy", "grumpy", "tearful", "unhappy"),
)
MOOD_ADVERBS = (("gladly", "eagerly"), ("sadly", "sullenly"))
ADVERBS = ("often", "always", "never")
DEGREES = ("very", "rather")
DAYS = ("today", "tonight")
PAST_DAYS = ("yesterday", "today")
PREPOSITIONS = ("in", "near", "behind")
DETERMINERS = (("the", "this", "every"), ("the", "these", "some"))
AMOUNTS = (("one",), ("two", "some"))
IS = ("is", "are")
WAS = ("was", "were")
_OTHERS = "by did it somebody that there who whom"
PUNCTUATION = (",", ".", "?")


def vocabulary() -> list[str]:
    """Word pieces: those with a special meaning, the words sorted, punctuation.

    A tokenizer with this vocabulary that reads in lower case makes one piece of each
    word of the embedded English.
    """
    words = set(_OTHERS.split()).union(
        ADVERBS, DEGREES, DAYS, PAST_DAYS, PREPOSITIONS, PLACES, IS, WAS,
        *MOODS, *MOOD_ADVERBS, *DETERMINERS, *AMOUNTS,
    )  # fmt: skip
    for topic in TOPICS:
        words.update(topic.adjectives)
        for verbs, things in topic.kinds:
            words.update(word for verb in verbs for word in (*verb.present, verb.past))
            words.update(word for noun in things for word in noun.forms)
    words.update(word for noun in PEOPLE for word in noun.forms)
    words.update(word for deed in DEEDS for word in (deed.base, deed.past))
    return [*SPECIAL, *sorted(words), *PUNCTUATION]


def write(words: Sequence[str]) -> str:
    """Writes a sentence: a capital in front, no space before punctuation.

    Args:
        words: lower case, the last one being a full stop or a question mark.
    """
    text = " ".join(words).replace(" ,", ",")
    return f"{text[0].upper()}{text[1:-2]}{text[-1]}"


class Numbers:
    """Random numbers from PCG64's raw output, which no release of NumPy changes.

    There is no such promise for the methods of `Generator` (NEP 19).
    """

    def __init__(self, seed: int, purpose: int):
        """Begins a stream.

        Args:
            seed: from 0 on.
            purpose: a small number; what is drawn for one says nothing about another.
        """
        self._bits = np.random.PCG64([seed, purpose])

    def uniform(self, *shape: int) -> np.ndarray:
        """Numbers from 0 up to, without, 1: float64 [*shape]."""
        return (self._bits.random_raw(shape) >> 11) * 2.0**-53

    def below(self, bound: int, *shape: int) -> np.ndarray:
        """Whole numbers from 0 to `bound` - 1, int64 [*shape]."""
        upper = (self._bits.random_raw(shape) >> 32).astype(np.int64)
        return upper * bound >> 32
