"""Searches against slow ones that compute everything anew, sentence by sentence."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from official.transformer import decoding
from official.transformer.decoding import DecodingOptions
from official.transformer.model_test import VARIANTS, batch_of, network
from official.utils.testing.errors import message_of


def log_probabilities(model, source, history):
    """Of the piece after `history`, float64 [vocabulary]."""
    targets = np.array([[*history, model.config.eos_id]], np.int32)
    logits = model({"inputs": source[None], "targets": targets}).numpy()[0, -1]
    logits = logits.astype(np.float64)
    return logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())


def slow_search(model, source, options):
    """Beam search as a list of hypotheses."""
    config, beams = model.config, options.beam_size
    limit = (source != config.pad_id).sum() - 1 + options.max_extra_length + 1

    def penalty(length):
        return ((5 + length) / 6) ** options.length_penalty

    live, ended = [((), 0.0)], []
    for length in range(1, limit + 1):
        candidates = [
            ((*history, piece), total + value)
            for history, total in live
            for piece, value in enumerate(log_probabilities(model, source, history))
        ]
        candidates.sort(key=lambda candidate: -candidate[1])
        ends = [c for c in candidates[: 2 * beams] if c[0][-1] == config.eos_id]
        live = [c for c in candidates[: 2 * beams] if c[0][-1] != config.eos_id][:beams]
        if length == limit:
            ends += live
        ended += [(history, total / penalty(length)) for history, total in ends]
        ended = sorted(ended, key=lambda found: -found[1])[:beams]
        hope = max((total for _, total in live), default=-math.inf) / penalty(limit)
        if len(ended) == beams and ended[-1][1] >= hope:
            break
    return ended


def decoded(model, inputs, options):
    search = tf.function(
        lambda inputs: decoding.decode(model, inputs, options),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    found = search(inputs)
    return found["outputs"].numpy(), found["scores"].numpy()


def without_padding(row):
    return tuple(np.trim_zeros(row, "b").tolist())


@pytest.mark.parametrize(
    ("beam_size", "penalty"), [(2, 0.0), (3, 0.6), (5, 1.5), (4, 0.6)]
)
def test_equals_the_slow_search(beam_size, penalty, monkeypatch):
    # So that the cache grows within a few steps.
    monkeypatch.setattr(decoding, "_CHUNK", 3)
    model = network()
    inputs = batch_of(model)["inputs"]
    # Ends should be neither rare nor certain.
    model.embeddings.word[1].assign(model.embeddings.word[1] * 1.5)
    options = DecodingOptions(beam_size, penalty, max_extra_length=4)
    outputs, scores = decoded(model, inputs, options)
    for row, source in enumerate(inputs):
        expected = slow_search(model, source, options)
        found = [without_padding(ids) for ids in outputs[row]]
        assert found == [history for history, _ in expected]
        values = [score for _, score in expected]
        np.testing.assert_allclose(scores[row], values, rtol=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("variant", ["2019", "marian"])
def test_a_batch_gives_what_each_sentence_gives(variant, beam_size):
    model = network(**VARIANTS[variant])
    inputs = batch_of(model)["inputs"]
    options = DecodingOptions(beam_size, max_extra_length=6)
    outputs, scores = decoded(model, inputs, options)
    for row, source in enumerate(inputs):
        alone = source[source != model.config.pad_id]
        found, values = decoded(model, alone[None], options)
        length = found.shape[2]
        np.testing.assert_array_equal(outputs[row][:, :length], found[0])
        assert (outputs[row][:, length:] == model.config.pad_id).all()
        np.testing.assert_allclose(scores[row], values[0], rtol=1e-5)


def test_greedy_takes_the_best_piece():
    model = network()
    inputs = batch_of(model)["inputs"]
    options = DecodingOptions(1, length_penalty=0.6, max_extra_length=8)
    outputs, scores = decoded(model, inputs, options)
    for row, source in enumerate(inputs):
        history, total = [], 0.0
        limit = np.count_nonzero(source) + 8
        while len(history) < limit and 1 not in history:
            values = log_probabilities(model, source, history)
            history.append(int(values.argmax()))
            total += values.max()
        assert list(without_padding(outputs[row, 0])) == history
        expected = total / ((5 + len(history)) / 6) ** 0.6
        assert scores[row, 0] == pytest.approx(expected, rel=1e-4)


def test_draws_follow_the_network_and_the_seed():
    model = network()
    source = batch_of(model)["inputs"][:1]
    options = DecodingOptions(1, 0.0, 0, sampling_temperature=2.0)
    counts = np.zeros(23)
    for seed in range(150):
        seeded = dataclasses.replace(options, seed=seed)
        counts[decoding.decode(model, source, seeded)["outputs"][0, 0, 0]] += 1
    logits = log_probabilities(model, source[0], ()) / 2
    expected = np.exp(logits) / np.exp(logits).sum()
    # Three deviations of the largest.
    assert np.abs(counts / 150 - expected).max() < 3 * math.sqrt(0.25 / 150)
    found = [
        decoding.decode(model, inputs, options)["outputs"].numpy()[0]
        for inputs in (source, source, np.concatenate([source, source * 0 + 1]))
    ]
    for other in found[1:]:
        assert without_padding(other[0]) == without_padding(found[0][0])


def test_wrong_options():
    assert message_of(DecodingOptions, 0) == "--beam_size=0: should be at least 1"
    message = message_of(DecodingOptions, 2, sampling_temperature=1.0)
    assert "give --beam_size=1 with it, not 2" in message
