"""Learns a vocabulary of word pieces from text.

    python -m official.bert.learn_vocab --input_files=corpus.txt --vocab_file=vocab.txt

The pieces that stand beside each other most often are joined, over and over, until
there are enough (Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words
with Subword Units", 2016, arXiv:1508.07909), within the words that BERT's rules find.
"""

import collections
import heapq
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping

from absl import flags

from official.bert import vocabulary
from official.bert.vocabulary import CONTINUATION, MAX_PIECE_BYTES, SPECIAL
from official.utils import app
from official.utils.errors import UserError
from official.utils.flags.definer import Definer

# A character that is rarer than one in so many becomes no piece, and words with it are
# [UNK]: nothing is learnt about what occurs a few times.
_MOST_PER_CHARACTER = 1_000_000
# That are divided into words at a time; each takes about 100 bytes then.
_CHUNK_CHARACTERS = 500_000


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "learn_vocab")
    define.string(
        "input_files",
        None,
        "Text in UTF-8, plain or gzipped: files or patterns with commas between them.",
    )
    define.string("vocab_file", None, "The vocab.txt to write.")
    define.integer("vocab_size", 8000, "The most pieces.", low=len(SPECIAL) + 1)
    define.boolean("lower_case", True, "Read text in lower case and without accents.")
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Learns a vocabulary, writes it, and prints its size.

    Args:
        flags_obj: parsed flags.

    Returns:
        `pieces`, how many there are.

    Raises:
        UserError: a flag is missing, a file cannot be read or is no text, or there is
            another file where the vocabulary would go.
    """
    if not (flags_obj.input_files and flags_obj.vocab_file):
        raise UserError("--input_files and --vocab_file are needed")

    from official.bert import documents
    from official.utils.data import text_lines

    patterns = [
        os.path.expanduser(pattern.strip())
        for pattern in flags_obj.input_files.split(",")
    ]
    paths = text_lines.find(patterns, "--input_files")
    target = os.path.expanduser(flags_obj.vocab_file)
    texts = itertools.chain.from_iterable(documents.read(paths))
    pieces = learn(texts, flags_obj.vocab_size, flags_obj.lower_case)
    vocabulary.write(target, pieces)
    print(f"{target}: {len(pieces)} pieces")
    return {"pieces": len(pieces)}


def learn(texts: Iterable[str], size: int, lower_case: bool = True) -> list[str]:
    """Learns pieces.

    Args:
        texts: of any length.
        size: the most pieces, with the special ones.
        lower_case: whether text is read in lower case and without accents.

    Returns:
        The special pieces; the characters, the most frequent ones first, each alone
        and, if it is no word of its own, as a continuation; the joined pieces in the
        order in which they were found. They are fewer than `size` where too few pairs
        occur twice. The same texts in another order give the same pieces.

    Raises:
        UserError: there is no word in the texts.
    """
    counts = count_words(texts, lower_case)
    if not counts:
        raise UserError("the text to learn from holds no word; give another")
    characters = _characters(counts, size - len(SPECIAL), lower_case)
    found = dict.fromkeys((*SPECIAL, *characters))
    known = {each for each in characters if len(each) == 1}
    kept = {word: number for word, number in counts.items() if known.issuperset(word)}
    for piece in _joined(kept):
        if len(found) >= size:
            break
        found[piece] = None
    return list(found)


def count_words(texts: Iterable[str], lower_case: bool = True) -> dict[str, int]:
    """Counts what is divided into pieces.

    Args:
        texts: of any length.
        lower_case: whether text is read in lower case and without accents.

    Returns:
        How often each word and punctuation mark occurs, normalised, but for those that
        are too long to be divided.
    """
    import tensorflow as tf

    from official.bert.text import MAX_CHARACTERS, Words

    words = Words(lower_case)
    split = tf.function(
        lambda text: words.split(text).values,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    counts: collections.Counter[bytes] = collections.Counter()
    for chunk in _chunks(texts):
        counts.update(split(tf.constant(chunk)).numpy().tolist())
    decoded = ((word.decode(), number) for word, number in counts.items())
    return {word: number for word, number in decoded if len(word) <= MAX_CHARACTERS}


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk, size = [], 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _characters(
    counts: Mapping[str, int], room: int, lower_case: bool
) -> tuple[str, ...]:
    """Pieces of one character, at most `room`, the most frequent ones first."""
    from official.bert.characters import is_word

    totals: collections.Counter[str] = collections.Counter()
    for word, count in counts.items():
        for character in word:
            totals[character] += count
    least = sum(totals.values()) / _MOST_PER_CHARACTER
    pieces: list[str] = []
    for character in sorted(totals, key=lambda each: (-totals[each], each)):
        new = [character]
        if not is_word(character, lower_case):
            new.append(CONTINUATION + character)
        if totals[character] < least or len(pieces) + len(new) > room:
            break
        pieces += new
    return tuple(pieces)


def _joined(counts: Mapping[str, int]) -> Iterator[str]:
    """New pieces, the most frequent pair first; of equal ones, the first in order."""
    words = [
        ([word[0], *(CONTINUATION + each for each in word[1:])], counts[word])
        for word in sorted(counts)
    ]
    totals: collections.Counter[tuple[str, str]] = collections.Counter()
    places: dict[tuple[str, str], set[int]] = collections.defaultdict(set)
    for number, (parts, count) in enumerate(words):
        for pair in itertools.pairwise(parts):
            totals[pair] += count
            places[pair].add(number)
    heap = [(-total, pair) for pair, total in totals.items()]
    heapq.heapify(heap)
    while heap:
        total, pair = heapq.heappop(heap)
        if -total != totals[pair]:
            # The count has changed since; a pair that is left has a newer entry.
            continue
        if totals[pair] < 2:
            return
        piece = pair[0] + pair[1].removeprefix(CONTINUATION)
        if len(piece.encode()) > MAX_PIECE_BYTES:
            continue
        yield piece
        changed = set()
        for number in sorted(places.pop(pair)):
            parts, count = words[number]
            for old in itertools.pairwise(parts):
                totals[old] -= count
                places[old].discard(number)
                changed.add(old)
            parts[:] = _replaced(parts, pair, piece)
            for new in itertools.pairwise(parts):
                totals[new] += count
                places[new].add(number)
                changed.add(new)
        for each in changed:
            if totals[each] > 0:
                heapq.heappush(heap, (-totals[each], each))


def _replaced(parts: list[str], pair: tuple[str, str], piece: str) -> list[str]:
    result, at = [], 0
    while at < len(parts):
        is_pair = tuple(parts[at : at + 2]) == pair
        result.append(piece if is_pair else parts[at])
        at += 2 if is_pair else 1
    return result


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
