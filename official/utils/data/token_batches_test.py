import itertools

import numpy as np
import pytest

from official.utils.data import token_batches
from official.utils.data.buckets import Ragged, Rows
from official.utils.data.streams import Share
from official.utils.data.token_batches import TokenTrainingStream
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

ALONE = Share(1, 0, 1)


def made_rows(number=700, seed=0, **settings):
    """Lengths like those of sentences and their translations, ids that tell rows."""
    generator = np.random.default_rng(seed)
    inputs = np.clip(generator.normal(16, 5, number), 2, 40).astype(int)
    targets = np.clip(inputs + generator.normal(1, 3, number), 2, 45).astype(int)
    sides = [
        Ragged.of([np.full(length, row + 1) for row, length in enumerate(lengths)])
        for lengths in (inputs, targets)
    ]
    return Rows(
        dict(zip(("inputs", "targets"), sides, strict=True)),
        **{"multiple": 1} | settings,
    )


@pytest.fixture(params=[700, 150])
def stream(request, monkeypatch):
    """Of windows of their own, and of one window."""
    monkeypatch.setattr(token_batches, "WINDOW_ROWS", 200)
    monkeypatch.setattr(token_batches, "WINDOW_BATCHES", 1)
    return TokenTrainingStream(made_rows(request.param), 512, seed=3)


def batches(stream, start, number, share=ALONE):
    found = stream.dataset(start, share).take(number).as_numpy_iterator()
    return list(found)


def rows_in(batch):
    return (batch["inputs"][:, 0] - 1).tolist()


def test_every_row_once_an_epoch(stream):
    steps = stream.steps_per_epoch
    found = batches(stream, 0, 2 * steps)
    epochs = [
        list(itertools.chain(*map(rows_in, part)))
        for part in (found[:steps], found[steps:])
    ]
    everything = list(range(len(stream.rows)))
    for epoch in epochs:
        assert sorted(epoch) == everything
    assert epochs[0] != epochs[1]
    # Rows do not meet the same ones again.
    with_first = [set(rows_in(b)) for b in found if 0 in rows_in(b)]
    assert len(with_first[0] & with_first[1]) < len(with_first[0])


def test_batches_hold_what_they_should(stream):
    ragged = stream.rows.ragged
    for batch in batches(stream, 0, stream.steps_per_epoch):
        longest = max(batch["inputs"].shape[1], batch["targets"].shape[1])
        assert 100 < len(batch["inputs"]) * longest <= 512 * 1.02
        for place, row in enumerate(rows_in(batch)):
            for name, side in ragged.items():
                length = side.lengths[row]
                assert batch[f"{name}_length"][place] == length
                expected = np.pad(
                    np.full(length, row + 1), (0, batch[name].shape[1] - length)
                )
                np.testing.assert_array_equal(batch[name][place], expected)


def test_a_step_is_found_alone(stream):
    for start in (1, stream.steps_per_epoch - 1, 3 * stream.steps_per_epoch + 2):
        fresh = TokenTrainingStream(stream.rows, 512, seed=3)
        (expected,) = batches(stream, start, 1)
        (found,) = batches(fresh, start, 1)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    other = TokenTrainingStream(stream.rows, 512, seed=4)
    assert rows_in(batches(other, 0, 1)[0]) != rows_in(batches(stream, 0, 1)[0])


def test_shares_of_replicas(stream):
    stream = TokenTrainingStream(stream.rows, 512, seed=3, multiple=4)
    whole = batches(stream, 5, 6, Share(2, 0, 2))
    first, second = (batches(stream, 5, 3, Share(2, i, 1)) for i in range(2))
    alone = batches(stream, 5, 3)
    for step in range(3):
        for part, other in zip(
            whole[2 * step : 2 * step + 2], (first[step], second[step]), strict=True
        ):
            np.testing.assert_array_equal(part["targets"], other["targets"])
            assert len(part["targets"]) % 4 == 0
        parts = (first[step], second[step], alone[step])
        real = [[row for row in rows_in(batch) if row >= 0] for batch in parts]
        assert sorted(real[0] + real[1]) == sorted(real[2])
        # Rows that fill up are empty.
        filler = alone[step]["inputs_length"] == 0
        assert not alone[step]["targets"][filler].any() and filler.sum() < 4


def test_rows_that_fill_up_lengthen_nothing():
    # The first row is by far the longest.
    lengths = [50, *[3] * 40]
    sides = [Ragged.of([np.ones(length) for length in lengths]) for _ in range(2)]
    rows = Rows(dict(inputs=sides[0], targets=sides[1]), multiple=1)
    stream = TokenTrainingStream(rows, 50, seed=0, multiple=7)
    found = batches(stream, 0, stream.steps_per_epoch)
    longest = sorted(batch["inputs"].shape[1] for batch in found)
    assert longest == [3] * (len(found) - 1) + [50]
    assert all(len(batch["inputs"]) % 7 == 0 for batch in found)
    tokens = sum(batch["inputs"].size for batch in found)
    assert stream.padding_share() == pytest.approx(1 - sum(lengths) / tokens)


@pytest.mark.parametrize("settings", [{"multiple": 16}, {"fixed_length": 48}])
def test_tokens_are_those_of_padded_rows(settings):
    stream = TokenTrainingStream(made_rows(**settings), 1024, seed=3)
    found = batches(stream, 0, stream.steps_per_epoch)
    for batch in found:
        lengths = [batch[name].shape[1] for name in ("inputs", "targets")]
        assert len(batch["inputs"]) * max(lengths) <= 1024 * 1.02
        if "multiple" in settings:
            assert not any(length % 16 for length in lengths)
        else:
            assert lengths == [48, 48]
    assert sum(len(batch["inputs"]) for batch in found) == 700
    shapes = stream.dataset(0, ALONE).element_spec["inputs"].shape
    assert shapes.as_list() == [None, settings.get("fixed_length")]


def test_padding_is_rare():
    """Words of the sentences of Multi30k, and ends."""
    sides = []
    for language in ("en", "de"):
        path = real_data("multi30k", f"train.{language}")
        with open(path, encoding="utf-8") as file:
            lengths = [len(line.split()) + 1 for line in file]
        offsets = np.cumsum([0, *lengths])
        sides.append(Ragged(np.ones(offsets[-1], np.uint16), offsets))
    rows = Rows(dict(inputs=sides[0], targets=sides[1]), multiple=1)
    for batch_tokens, most in ((2048, 0.07), (4096, 0.10), (8192, 0.11)):
        stream = TokenTrainingStream(rows, batch_tokens, seed=0)
        steps = range(stream.steps_per_epoch)
        assert 0.03 < stream.padding_share() < most
        tokens = [stream._costs(r).max() * len(r) for r in map(stream.rows_of, steps)]
        assert np.mean(tokens) > 0.95 * batch_tokens
        assert max(tokens) <= 1.02 * batch_tokens


def test_large_batches_have_large_windows():
    rows = made_rows(100_000)
    small, large = (TokenTrainingStream(rows, size, seed=0) for size in (4096, 16_384))
    assert small._window_rows == token_batches.WINDOW_ROWS
    assert large._window_rows > 3 * token_batches.WINDOW_ROWS
    assert large.padding_share() < 0.10
    everything = np.concatenate(
        [large.rows_of(step) for step in range(large.steps_per_epoch)]
    )
    assert sorted(everything) == list(range(100_000))


def test_a_sequence_longer_than_a_batch():
    message = message_of(TokenTrainingStream, made_rows(), 30, 0)
    assert message.startswith("--batch_size=30 tokens is less than the longest")
    assert message.endswith("raise it, or lower --max_length")
