"""Floating-point operations of a TensorFlow graph, counted in its convolutions and matrix products.

A multiplication and the addition after it are two operations. Convolutions and matrix products are nearly all of a
detector's arithmetic and the part that a matrix product's speed can be compared with; normalization, activations,
pooling, cropping and suppression do not count. Zeros of the padding count as any other value, as is usual.
"""

import math
from collections.abc import Callable, Iterable

import tensorflow as tf

# Operations that run another graph exactly once.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


class UnknownShapeError(ValueError):
    """A convolution or matrix product whose size is not known before the graph runs."""


def count(function: tf.types.experimental.ConcreteFunction) -> int:
    """Operations of one call.

    Args:
      function: traced for inputs of known shapes, batch included.

    Raises:
      UnknownShapeError: naming an operation of unknown size, or one that is in a loop or branch.
    """
    graph = function.graph
    library = {definition.signature.name: definition for definition in graph.as_graph_def().library.function}
    return _count_operations(graph.get_operations(), graph, library)


def _count_operations(operations: Iterable[tf.Operation], graph: tf.Graph, library: dict) -> int:
    total = 0
    for operation in operations:
        if operation.type in _PRODUCTS:
            total += _PRODUCTS[operation.type](operation)
        elif operation.type in _CALLS:
            called = graph._get_function(operation.get_attr("f").name)
            total += _count_operations(called.graph.get_operations(), called.graph, library)
        else:
            _refuse_hidden_products(operation, library)
    return total


def _refuse_hidden_products(operation: tf.Operation, library: dict) -> None:
    """Loops and branches are not counted, which is right only if they hold no convolution and no matrix product."""
    waiting = [attribute.func.name for attribute in operation.node_def.attr.values() if attribute.HasField("func")]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in library:
            continue
        seen.add(name)
        for node in library[name].node_def:
            if node.op in _PRODUCTS:
                raise UnknownShapeError(f"{operation.name}: {node.name} ({node.op}) runs an unknown number of times")
            waiting += [attribute.func.name for attribute in node.attr.values() if attribute.HasField("func")]


def _size(tensor: tf.Tensor, operation: tf.Operation) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise UnknownShapeError(f"{operation.name}: {tensor.name} has the shape {tensor.shape}")
    return tensor.shape.as_list()


def _convolution(outputs: Callable, filters: Callable, summed_axes: int = 3) -> Callable[[tf.Operation], int]:
    """Each value [B, h, w, Cout] of the forward pass is a sum over a filter's [kh, kw, Cin]; so are both gradients.

    A depthwise convolution sums over [kh, kw] alone.
    """

    def flops(operation: tf.Operation) -> int:
        num_values = math.prod(_size(outputs(operation), operation))
        return 2 * num_values * math.prod(_size(filters(operation), operation)[:summed_axes])

    return flops


def _matrix_product(operation: tf.Operation) -> int:
    """[..., n, k] times [..., k, m], either one transposed."""
    transposes = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    inner = _size(operation.inputs[0], operation)[-2 if transposes else -1]
    return 2 * math.prod(_size(operation.outputs[0], operation)) * inner


_PRODUCTS = {
    "Conv2D": _convolution(lambda op: op.outputs[0], lambda op: op.inputs[1]),
    "Conv2DBackpropInput": _convolution(lambda op: op.inputs[2], lambda op: op.inputs[1]),
    "Conv2DBackpropFilter": _convolution(lambda op: op.inputs[2], lambda op: op.outputs[0]),
    "DepthwiseConv2dNative": _convolution(lambda op: op.outputs[0], lambda op: op.inputs[1], 2),
    "DepthwiseConv2dNativeBackpropInput": _convolution(lambda op: op.inputs[2], lambda op: op.inputs[1], 2),
    "DepthwiseConv2dNativeBackpropFilter": _convolution(lambda op: op.inputs[2], lambda op: op.outputs[0], 2),
    "MatMul": _matrix_product,
    "BatchMatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
}
