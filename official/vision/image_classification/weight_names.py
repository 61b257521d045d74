"""What others call the layers and variables of our residual networks."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping

HEAD = "logits"
# PyTorch counts batches where the momentum is not set; it is nothing that we have.
BATCH_COUNTER = "num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Naming:
    """Templates of names, and how tensors are laid out.

    Templates may hold `kind`, the word for a convolution or for its batch norm, or
    `order`, 0 for the convolution and 1 for the norm. Those from `block` on may also
    hold `stage`, `block` and `part`, counted from 1; with `0` behind, the same from 0;
    and `stage2`, from 2.

    Attributes:
        kinds: their words for a convolution and a batch norm.
        stem: the first of both.
        block: what the names within a block begin with.
        part: what follows it on the residual branch.
        shortcut: what follows it in a projection.
        head: the last layer.
        separator: stands between layer and variable.
        variables: their variables by our name, where they differ.
        is_pytorch: whether tensors are laid out as in PyTorch.
    """

    kinds: tuple[str, str]
    stem: str
    block: str
    part: str
    shortcut: str
    head: str
    separator: str
    variables: Mapping[str, str]
    is_pytorch: bool

    def layer(self, ours: str) -> str:
        """The name of one of our layers, such as `stage1_block1_2_conv`."""
        if ours == HEAD:
            return self.head
        place, kind = ours.rsplit("_", 1)
        order = ("conv", "norm").index(kind)
        fields = dict(kind=self.kinds[order], order=order)
        if place == "stem":
            return self.stem.format(**fields)
        match = re.fullmatch(r"stage(\d+)_block(\d+)_(\d+|shortcut)", place)
        stage, block = int(match[1]), int(match[2])
        fields |= dict(stage=stage, stage0=stage - 1, stage2=stage + 1)
        fields |= dict(block=block, block0=block - 1)
        if match[3] == "shortcut":
            return (self.block + self.shortcut).format(**fields)
        part = int(match[3])
        return (self.block + self.part).format(part=part, part0=part - 1, **fields)

    def variable(self, ours: str) -> str:
        """The name of one of our variables, `model/<layer>/<variable>`."""
        _, layer, name = ours.split("/")
        theirs = self.variables.get(name, name)
        return f"{self.layer(layer)}{self.separator}{theirs}"

    def blocks(self, names: Iterable[str]) -> tuple[tuple[int, ...], bool]:
        """Tells the shape of a network by its names.

        Args:
            names: of their variables.

        Returns:
            The number of blocks in each stage, and whether they are bottlenecks.
        """
        names = list(names)
        # Stage and block are the two fields of the template.
        pattern = re.sub(r"\{\w+\}", r"(\\d+)", self.block.replace(".", r"\."))
        matches = filter(None, (re.match(pattern, name) for name in names))
        places = {(int(match[1]), int(match[2])) for match in matches}
        counts = collections.Counter(stage for stage, _ in places)
        third = self.layer("stage1_block1_3_conv") + self.separator
        is_bottleneck = any(name.startswith(third) for name in names)
        return tuple(counts[stage] for stage in sorted(counts)), is_bottleneck

    def axes(self, rank: int) -> tuple[int, ...]:
        """The permutation from our layout to theirs, of tensors with `rank` axes."""
        if not self.is_pytorch:
            return tuple(range(rank))
        return {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[rank]


_PYTORCH = dict(
    separator=".",
    is_pytorch=True,
    variables={
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
)
_KERAS = dict(separator="/", is_pytorch=False, variables={})

NAMINGS = {
    "torchvision": Naming(
        kinds=("conv", "bn"),
        stem="{kind}1",
        block="layer{stage}.{block0}.",
        part="{kind}{part}",
        shortcut="downsample.{order}",
        head="fc",
        **_PYTORCH,
    ),
    "huggingface": Naming(
        kinds=("convolution", "normalization"),
        stem="resnet.embedder.embedder.{kind}",
        block="resnet.encoder.stages.{stage0}.layers.{block0}.",
        part="layer.{part0}.{kind}",
        shortcut="shortcut.{kind}",
        head="classifier.1",
        **_PYTORCH,
    ),
    "keras.applications": Naming(
        kinds=("conv", "bn"),
        stem="conv1_{kind}",
        block="conv{stage2}_block{block}_",
        part="{part}_{kind}",
        shortcut="0_{kind}",
        head="predictions",
        **_KERAS,
    ),
    "official": Naming(
        kinds=("conv", "norm"),
        stem="stem_{kind}",
        block="stage{stage}_block{block}_",
        part="{part}_{kind}",
        shortcut="shortcut_{kind}",
        head=HEAD,
        **_KERAS,
    ),
}
PYTORCH_NAMINGS = ("torchvision", "huggingface")
