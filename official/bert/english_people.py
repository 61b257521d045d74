"""Sentences of the embedded English in which people do something to people."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from official.bert.english_words import (
    ADVERBS,
    DEEDS,
    MOODS,
    PAST_DAYS,
    PEOPLE,
    PLACES,
    PREPOSITIONS,
    WAS,
    Verb,
    write,
)
from official.bert.questions import Question

_Choice = TypeVar("_Choice")


class Dice:
    """Makes choices with numbers that were drawn before."""

    def __init__(self, uniform: Sequence[float]):
        """Takes numbers from 0 up to, without, 1; each choice uses one."""
        self._next = iter(uniform).__next__

    def of(self, choices: Sequence[_Choice]) -> _Choice:
        """One of them, all equally probable."""
        return choices[int(self._next() * len(choices))]

    def different(self, choices: Sequence[_Choice], count: int) -> list[_Choice]:
        """`count` of them, all different, in random order."""
        left = list(choices)
        return [left.pop(int(self._next() * len(left))) for _ in range(count)]

    def happens(self, chance: float) -> bool:
        """Whether something of that probability happens."""
        return self._next() < chance


@dataclasses.dataclass(frozen=True)
class People:
    """One or several of a kind.

    Attributes:
        noun: in its form.
        number: `SINGULAR` or `PLURAL`.
        mood: an adjective; None: nothing is said.
    """

    noun: str
    number: int
    mood: str | None = None

    @property
    def words(self) -> list[str]:
        """As in "the happy baker"."""
        return ["the", *([self.mood] if self.mood else []), self.noun]


@dataclasses.dataclass(frozen=True)
class Act:
    """Who does what to whom.

    Attributes:
        actor: who does it.
        deed: what is done.
        other: to whom.
    """

    actor: People
    deed: Verb
    other: People


# ---- Clauses ----


def _active(act: Act, adverb: list[str]) -> list[str]:
    return [*act.actor.words, *adverb, act.deed.past, *act.other.words]


def _passive(act: Act, adverb: list[str]) -> list[str]:
    was = WAS[act.other.number]
    return [*act.other.words, was, *adverb, act.deed.past, "by", *act.actor.words]


def _who(act: Act, adverb: list[str]) -> list[str]:
    actor, other = act.actor.words, act.other.words
    return ["it", "was", *actor, "who", *adverb, act.deed.past, *other]


def _whom(act: Act, adverb: list[str]) -> list[str]:
    actor, other = act.actor.words, act.other.words
    return ["it", "was", *other, "whom", *actor, *adverb, act.deed.past]


_Clause = Callable[[Act, list[str]], list[str]]
_PLAIN: tuple[_Clause, ...] = (_active, _passive)
# Twice as many plain ones as others.
_ALL = (*_PLAIN, *_PLAIN, _who, _whom)


def _sentence(
    dice: Dice, act: Act, clauses: Sequence[_Clause], extras: float
) -> list[str]:
    """Tells an act, with day, adverb and place each with the probability `extras`."""
    adverb = [dice.of(ADVERBS)] if dice.happens(extras) else []
    words = dice.of(clauses)(act, adverb)
    if dice.happens(extras):
        words = [dice.of(PAST_DAYS), ",", *words]
    if dice.happens(extras):
        words = [*words, dice.of(PREPOSITIONS), "the", dice.of(PLACES)]
    return [*words, "."]


def _people(dice: Dice, count: int, moods: Sequence[str | None]) -> list[People]:
    """Different people, with one of `moods` each."""
    found = []
    for noun in dice.different(PEOPLE, count):
        number = dice.of((0, 1))
        found.append(People(noun.forms[number], number, dice.of(moods)))
    return found


# ---- Tasks ----


def moody_act(uniform: Sequence[float]) -> tuple[str, int]:
    """A sentence with a cheerful and a gloomy person, and the mood of the one who acts.

    Args:
        uniform: 20 numbers from 0 to 1.
    """
    dice = Dice(uniform)
    label = dice.of((0, 1))
    people = _people(dice, 2, (None,))
    actor, other = (
        dataclasses.replace(each, mood=dice.of(MOODS[mood]))
        for each, mood in zip(people, (label, 1 - label), strict=True)
    )
    act = Act(actor, dice.of(DEEDS), other)
    return write(_sentence(dice, act, _ALL, 0.25)), label


_MOODS_OR_NONE = (*MOODS[0], *MOODS[1], *[None] * 10)
# The question names the person who is not asked for; elsewhere it says "somebody".
_NAMED = 0.25


def question(uniform: Sequence[float], others: Sequence[str], name: str) -> Question:
    """A story in which somebody does something to somebody, with a question about it.

    Args:
        uniform: 20 numbers from 0 to 1.
        others: the other sentences of the story, 1 to 3.
        name: becomes the question's id.
    """
    dice = Dice(uniform)
    actor, other = _people(dice, 2, _MOODS_OR_NONE)
    act = Act(actor, dice.of(DEEDS), other)
    sentence = write(_sentence(dice, act, _PLAIN, 0.1))
    place = dice.of(range(len(others) + 1))
    before = "".join(f"{text} " for text in others[:place])
    context = " ".join([before + sentence, *others[place:]])

    known = dice.happens(_NAMED)
    to_known = ["the", other.noun] if known else ["somebody"]
    by_known = ["the", actor.noun] if known else ["somebody"]
    asked, answer = dice.of(
        (
            (["who", act.deed.past, *to_known], actor),
            (["whom", "did", *by_known, act.deed.base], other),
            (["who", "was", act.deed.past, "by", *by_known], other),
        )
    )
    text = " ".join(answer.words)
    start = len(before) + sentence.lower().index(text)
    text = context[start : start + len(text)]
    return Question(name, write([*asked, "?"]), context, (text,), start, False)
