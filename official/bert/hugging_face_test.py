"""Networks of Hugging Face's against ours, and files of theirs that do not fit."""

import dataclasses
import json
import sys
from unittest import mock

import numpy as np
import pytest

from official.bert import (
    checkpoint_check,
    checkpoint_samples,
    foreign_checkpoints,
    hugging_face,
)
from official.bert import config as configs
from official.bert.checkpoint_samples import CONFIG, PARTS, PIECES
from official.bert.config import BertConfig
from official.bert.foreign_checkpoints import read_initial
from official.bert.foreign_checkpoints_test import (
    assert_same,
    batch_of,
    hidden_states,
)
from official.utils.testing.errors import message_of
from official.utils.weights import pytorch_files

CLASSES = {
    "encoder_and_pooler": "BertModel",
    "pretraining": "BertForPreTraining",
    "masked_lm": "BertForMaskedLM",
    "classes": "BertForSequenceClassification",
    "spans": "BertForQuestionAnswering",
}
TOLERANCE = 1e-4


def random_network(kind, config: BertConfig, hidden_act="gelu"):
    """One of theirs, whose norms and biases count too."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    fields = dataclasses.asdict(config) | {"hidden_act": hidden_act}
    if kind == "classes":
        fields["num_labels"] = 5
    network = getattr(transformers, CLASSES[kind])(transformers.BertConfig(**fields))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return network.eval()


def their_outputs(network, batch, **labels):
    import torch

    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = dict(zip(names, batch.values(), strict=True)) | labels
    with torch.no_grad():
        return network(
            **{name: torch.tensor(value).long() for name, value in inputs.items()},
            output_hidden_states=True,
        )


def assert_close(ours, theirs):
    """Equal to 1e-4, of what is large enough to differ."""
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)


def assert_same_hidden_states(network, theirs, batch, config):
    is_seen = batch["input_mask"] == 1
    ours = hidden_states(network, batch, config)
    for mine, their in zip(ours, theirs.hidden_states, strict=True):
        assert_close(mine[is_seen], their.numpy()[is_seen])


def assert_agree(initial, theirs, kind, length=9):
    """All that both networks give."""
    config = initial.config
    network = checkpoint_check.build_network(initial)
    batch = batch_of(config, length)
    is_seen = batch["input_mask"] == 1
    if kind in ("pretraining", "masked_lm"):
        _assert_same_pretraining(network, theirs, batch, config)
        return
    found = their_outputs(theirs, batch)
    assert_same_hidden_states(network, found, batch, config)
    ours = network(batch)
    if kind == "encoder_and_pooler":
        assert_close(ours["pooled_output"], found.pooler_output.numpy())
        sequence = np.asarray(ours["sequence_output"])
        assert_close(sequence[is_seen], found.last_hidden_state.numpy()[is_seen])
    elif kind == "classes":
        assert_close(ours, found.logits.numpy())
    else:
        spans = np.stack([found.start_logits, found.end_logits], axis=-1)
        assert_close(np.asarray(ours)[is_seen], spans[is_seen])


def _assert_same_pretraining(network, theirs, batch, config):
    positions = np.array([[1, 5], [0, 3]], "int32")
    rows, words = np.array([[0], [1]]), np.array([[6, 7], [8, 9]])
    labels = np.full(batch["input_mask"].shape, -100)
    labels[rows, positions] = words
    targets = {"labels": labels}
    ours = network(batch | {"masked_lm_positions": positions})
    logits = np.asarray(ours["masked_lm"])
    shifted = logits - logits.max(-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(-1)) - shifted[range(4), words.ravel()]
    loss = losses.mean()
    if "next_sentence" in ours:
        targets["next_sentence_label"] = np.array([0, 1])
        kinds = np.asarray(ours["next_sentence"], np.float64)
        # Two logits, of which each row wants another.
        margins = (kinds[:, 1] - kinds[:, 0]) * [1, -1]
        loss += np.log1p(np.exp(margins)).mean()
    found = their_outputs(theirs, batch, **targets)
    assert_same_hidden_states(network, found, batch, config)
    words_found = found.logits if "logits" in found else found.prediction_logits
    picked = words_found.numpy()[rows, positions].reshape(logits.shape)
    assert_close(logits, picked)
    assert_close(loss, found.loss.numpy())
    if "next_sentence" in ours:
        assert_close(ours["next_sentence"], found.seq_relationship_logits.numpy())


def loaded(folder, kind):
    """What `transformers` makes of a folder; nothing is missing or left."""
    import transformers

    network, report = getattr(transformers, CLASSES[kind]).from_pretrained(
        str(folder), output_loading_info=True
    )
    assert not any(report.values()), report
    return network.eval()


@pytest.mark.parametrize("kind", CLASSES)
def test_both_directions(kind, tmp_path):
    config = dataclasses.replace(CONFIG, initializer_range=0.2, layer_norm_eps=1e-5)
    network = random_network(kind, config)
    network.save_pretrained(tmp_path / "theirs")
    initial = read_initial(str(tmp_path / "theirs"))
    assert initial.config == dataclasses.replace(config, hidden_act="gelu_erf")
    assert initial.vocabulary is None and initial.lower_case is None
    assert initial.parts == set(PARTS[kind])
    assert_agree(initial, network, kind)

    initial = checkpoint_samples.network(PARTS[kind])
    foreign_checkpoints.write(str(tmp_path / "ours"), initial, "hugging_face")
    assert_agree(initial, loaded(tmp_path / "ours", kind), kind)


@pytest.mark.parametrize("theirs", ["gelu_new", "gelu_pytorch_tanh", "relu"])
def test_activations(theirs, tmp_path):
    config = dataclasses.replace(CONFIG, initializer_range=1.0)
    network = random_network("classes", config, theirs)
    network.save_pretrained(tmp_path)
    initial = read_initial(str(tmp_path))
    assert initial.config.hidden_act == theirs.split("_")[0]
    assert_agree(initial, network, "classes")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pretraining", "classes"])
def test_base_size(kind, tmp_path):
    network = random_network(kind, configs.of_size("base", 30522))
    network.save_pretrained(tmp_path / "theirs")
    initial = read_initial(str(tmp_path / "theirs"))
    assert_agree(initial, network, kind, length=128)
    foreign_checkpoints.write(str(tmp_path / "ours"), initial, "hugging_face")
    assert_agree(initial, loaded(tmp_path / "ours", kind), kind, length=128)


def test_label_names(tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    initial = checkpoint_samples.network(PARTS["classes"], outputs=3)
    for number, names in enumerate((None, ("no", "yes", "maybe"))):
        folder = str(tmp_path / str(number))
        found = dataclasses.replace(initial, label_names=names)
        foreign_checkpoints.write(folder, found, "hugging_face")
        assert read_initial(folder).label_names == names
        settings = transformers.BertConfig.from_pretrained(folder)
        expected = names or ("LABEL_0", "LABEL_1", "LABEL_2")
        assert settings.id2label == dict(enumerate(expected))
    score = checkpoint_samples.network(PARTS["classes"], outputs=1)
    score = dataclasses.replace(score, label_names=())
    foreign_checkpoints.write(str(tmp_path / "score"), score, "hugging_face")
    assert read_initial(str(tmp_path / "score")).label_names == ()
    assert loaded(tmp_path / "score", "classes").config.num_labels == 1


def test_tokenizer_is_found(tmp_path):
    transformers = pytest.importorskip("transformers")
    for lower_case in (False, True):
        initial = checkpoint_samples.network(())
        initial = dataclasses.replace(initial, lower_case=lower_case)
        folder = tmp_path / str(lower_case)
        foreign_checkpoints.write(str(folder), initial, "hugging_face")
        assert read_initial(str(folder)).lower_case is lower_case
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        pieces = tokenizer.tokenize("A be")
        assert pieces == (["a", "b", "##e"] if lower_case else ["A", "b", "##e"])
        # It writes no vocab.txt.
        tokenizer.save_pretrained(str(folder))
        for name in ("vocab.txt", "tokenizer_config.json"):
            (folder / name).unlink(missing_ok=True)
            found = read_initial(str(folder))
            assert found.vocabulary == PIECES and found.lower_case is lower_case


def test_tokenizers_of_other_kinds(folder, capsys):
    (folder / "vocab.txt").unlink()
    path = folder / "tokenizer.json"
    for model in (
        {"type": "BPE", "vocab": {"a": 0}},
        {"type": "WordPiece", "vocab": {"a": 1}},
        {"type": "Unigram", "vocab": [["a", 0.5]]},
        {"vocab": {}},
    ):
        path.write_text(json.dumps({"model": model, "added_tokens": []}))
        message = message_of(read_initial, str(folder))
        assert f"{path} is no tokenizer of word pieces" in message
    path.unlink()
    assert read_initial(str(folder)).vocabulary is None
    assert "warning" not in capsys.readouterr().err
    settings = {"do_lower_case": True, "strip_accents": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert read_initial(str(folder)).lower_case is True
    assert "strip_accents = False" in capsys.readouterr().err


# ---- Files ----


@pytest.fixture
def folder(tmp_path):
    """A network with heads, as a folder."""
    initial = checkpoint_samples.network(PARTS["pretraining"])
    foreign_checkpoints.write(str(tmp_path / "network"), initial, "hugging_face")
    return tmp_path / "network"


def edit_tensors(folder, change):
    path = str(folder / "model.safetensors")
    tensors = pytorch_files.read_safetensors(path)
    pytorch_files.write_safetensors(path, change(tensors))


def edit_settings(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_old_names_and_copies(folder):
    initial = read_initial(str(folder))
    words, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"

    def as_of_2019(tensors):
        copies = {
            "bert.embeddings.position_ids": np.arange(16)[None],
            "cls.predictions.decoder.weight": tensors[words],
            "cls.predictions.decoder.bias": tensors[bias],
        }
        return copies | {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in tensors.items()
            if name != bias
        }

    edit_tensors(folder, as_of_2019)
    assert_same(read_initial(str(folder)), initial)

    path = str(folder / "model.safetensors")
    tensors = pytorch_files.read_safetensors(path)
    for name, value, fragment in (
        ("cls.predictions.decoder.weight", tensors[words] + 1, words),
        ("bert.embeddings.position_ids", np.arange(16)[::-1], "positions"),
        ("bert.embeddings.token_type_ids", np.ones(16), "segments"),
        ("bert.encoder.layer.0.adapter.weight", np.ones(1), "1 unmatched (bert.enc"),
    ):
        pytorch_files.write_safetensors(path, tensors | {name: value})
        message = message_of(read_initial, str(folder))
        assert path in message and fragment in message


def test_half_precision(folder):
    initial = read_initial(str(folder))
    edit_tensors(folder, lambda x: {k: v.astype(np.float16) for k, v in x.items()})
    for name, value in read_initial(str(folder)).values.items():
        expected = initial.values[name].astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(value, expected)


def test_state_dict(folder):
    torch = pytest.importorskip("torch")
    initial = read_initial(str(folder))
    tensors = pytorch_files.read_safetensors(str(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    state = {name: torch.tensor(value) for name, value in tensors.items()}
    torch.save(state, path)
    assert_same(read_initial(str(folder)), initial)
    assert_same(read_initial(str(path)), initial)

    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert f"{path} is no state dict" in message_of(read_initial, str(folder))
    # A pickle that would run something.
    torch.save({"a": Exploit()}, path)
    assert f"{path} is no state dict" in message_of(read_initial, str(folder))
    torch.save([1, 2], path)
    assert f"{path} is no state dict" in message_of(read_initial, str(folder))
    with mock.patch.dict(sys.modules, torch=None):
        message = message_of(read_initial, str(path))
    assert f"{path} needs PyTorch" in message and "pip install torch" in message


class Exploit:
    def __reduce__(self):
        return pytest.fail, ("it was run",)


def test_other_networks(folder):
    for fields, fragment in (
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"model_type": "roberta"}, "model_type = 'roberta'"),
        ({"is_decoder": True}, "is_decoder = True"),
        ({"hidden_act": "swish"}, "hidden_act = 'swish'"),
        ({"num_hidden_layers": 3}, "16 missing (bert.encoder.layer.2.attention.out"),
        ({"num_hidden_layers": 1}, "16 unmatched (bert.encoder.layer.1.attention."),
        ({"max_position_embeddings": 9}, "position_embeddings.weight is [16, 12]"),
        ({"hidden_size": "12"}, "hidden_size = '12'"),
    ):
        before = (folder / "config.json").read_text()
        edit_settings(folder, **fields)
        message = message_of(read_initial, str(folder))
        assert fragment in message and str(folder) in message
        (folder / "config.json").write_text(before)
    for content, fragment in (("{", "is no JSON"), ("[]", "holds no JSON object")):
        (folder / "config.json").write_text(content)
        assert fragment in message_of(read_initial, str(folder))
    (folder / "config.json").unlink()
    assert "config.json beside its weights" in message_of(read_initial, str(folder))
    path = str(folder / "none.safetensors")
    assert f"no file of PyTorch weights at {path}" in message_of(read_initial, path)


def test_heads_that_do_not_fit(folder, tmp_path):
    tensors = {"classifier.weight": np.ones((4, 12)), "classifier.bias": np.ones(4)}
    initial = checkpoint_samples.network(())
    foreign_checkpoints.write(str(tmp_path / "tokens"), initial, "hugging_face")
    edit_tensors(tmp_path / "tokens", lambda x: x | tensors)
    message = message_of(read_initial, str(tmp_path / "tokens"))
    assert "2 missing (bert.pooler.dense.bias, bert.pooler.dense.weight)" in message

    both = checkpoint_samples.network(("pooler", "classes", "masked_lm"))
    message = message_of(hugging_face.write, str(tmp_path / "both"), both)
    assert "no BERT with classes and masked_lm at once" in message
    edit_tensors(folder, lambda x: x | tensors | {"qa_outputs.bias": np.ones(2)})
    assert "one for spans" in message_of(read_initial, str(folder))


def test_pad_is_where_the_vocabulary_has_it(tmp_path):
    pieces = [PIECES[1], PIECES[0], *PIECES[2:]]
    initial = dataclasses.replace(checkpoint_samples.network(()), vocabulary=pieces)
    foreign_checkpoints.write(str(tmp_path), initial, "hugging_face")
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] == 1
