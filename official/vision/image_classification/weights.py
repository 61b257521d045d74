"""Weights of the residual networks, from PyTorch and Keras and back to PyTorch.

- PyTorch: state dicts in safetensors files, with the names of torchvision (timm's are
  the same) or of Hugging Face's `ResNetForImageClassification`.
- Keras: files of `keras.applications` ResNet50, ResNet101 and ResNet152, and of the
  networks of this folder.

Kernels are [height, width, in, out] here and [out, in, height, width] in PyTorch. Files
do not say how their pixels were normalised: weights of PyTorch mostly expect
`--normalization=mean_std`, those of Keras' applications `caffe`.
"""

import collections
import contextlib
import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.utils.errors import UserError, one_line
from official.utils.logs import files
from official.utils.training.variables import named_layers, named_variables
from official.vision.image_classification import resnet

SUFFIXES = (".safetensors", ".keras", ".h5")
_SAFETENSORS, _KERAS_FILE, _HDF5_FILE = SUFFIXES
_HEAD = "logits"
# NumPy itself has no bfloat16, and the library reads none for it.
_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": tf.bfloat16.as_numpy_dtype,
    "I64": np.int64,
    "I32": np.int32,
}
# Those whose weights stand in files without the network: `.weights.h5`, and the `.h5`
# that Keras publishes.
_APPLICATIONS = {
    "resnet50_v1": "ResNet50",
    "resnet101_v1": "ResNet101",
    "resnet152_v1": "ResNet152",
}


@dataclasses.dataclass(frozen=True)
class _Naming:
    """What others call our layers and variables.

    Templates may hold `stage`, `block` and `part`, counted from 1; with `0` behind, the
    same from 0; and `stage2`, from 2.

    Attributes:
        stem: templates of the first convolution and its batch norm.
        part: those within a block.
        shortcut: those of a projection.
        head: the last layer.
        separator: stands between layer and variable.
        variables: theirs by kind of layer and our name.
        block: finds stage and block in a name.
        is_pytorch: whether tensors are laid out as in PyTorch.
    """

    stem: tuple[str, str]
    part: tuple[str, str]
    shortcut: tuple[str, str]
    head: str
    separator: str
    variables: Mapping[str, str]
    block: str
    is_pytorch: bool

    def layer(self, ours: str) -> str:
        """The name of one of our layers."""
        if ours == _HEAD:
            return self.head
        place, kind = ours.rsplit("_", 1)
        rank = ("conv", "norm").index(kind)
        if place == "stem":
            return self.stem[rank]
        match = re.fullmatch(r"stage(\d+)_block(\d+)_(\d+|shortcut)", place)
        stage, block = int(match[1]), int(match[2])
        fields = dict(stage=stage, stage0=stage - 1, stage2=stage + 1)
        fields |= dict(block=block, block0=block - 1)
        if match[3] == "shortcut":
            return self.shortcut[rank].format(**fields)
        part = int(match[3])
        return self.part[rank].format(part=part, part0=part - 1, **fields)

    def variable(self, ours: str) -> str:
        """The name of one of our variables, `model/<layer>/<variable>`."""
        _, layer, name = ours.split("/")
        theirs = self.variables.get(name, name)
        return f"{self.layer(layer)}{self.separator}{theirs}"

    def blocks(self, names) -> tuple[tuple[int, ...], bool]:
        """Blocks of each stage, and whether they are bottlenecks."""
        matches = filter(None, (re.match(self.block, name) for name in names))
        places = {(int(match[1]), int(match[2])) for match in matches}
        counts = collections.Counter(stage for stage, _ in places)
        third = self.layer("stage1_block1_3_conv") + self.separator
        is_bottleneck = any(name.startswith(third) for name in names)
        return tuple(counts[stage] for stage in sorted(counts)), is_bottleneck

    def axes(self, rank: int) -> tuple[int, ...]:
        """The permutation from our layout to theirs."""
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
_HF_STEM = "resnet.embedder.embedder"
_HF_BLOCK = "resnet.encoder.stages.{stage0}.layers.{block0}"
_NAMINGS = {
    "torchvision": _Naming(
        stem=("conv1", "bn1"),
        part=(
            "layer{stage}.{block0}.conv{part}",
            "layer{stage}.{block0}.bn{part}",
        ),
        shortcut=(
            "layer{stage}.{block0}.downsample.0",
            "layer{stage}.{block0}.downsample.1",
        ),
        head="fc",
        block=r"layer(\d+)\.(\d+)\.",
        **_PYTORCH,
    ),
    "huggingface": _Naming(
        stem=(f"{_HF_STEM}.convolution", f"{_HF_STEM}.normalization"),
        part=(
            f"{_HF_BLOCK}.layer.{{part0}}.convolution",
            f"{_HF_BLOCK}.layer.{{part0}}.normalization",
        ),
        shortcut=(
            f"{_HF_BLOCK}.shortcut.convolution",
            f"{_HF_BLOCK}.shortcut.normalization",
        ),
        head="classifier.1",
        block=r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.",
        **_PYTORCH,
    ),
    "keras.applications": _Naming(
        stem=("conv1_conv", "conv1_bn"),
        part=(
            "conv{stage2}_block{block}_{part}_conv",
            "conv{stage2}_block{block}_{part}_bn",
        ),
        shortcut=(
            "conv{stage2}_block{block}_0_conv",
            "conv{stage2}_block{block}_0_bn",
        ),
        head="predictions",
        block=r"conv(\d+)_block(\d+)_",
        **_KERAS,
    ),
    "official": _Naming(
        stem=("stem_conv", "stem_norm"),
        part=(
            "stage{stage}_block{block}_{part}_conv",
            "stage{stage}_block{block}_{part}_norm",
        ),
        shortcut=(
            "stage{stage}_block{block}_shortcut_conv",
            "stage{stage}_block{block}_shortcut_norm",
        ),
        head=_HEAD,
        block=r"stage(\d+)_block(\d+)_",
        **_KERAS,
    ),
}
PYTORCH_NAMINGS = ("torchvision", "huggingface")
# PyTorch counts batches where the momentum is not set; it is nothing that we have.
_NOT_OURS = "num_batches_tracked"


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Reads all tensors of a file.

    Args:
        path: a safetensors file of floats (of 16, 32 or 64 bits) and integers.

    Returns:
        Arrays by name, as they are stored; they are read-only.

    Raises:
        UserError: the file is missing, damaged, or holds other types; or the library
            `safetensors` is missing.
    """
    library = _import_safetensors()
    content = files.read_whole(path, "PyTorch weights", "check the path")
    try:
        entries = library.deserialize(content)
    except library.SafetensorError as error:
        raise UserError(
            f"{path} is no whole safetensors file ({one_line(error)}); fetch it again"
        ) from None
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in _TYPES:
            raise UserError(
                f"{path} holds {name} in {entry['dtype']}; store it in one of "
                f"{', '.join(_TYPES)}"
            )
        values = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def write_safetensors(path: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a file, or replaces it.

    Args:
        path: the file.
        tensors: arrays by name.

    Raises:
        UserError: it cannot be written, or the library `safetensors` is missing.
    """
    _import_safetensors()
    import safetensors.numpy

    # Not `ascontiguousarray`, which makes a vector of a scalar.
    dense = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    # Hugging Face refuses a file that does not say for whom it is.
    files.write_whole(path, safetensors.numpy.save(dense, metadata={"format": "pt"}))


def _import_safetensors() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise UserError(
            f"files of PyTorch need safetensors ({one_line(error)}); run "
            "`pip install safetensors`"
        ) from None
    return safetensors


def read(path: str, name: str) -> dict[str, np.ndarray] | keras.Model:
    """Reads what another framework, or Keras, wrote.

    Args:
        path: a file whose name ends in one of `SUFFIXES`. Keras' may hold a model, or
            the weights of an application alone.
        name: the network that they are meant for, of `resnet.VARIANTS`; only weights
            alone need it.

    Returns:
        Tensors by PyTorch's name, or a Keras model.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    if path.endswith(_SAFETENSORS):
        return read_safetensors(path)
    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise UserError(f"{path} is no file; check the path")
    with _local(path) as local:
        try:
            if path.endswith(_KERAS_FILE) or _holds_model(local):
                return keras.saving.load_model(local, compile=False)
            return _application_with_weights(local, name, path)
        except UserError:
            raise
        except Exception as error:
            # Keras raises errors of many kinds for what is wrong with a file.
            raise UserError(
                f"{path} is no file of a Keras model that can be read "
                f"({one_line(error)}); fetch or save it again"
            ) from error


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    """The path of a copy on disk where the file is elsewhere; HDF5 reads no buckets."""
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(path))
        tf.io.gfile.copy(path, copy)
        yield copy


def _holds_model(path: str) -> bool:
    import h5py

    with h5py.File(path, "r") as file:
        return "model_config" in file.attrs


def _application_with_weights(local: str, name: str, path: str) -> keras.Model:
    """An application, with as many classes as the file of weights has."""
    import h5py

    if name not in _APPLICATIONS:
        raise UserError(
            f"{path} holds weights without a network, which are read for those of "
            f"keras.applications only: give --model={', '.join(_APPLICATIONS)}, or "
            "save the whole model as .keras"
        )
    matrices = []

    def note(_, entry):
        if isinstance(entry, h5py.Dataset) and entry.ndim == 2:
            matrices.append(entry.shape)

    with h5py.File(local, "r") as file:
        file.visititems(note)
    # The last layer holds the one matrix of these networks.
    head = dict(classes=matrices[0][1]) if matrices else dict(include_top=False)
    build = getattr(keras.applications, _APPLICATIONS[name])
    application = build(weights=None, **head)
    application.load_weights(local)
    return application


def num_classes(found: Mapping[str, np.ndarray] | keras.Model, source: str) -> int:
    """How many classes there are in what `read` gave.

    Raises:
        UserError: it has no last layer.
    """
    if isinstance(found, keras.Model):
        found = _folded(found)
    for naming in _NAMINGS.values():
        bias = found.get(f"{naming.head}{naming.separator}bias")
        if bias is not None:
            return len(bias)
    heads = " or ".join(naming.head for naming in _NAMINGS.values())
    raise UserError(
        f"{source} has no last layer ({heads}); give a file that has one, or train "
        "with --init_checkpoint and --new_head"
    )


def from_pytorch(
    tensors: Mapping[str, np.ndarray],
    model: keras.Model,
    new_head: bool = False,
    source: str = "the state dict",
) -> dict[str, np.ndarray]:
    """Weights of a network from a state dict of PyTorch.

    Args:
        tensors: by torchvision's names, or Hugging Face's.
        model: from `resnet.build_model`.
        new_head: whether to leave out the last layer; it may then be missing, or of
            other classes.
        source: where the tensors come from, for messages.

    Returns:
        float32 values by structural name.

    Raises:
        UserError: a tensor is unmatched, missing or of another shape; or torchvision's
            names are given for a network that torchvision does not have.
    """
    tensors = {
        name: value for name, value in tensors.items() if not name.endswith(_NOT_OURS)
    }
    if any(name.startswith("resnet.") for name in tensors):
        naming = "huggingface"
    elif any(name.startswith(("conv1.", "layer1.")) for name in tensors):
        naming = "torchvision"
        _check_torchvision(model, source)
    else:
        raise UserError(
            f"{source} has no ResNet's names, neither torchvision's (conv1.weight, "
            "...) nor those of Hugging Face's ResNetForImageClassification "
            f"(resnet.embedder. ...): {_first(tensors)}"
        )
    return _converted(tensors, model, _NAMINGS[naming], new_head, source)


def to_pytorch(model: keras.Model, naming: str) -> dict[str, np.ndarray]:
    """A state dict of PyTorch, which its `load_state_dict` takes with `strict`.

    Version 1 (`resnet50_v1`, ...) is `downsample_in_bottleneck=True` in Hugging Face's
    `ResNetConfig`.

    Args:
        model: from `resnet.build_model`.
        naming: of `PYTORCH_NAMINGS`.

    Returns:
        float32 tensors by their names, and int64 `num_batches_tracked`, 0.

    Raises:
        UserError: no network has this naming and these weights.
    """
    assert naming in PYTORCH_NAMINGS
    if naming == "torchvision":
        _check_torchvision(model, "--naming=torchvision")
    elif not resnet.VARIANTS[model.name].has_large_stem:
        raise UserError(
            f"Hugging Face has no network like {model.name}; give --naming=torchvision"
        )
    names = _NAMINGS[naming]
    tensors = {}
    for ours, variable in named_variables(model).items():
        value = np.asarray(variable.value, np.float32)
        axes = names.axes(value.ndim)
        theirs = names.variable(ours)
        tensors[theirs] = np.asarray(value.transpose(axes), order="C")
        if theirs.endswith("running_var"):
            counter = theirs.removesuffix("running_var") + _NOT_OURS
            tensors[counter] = np.array(0, np.int64)
    return tensors


def _check_torchvision(model: keras.Model, source: str) -> None:
    """Version 1 has the same tensors, so that nothing else would tell."""
    if resnet.VARIANTS[model.name].strides_first:
        raise UserError(
            f"{source}: {model.name} strides on the first 1x1 convolution of a block, "
            "torchvision's networks on the 3x3; give --model="
            f"{model.name.removesuffix('_v1')}, or Hugging Face's names with "
            "downsample_in_bottleneck=True in the ResNetConfig"
        )


def from_keras_application(
    application: keras.Model,
    model: keras.Model,
    new_head: bool = False,
    source: str = "the Keras model",
) -> dict[str, np.ndarray]:
    """Weights of a network from a model of Keras.

    An application's biases of convolutions and its other epsilon go into the moving
    statistics of the batch norm behind: the outputs stay.

    Args:
        application: `keras.applications.ResNet50(...)` and the like, or a network from
            `resnet.build_model` that was saved.
        model: from `resnet.build_model`.
        new_head: see `from_pytorch`.
        source: where the model comes from, for messages.

    Returns:
        float32 values by structural name.

    Raises:
        UserError: a weight is unmatched, missing or of another shape, or the networks
            stride at other places.
    """
    tensors = _folded(application)
    is_ours = any(name.startswith("stem_") for name in tensors)
    naming = _NAMINGS["official" if is_ours else "keras.applications"]
    values = _converted(tensors, model, naming, new_head, source)
    for layer in model.layers:
        if layer.name.endswith("_conv"):
            theirs = application.get_layer(naming.layer(layer.name))
            if tuple(theirs.strides) != tuple(layer.strides):
                is_first = resnet.VARIANTS[model.name].strides_first
                other = model.name.removesuffix("_v1") + ("" if is_first else "_v1")
                raise UserError(
                    f"{source} has strides {tuple(theirs.strides)} in {theirs.name} "
                    f"where {model.name} has {tuple(layer.strides)}; give "
                    f"--model={other}"
                )
    return values


def _folded(application: keras.Model) -> dict[str, np.ndarray]:
    """Weights by `layer/variable`, as if batch norm were ours and bare of biases.

    gamma (x + bias - mean) / sqrt(variance + epsilon) + beta is the same with
    mean - bias for the mean, and with variance + epsilon - our epsilon.
    """
    tensors = {
        name.removeprefix("model/"): np.asarray(variable.value)
        for name, variable in named_variables(application).items()
    }
    for name, layer in named_layers(application).items():
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        mean, variance = f"{name}/moving_mean", f"{name}/moving_variance"
        bias = tensors.pop(f"{name.removesuffix('_bn')}_conv/bias", np.float64(0))
        # In float64, so that each is rounded once.
        for moving, shift in (
            (mean, -bias.astype(np.float64)),
            (variance, np.float64(layer.epsilon) - resnet.EPSILON),
        ):
            tensors[moving] = (tensors[moving] + shift).astype(np.float32)
    return tensors


def convert(
    found: Mapping[str, np.ndarray] | keras.Model,
    model: keras.Model,
    new_head: bool,
    source: str,
) -> dict[str, np.ndarray]:
    """What `read` gave, as `from_pytorch` and `from_keras_application` give it."""
    is_keras = isinstance(found, keras.Model)
    function = from_keras_application if is_keras else from_pytorch
    return function(found, model, new_head, source)


def read_initial(
    path: str, model: keras.Model, new_head: bool
) -> dict[str, np.ndarray]:
    """What `--init_checkpoint` names, where it ends in one of `SUFFIXES`.

    Args:
        path: a safetensors file, or one of Keras.
        model: from `resnet.build_model`.
        new_head: whether to leave out the last layer.

    Returns:
        float32 values by structural name.

    Raises:
        UserError: it is missing, damaged, or of another network.
    """
    found = read(path, model.name)
    return convert(found, model, new_head, f"--init_checkpoint={path}")


def _converted(tensors, model, naming, new_head, source) -> dict[str, np.ndarray]:
    """Ours by structural name; every tensor is used and every variable is set."""
    variables = named_variables(model)
    wanted = {naming.variable(ours): ours for ours in variables}
    if new_head:
        head = naming.head + naming.separator
        tensors = {k: value for k, value in tensors.items() if not k.startswith(head)}
        wanted = {k: ours for k, ours in wanted.items() if not k.startswith(head)}
    _check_names(tensors, wanted, model, naming, source)
    values, differences = {}, {}
    for theirs, ours in wanted.items():
        shape = variables[ours].shape
        axes = naming.axes(len(shape))
        here = [shape[axis] for axis in axes]
        if list(tensors[theirs].shape) != here:
            differences[theirs] = (list(tensors[theirs].shape), here)
            continue
        value = tensors[theirs].transpose(np.argsort(axes))
        values[ours] = np.asarray(value, np.float32, order="C")
    if differences:
        raise UserError(_explain(differences, naming, model, source))
    return values


def _check_names(tensors, wanted, model, naming, source) -> None:
    unmatched = [name for name in tensors if name not in wanted]
    missing = [name for name in wanted if name not in tensors]
    if not unmatched and not missing:
        return
    parts = [
        f"{len(names)} {what} ({_first(names)})"
        for what, names in (("unmatched", unmatched), ("missing", missing))
        if names
    ]
    blocks, is_bottleneck = naming.blocks(tensors)
    variant = resnet.VARIANTS[model.name]
    head = naming.head + naming.separator
    if (blocks, is_bottleneck) != (variant.blocks, variant.has_bottlenecks):
        cause = (
            f"it has {_count(blocks, is_bottleneck)} in its stages, {model.name} "
            f"{_count(variant.blocks, variant.has_bottlenecks)}"
        )
        is_first = variant.strides_first or naming is _NAMINGS["keras.applications"]
        # The one that strides at the same place, if there are two.
        fitting = sorted(
            (other.strides_first != is_first, name)
            for name, other in resnet.VARIANTS.items()
            if (other.blocks, other.has_bottlenecks) == (blocks, is_bottleneck)
        )
        cause += f"; give --model={fitting[0][1]}" if fitting else ""
    elif not unmatched and all(name.startswith(head) for name in missing):
        cause = "it has no last layer; --new_head trains a fresh one"
    else:
        cause = (
            "relatives (resnet50d, ResNet v2, ...) are other networks; give a file of "
            "the plain one"
        )
    raise UserError(
        f"{source} is of another network than {model.name}: of its tensors "
        f"{' and '.join(parts)}; {cause}"
    )


def _explain(differences, naming, model, source) -> str:
    head = naming.head + naming.separator
    bias = f"{head}bias"
    if bias in differences and all(name.startswith(head) for name in differences):
        (there,), (here,) = differences[bias]
        return (
            f"{source} has {there} classes and the data {here}; --new_head takes all "
            "but the last layer"
        )
    listed = [
        f"{name} is {there} there and {here} in {model.name}"
        for name, (there, here) in list(differences.items())[:3]
    ]
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return (
        f"{source} has other shapes: {'; '.join(listed)}{more}. Wide networks and "
        "those of groups are others; give a file of the plain one"
    )


def _count(blocks, is_bottleneck) -> str:
    kind = "bottlenecks" if is_bottleneck else "basic blocks"
    return f"{', '.join(map(str, blocks)) or 'no'} {kind}"


def _first(names) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
