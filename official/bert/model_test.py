import keras
import numpy as np
import pytest
import tensorflow as tf

from official.bert import config as configs
from official.bert import model
from official.utils.testing.errors import message_of
from official.utils.training import precision
from official.utils.training.variables import named_variables

NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def batch(rows=3, length=11, pad=4, vocabulary=100):
    generator = np.random.default_rng(0)
    ids = generator.integers(5, vocabulary, (rows, length)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[0, length - pad :] = 0
    types = (np.arange(length) > 5).astype(np.int32) * mask
    return {"input_word_ids": ids * mask, "input_mask": mask, "input_type_ids": types}


def tiny(**fields):
    keras.utils.set_random_seed(0)
    return configs.of_size("tiny", 100, **NO_DROPOUT | fields)


@pytest.mark.parametrize(
    "size, parameters",
    # Of the published networks with 30,522 pieces, pooler included.
    [("tiny", 4_385_920), ("mini", 11_170_560), ("base", 109_482_240)],
)
def test_parameter_counts(size, parameters):
    config = configs.of_size(size, 30_522, **NO_DROPOUT)
    assert model.build_encoder(config).count_params() == parameters


def test_outputs_are_normalised():
    found = model.build_encoder(tiny())(batch())
    assert found["sequence_output"].shape == (3, 11, 128)
    assert found["pooled_output"].shape == (3, 128)
    # After layer normalisation.
    np.testing.assert_allclose(
        np.square(found["sequence_output"]).mean(-1), 1, rtol=1e-3
    )


def test_names_do_not_depend_on_what_was_built_before():
    names = [list(named_variables(model.build_encoder(tiny()))) for _ in range(2)]
    assert names[0] == names[1]
    assert "model/block2/attention/query_key_value/kernel" in names[0]


def test_padding_changes_nothing():
    network = model.build_encoder(tiny())
    short = {name: value[:1, :7] for name, value in batch().items()}
    long = {name: value[:1] for name, value in batch().items()}
    np.testing.assert_allclose(
        network(short)["sequence_output"],
        network(long)["sequence_output"][:, :7],
        atol=1e-5,
    )


def test_attention_is_that_of_the_paper():
    """One block against NumPy."""
    config = tiny(num_hidden_layers=1)
    network = model.build_encoder(config)
    values = {
        name: np.asarray(v.value, np.float64)
        for name, v in named_variables(network).items()
    }
    inputs = batch()

    def dense(x, name):
        return x @ values[f"{name}/kernel"] + values[f"{name}/bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * values[f"{name}/gamma"] + values[f"{name}/beta"]

    e = "model/embeddings"
    x = values[f"{e}/word"][inputs["input_word_ids"]]
    x = x + values[f"{e}/position"][:11] + values[f"{e}/type"][inputs["input_type_ids"]]
    x = norm(x, f"{e}/norm")
    b = "model/block1"
    parts = np.split(dense(x, f"{b}/attention/query_key_value"), 3, axis=-1)
    query, key, value = (
        part.reshape(3, 11, 2, 64).transpose(0, 2, 1, 3) for part in parts
    )
    scores = query @ key.transpose(0, 1, 3, 2) / 8
    scores = np.where(inputs["input_mask"][:, None, None], scores, -1e9)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    seen = (weights @ value).transpose(0, 2, 1, 3).reshape(3, 11, 128)
    seen = dense(seen, f"{b}/attention/output_projection")
    x = norm(x + seen, f"{b}/attention_norm")
    y = dense(x, f"{b}/feed_forward/intermediate")
    y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    x = norm(
        x + dense(y, f"{b}/feed_forward/output_projection"), f"{b}/feed_forward_norm"
    )
    is_there = inputs["input_mask"] == 1
    found = network(inputs)["sequence_output"].numpy()
    np.testing.assert_allclose(found[is_there], x[is_there], atol=1e-5)


def test_recomputing_changes_no_gradient():
    inputs = batch() | {
        "masked_lm_positions": np.array([[1, 2], [3, 4], [5, 9]], "int32")
    }
    found = []
    for recompute in (False, True):
        network = model.build_pretraining_model(tiny(), recompute=recompute)

        @tf.function
        def gradients(network=network):
            with tf.GradientTape() as tape:
                outputs = network(inputs, training=True)
                loss = sum(tf.reduce_sum(tf.square(x)) for x in outputs.values())
            return tape.gradient(loss, [v.value for v in network.trainable_variables])

        found.append([tf.convert_to_tensor(g).numpy() for g in gradients()])
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-4, atol=1e-5)


def test_heads():
    config = tiny()
    inputs = batch()
    assert model.build_classifier(config, 5)(inputs).shape == (3, 5)
    assert model.build_span_model(config)(inputs).shape == (3, 11, 2)
    positions = np.array([[1], [2], [3]], np.int32)
    found = model.build_pretraining_model(config)(
        inputs | {"masked_lm_positions": positions}
    )
    assert found["masked_lm"].shape == (3, 100)
    assert found["next_sentence"].shape == (3, 2)
    lean = model.build_pretraining_model(config, use_next_sentence=False)
    assert set(lean.output) == {"masked_lm"}
    assert not any("pooler" in name for name in named_variables(lean))


def test_words_are_found_by_their_own_table():
    network = model.build_pretraining_model(tiny())
    tables = [v for v in network.trainable_variables if v.shape == (100, 128)]
    assert len(tables) == 1


def test_compiles_fits_and_is_saved_in_keras(tmp_path):
    keras.utils.set_random_seed(0)
    network = model.build_classifier(tiny(), 2)
    network.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    inputs, labels = batch(rows=8), np.arange(8) % 2
    before = network.evaluate(inputs, labels, verbose=0)
    network.fit(inputs, labels, epochs=10, verbose=0)
    assert network.evaluate(inputs, labels, verbose=0) < before
    network.save(tmp_path / "bert.keras")
    again = keras.models.load_model(tmp_path / "bert.keras")
    np.testing.assert_allclose(again(inputs), network(inputs), atol=1e-6)


def test_config_of_2019(tmp_path):
    path = tmp_path / "bert_config.json"
    path.write_text(
        '{"attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_size": 8,'
        '"num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 9,'
        '"type_vocab_size": 16, "vocab_size": 30, "max_position_embeddings": 64,'
        '"initializer_range": 0.02, "hidden_dropout_prob": 0.0, "other": 1}'
    )
    found = configs.read(str(path))
    assert (found.hidden_size, found.type_vocab_size, found.head_size) == (8, 16, 4)


@pytest.mark.parametrize(
    "content, words",
    [
        ("[1]", "holds no JSON object"),
        ("{", "is no JSON"),
        ('{"hidden_size": 8}', "has no vocab_size"),
        ('{"vocab_size": 0}', "vocab_size = 0"),
        ('{"vocab_size": 9, "hidden_act": "swish"}', "hidden_act = 'swish'"),
        ('{"vocab_size": 9, "hidden_dropout_prob": 1.0}', "hidden_dropout_prob = 1.0"),
        ('{"vocab_size": 9, "hidden_size": 10}', "does not divide"),
    ],
)
def test_config_that_is_wrong(tmp_path, content, words):
    path = tmp_path / "bert_config.json"
    path.write_text(content)
    message = message_of(configs.read, str(path))
    assert words in message
    assert str(path) in message


def test_logits_are_float32_beside_bfloat16():
    with precision.policy("bf16"):
        inputs = batch() | {"masked_lm_positions": np.array([[1], [2], [3]], np.int32)}
        found = model.build_pretraining_model(tiny())(inputs)
        logits = [*found.values(), model.build_span_model(tiny())(batch())]
        logits.append(model.build_classifier(tiny(), 2)(batch()))
        hidden = model.build_encoder(tiny())(batch())["sequence_output"]
    assert hidden.dtype == tf.bfloat16
    assert {each.dtype for each in logits} == {tf.float32}
