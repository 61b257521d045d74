"""The MNIST network in PyTorch, eager, driven step by step over the standard streams.

It runs in an environment of its own (peers.py) and imports nothing of this project. It
speaks as `official.benchmark.worker` does: one JSON object a line, first
`{"batch_size": ..., "parameters": ...}`, then for each `{"steps": N}` read from stdin
`{"seconds": ..., "losses": [...]}`.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from torch import nn

_ROWS = 60_000
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def build_model() -> nn.Module:
    """The network of `official.mnist.model`: float [N, 1, 28, 28] to logits [N, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 5, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 32, 1024),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(1024, 10),
    )


def main() -> None:
    """Serves until stdin ends."""
    options = _options()
    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model().to(device)
    if options.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            model.parameters(), options.learning_rate, momentum=options.momentum
        )
    else:
        optimizer = torch.optim.Adam(model.parameters(), options.learning_rate)
    generator = np.random.default_rng(options.seed)
    images = torch.from_numpy(generator.integers(0, 256, (_ROWS, 28, 28), np.uint8))
    labels = torch.from_numpy(generator.integers(0, 10, _ROWS))
    images, labels = images.to(device), labels.to(device)
    autocast = torch.autocast(
        device, _DTYPES[options.dtype], enabled=options.dtype != "fp32"
    )

    def step():
        rows = torch.randint(_ROWS, (options.batch_size,), device=device)
        batch = images[rows].float().unsqueeze(1) / 255
        optimizer.zero_grad()
        with autocast:
            logits = model(batch)
        loss = nn.functional.cross_entropy(logits.float(), labels[rows])
        loss.backward()
        optimizer.step()
        return loss.detach()

    parameters = sum(parameter.numel() for parameter in model.parameters())
    _say({"batch_size": options.batch_size, "parameters": parameters})
    for line in sys.stdin:
        count = json.loads(line)["steps"]
        begun = time.perf_counter()
        # Reading a loss waits for the device, so all are read in the end.
        losses = torch.stack([step() for _ in range(count)]).tolist()
        _say({"seconds": time.perf_counter() - begun, "losses": losses})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--dtype", choices=sorted(_DTYPES), default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
