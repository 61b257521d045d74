"""Weights of the residual networks, from PyTorch and Keras and back to PyTorch.

- PyTorch: state dicts in safetensors files, with the names of torchvision (timm's are
  the same) or of Hugging Face's `ResNetForImageClassification`.
- Keras: files of `keras.applications` ResNet50, ResNet101 and ResNet152, and of the
  networks of this folder.

Kernels are [height, width, in, out] here and [out, in, height, width] in PyTorch. Files
do not say how their pixels were normalised: weights of PyTorch mostly expect
`--normalization=mean_std`, those of Keras' applications `caffe`.
"""

from collections.abc import Mapping

import keras
import numpy as np

from official.utils.errors import UserError
from official.utils.training.variables import named_layers, named_variables
from official.vision.image_classification import resnet, weight_files
from official.vision.image_classification.weight_names import (
    BATCH_COUNTER,
    NAMINGS,
    PYTORCH_NAMINGS,
)


def num_classes(found: Mapping[str, np.ndarray] | keras.Model, source: str) -> int:
    """The number of classes that weights are for.

    Args:
        found: from `weight_files.read`.
        source: where it comes from, for messages.

    Returns:
        The outputs of its last layer.

    Raises:
        UserError: it has no last layer.
    """
    if isinstance(found, keras.Model):
        found = _folded(found)
    for naming in NAMINGS.values():
        bias = found.get(f"{naming.head}{naming.separator}bias")
        if bias is not None:
            return len(bias)
    heads = " or ".join(naming.head for naming in NAMINGS.values())
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
        name: value
        for name, value in tensors.items()
        if not name.endswith(BATCH_COUNTER)
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
    return _converted(tensors, model, NAMINGS[naming], new_head, source)


def to_pytorch(model: keras.Model, naming: str) -> dict[str, np.ndarray]:
    """A state dict of PyTorch, which its `load_state_dict` takes with `strict`.

    Version 1 (`resnet50_v1`, ...) is `downsample_in_bottleneck=True` in Hugging Face's
    `ResNetConfig`.

    Args:
        model: from `resnet.build_model`.
        naming: of `weight_names.PYTORCH_NAMINGS`.

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
    names = NAMINGS[naming]
    tensors = {}
    for ours, variable in named_variables(model).items():
        value = np.asarray(variable.value, np.float32)
        axes = names.axes(value.ndim)
        theirs = names.variable(ours)
        tensors[theirs] = np.asarray(value.transpose(axes), order="C")
        if theirs.endswith("running_var"):
            counter = theirs.removesuffix("running_var") + BATCH_COUNTER
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
    naming = NAMINGS["official" if is_ours else "keras.applications"]
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
    """Weights of a network from either framework.

    Args:
        found: from `weight_files.read`.
        model: from `resnet.build_model`.
        new_head: see `from_pytorch`.
        source: where `found` comes from, for messages.

    Returns:
        float32 values by structural name.

    Raises:
        UserError: see `from_pytorch` and `from_keras_application`.
    """
    is_keras = isinstance(found, keras.Model)
    function = from_keras_application if is_keras else from_pytorch
    return function(found, model, new_head, source)


def read_initial(
    path: str, model: keras.Model, new_head: bool
) -> dict[str, np.ndarray]:
    """What `--init_checkpoint` names, where it ends in one of `weight_files.SUFFIXES`.

    Args:
        path: a safetensors file, or one of Keras.
        model: from `resnet.build_model`.
        new_head: whether to leave out the last layer.

    Returns:
        float32 values by structural name.

    Raises:
        UserError: it is missing, damaged, or of another network.
    """
    found = weight_files.read(path, model.name)
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
        is_first = variant.strides_first or naming is NAMINGS["keras.applications"]
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
