"""The network against the paper's formulas in NumPy, and against itself."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from official.transformer.config import TransformerConfig, of_size
from official.transformer.model import Transformer
from official.utils.errors import UserError
from official.utils.training.variables import named_variables

SMALL = dict(
    vocab_size=23,
    hidden_size=16,
    filter_size=24,
    num_heads=4,
    encoder_layers=2,
    decoder_layers=2,
)
VARIANTS = {
    "2019": dict(),
    "paper": dict(norm="post", positions="paper", activation="relu"),
    "marian": dict(
        norm="post",
        positions="paper",
        activation="swish",
        attention_bias=True,
        output_bias=True,
        pad_is_zero=False,
        norm_epsilon=1e-5,
        pad_id=22,
        eos_id=0,
        start_id=22,
    ),
}


def network(**fields):
    """One whose norms and biases count too."""
    keras.utils.set_random_seed(0)
    model = Transformer(TransformerConfig(**SMALL | fields))
    generator = np.random.default_rng(1)
    for variable in model.trainable_variables:
        if len(variable.shape) == 1:
            variable.assign(variable + 0.3 * generator.normal(size=variable.shape))
    return model


def batch_of(model, lengths=(5, 9, 3), target_lengths=(7, 2, 8)):
    """Rows that end in the end-of-sentence piece, padded."""
    generator = np.random.default_rng(2)
    found = {}
    for name, sizes in (("inputs", lengths), ("targets", target_lengths)):
        ids = np.full((len(sizes), max(sizes)), model.config.pad_id, np.int32)
        for row, size in zip(ids, sizes, strict=True):
            row[: size - 1] = generator.integers(2, 21, size - 1)
            row[size - 1] = model.config.eos_id
        found[name] = ids
    return found


# ---- The paper, in NumPy ----


class Reference:
    """Section 3 of the paper, sentence by sentence and head by head, in float64."""

    def __init__(self, model):
        self.config = model.config
        self.values = {
            name.removeprefix("model/"): variable.numpy().astype(np.float64)
            for name, variable in named_variables(model).items()
            if "seed_generator" not in name
        }

    def dense(self, x, name):
        found = x @ self.values[f"{name}/kernel"]
        return found + self.values.get(f"{name}/bias", 0)

    def norm(self, x, name):
        centered = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt(
            (centered**2).mean(-1, keepdims=True) + self.config.norm_epsilon
        )
        return (
            centered / deviation * self.values[f"{name}/gamma"]
            + self.values[f"{name}/beta"]
        )

    def embed(self, ids):
        config = self.config
        width = config.hidden_size
        x = self.values["embeddings/word"][ids] * math.sqrt(width)
        if config.pad_is_zero:
            x[np.array(ids) == config.pad_id] = 0
        waves = np.zeros((len(ids), width))
        half = width // 2
        for place in range(len(ids)):
            for i in range(half):
                steps = half - 1 if config.positions == "2019" else half
                angle = place / 10_000 ** (i / steps)
                waves[place, i], waves[place, half + i] = (
                    math.sin(angle),
                    math.cos(angle),
                )
        return x + waves

    def heads(self, query, key, value, is_seen):
        size = self.config.head_size
        outputs = []
        for head in range(self.config.num_heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size)
            scores = np.where(is_seen, scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            outputs.append(weights @ value[:, part])
        return np.concatenate(outputs, axis=-1)

    def self_attention(self, x, name, is_seen):
        query, key, value = np.split(self.dense(x, f"{name}/query_key_value"), 3, -1)
        found = self.heads(query, key, value, is_seen)
        return self.dense(found, f"{name}/output_projection")

    def cross_attention(self, x, memory, name):
        key, value = np.split(self.dense(memory, f"{name}/key_value"), 2, -1)
        found = self.heads(self.dense(x, f"{name}/query"), key, value, True)
        return self.dense(found, f"{name}/output_projection")

    def feed_forward(self, x, name):
        x = self.dense(x, f"{name}/filter")
        if self.config.activation == "swish":
            x = x / (1 + np.exp(-x))
        else:
            x = np.maximum(x, 0)
        return self.dense(x, f"{name}/output_projection")

    def around(self, function, x, name):
        if self.config.norm == "pre":
            return x + function(self.norm(x, name))
        return self.norm(x + function(x), name)

    def encode(self, ids):
        x = self.embed(ids)
        for i in range(self.config.encoder_layers):
            name = f"encoder/{i}"
            x = self.around(
                lambda x, name=name: self.self_attention(x, f"{name}/attention", True),
                x,
                f"{name}/attention_norm",
            )
            x = self.around(
                lambda x, name=name: self.feed_forward(x, f"{name}/feed_forward"),
                x,
                f"{name}/feed_forward_norm",
            )
        return self.norm(x, "encoder_norm") if self.config.norm == "pre" else x

    def decode(self, ids, memory):
        x = self.embed([self.config.start_id, *ids[:-1]])
        is_seen = np.tri(len(ids), dtype=bool)
        for i in range(self.config.decoder_layers):
            name = f"decoder/{i}"
            x = self.around(
                lambda x, name=name: self.self_attention(
                    x, f"{name}/attention", is_seen
                ),
                x,
                f"{name}/attention_norm",
            )
            x = self.around(
                lambda x, name=name: self.cross_attention(
                    x, memory, f"{name}/cross_attention"
                ),
                x,
                f"{name}/cross_attention_norm",
            )
            x = self.around(
                lambda x, name=name: self.feed_forward(x, f"{name}/feed_forward"),
                x,
                f"{name}/feed_forward_norm",
            )
        return self.norm(x, "decoder_norm") if self.config.norm == "pre" else x

    def logits(self, x):
        return x @ self.values["embeddings/word"].T + self.values.get(
            "output_bias/bias", 0
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_paper(variant):
    model = network(**VARIANTS[variant])
    reference, batch = Reference(model), batch_of(model)
    memory = model.encode(batch["inputs"])
    decoded = model.decode(batch["targets"], memory, batch["inputs"])
    logits = model(batch)
    assert logits.dtype == tf.float32
    shape = (3, -1, model.config.hidden_size)
    memory, decoded = (np.reshape(x, shape) for x in (memory, decoded))
    for row in range(3):
        inputs, targets = (
            [i for i in batch[name][row] if i != model.config.pad_id]
            for name in ("inputs", "targets")
        )
        expected = reference.encode(inputs)
        np.testing.assert_allclose(memory[row][: len(inputs)], expected, atol=1e-4)
        expected = reference.decode(targets, expected)
        np.testing.assert_allclose(decoded[row][: len(targets)], expected, atol=1e-4)
        expected = reference.logits(expected)
        found = logits[row][: len(targets)]
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(found, expected, atol=1e-4)


# ---- Against itself ----


@pytest.mark.parametrize("variant", ["2019", "marian"])
def test_steps_equal_the_whole(variant):
    """Two beams with the same history, in slots of their own, of a cache that grows."""
    model = network(**VARIANTS[variant])
    batch = batch_of(model)
    expected = model(batch).numpy()
    rows, length = batch["targets"].shape
    state = model.start(batch["inputs"])
    room, beams = 3, 2
    cache = model.empty_cache(rows, beams, room)
    ids = np.full((rows, beams), model.config.start_id, np.int32)
    for time in range(length):
        if time == room:
            room, cache = room + 6, model.grown_cache(cache, rows, beams, 6)
        visible = np.zeros((rows, beams, room * beams), bool)
        for beam in range(beams):
            visible[:, beam, beam : (time + 1) * beams : beams] = True
        logits, cache = model.step(ids, time, visible, state, cache)
        for beam in range(beams):
            np.testing.assert_allclose(
                logits[:, beam], expected[:, time], atol=1e-5, rtol=1e-5
            )
        ids = np.repeat(batch["targets"][:, time : time + 1], beams, axis=1)


@pytest.mark.parametrize("variant", ["2019", "marian"])
def test_output_weights_make_the_logits(variant):
    model = network(**VARIANTS[variant])
    x = np.random.default_rng(3).normal(size=(4, SMALL["hidden_size"]))
    matrix, bias = model.output_weights()
    expected = x @ matrix.numpy().T + (0 if bias is None else bias.numpy())
    found = model.logits(tf.constant(x, tf.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_padding_changes_nothing():
    model = network()
    batch = batch_of(model)
    expected = model(batch).numpy()
    wider = {name: np.pad(ids, ((0, 1), (0, 4))) for name, ids in batch.items()}
    found = model(wider).numpy()
    assert np.isfinite(found).all()  # Also those of a row of padding.
    np.testing.assert_allclose(found[:3, :8], expected, atol=1e-5)
    # Pieces that follow are not seen.
    changed = batch["targets"].copy()
    changed[2, 5:7] = 3
    found = model(batch | {"targets": changed}).numpy()
    np.testing.assert_allclose(found[:, :6], expected[:, :6], atol=1e-5)
    assert np.abs(found[2, 6:] - expected[2, 6:]).max() > 0.01


@pytest.mark.parametrize(
    ("size", "weights"), [("tiny", 307_840), ("small", 1_051_136), ("base", 48_199_680)]
)
def test_sizes(size, weights):
    """By hand: of base, 8,000 pieces of 512; blocks of 3,150,336 and 4,199,936."""
    model = Transformer(of_size(size, 8000 if size == "base" else 1000))
    found = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert found == weights


def test_names_do_not_depend_on_earlier_networks():
    names = [list(named_variables(network())) for _ in range(2)]
    assert names[0] == names[1]
    assert "model/decoder/1/cross_attention/key_value/kernel" in names[0]
    again = Transformer.from_config(network().get_config())
    assert list(named_variables(again)) == names[0]


def test_each_part_of_a_joint_projection_starts_alone():
    kernel = (
        Transformer(of_size("base", 16)).encoder[0].attention.query_key_value.kernel
    )
    limit = math.sqrt(6 / 1024)
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.shape == (512, 1536)


def test_compiles_and_fits_in_half_precision():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.mixed_precision.set_global_policy(before)
    batch = batch_of(model)
    exact = network()(batch)
    assert model.encode(batch["inputs"]).dtype == tf.bfloat16
    np.testing.assert_allclose(model(batch), exact, atol=0.15)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    history = model.fit(batch, batch["targets"], epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.3


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(UserError, match="3 heads do not divide a width of 16"):
        TransformerConfig(**SMALL | dict(num_heads=3))
