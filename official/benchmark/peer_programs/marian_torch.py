"""Marian of Hugging Face on PyTorch, base size: trains, or translates; see serving.py.

To train it takes batches of as many rows as make `--batch_size` tokens with the mean
length, in the order in which they come, each padded to its longest row, as the
library's own scripts do; a step has as many examples as tokens that are no padding. To
translate, with `--output_length`, it searches with 4 beams for translations of just
that length, of `--rows` sentences.
"""

import json

import numpy as np
import serving
import torch
import transformers

_PAD, _EOS = 0, 1


def build_model(vocab_size: int) -> transformers.MarianMTModel:
    """The network, of the size that the paper calls base."""
    config = transformers.MarianConfig(
        vocab_size=vocab_size,
        d_model=512,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=2048,
        decoder_ffn_dim=2048,
        activation_function="relu",
        dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.1,
        max_position_embeddings=512,
        pad_token_id=_PAD,
        eos_token_id=_EOS,
        decoder_start_token_id=_PAD,
        forced_eos_token_id=None,
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        scale_embedding=True,
    )
    return transformers.MarianMTModel(config)


def batches_of(options, lengths) -> list[dict[str, torch.Tensor]]:
    """All rows once, in an order that is drawn."""
    generator = np.random.default_rng(options.seed)
    sides = [np.array(lengths[name]) for name in ("inputs", "targets")]
    rows = max(1, round(options.batch_size / np.maximum(*sides).mean()))
    order = generator.permutation(len(sides[0]))
    batches = []
    for first in range(0, len(order) - rows + 1, rows):
        picked = order[first : first + rows]
        ids = []
        for side in sides:
            width = side[picked].max()
            values = generator.integers(2, options.vocab_size, (rows, width))
            is_there = np.arange(width) < side[picked][:, None]
            ids.append(torch.from_numpy(np.where(is_there, values, _PAD)))
        inputs, targets = ids
        batches.append(
            {
                "input_ids": inputs,
                "attention_mask": (inputs != _PAD).long(),
                "labels": torch.where(targets != _PAD, targets, -100),
            }
        )
    return batches


def train(options, model) -> None:
    """Serves steps of training."""
    with open(options.lengths) as file:
        batches = batches_of(options, json.load(file))
    tokens = sum(
        int(batch["attention_mask"].sum() + (batch["labels"] != -100).sum())
        for batch in batches
    )
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    optimizer = torch.optim.Adam(model.parameters(), options.learning_rate)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16")
    model.train()
    network = torch.compile(model, dynamic=True) if options.compile else model
    place = 0

    def step():
        nonlocal place
        batch = batches[place % len(batches)]
        place += 1
        optimizer.zero_grad()
        with autocast:
            logits = network(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                labels=batch["labels"],
            ).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(),
                batch["labels"].flatten(),
                label_smoothing=0.1,
            )
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run(count):
        return float(np.mean([float(step()) for _ in range(count)]))

    serving.serve(
        options.batch_size,
        parameters,
        {"torch": torch.__version__, "transformers": transformers.__version__},
        run,
        tokens / len(batches),
    )


def translate(options, model) -> None:
    """Serves batches of translations."""
    if options.dtype == "bf16":
        model = model.to(torch.bfloat16)
    model.eval()
    generator = np.random.default_rng(options.seed)
    shape = (options.rows, options.input_length)
    inputs = torch.from_numpy(generator.integers(2, options.vocab_size, shape))
    inputs[:, -1] = _EOS

    def run(count):
        for _ in range(count):
            with torch.inference_mode():
                found = model.generate(
                    input_ids=inputs,
                    attention_mask=torch.ones_like(inputs),
                    num_beams=options.beams,
                    length_penalty=0.6,
                    min_new_tokens=options.output_length,
                    max_new_tokens=options.output_length,
                )
        assert found.shape[1] == options.output_length + 1
        return 0.0

    parameters = sum(p.numel() for p in model.parameters())
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    serving.serve(options.rows, parameters, versions, run, options.rows)


def main() -> None:
    """Serves until stdin ends."""
    arguments = serving.parser(__doc__.splitlines()[0], optimizer="adam")
    arguments.add_argument("--vocab_size", type=int, default=8000)
    arguments.add_argument("--lengths", help="JSON: lengths of `inputs` and `targets`.")
    arguments.add_argument("--compile", action="store_true")
    arguments.add_argument("--output_length", type=int)
    arguments.add_argument("--input_length", type=int, default=24)
    arguments.add_argument("--rows", type=int, default=32)
    arguments.add_argument("--beams", type=int, default=4)
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = build_model(options.vocab_size)
    if options.output_length:
        translate(options, model)
    else:
        train(options, model)


if __name__ == "__main__":
    main()
