"""ResNet-50 (version 1.5) in PyTorch, eager or compiled; see serving.py.

Convolutions take their memory format `channels_last`, the faster one on CPUs.
"""

import numpy as np
import resnet_serving
import serving
import torch
from torch import nn


def normalized(inputs, outputs, kernel_size, stride=1) -> nn.Sequential:
    """A convolution with equal padding on every side, and batch norm."""
    convolution = nn.Conv2d(
        inputs, outputs, kernel_size, stride, (kernel_size - 1) // 2, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides) and 1x1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, filters: int, stride: int):
        """Makes the layers; 4 * `filters` channels leave."""
        super().__init__()
        outputs = 4 * filters
        self.branch = nn.Sequential(
            normalized(inputs, filters, 1),
            nn.ReLU(inplace=True),
            normalized(filters, filters, 3, stride),
            nn.ReLU(inplace=True),
            normalized(filters, outputs, 1),
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = (
            normalized(inputs, outputs, 1, stride) if changes else nn.Identity()
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        """[batch, inputs, h, w] to [batch, 4 * filters, h / stride, w / stride]."""
        return self.activation(self.branch(x) + self.shortcut(x))


def build_model() -> nn.Sequential:
    """The network: float [batch, 3, size, size] to logits [batch, 1000]."""
    layers = [
        normalized(3, 64, 7, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
    ]
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        filters = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(Bottleneck(channels, filters, stride))
            channels = 4 * filters
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, resnet_serving.NUM_CLASSES),
    )


def main() -> None:
    """Serves until stdin ends."""
    arguments = resnet_serving.parser(__doc__.splitlines()[0])
    arguments.add_argument("--compile", action="store_true")
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model().to(device, memory_format=torch.channels_last)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.SGD(
        model.parameters(), options.learning_rate, options.momentum
    )
    images, labels = map(torch.from_numpy, resnet_serving.random_batch(options))
    # A transposed view of [batch, h, w, 3] is what channels_last means.
    images, labels = images.permute(0, 3, 1, 2).to(device), labels.to(device)
    assert images.is_contiguous(memory_format=torch.channels_last)
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.dtype == "bf16")
    network = torch.compile(model) if options.compile else model

    def step():
        optimizer.zero_grad()
        with autocast:
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def train(count):
        # Reading a loss waits for the device, so all are read in the end.
        return float(np.mean([float(loss) for loss in [step() for _ in range(count)]]))

    versions = {"torch": torch.__version__}
    serving.serve(options.batch_size, parameters, versions, train)


if __name__ == "__main__":
    main()
