"""Counts the arithmetic of a network's products, operation by operation.

What counts: matrix products, convolutions and contractions (Einsum) of the forward and
the backward pass, two floating-point operations for each multiplication with its
addition. A convolution with padding counts its padding too. What does not: all else
(biases, activations, normalisation, pooling, look-ups, the loss, the optimizer), which
in a network of any size is a small part of the arithmetic, though not of the time; and
products in a graph within the graph, such as the body of a recurrent layer's loop,
which are named instead, because the graph does not say how often they run.

TensorFlow's own counter (tf.compat.v1.profiler) is not used: it leaves Einsum out, so
half of attention, counts a strided convolution's gradient too high, and is deprecated.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from official.utils.logs import console
from official.utils.training.task import Task


@dataclasses.dataclass(frozen=True)
class Count:
    """The products of a graph.

    Attributes:
        flops: floating-point operations, two a multiplication with addition.
        uncounted: types of products that are in the graph beside those counted.
    """

    flops: int
    uncounted: tuple[str, ...]

    def warn_of_uncounted(self) -> None:
        """Warns, if there are such products, that the share of the peak is larger."""
        if self.uncounted:
            console.warn(
                f"{', '.join(self.uncounted)} in loops or of unknown size are not "
                "counted: the share of the peak is more than is shown"
            )


def training_step(task: Task, model: keras.Model, batch: Any) -> Count:
    """Counts the forward and backward pass over one batch.

    Args:
        task: whose loss is differentiated.
        model: its network.
        batch: a batch as the training stream gives it, so that all shapes are known.
    """

    def forward_and_backward(batch):
        with _functions_inlined(), tf.GradientTape() as tape:
            loss = task.loss(model, batch, training=True)
        weights = [variable.value for variable in model.trainable_variables]
        return loss.total, tape.gradient(loss.total, weights)

    function = tf.function(forward_and_backward, autograph=False)
    return count(function.get_concrete_function(batch))


def count(function: tf.types.experimental.ConcreteFunction) -> Count:
    """Counts the products that the outputs of a traced function need.

    The graph holds others, which TensorFlow leaves out when it runs: the gradient of a
    convolution is that of its input too, also where it is the first layer.
    """
    flops, uncounted = 0, set()
    for operation in _needed(function.outputs):
        if operation.type not in _COUNTERS:
            continue
        try:
            flops += _COUNTERS[operation.type](operation)
        except _UnknownSizeError:
            uncounted.add(operation.type)
    for inner in function.graph.as_graph_def().library.function:
        uncounted |= {node.op for node in inner.node_def if node.op in _COUNTERS}
    return Count(flops, tuple(sorted(uncounted)))


@contextlib.contextmanager
def _functions_inlined() -> Iterator[None]:
    """While a graph is traced: functions that are called become part of it.

    Keras calls some layers so, such as convolutions in groups on a CPU.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _needed(tensors) -> set[tf.Operation]:
    found, open_ = set(), [tensor.op for tensor in tensors]
    while open_:
        operation = open_.pop()
        if operation not in found:
            found.add(operation)
            open_ += [tensor.op for tensor in operation.inputs]
            open_ += operation.control_inputs
    return found


class _UnknownSizeError(Exception):
    """A shape depends on the data."""


def _sizes(tensor) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise _UnknownSizeError
    return tensor.shape.as_list()


def _matrix_product(transpose: str) -> Callable[[tf.Operation], int]:
    def flops(operation):
        # [..., m, k] x [..., k, n]: m * n sums of k products, for each of the batch.
        sizes = _sizes(operation.inputs[0])
        k = sizes[-2] if operation.get_attr(transpose) else sizes[-1]
        return 2 * math.prod(_sizes(operation.outputs[0])) * k

    return flops


def _convolution(output: int | None, kernel: int | None, is_depthwise=False):
    """The products of a convolution or of one of its gradients: all have as many.

    Args:
        output: which input has the shape of the forward pass's output; None: it is
            this operation's own output.
        kernel: likewise for the kernel.
        is_depthwise: the kernel is [..., input channels, multiplier], and an output
            sums over no channels.
    """

    def flops(operation):
        outputs, kernels = (
            _sizes(operation.outputs[0] if i is None else operation.inputs[i])
            for i in (output, kernel)
        )
        # [..., input channels of a group, output channels]
        taps = kernels[:-2] if is_depthwise else kernels[:-1]
        return 2 * math.prod(outputs) * math.prod(taps)

    return flops


def _einsum(operation) -> int:
    """One product for each combination of all indices."""
    if len(operation.inputs) < 2:
        return 0
    equation = operation.get_attr("equation").decode().partition("->")[0]
    sizes: dict[str, int] = {}
    for labels, tensor in zip(equation.split(","), operation.inputs, strict=True):
        for label, size in zip(_labels(labels, tensor), _sizes(tensor), strict=True):
            # Of two sizes that are broadcast, one is 1.
            sizes[label] = max(size, sizes.get(label, 1))
    return 2 * math.prod(sizes.values())


def _labels(labels: str, tensor) -> Iterable[str]:
    """A name for each axis; those under an ellipsis are numbered from the last one."""
    before, dots, after = labels.partition("...")
    if not dots:
        return before
    hidden = len(tensor.shape) - len(before) - len(after)
    return [*before, *(f".{i}" for i in range(hidden, 0, -1)), *after]


_COUNTERS: dict[str, Callable[[tf.Operation], int]] = {
    "MatMul": _matrix_product("transpose_a"),
    "BatchMatMul": _matrix_product("adj_x"),
    "BatchMatMulV2": _matrix_product("adj_x"),
    "BatchMatMulV3": _matrix_product("adj_x"),
    "Einsum": _einsum,
    "Conv2D": _convolution(None, 1),
    "Conv2DBackpropInput": _convolution(2, 1),
    "Conv2DBackpropFilter": _convolution(2, None),
    "Conv3D": _convolution(None, 1),
    "Conv3DBackpropInputV2": _convolution(2, 1),
    "Conv3DBackpropFilterV2": _convolution(2, None),
    "DepthwiseConv2dNative": _convolution(None, 1, is_depthwise=True),
    "DepthwiseConv2dNativeBackpropInput": _convolution(2, 1, is_depthwise=True),
    "DepthwiseConv2dNativeBackpropFilter": _convolution(2, None, is_depthwise=True),
}
