"""Hugging Face's networks against ours, and files of theirs that do not fit."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from official.transformer import decoding, marian
from official.transformer.decoding import DecodingOptions
from official.transformer.model import Transformer
from official.transformer.model_test import SMALL, VARIANTS, batch_of, network
from official.utils.testing.errors import message_of
from official.vision.image_classification import weight_files

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


def their_translations(model, inputs, beams, most, number=1):
    """The best translations of each row, without the piece they start from."""
    ids = torch.tensor(inputs).long()
    with torch.no_grad():
        found = model.generate(
            input_ids=ids,
            attention_mask=(ids != model.config.pad_token_id).long(),
            num_beams=beams,
            num_return_sequences=number,
            max_new_tokens=most,
            do_sample=False,
            length_penalty=0.0,
            # The exact bound; `True` stops at the first `beams` translations.
            early_stopping="never",
            forced_eos_token_id=None,
            output_scores=True,
            return_dict_in_generate=True,
        )
    rows = found.sequences[:, 1:].reshape(len(inputs), number, -1)
    return rows.numpy(), found.get("sequences_scores")
