import itertools
import random
import tracemalloc
import types

import numpy as np
import pytest

from official.bert import pretraining_data, vocabulary
from official.bert.pretraining_data import make_instances
from official.bert.text import Tokenizer
from official.utils.testing.data import real_data

TOKENIZER = types.SimpleNamespace(cls_id=2, sep_id=3)


def corpus(documents, sentences, length, first=10):
    """Documents whose pieces are all different: numbers from `first` on, ascending.

    Args:
        documents: how many.
        sentences: of each.
        length: gives that of a sentence.
    """
    numbers = itertools.count(first)
    return [
        [
            np.array(list(itertools.islice(numbers, length())), np.int32)
            for _ in range(sentences)
        ]
        for _ in range(documents)
    ]


def some_lengths(most=20):
    generator = random.Random(0)
    return lambda: generator.randint(1, most)


def segments(instance):
    """Both segments, checked."""
    ids = instance.ids
    assert ids.dtype == np.int32
    assert np.flatnonzero(ids == 2).tolist() == [0]
    assert np.flatnonzero(ids == 3).tolist() == [
        instance.segment_start - 1,
        len(ids) - 1,
    ]
    first, second = (
        ids[1 : instance.segment_start - 1],
        ids[instance.segment_start : -1],
    )
    assert len(first) and len(second)
    return first, second


def where(documents):
    """The number of the document of each piece."""
    return {
        int(piece): number
        for number, document in enumerate(documents)
        for sentence in document
        for piece in sentence
    }


def test_pairs():
    documents = corpus(40, 60, some_lengths())
    document_of = where(documents)
    instances = list(make_instances(documents, TOKENIZER, 64))
    for instance in instances:
        first, second = segments(instance)
        assert len(instance.ids) <= 64
        # Segments are runs of text, here of successive numbers.
        assert (np.diff(first) == 1).all() and (np.diff(second) == 1).all()
        is_same = document_of[int(first[0])] == document_of[int(second[0])]
        assert is_same != instance.is_random_next
        if is_same:
            assert first[-1] < second[0]
            if len(instance.ids) < 64:
                assert first[-1] + 1 == second[0]
    assert len(instances) > 500
    shares = np.mean([instance.is_random_next for instance in instances])
    assert shares == pytest.approx(0.5, abs=0.06)
    # Nine of ten are as long as they can be; random ones may reach a document's end.
    assert 0.75 < np.mean([len(instance.ids) == 64 for instance in instances]) < 0.95


def test_pinned():
    documents = corpus(2, 4, some_lengths(3))
    found = list(make_instances(documents, TOKENIZER, 9, seed=2))
    # Sentences begin at 10, 12, 14, 15; and at 17, 20, 22, 24.
    assert [instance.ids.tolist() for instance in found] == [
        [2, 10, 11, 3, 12, 13, 14, 15, 3],
        [2, 17, 18, 19, 20, 3, 12, 13, 3],
        [2, 22, 23, 3, 15, 16, 3],
        [2, 24, 25, 3, 10, 11, 12, 13, 3],
    ]
    assert [instance.is_random_next for instance in found] == [False, True, True, True]
    again = list(make_instances(iter(documents), TOKENIZER, 9, seed=2))
    other = list(make_instances(documents, TOKENIZER, 9, seed=3))
    assert [i.ids.tolist() for i in again] == [i.ids.tolist() for i in found]
    assert [i.ids.tolist() for i in other] != [i.ids.tolist() for i in found]


def test_all_text_is_used_once():
    # Of single pieces, so that nothing has to be cut.
    documents = corpus(30, 100, lambda: 1)
    used = []
    for instance in make_instances(documents, TOKENIZER, 32, seed=3):
        first, second = segments(instance)
        used += first.tolist()
        if not instance.is_random_next:
            used += second.tolist()
    assert used == list(range(10, 10 + 30 * 100))


@pytest.mark.parametrize("probability, least, most", [(0, 50, 64), (1, 25, 45)])
def test_short_pairs(probability, least, most):
    documents = corpus(20, 200, lambda: 1)
    found = list(make_instances(documents, TOKENIZER, 64, probability))
    lengths = [len(instance.ids) for instance in found]
    assert least < np.mean(lengths) < most
    # Text of two pieces is the shortest.
    assert min(lengths) >= 5
    if probability:
        assert min(lengths) < 10 and max(lengths) > 55


def test_the_last_sentence_is_followed_by_a_random_one():
    documents = corpus(50, 1, some_lengths())
    found = list(make_instances(documents, TOKENIZER, 64))
    assert len(found) == 50 and all(instance.is_random_next for instance in found)


def test_one_document_only():
    (document,) = documents = corpus(1, 50, some_lengths())
    found = list(make_instances(documents, TOKENIZER, 64))
    assert {instance.is_random_next for instance in found} == {True, False}
    assert len(found) > len(np.concatenate(document)) // 64


def test_random_segments_come_from_the_window():
    documents = corpus(60, 10, lambda: 10)
    document_of = where(documents)
    # A document is 100 pieces, and 1 for each sentence.
    found = make_instances(documents, TOKENIZER, 64, window_pieces=550)
    sources = set()
    for instance in found:
        first, second = (document_of[int(part[0])] for part in segments(instance))
        assert first // 5 == second // 5
        sources.add((first, second))
    # About 14 pairs of a window, half of them from 20 pairs of documents.
    assert len(sources) > 120


def test_long_sentences_are_cut():
    documents = corpus(10, 3, lambda: 1000)
    used = set()
    for instance in make_instances(documents, TOKENIZER, 128, 0):
        first, second = segments(instance)
        used.update(first.tolist())
        used.update(() if instance.is_random_next else second.tolist())
    # Nothing but what a pair that is too long loses.
    assert len(used) > 0.9 * 10 * 3 * 1000


@pytest.mark.parametrize(
    "first, second, expected",
    [
        (3, 4, (3, 4)),
        (5, 5, (5, 5)),
        (9, 2, (8, 2)),
        (2, 30, (2, 8)),
        (30, 30, (5, 5)),
        (30, 6, (5, 5)),
        (6, 5, (5, 5)),
    ],
)
def test_cutting_of_pairs(first, second, expected):
    starts = set()
    draws = random.Random(0)
    for _ in range(50):
        parts = pretraining_data._fit(np.arange(first), np.arange(second), 10, draws)
        assert tuple(map(len, parts)) == expected
        assert all((np.diff(part) == 1).all() for part in parts)
        starts.add(int(parts[0][0]))
    assert starts.issubset(range(first - expected[0] + 1))
    if first > expected[0]:
        assert len(starts) > 1
    # An odd piece is the first segment's.
    parts = pretraining_data._fit(np.arange(30), np.arange(30), 11, draws)
    assert tuple(map(len, parts)) == (6, 5)


def test_without_pairs():
    documents = corpus(3, 1, iter([6, 7, 20]).__next__)
    found = list(make_instances(documents, TOKENIZER, 8, use_next_sentence=False))
    text = [instance.ids[1:-1] for instance in found]
    assert [len(part) for part in text] == [6, 4, 3, 5, 5, 5, 5]
    assert np.concatenate(text).tolist() == list(range(10, 43))
    for instance in found:
        assert instance.ids[0] == 2 and instance.ids[-1] == 3
        assert instance.segment_start == len(instance.ids)
        assert not instance.is_random_next
    # Sentences of a document go together.
    found = list(
        make_instances(corpus(1, 3, lambda: 2), TOKENIZER, 8, use_next_sentence=False)
    )
    assert [instance.ids.tolist() for instance in found] == [[2, *range(10, 16), 3]]


@pytest.mark.parametrize("use_next_sentence", [True, False])
def test_memory_does_not_grow_with_the_text(use_next_sentence):
    def peak(count):
        documents = (corpus(1, 10, lambda: 20)[0] for _ in range(count))
        tracemalloc.start()
        try:
            found = make_instances(
                documents,
                TOKENIZER,
                64,
                use_next_sentence=use_next_sentence,
                window_pieces=5_000,
            )
            assert sum(1 for _ in found) > count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    # Ten times the text in memory is some 3 MB more; a collection of garbage at
    # another moment, tens of kB.
    assert peak(2_000) < 1.5 * peak(200)


def test_read_documents(tmp_path, monkeypatch):
    pieces = [*vocabulary.SPECIAL, "one", "two", "##s", "three"]
    path = tmp_path / "text.txt"
    path.write_text("One twos\n\x01\nthree\n\n\x02\n\n" + "two\n\n" * 10)
    expected = [[[5, 6, 7], [8]], *[[[6]]] * 10]
    for characters in (1 << 20, 12):
        monkeypatch.setattr(pretraining_data, "_GROUP_CHARACTERS", characters)
        found = list(pretraining_data.read_documents([str(path)], Tokenizer(pieces)))
        assert [[ids.tolist() for ids in document] for document in found] == expected
        assert found[0][0].dtype == np.int32


def test_real_text():
    pieces = vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))
    path = real_data("glue", "SST-2", "dev.tsv")
    tokenizer = Tokenizer(pieces)
    documents = list(
        pretraining_data.read_documents([path], tokenizer, "sentence", True)
    )
    assert len(documents) == 872
    assert {len(document) for document in documents} == {1}
    words = [pieces[piece] for piece in documents[0][0]]
    assert words == "it ' s a charming and often affecting journey .".split()
    found = list(make_instances(documents, tokenizer, 32, use_next_sentence=False))
    total = sum(len(document[0]) for document in documents)
    assert sum(len(instance.ids) - 2 for instance in found) == total
    assert max(len(instance.ids) for instance in found) == 32
