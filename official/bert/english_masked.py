"""The best that can be known about masked words of the embedded English.

The words of a document are those of a hidden Markov model, so the probability of each
word at a masked place, given all that is to be seen, is found exactly by passing
messages forwards and backwards through the sentences.
"""

import dataclasses
import functools

import numpy as np

from official.bert import english_grammar
from official.bert.vocabulary import SPECIAL

# What a network sees in place of a chosen word, with these probabilities: [MASK], a
# word drawn evenly from the vocabulary, or the word itself.
MASKED, RANDOM, KEPT = 0.8, 0.1, 0.1
# Against 1: that a segment begins or ends within a sentence, because it was cut.
_CUT = 1e-9
# Sequences at a time; the messages of 64 tokens take 32 MB.
_CHUNK = 64


def best_masked_predictions(
    ids: np.ndarray,
    positions: np.ndarray,
    weights: np.ndarray | None = None,
    next_probability: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable word at each masked place, and how probable it is.

    The mean of the probabilities is the accuracy that the best predictor is expected to
    reach. It is taken as known:

    - the grammar and the topics, with all probabilities;
    - that a segment is a run of whole sentences of one topic, where every number of
      sentences is equally probable beforehand; if a segment makes no sense that way, it
      was cut at its beginning or end;
    - that the second segment, if there is one, goes on with the topic of the first one
      with `next_probability`, and has any topic, all equally probable, otherwise;
    - which places were chosen, but at none of them whether the word that is there is
      the word itself or a random one: a chosen word is seen as [MASK] with probability
      `MASKED`, as a word drawn evenly from the whole vocabulary, the special ones
      included, with `RANDOM`, and as itself with `KEPT`. Places that were not chosen
      show the word itself.

    All chosen places of a sequence are considered together: what stands at the others
    is summed out.

    Args:
        ids: what the network sees, int [N, length], in `vocabulary()`: [CLS], a
            segment, [SEP], and maybe a second segment and [SEP]; then padding.
        positions: chosen places, int [N, places].
        weights: [N, places], 0 for what is no place but padding; None: there is none.
        next_probability: that the second segment follows the first one in a document.

    Returns:
        words: int32 [N, places], ids; 0 where there is no place.
        probabilities: float64 [N, places]; 0 there.
    """
    if weights is None:
        weights = np.ones(positions.shape)
    words = np.zeros(positions.shape, np.int32)
    probabilities = np.zeros(positions.shape)
    for first in range(0, len(ids), _CHUNK):
        rows = slice(first, first + _CHUNK)
        words[rows], probabilities[rows] = _best_of_chunk(
            ids[rows], positions[rows], weights[rows] > 0, next_probability
        )
    return words, probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class _Tables:
    """The grammar with a state more, the last one, that stands before a segment.

    Attributes:
        transitions: float64 [states, states].
        likelihoods: float64 [vocabulary, topics, states].
        ends: float64 [states], weights of the states that a segment ends in.
    """

    transitions: np.ndarray
    likelihoods: np.ndarray
    ends: np.ndarray


@functools.cache
def _tables() -> _Tables:
    grammar = english_grammar.grammar()
    transitions = np.pad(grammar.transitions, ((0, 1), (0, 1)))
    transitions[-1] = transitions[grammar.stop] + _CUT
    transitions[-1, -1] = 0
    likelihoods = np.pad(grammar.emissions, ((0, 0), (0, 1), (0, 0)))
    ends = np.full(len(transitions), _CUT)
    ends[grammar.stop] = 1
    return _Tables(
        transitions, np.ascontiguousarray(likelihoods.transpose(2, 0, 1)), ends
    )


def _best_of_chunk(
    ids: np.ndarray,
    positions: np.ndarray,
    is_place: np.ndarray,
    next_probability: float,
) -> tuple[np.ndarray, np.ndarray]:
    tables = _tables()
    size = len(tables.likelihoods)
    flat = tables.likelihoods.reshape(size, -1)
    rows, length = ids.shape
    row, number = np.nonzero(is_place)
    place = positions[row, number]
    is_chosen = np.zeros(ids.shape, bool)
    is_chosen[row, place] = True
    cls_id, sep_id, mask_id = map(SPECIAL.index, ("[CLS]", "[SEP]", "[MASK]"))

    def is_special(at: int, special: int):
        """Whether it stands there, bool [rows, 1, 1]."""
        return ((ids[:, at] == special) & ~is_chosen[:, at])[:, None, None]

    def likelihood(at: int):
        """Of what is seen there, [rows, topics, states]."""
        kept = tables.likelihoods[ids[:, at]]
        noisy = KEPT * kept + RANDOM / size
        noisy[ids[:, at] == mask_id] = MASKED
        return np.where(is_chosen[:, at, None, None], noisy, kept)

    def through_separator(by_topic):
        """From one segment's topics to the other's, or back; [rows, topics]."""
        mean = by_topic.mean(axis=1, keepdims=True)
        return next_probability * by_topic + (1 - next_probability) * mean

    # Forwards: what is seen before a place says about the state there.
    before_segment = np.zeros(tables.likelihoods.shape[1:])
    before_segment[:, -1] = 1
    message = np.broadcast_to(before_segment, (rows, *before_segment.shape))
    forwards = []
    for at in range(length):
        predicted = message @ tables.transitions
        forwards.append(predicted)
        topics = through_separator(message @ tables.ends)
        seen = predicted * likelihood(at)
        message = np.where(
            is_special(at, sep_id), topics[:, :, None] * before_segment, seen
        )
        message = np.where(is_special(at, cls_id), before_segment, message)
        message = _scaled(message)

    # Backwards: what is seen behind a place, given the state there.
    words = np.zeros(positions.shape, np.int32)
    probabilities = np.zeros(positions.shape)
    message = np.ones_like(message)
    for at in reversed(range(length)):
        here = np.flatnonzero(place == at)
        joint = forwards[at][row[here]] * message[row[here]]
        found = joint.reshape(len(here), before_segment.size) @ flat.T
        observed = ids[row[here], at]
        noise = KEPT * (observed[:, None] == np.arange(size)) + RANDOM / size
        noise[observed == mask_id] = MASKED
        found *= noise
        words[row[here], number[here]] = found.argmax(axis=1)
        probabilities[row[here], number[here]] = found.max(axis=1) / found.sum(axis=1)

        topics = through_separator(message[:, :, -1])
        seen = (message * likelihood(at)) @ tables.transitions.T
        message = np.where(
            is_special(at, sep_id), topics[:, :, None] * tables.ends, seen
        )
        message = np.where(is_special(at, SPECIAL.index("[PAD]")), 1.0, message)
        message = _scaled(message)
    return words, probabilities


def _scaled(message: np.ndarray) -> np.ndarray:
    """Scales the largest of each row to 1, so that products do not vanish."""
    largest = message.max(axis=(1, 2), keepdims=True)
    return message / np.where(largest > 0, largest, 1)
