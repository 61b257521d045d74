"""TF1's checkpoints and ours; hugging_face_test.py has those of Hugging Face."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from official.bert import (
    checkpoint_check,
    checkpoint_names,
    checkpoint_samples,
    checkpoint_tensors,
    foreign_checkpoints,
    model,
)
from official.bert.checkpoint_samples import CONFIG, PARTS, PIECES
from official.bert.foreign_checkpoints import read_initial
from official.utils.testing.errors import message_of
from official.utils.training.checkpoints import Checkpoints
from official.utils.training.checkpoints import read as read_checkpoint
from official.utils.training.checkpoints import read_initial as read_weights
from official.utils.training.variables import named_variables

WIDTH, INSIDE = CONFIG.hidden_size, CONFIG.intermediate_size


# ---- TF1 as it is without us: names, files and arithmetic ----


def tf1_shapes():
    """The network of `CONFIG` with the heads that it is pre-trained with."""
    shapes = {
        "bert/embeddings/word_embeddings": (CONFIG.vocab_size, WIDTH),
        "bert/embeddings/position_embeddings": (16, WIDTH),
        "bert/embeddings/token_type_embeddings": (3, WIDTH),
    }
    dense = {
        "bert/pooler/dense": (WIDTH, WIDTH),
        "cls/predictions/transform/dense": (WIDTH, WIDTH),
    }
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for number in range(CONFIG.num_hidden_layers):
        layer = f"bert/encoder/layer_{number}"
        for name in ("self/query", "self/key", "self/value", "output/dense"):
            dense[f"{layer}/attention/{name}"] = (WIDTH, WIDTH)
        dense[f"{layer}/intermediate/dense"] = (WIDTH, INSIDE)
        dense[f"{layer}/output/dense"] = (INSIDE, WIDTH)
        norms += [f"{layer}/attention/output/LayerNorm", f"{layer}/output/LayerNorm"]
    for name, shape in dense.items():
        shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    for name in norms:
        shapes |= {f"{name}/gamma": (WIDTH,), f"{name}/beta": (WIDTH,)}
    return shapes | {
        "cls/predictions/output_bias": (CONFIG.vocab_size,),
        "cls/seq_relationship/output_weights": (2, WIDTH),
        "cls/seq_relationship/output_bias": (2,),
    }


CLASSES = {"output_weights": (5, WIDTH), "output_bias": (5,)}
SPANS = {"cls/squad/output_weights": (2, WIDTH), "cls/squad/output_bias": (2,)}


def tf1_tensors(heads=None):
    """Random weights; with `heads` they take the place of those of pre-training."""
    shapes = tf1_shapes()
    if heads:
        shapes = {n: shape for n, shape in shapes.items() if not n.startswith("cls/")}
        shapes |= heads
    generator = np.random.default_rng(1)
    return {
        name: (generator.normal(0, 0.3, shape) + name.endswith("gamma")).astype("f4")
        for name, shape in shapes.items()
    }


def save_with_tf1(tensors, prefix):
    """Writes variables as a program of 2018 does."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in tensors.items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, prefix)


def restore_with_tf1(prefix, shapes):
    """Reads variables as a program of 2018 does."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(name, shape, use_resource=False)
            for name, shape in shapes.items()
        }
        tf.compat.v1.train.Saver().restore(session, prefix)
        return session.run(variables)


def write_tf1_folder(folder, tensors):
    folder.mkdir()
    save_with_tf1(tensors, str(folder / "bert_model.ckpt"))
    # As in the release: no state file, and no more settings than these.
    (folder / "checkpoint").unlink()
    settings = dataclasses.asdict(CONFIG)
    del settings["layer_norm_eps"]
    (folder / "bert_config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES))


def norm(x, t, name):
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * t[f"{name}/gamma"] + t[f"{name}/beta"]


def dense(x, t, name):
    return x @ t[f"{name}/kernel"] + t[f"{name}/bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def head(x, t, name):
    return x @ t[f"{name}_weights"].T + t[f"{name}_bias"]


def numpy_bert(tensors, ids, mask, types):
    """Hidden states, [batch, length, hidden] each, and the pooled output."""
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    heads, size = CONFIG.num_attention_heads, CONFIG.head_size
    batch, length = ids.shape
    x = t["bert/embeddings/word_embeddings"][ids]
    x += t["bert/embeddings/position_embeddings"][:length]
    x += t["bert/embeddings/token_type_embeddings"][types]
    states = [norm(x, t, "bert/embeddings/LayerNorm")]
    for number in range(CONFIG.num_hidden_layers):
        x, layer = states[-1], f"bert/encoder/layer_{number}"
        query, key, value = (
            dense(x, t, f"{layer}/attention/self/{name}")
            .reshape(batch, length, heads, size)
            .transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(size)
        weights = softmax(scores - 10000.0 * (1 - mask[:, None, None, :]))
        x_attended = (weights @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x_attended = dense(x_attended, t, f"{layer}/attention/output/dense")
        x = norm(x + x_attended, t, f"{layer}/attention/output/LayerNorm")
        inner = gelu(dense(x, t, f"{layer}/intermediate/dense"))
        x_changed = dense(inner, t, f"{layer}/output/dense")
        states.append(norm(x + x_changed, t, f"{layer}/output/LayerNorm"))
    return states, np.tanh(dense(states[-1][:, 0], t, "bert/pooler/dense"))


def batch_of(config, length=9):
    """Two segments a row, the second row padded."""
    ids = np.random.default_rng(2).integers(config.vocab_size, size=(2, length))
    mask = np.ones((2, length), int)
    mask[1, -3:] = 0
    types = np.repeat([[0, 1]], [4, length - 4], axis=1).repeat(2, axis=0)
    return {
        "input_word_ids": ids.astype("int32"),
        "input_mask": mask.astype("int32"),
        "input_type_ids": types.astype("int32"),
    }


def hidden_states(network, batch, config):
    """Those of ours, [batch, length, hidden] each."""
    blocks = [
        network.get_layer(f"block{number}")
        for number in range(1, config.num_hidden_layers + 1)
    ]
    tensors = [blocks[0].input[0], *(block.output for block in blocks)]
    inputs = [tensor for tensor in network.inputs if tensor.name in batch]
    states = keras.Model(inputs, tensors)([batch[tensor.name] for tensor in inputs])
    shape = (*batch["input_mask"].shape, config.hidden_size)
    return [np.asarray(state).reshape(shape) for state in states]


# ---- TF1 ----


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder like those of 2018, and what it holds."""
    folder = tmp_path_factory.mktemp("tf1") / "uncased"
    tensors = tf1_tensors()
    slots = {
        f"{name}/adam_{slot}": value for name, value in tensors.items() for slot in "mv"
    }
    write_tf1_folder(folder, tensors | slots | {"global_step": np.int64(7)})
    return folder, tensors


def test_tf1_agrees_with_numpy(pretrained):
    folder, tensors = pretrained
    initial = read_initial(str(folder))
    assert (initial.config, initial.vocabulary) == (CONFIG, PIECES)
    # Pieces have capitals.
    assert initial.lower_case is False
    assert initial.parts == {"pooler", "masked_lm", "next_sentence"}
    network = checkpoint_check.build_network(initial)
    batch = batch_of(CONFIG)
    states, pooled = numpy_bert(tensors, *batch.values())
    is_seen = batch["input_mask"] == 1
    for ours, theirs in zip(hidden_states(network, batch, CONFIG), states, strict=True):
        assert ours[is_seen].std() > 0.5
        np.testing.assert_allclose(ours[is_seen], theirs[is_seen], atol=1e-5)

    positions = np.array([[1, 8], [0, 5]], "int32")
    outputs = network(batch | {"masked_lm_positions": positions})
    x = states[-1][[[0], [1]], positions].reshape(-1, WIDTH)
    words = norm(
        gelu(dense(x, tensors, "cls/predictions/transform/dense")),
        tensors,
        "cls/predictions/transform/LayerNorm",
    )
    logits = words @ tensors["bert/embeddings/word_embeddings"].T
    logits += tensors["cls/predictions/output_bias"]
    np.testing.assert_allclose(outputs["masked_lm"], logits, atol=2e-5)
    np.testing.assert_allclose(
        outputs["next_sentence"],
        head(pooled, tensors, "cls/seq_relationship/output"),
        atol=1e-5,
    )


@pytest.mark.parametrize("is_of_spans", [False, True])
def test_fine_tuned_tf1_agrees_with_numpy(is_of_spans, tmp_path):
    tensors = tf1_tensors(SPANS if is_of_spans else CLASSES)
    write_tf1_folder(tmp_path / "tf1", tensors)
    initial = read_initial(str(tmp_path / "tf1"))
    assert initial.has_spans == is_of_spans
    batch = batch_of(CONFIG)
    states, pooled = numpy_bert(tensors, *batch.values())
    logits = np.asarray(checkpoint_check.build_network(initial)(batch))
    if is_of_spans:
        expected = head(states[-1], tensors, "cls/squad/output")
        is_seen = batch["input_mask"] == 1
        logits, expected = logits[is_seen], expected[is_seen]
    else:
        expected = head(pooled, tensors, "output")
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_places_of_tf1(pretrained, tmp_path):
    folder, _ = pretrained
    prefix = folder / "bert_model.ckpt"
    expected = read_initial(str(folder))
    for path in (prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001"):
        assert_same(read_initial(str(path)), expected)
    # A fine-tuned network lies among older ones, without settings.
    run = tmp_path / "run"
    run.mkdir()
    tensors = tf1_tensors(CLASSES)
    save_with_tf1(tf1_tensors(), str(run / "model.ckpt-1"))
    save_with_tf1(tensors, str(run / "model.ckpt-2"))
    files = (str(folder / "bert_config.json"), str(folder / "vocab.txt"))
    initial = read_initial(str(run), *files)
    assert_equal(checkpoint_tensors.to_theirs(initial, "tf1"), tensors)
    assert f"there is no file of settings at {run}/bert_config.json" in message_of(
        read_initial, str(run)
    )


# ---- Between all forms ----


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype == np.float32
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def assert_same(found, expected):
    assert_equal(found.values, expected.values)
    for name in ("config", "vocabulary", "lower_case", "has_spans"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("kind", PARTS)
def test_six_directions(kind, tmp_path):
    initial = checkpoint_samples.network(PARTS[kind])
    found = initial
    for number, form in enumerate(
        ("garden", "tf1", "hugging_face", "garden", "hugging_face", "tf1", "garden")
    ):
        folder = str(tmp_path / str(number))
        foreign_checkpoints.write(folder, found, form)
        found = read_initial(folder)
        assert_same(found, initial)
    assert checkpoint_check.largest_difference(found, initial) == 0
    assert_equal(read_weights(folder), initial.values)


@pytest.mark.parametrize("heads", [{}, CLASSES, SPANS])
def test_tf1_reads_what_is_written(heads, tmp_path):
    tensors = tf1_tensors(heads)
    values, has_spans = checkpoint_tensors.from_theirs(tensors, "tf1", CONFIG, "it")
    initial = checkpoint_tensors.Initial(values, CONFIG, PIECES, None, None, has_spans)
    assert foreign_checkpoints.write(str(tmp_path), initial, "tf1") == len(tensors)
    shapes = {name: value.shape for name, value in tensors.items()}
    prefix = str(tmp_path / "bert_model.ckpt")
    assert_equal(restore_with_tf1(prefix, shapes), tensors)
    assert dict(tf.train.list_variables(prefix)).keys() == tensors.keys()
    settings = json.loads((tmp_path / "bert_config.json").read_text())
    assert settings["hidden_act"] == "gelu" and "layer_norm_eps" not in settings
    assert (tmp_path / "vocab.txt").read_text().split("\n") == [*PIECES, ""]


def test_case_is_kept(tmp_path):
    small = [piece.lower() + "'" * piece.isupper() for piece in PIECES[5:]]
    pieces = PIECES[:5] + small
    for lower_case in (True, False, None):
        initial = dataclasses.replace(
            checkpoint_samples.network(()), vocabulary=pieces, lower_case=lower_case
        )
        for form in checkpoint_names.FORMS:
            folder = str(tmp_path / f"{lower_case}_{form}")
            foreign_checkpoints.write(folder, initial, form)
            # Where nothing tells, pieces do.
            assert read_initial(folder).lower_case is (lower_case is not False)


def test_activations(tmp_path):
    for activation, theirs in (
        ("gelu", "gelu_new"),
        ("gelu_erf", "gelu"),
        ("relu", "relu"),
    ):
        initial = checkpoint_samples.network((), hidden_act=activation)
        folder = tmp_path / activation
        for form in checkpoint_names.FORMS:
            foreign_checkpoints.write(str(folder / form), initial, form)
            assert read_initial(str(folder / form)).config == initial.config
        written = json.loads((folder / "hugging_face" / "config.json").read_text())
        assert written["hidden_act"] == theirs
        written = json.loads((folder / "tf1" / "bert_config.json").read_text())
        assert written["hidden_act"] == activation


# ---- This project ----


def test_runs(tmp_path):
    networks = {
        "classes": model.build_classifier(CONFIG, 5),
        "spans": model.build_span_model(CONFIG),
        "masked_lm": model.build_pretraining_model(CONFIG, use_next_sentence=False),
    }
    facts = dict(config=dataclasses.asdict(CONFIG), vocabulary=PIECES, lower_case=True)
    for name, network in networks.items():
        more = {"label_names": list("abcde")} if name == "classes" else {}
        variables = named_variables(network)
        slots = {f"optimizer/{name}": variable for name, variable in variables.items()}
        Checkpoints(str(tmp_path / name / "checkpoints")).save(
            variables | slots, dict(step=3, facts=facts | more)
        )
        for path in (tmp_path / name, tmp_path / name / "checkpoints" / "ckpt-3"):
            initial = read_initial(str(path))
            assert initial.parts == set(PARTS[name])
            assert initial.config == CONFIG and initial.lower_case is True
            weights = {
                name: np.asarray(variable.value)
                for name, variable in variables.items()
                if "seed" not in name
            }
            assert_equal(initial.values, weights)
    initial = read_initial(str(tmp_path / "classes"))
    assert initial.label_names == tuple("abcde")
    foreign_checkpoints.write(str(tmp_path / "converted"), initial, "garden")
    assert read_initial(str(tmp_path / "converted")).label_names == tuple("abcde")
    state = json.loads(
        read_checkpoint(str(tmp_path / "converted/checkpoints/ckpt-0"))["state"].item()
    )
    assert state["step"] == 0
    assert state["facts"] == facts | {
        "label_names": list("abcde"),
        "has_spans": False,
    }


# ---- What is wrong ----


def test_unmatched_tensors(tmp_path):
    tensors = tf1_tensors()
    more = {f"bert/encoder/layer_9/extra_{i}": np.zeros(1, "f4") for i in range(4)}
    write_tf1_folder(tmp_path / "more", tensors | more)
    message = message_of(read_initial, str(tmp_path / "more"))
    assert "4 unmatched (bert/encoder/layer_9/extra_0, " in message
    assert "extra_2, ...)" in message and "missing" not in message

    lost = "bert/encoder/layer_1/attention/self/key/kernel"
    fewer = {name: value for name, value in tensors.items() if name != lost}
    write_tf1_folder(tmp_path / "fewer", fewer)
    assert f"1 missing ({lost})" in message_of(read_initial, str(tmp_path / "fewer"))

    initial = checkpoint_samples.network(())
    values = initial.values | {"model/adapter/kernel": np.zeros(1, "f4")}
    for form in checkpoint_names.FORMS:
        message = message_of(
            foreign_checkpoints.write,
            str(tmp_path / form),
            dataclasses.replace(initial, values=values),
            form,
        )
        assert "1 unmatched (model/adapter/kernel)" in message
        assert not (tmp_path / form).exists()


def test_other_shapes(tmp_path):
    tensors = tf1_tensors()
    tensors["bert/encoder/layer_0/attention/self/key/kernel"] = np.zeros((12, 8), "f4")
    write_tf1_folder(tmp_path / "tf1", tensors)
    assert (
        "bert/encoder/layer_0/attention/self/key/kernel is [12, 8] there and [12, 12] "
        "here"
    ) in message_of(read_initial, str(tmp_path / "tf1"))


@pytest.mark.parametrize("form", checkpoint_names.FORMS)
def test_vocabulary_of_another_size(form, tmp_path):
    initial = checkpoint_samples.network(())
    shorter = dataclasses.replace(initial, vocabulary=PIECES[:-1])
    foreign_checkpoints.write(str(tmp_path), shorter, form)
    message = message_of(read_initial, str(tmp_path))
    assert "17 pieces and the table of words 18 rows" in message
    (tmp_path / "more.txt").write_text("".join(f"{piece}\n" for piece in PIECES))
    more = str(tmp_path / "more.txt")
    assert read_initial(str(tmp_path), vocab_file=more).vocabulary == PIECES


def test_places_without_a_network(tmp_path):
    message = message_of(read_initial, str(tmp_path / "none"))
    assert f"{tmp_path}/none is no readable checkpoint" in message
    (tmp_path / "empty").mkdir()
    message = message_of(read_initial, str(tmp_path / "empty"))
    assert "holds no checkpoint" in message and "bert_model.ckpt" in message
    (tmp_path / "empty" / "a.ckpt.index").write_bytes(b"no index")
    message = message_of(read_initial, str(tmp_path / "empty"))
    assert "a.ckpt is no readable checkpoint" in message
    (tmp_path / "empty" / "b.ckpt.index").write_bytes(b"no index")
    message = message_of(read_initial, str(tmp_path / "empty"))
    assert "several checkpoints (a.ckpt, b.ckpt)" in message

    # A file that was cut.
    write_tf1_folder(tmp_path / "cut", tf1_tensors())
    data = tmp_path / "cut" / "bert_model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:5000])
    message = message_of(read_initial, str(tmp_path / "cut"))
    assert "bert_model.ckpt is no readable checkpoint" in message

    other = {"model/dense/kernel": keras.Variable(np.zeros((2, 2)))}
    Checkpoints(str(tmp_path / "other")).save(other, dict(step=1, facts={"a": 1}))
    message = message_of(read_initial, str(tmp_path / "other"))
    assert "is no checkpoint of a BERT network of this project" in message
    save_with_tf1({"dense/kernel": np.zeros(2, "f4")}, str(tmp_path / "dense"))
    message = message_of(read_initial, str(tmp_path / "dense"))
    assert "neither TF1's (bert/...) nor a run's: dense/kernel" in message


def test_what_tf1_does_not_know(tmp_path):
    initial = checkpoint_samples.network((), layer_norm_eps=1e-5)
    message = message_of(foreign_checkpoints.write, str(tmp_path), initial, "tf1")
    assert "layer_norm_eps = 1e-12" in message and "hugging_face" in message
    assert not list(tmp_path.iterdir())


def test_comparison_finds_what_differs():
    initial = checkpoint_samples.network(PARTS["classes"])
    assert checkpoint_check.compare(initial, initial, "it") == 0
    name = "model/block1/attention/query_key_value/kernel"
    value = initial.values[name].copy()
    value[3, 7] = np.nextafter(value[3, 7], np.float32(9))
    changed = dataclasses.replace(initial, values=initial.values | {name: value})
    message = message_of(checkpoint_check.compare, initial, changed, "it")
    assert f"1 differ ({name})" in message
    value[3, 7] += 1
    assert checkpoint_check.largest_difference(initial, changed) > 1e-3
    other = dataclasses.replace(initial, lower_case=True)
    assert "(lower_case)" in message_of(checkpoint_check.compare, initial, other, "it")
    nan = {name: value * np.nan for name, value in initial.values.items()}
    nan = dataclasses.replace(initial, values=nan)
    assert "nan" in message_of(checkpoint_check.compare, nan, nan, "it")
