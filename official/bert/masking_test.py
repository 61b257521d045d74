import types

import numpy as np
import pytest
import tensorflow as tf

from official.bert import masking

# Special ids, words, and pieces that go on with them.
VOCABULARY = (
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    + [f"w{number}" for number in range(95)]
    + [f"##p{number}" for number in range(100)]
)
TOKENIZER = types.SimpleNamespace(cls_id=2, sep_id=3, mask_id=4, vocabulary=VOCABULARY)
CONTINUATIONS = masking.continuations(VOCABULARY)


def batch(lengths, columns, lowest=5):
    """Random sequences, int32 [rows, columns], and their seeds."""
    lengths = np.array(lengths, np.int32)
    generator = np.random.default_rng(0)
    ids = generator.integers(lowest, 200, (len(lengths), columns)).astype(np.int32)
    ids[:, 0] = 2
    for row, length in enumerate(lengths):
        ids[row, length - 1] = 3
        ids[row, length // 2] = 3
        ids[row, length:] = 0
    seeds = np.stack([np.full(len(ids), 7), np.arange(len(ids))], axis=1)
    return ids, lengths, seeds.astype(np.int64)


def mask(ids, lengths, seeds, **kwargs):
    found = masking.mask(ids, lengths, seeds, TOKENIZER, **kwargs)
    return {name: value.numpy() for name, value in found.items()}


def chosen(found, row):
    """Places of a row, ascending."""
    count = int(found["masked_lm_weights"][row].sum())
    np.testing.assert_array_equal(
        found["masked_lm_weights"][row],
        np.arange(found["masked_lm_weights"].shape[1]) < count,
    )
    assert not found["masked_lm_positions"][row, count:].any()
    assert not found["masked_lm_ids"][row, count:].any()
    return found["masked_lm_positions"][row, :count]


def test_pinned():
    ids = [[2, 50, 51, 52, 53, 54, 55, 56, 3, 57, 58, 59, 60, 61, 62, 63, 64, 3, 0]]
    ids = np.array(ids, np.int32)
    found = mask(ids, [18], np.array([[1, 2]]), probability=0.6)
    assert found["masked_lm_positions"].tolist() == [[1, 4, 7, 9, 10, 11, 13, 14, 15]]
    assert found["masked_lm_ids"].tolist() == [[50, 53, 56, 57, 58, 59, 61, 62, 63]]
    # One of them stays, and one becomes another piece.
    assert found["input_word_ids"].tolist() == [
        [2, 4, 51, 52, 4, 54, 55, 4, 3, 4, 58, 4, 60, 174, 4, 4, 64, 3, 0]
    ]


@pytest.mark.parametrize("is_continuation", [None, CONTINUATIONS])
def test_what_is_masked(is_continuation):
    # Candidates are 3 fewer: [CLS], and [SEP] twice.
    lengths = [128, 100, 63, 43, 13, 4]
    ids, lengths, seeds = batch(lengths, 130)
    found = mask(ids, lengths, seeds, is_continuation=is_continuation)
    counts = []
    for row in range(len(ids)):
        places = chosen(found, row)
        counts.append(len(places))
        assert (np.diff(places) > 0).all()
        np.testing.assert_array_equal(
            found["masked_lm_ids"][row, : len(places)], ids[row, places]
        )
        assert not np.isin(ids[row, places], [0, 2, 3]).any()
        others = np.setdiff1d(np.arange(130), places)
        np.testing.assert_array_equal(
            found["input_word_ids"][row, others], ids[row, others]
        )
    # 125 * .15 = 18.75, 97: 14.55, 60: 9, 40: 6, 10: 1.5 to even, 1: .15, at least 1.
    limits = [19, 15, 9, 6, 2, 1]
    if is_continuation is None:
        assert counts == limits
        assert found["masked_lm_positions"].shape == (6, 19)
    else:
        assert (np.array(counts) <= limits).all() and sum(counts) >= sum(limits) - 6
    assert found["masked_lm_positions"].dtype == np.int32
    assert found["masked_lm_weights"].dtype == np.float32


def test_most_predictions_and_probability():
    ids, lengths, seeds = batch([128, 10], 128)
    found = mask(ids, lengths, seeds, max_predictions=5)
    assert found["masked_lm_weights"].sum(axis=1).tolist() == [5, 1]
    found = mask(ids, lengths, seeds, probability=1.0, max_predictions=128)
    assert found["masked_lm_weights"].sum(axis=1).tolist() == [125, 7]
    found = mask(ids, lengths, seeds, probability=0.0)
    assert found["masked_lm_weights"].sum(axis=1).tolist() == [1, 1]


def test_a_row_depends_on_nothing_but_itself():
    ids, lengths, seeds = batch([40, 100, 33, 128], 128)
    for is_continuation in (None, CONTINUATIONS):
        kwargs = dict(is_continuation=is_continuation)
        whole = mask(ids, lengths, seeds, **kwargs)
        part = mask(ids[[2, 0], :40], lengths[[2, 0]], seeds[[2, 0]], **kwargs)
        np.testing.assert_array_equal(
            part["input_word_ids"], whole["input_word_ids"][[2, 0], :40]
        )
        picks = part["masked_lm_ids"].shape[1]
        np.testing.assert_array_equal(
            part["masked_lm_ids"], whole["masked_lm_ids"][[2, 0], :picks]
        )
    # Another number of the row, or another seed of the run.
    for other in (seeds + np.array([0, 4]), seeds + np.array([1, 0])):
        found = mask(ids, lengths, other)
        for row in range(4):
            assert chosen(found, row).tolist() != chosen(whole, row).tolist()


def test_what_stands_there_instead():
    ids, lengths, seeds = batch([103] * 2000, 103, lowest=100)
    found = mask(ids, lengths, seeds)
    rows = np.arange(2000)[:, np.newaxis]
    # 15 places of each row are chosen.
    assert found["masked_lm_weights"].all()
    assert found["masked_lm_weights"].shape == (2000, 15)
    seen = found["input_word_ids"][rows, found["masked_lm_positions"]]
    # 30,000 draws: a standard deviation of .0023 at .8, and of .0017 at .1.
    kept = seen == found["masked_lm_ids"]
    assert (seen == 4).mean() == pytest.approx(0.8 + 0.1 / 200, abs=0.01)
    assert kept.mean() == pytest.approx(0.1 + 0.1 / 200, abs=0.01)
    random = seen[~kept & (seen != 4)]
    # Any of 200 pieces about 15 times, the special ones included.
    counts = np.bincount(random, minlength=200)
    assert (np.delete(counts, 4) > 0).all() and counts.max() < 40
    # All places are as likely.
    counts = np.bincount(found["masked_lm_positions"].ravel(), minlength=103)
    candidates = np.setdiff1d(np.arange(103), [0, 51, 102])
    assert counts[[0, 51, 102]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(counts[candidates], 300, atol=80)


def words_of(ids, length):
    """Places of each word; none goes on over [SEP]."""
    words = []
    for place in range(1, length):
        if ids[place] == 3:
            continue
        if CONTINUATIONS[ids[place]] and ids[place - 1] not in (2, 3):
            words[-1].append(place)
        else:
            words.append([place])
    return words


def test_whole_words():
    ids, lengths, seeds = batch([128, 90, 60, 30, 20, 17] * 20, 128)
    found = mask(ids, lengths, seeds, is_continuation=CONTINUATIONS)
    sizes = set()
    for row, length in enumerate(lengths):
        places = set(chosen(found, row).tolist())
        limit = max(1, round(0.15 * (length - 3)))
        assert len(places) <= limit
        for word in words_of(ids[row], length):
            assert places.issuperset(word) or places.isdisjoint(word)
            if places.issuperset(word):
                sizes.add(len(word))
            else:
                # Otherwise it would have been taken.
                assert len(word) > limit - len(places)
    assert sizes >= {1, 2, 3, 4}


def test_words_are_taken_in_turn():
    generator = np.random.default_rng(1)
    sizes = generator.integers(0, 6, (200, 30)).astype(np.int32)
    limits = generator.integers(1, 21, (200, 1)).astype(np.int32)
    fits = masking._fit(sizes, limits).numpy()
    for row in range(200):
        filled = 0
        for size, fit in zip(sizes[row], fits[row], strict=True):
            expected = 0 < size <= limits[row, 0] - filled
            assert fit == expected
            filled += size * fit


def test_no_rows_and_nothing_to_mask():
    found = mask(
        np.zeros((0, 8), np.int32), np.zeros(0, np.int32), np.zeros((0, 2), int)
    )
    assert found["input_word_ids"].shape == (0, 8)
    assert found["masked_lm_ids"].shape == (0, 0)
    ids = np.array([[2, 3, 3, 0]], np.int32)
    found = mask(ids, [3], np.array([[0, 0]]))
    np.testing.assert_array_equal(found["input_word_ids"], ids)
    assert found["masked_lm_weights"].shape == (1, 0)


def test_in_a_pipeline():
    ids, lengths, seeds = batch([60, 30, 20, 9], 64)
    dataset = tf.data.Dataset.from_tensor_slices((ids, lengths, seeds)).batch(2)
    dataset = dataset.map(
        lambda *row: masking.mask(*row, TOKENIZER, is_continuation=CONTINUATIONS)
    )
    found = np.concatenate([each["input_word_ids"] for each in dataset])
    expected = mask(ids, lengths, seeds, is_continuation=CONTINUATIONS)
    np.testing.assert_array_equal(found, expected["input_word_ids"])
