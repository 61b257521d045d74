"""Hugging Face's networks against ours, and files of theirs that do not fit."""

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest

from official.transformer import decoding, marian
from official.transformer.decoding import DecodingOptions
from official.transformer.model_test import SMALL, VARIANTS, batch_of, network
from official.utils.testing.errors import message_of
from official.utils.weights import pytorch_files

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
OURS = {
    "marian": VARIANTS["marian"],
    "relu": VARIANTS["marian"] | dict(activation="relu"),
    # All that Marian has not, with our ids.
    "2019": dict(norm="post", norm_epsilon=1e-5),
    "paper": dict(norm="post", norm_epsilon=1e-5, positions="paper", pad_is_zero=False),
}


def their_network(scale=0.3, **settings):
    """One with random weights, whose norms and biases count too."""
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        **dict(
            vocab_size=23,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            activation_function="swish",
            scale_embedding=True,
            max_position_embeddings=64,
            pad_token_id=22,
            decoder_start_token_id=22,
            eos_token_id=0,
            forced_eos_token_id=None,
            init_std=scale,
        )
        | settings
    )
    model = transformers.MarianMTModel(config)
    for parameter in (*model.parameters(), model.final_logits_bias):
        if parameter.ndim == 1 or parameter is model.final_logits_bias:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def loaded(folder):
    """What `transformers` makes of a folder; nothing is missing or left."""
    model, report = transformers.MarianMTModel.from_pretrained(
        str(folder), output_loading_info=True
    )
    assert not any(report.values()), report
    return model.eval()


def their_logits(model, batch):
    """Logits and what the encoder gives."""
    inputs, targets = (torch.tensor(batch[name]).long() for name in batch)
    with torch.no_grad():
        found = model(
            input_ids=inputs,
            attention_mask=(inputs != model.config.pad_token_id).long(),
            labels=targets,
        )
    return found.logits.numpy(), found.encoder_last_hidden_state.numpy()


def assert_agree(ours, theirs):
    """Equal to 1e-4, where no padding is."""
    batch = batch_of(ours)
    logits, memory = their_logits(theirs, batch)
    assert np.abs(logits).max() > 1 and logits.std() > 0.5
    is_target, is_source = (
        batch[name] != ours.config.pad_id for name in ("targets", "inputs")
    )
    found = ours(batch).numpy()[is_target]
    np.testing.assert_allclose(found, logits[is_target], atol=TOLERANCE, rtol=0)
    found = ours.encode(batch["inputs"]).numpy()[is_source.ravel()]
    np.testing.assert_allclose(found, memory[is_source], atol=TOLERANCE, rtol=0)


# ---- Numbers ----


@pytest.mark.parametrize("activation", ["swish", "silu", "relu", "gelu"])
def test_theirs_becomes_ours(activation, tmp_path):
    theirs = their_network(activation_function=activation)
    theirs.save_pretrained(tmp_path)
    ours = marian.read(str(tmp_path / "model.safetensors"))
    assert_agree(ours, theirs)
    ours_name = "swish" if activation == "silu" else activation
    fields = SMALL | VARIANTS["marian"] | dict(activation=ours_name)
    fields |= dict(attention_dropout=0.0, activation_dropout=0.0)
    assert dataclasses.asdict(ours.config).items() >= fields.items()


def test_a_state_dict_of_all_names(tmp_path):
    """It holds the table of pieces four times, and positions."""
    theirs = their_network()
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save(theirs.state_dict(), path)
    assert {"lm_head.weight", "model.encoder.embed_positions.weight"} <= set(
        theirs.state_dict()
    )
    assert_agree(marian.read(str(path)), theirs)


@pytest.mark.parametrize("variant", OURS)
def test_ours_becomes_theirs(variant, tmp_path):
    ours = network(**OURS[variant])
    marian.write(str(tmp_path), ours)
    theirs = loaded(tmp_path)
    assert_agree(ours, theirs)
    # What `transformers` writes of it is read again.
    theirs.save_pretrained(tmp_path / "again")
    if ours.config.positions == "paper":
        assert_agree(marian.read(str(tmp_path / "again" / "model.safetensors")), theirs)
    again = marian.read(str(tmp_path / "model.safetensors"))
    theirs_too = dict(attention_bias=True, output_bias=True)
    dropouts = dict(dropout=0.1, attention_dropout=0.1, activation_dropout=0.1)
    assert again.config == dataclasses.replace(ours.config, **theirs_too | dropouts)
    batch = batch_of(ours)
    np.testing.assert_array_equal(ours(batch), again(batch))


@pytest.mark.slow
def test_base_size(tmp_path):
    sizes = dict(d_model=512, encoder_layers=6, decoder_layers=6)
    sizes |= {f"{side}_ffn_dim": 2048 for side in ("encoder", "decoder")}
    sizes |= {f"{side}_attention_heads": 8 for side in ("encoder", "decoder")}
    theirs = their_network(scale=0.04, **sizes)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = marian.read(str(tmp_path / "theirs" / "model.safetensors"))
    assert_agree(ours, theirs)
    marian.write(str(tmp_path / "ours"), ours)
    assert_agree(ours, loaded(tmp_path / "ours"))


# ---- Translations ----

EXTRA = 14


def pair(folder, end):
    """Theirs, and ours; `end`, added to the end of a sentence, makes it come soon."""
    theirs = their_network()
    theirs.final_logits_bias.data[0, 0] += end
    theirs.save_pretrained(folder)
    return theirs, marian.read(str(folder / "model.safetensors"))


def sources(rows=32, length=6):
    ids = np.random.default_rng(0).integers(1, 22, (rows, length), dtype=np.int32)
    ids[:, -1] = 0
    return ids


def ended(row):
    """A translation up to its end, without the padding of one that has none."""
    row = np.trim_zeros(row - 22, "b") + 22
    end = np.flatnonzero(row == 0)[:1].sum() if 0 in row else len(row)
    return tuple(row[: end + 1].tolist())


def their_translations(model, inputs, beams, number=1):
    """Those of each row, without the piece that they start from, and their scores."""
    ids = torch.tensor(inputs).long()
    options = dict(num_beams=beams, num_return_sequences=number)
    if beams > 1:
        # "never" is the exact bound; True stops at the first `beams` translations.
        options |= dict(length_penalty=0.0, early_stopping="never")
    found = model.generate(
        input_ids=ids,
        attention_mask=(ids != model.config.pad_token_id).long(),
        max_new_tokens=inputs.shape[1] + EXTRA,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )
    sequences = found.sequences[:, 1:].reshape(len(inputs), number, -1).numpy()
    translations = [[ended(best) for best in row] for row in sequences]
    scores = found.get("sequences_scores")
    return translations, scores if scores is None else scores.reshape(-1, number)


def our_translations(model, inputs, beams):
    found = decoding.decode(model, inputs, DecodingOptions(beams, 0.0, EXTRA))
    outputs = [[ended(best) for best in row] for row in found["outputs"].numpy()]
    return outputs, found["scores"].numpy()


def test_greedy_translations_are_equal(tmp_path):
    theirs, ours = pair(tmp_path, 0.5)
    inputs = sources()
    expected, _ = their_translations(theirs, inputs, beams=1)
    found, _ = our_translations(ours, inputs, 1)
    assert found == expected
    assert len({len(row[0]) for row in found}) > 3
    # Rows of several lengths, padded, as far as theirs end within our limits.
    inputs[::2, 2:] = [0, 22, 22, 22]
    expected, _ = their_translations(theirs, inputs, beams=1)
    found, _ = our_translations(ours, inputs, 1)
    for row, (best,) in enumerate(expected):
        assert found[row][0] == best[: (inputs[row] != 22).sum() + EXTRA]


@pytest.mark.parametrize(("beams", "end"), [(2, 0), (4, -0.25)])
def test_beams_are_equal(beams, end, tmp_path):
    """All of them and their scores, once theirs puts aside what ours does.

    Of the 2 * beams best continuations theirs drops an end that is not among the first
    `beams`; the Transformer of 2019 keeps it, and so do we. Where that makes a
    difference, ours is the translation with the higher probability.
    """
    theirs, ours = pair(tmp_path, end)
    inputs = sources()
    found, scores = our_translations(ours, inputs, beams)
    best, their_scores = their_translations(theirs, inputs, beams)
    is_equal = [a[0] == b[0] for a, b in zip(found, best, strict=True)]
    assert 0 < sum(is_equal) < len(inputs)
    for row in np.flatnonzero(np.logical_not(is_equal)):
        assert scores[row, 0] > their_scores[row, 0]

    update = theirs._update_finished_beams
    with mock.patch.object(
        theirs,
        "_update_finished_beams",
        lambda top_num_beam_mask, **rest: update(
            top_num_beam_mask=torch.ones_like(top_num_beam_mask), **rest
        ),
    ):
        expected, their_scores = their_translations(theirs, inputs, beams, beams)
    assert found == expected
    assert len({len(row[0]) for row in found}) > 2
    np.testing.assert_allclose(scores, their_scores, atol=TOLERANCE, rtol=0)


# ---- Files ----


@pytest.fixture
def folder(tmp_path):
    marian.write(str(tmp_path / "network"), network(**VARIANTS["marian"]))
    return tmp_path / "network"


def reading(folder):
    return message_of(marian.read, str(folder / "model.safetensors"))


def edit_settings(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_tensors_that_do_not_fit(folder):
    path = str(folder / "model.safetensors")
    tensors = pytorch_files.read_safetensors(path)
    word = tensors["model.shared.weight"]
    waves = np.ones((8, 16), np.float32)
    fc1 = "model.encoder.layers.0.fc1.weight"
    for changes, fragments in (
        ({"model.adapter.weight": word}, ["1 unmatched (model.adapter.weight)"]),
        ({fc1: None}, [f"1 missing ({fc1})"]),
        ({"model.shared.weight": None}, ["1 missing (model.shared.weight)"]),
        ({fc1: tensors[fc1].T}, [f"{fc1} is [16, 24] there and [24, 16] here"]),
        ({"lm_head.weight": word + 1}, ["several tables", "model.shared.weight"]),
        ({"model.encoder.embed_positions.weight": waves}, ["positions", "computed"]),
        ({"model.encoder.embed_positions.weight": word[:, :8]}, ["[any, 16] here"]),
    ):
        changed = {k: v for k, v in (tensors | changes).items() if v is not None}
        pytorch_files.write_safetensors(path, changed)
        message = reading(folder)
        assert path in message
        for fragment in fragments:
            assert fragment in message
    # Without biases of pieces there are none; zeros, if they are read again.
    del tensors["final_logits_bias"]
    pytorch_files.write_safetensors(path, tensors)
    assert not marian.read(path).config.output_bias


def test_half_precision(folder):
    path = str(folder / "model.safetensors")
    tensors = pytorch_files.read_safetensors(path)
    rounded = {name: value.astype(np.float16) for name, value in tensors.items()}
    pytorch_files.write_safetensors(path, rounded)
    model = marian.read(path)
    assert model.embeddings.word.dtype == "float32"
    np.testing.assert_array_equal(model.embeddings.word, rounded["model.shared.weight"])


def test_settings_that_do_not_fit(folder):
    before = (folder / "config.json").read_text()
    for fields, fragment in (
        ({"model_type": "bart"}, "model_type = 'bart'"),
        ({"scale_embedding": False}, "scale_embedding = False"),
        ({"activation_function": "gelu_new"}, "activation_function = 'gelu_new'"),
        ({"encoder_layers": 1}, "16 unmatched (model.encoder.layers.1."),
        ({"encoder_layers": 3}, "16 missing (model.encoder.layers.2."),
        ({"decoder_ffn_dim": 8}, "decoder_ffn_dim = 8"),
        ({"d_model": "16"}, "field d_model that is not a whole number"),
        ({"encoder_attention_heads": 0}, "encoder_attention_heads = 0"),
        ({"pad_token_id": 23}, "pad_token_id = 23 and a vocabulary of 23"),
        ({"dropout": "much"}, "dropout = 'much'"),
        ({"vocab_size": 40}, "[23, 16] there and [40, 16] here"),
    ):
        edit_settings(folder, **fields)
        message = reading(folder)
        assert fragment in message and str(folder) in message
        (folder / "config.json").write_text(before)
    (folder / "config.json").unlink()
    assert "config.json beside its weights" in reading(folder)


def test_what_marian_has_not(tmp_path, capsys):
    message = message_of(marian.write, str(tmp_path / "no"), network())
    assert "--norm=post" in message and not (tmp_path / "no").exists()
    marian.write(str(tmp_path / "epsilon"), network(norm="post"))
    assert "adds 1e-05 to variances" in capsys.readouterr().err
