import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf

from official.bert import record_making, vocabulary
from official.bert.record_making import Settings, Window, make_records
from official.utils.errors import UserError
from official.utils.testing.errors import message_of

# Words of one piece, and of two.
WORDS = [f"{word}{number}" for word in ("word", "part##") for number in range(20)]
PIECES = [*vocabulary.SPECIAL, *WORDS[:20], "part", *(f"##{n}" for n in range(20))]
LENGTH, PREDICTIONS = 24, 4
# As in the original's reader of 2019.
FEATURES = {
    "input_ids": tf.io.FixedLenFeature([LENGTH], tf.int64),
    "input_mask": tf.io.FixedLenFeature([LENGTH], tf.int64),
    "segment_ids": tf.io.FixedLenFeature([LENGTH], tf.int64),
    "masked_lm_positions": tf.io.FixedLenFeature([PREDICTIONS], tf.int64),
    "masked_lm_ids": tf.io.FixedLenFeature([PREDICTIONS], tf.int64),
    "masked_lm_weights": tf.io.FixedLenFeature([PREDICTIONS], tf.float32),
    "next_sentence_labels": tf.io.FixedLenFeature([1], tf.int64),
}


@pytest.fixture
def settings(tmp_path):
    vocab_file = str(tmp_path / "vocab.txt")
    vocabulary.write(vocab_file, PIECES)
    return Settings(vocab_file, max_length=LENGTH, max_predictions=PREDICTIONS, seed=5)


def documents(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        [" ".join(generator.choice(WORDS, 5)).replace("##", "") for _ in range(12)]
        for _ in range(count)
    ]


def parse(records):
    parsed = tf.io.parse_example(tf.constant(records), FEATURES)
    return {name: value.numpy() for name, value in parsed.items()}


def originals(rows):
    """The ids without masks."""
    ids = rows["input_ids"].copy()
    row, place = np.nonzero(rows["masked_lm_weights"])
    ids[row, rows["masked_lm_positions"][row, place]] = rows["masked_lm_ids"][
        row, place
    ]
    return ids


def test_features(settings):
    rows = parse(make_records(settings, Window(0, 0, documents(20))))
    ids, places = originals(rows), np.arange(LENGTH)
    assert len(ids) > 100
    lengths = rows["input_mask"].sum(axis=1)
    np.testing.assert_array_equal(rows["input_mask"], places < lengths[:, None])
    assert not ids[rows["input_mask"] == 0].any()
    assert (ids[:, 0] == 2).all() and ((ids == 3).sum(axis=1) == 2).all()
    starts = (ids == 3).argmax(axis=1) + 1
    np.testing.assert_array_equal(
        rows["segment_ids"], (places >= starts[:, None]) & (rows["input_mask"] == 1)
    )
    expected = np.clip(np.round(0.15 * (lengths - 3)), 1, PREDICTIONS)
    np.testing.assert_array_equal(rows["masked_lm_weights"].sum(axis=1), expected)
    is_random = rows["next_sentence_labels"][:, 0].astype(bool)
    assert 0.4 < is_random.mean() < 0.65
    # All of the other pairs are text of a document.
    lines = [[PIECES[i] for i in row[1:] if i != 3 and i] for row in ids]
    text = ["".join(" ".join(each).split()) for each in documents(20)]
    for line, random in zip(lines, is_random, strict=True):
        written = "".join(line).replace("##", "")
        if not random and len(line) + 3 < LENGTH:
            assert any(written in each for each in text)


def test_records_follow_from_their_window(settings):
    window = Window(1, 2, documents(5))
    first = make_records(settings, window)
    assert first == make_records(settings, window)
    others = [
        make_records(settings, dataclasses.replace(window, pass_number=0)),
        make_records(settings, dataclasses.replace(window, number=3)),
        make_records(dataclasses.replace(settings, seed=6), window),
    ]
    for other in others:
        assert not set(first) & set(other)
    # Not in the order of the text.
    rows = originals(parse(first)).tolist()
    assert rows != sorted(rows)


def test_whole_words(settings):
    settings = dataclasses.replace(settings, whole_words=True)
    rows = parse(make_records(settings, Window(0, 0, documents(20))))
    ids = originals(rows)
    is_chosen = np.zeros(ids.shape, bool)
    row, place = np.nonzero(rows["masked_lm_weights"])
    is_chosen[row, rows["masked_lm_positions"][row, place]] = True
    goes_on = np.array([piece.startswith("##") for piece in PIECES])[ids]
    goes_on[:, 1:] &= ids[:, :-1] != 3
    goes_on[:, 1] = False
    np.testing.assert_array_equal(
        is_chosen[:, 1:][goes_on[:, 1:]], is_chosen[:, :-1][goes_on[:, 1:]]
    )
    assert (is_chosen & goes_on).sum() > 50


def test_without_pairs(settings):
    settings = dataclasses.replace(settings, use_next_sentence=False)
    text = [["word1 word2 word3"], ["part0 " * 30]]
    rows = parse(make_records(settings, Window(0, 0, text)))
    # 60 pieces in parts of at most 22.
    assert sorted(rows["input_mask"].sum(axis=1)) == [5, 22, 22, 22]
    assert not rows["segment_ids"].any()
    assert not rows["next_sentence_labels"].any()


def test_windows(settings, tmp_path, monkeypatch):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join("\n".join(each) for each in documents(6)))
    size = sum(len(line) + 1 for each in documents(2) for line in each)
    monkeypatch.setattr(record_making, "WINDOW_CHARACTERS", size - 60)
    windows = list(record_making.read_windows([str(path)], settings, 2))
    assert [(window.pass_number, window.number) for window in windows] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)
    ]  # fmt: skip
    found = [document for window in windows[:3] for document in window.documents]
    assert found == documents(6)
    settings = dataclasses.replace(settings, use_next_sentence=False)
    windows = list(record_making.read_windows([str(path)], settings, 1))
    assert sum(len(window.documents) for window in windows) == 6 * 12


# ---- Files ----


def test_files_take_turns(tmp_path):
    paths = [str(tmp_path / "folder" / name) for name in "abc"]
    windows = [[b"0", b"1"], [], [b"2", b"3", b"4", b"5", b"6"]]
    for compression in ("", "GZIP"):
        assert record_making.write(iter(windows), paths, compression) == 7
        found = [
            [record.numpy() for record in tf.data.TFRecordDataset(path, compression)]
            for path in paths
        ]
        assert found == [[b"0", b"3", b"6"], [b"1", b"4"], [b"2", b"5"]]
        assert sorted(os.listdir(tmp_path / "folder")) == ["a", "b", "c"]
        assert message_of(record_making.write, [], paths, "") == (
            f"{paths[0]} exists and is not overwritten; name another file"
        )
        for path in paths:
            os.remove(path)


def test_nothing_stays_of_what_fails(tmp_path):
    paths = [str(tmp_path / name) for name in "ab"]

    def windows():
        yield [b"0", b"1"]
        assert sorted(os.listdir(tmp_path)) == ["a.tmp", "b.tmp"]
        raise UserError("the text is wrong")

    assert message_of(record_making.write, windows(), paths, "") == (
        "the text is wrong"
    )
    assert not os.listdir(tmp_path)
    assert message_of(record_making.write, [[b"0"]], paths, "") == (
        "the text gives 1 sequences for 2 files; name fewer files"
    )
    assert not os.listdir(tmp_path)
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "a")
    assert message_of(record_making.write, [[b"0"]], [path], "").startswith(
        f"{path} cannot be written ("
    )
