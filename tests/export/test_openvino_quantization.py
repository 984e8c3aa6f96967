"""Which operations may become int8, on a small two-stage graph."""

import numpy as np
import pytest

from tfod_csf.export import openvino_quantization

openvino = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def graph():
    """Preprocessing, three convolutions with a skip connection, box predictions that crop a feature map, a head."""
    from openvino import opset8 as ops

    def named(operation, name):
        operation.set_friendly_name(name)
        return operation

    def convolution(source, name, size=1):
        filters = ops.constant(np.ones([4, source.get_output_partial_shape(0)[1].get_length(), size, size], np.float32))
        return named(ops.convolution(source, filters, [1, 1], [0, 0], [0, 0], [1, 1]), name)

    image = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    prepared = named(ops.subtract(image, np.float32(120)), "preprocessing")
    first = named(ops.relu(convolution(prepared, "first")), "relu")
    second = convolution(first, "second")
    joined = named(ops.add(first, second), "skip")
    boxes = convolution(joined, "box_predictions")
    decoded = named(ops.exp(boxes), "decoding")
    inside = ops.clamp(decoded, 0.0, 0.5)  # OpenVINO reads outside of the map for boxes outside of the image
    rows = ops.reshape(ops.slice(inside, [0, 0, 0, 0], [1, 4, 1, 1], [1, 1, 1, 1], [0, 1, 2, 3]), [1, 4], False)
    rois = named(ops.concat([ops.constant(np.zeros([1, 1], np.float32)), rows], 1), "boxes")
    crops = named(ops.roi_pooling(joined, rois, [2, 2], 1.0, "bilinear"), "crops")
    head = convolution(crops, "head")
    pooled = named(ops.reduce_mean(head, [2, 3], False), "mean")
    classes = named(ops.matmul(pooled, np.ones([4, 5], np.float32), False, False), "class_predictions")
    return openvino.Model([named(ops.softmax(classes, 1), "softmax"), rois], [image], "two_stages")


def test_features_and_nothing_that_decides(graph):
    found = openvino_quantization.feature_operations(graph)
    assert found == {"first", "relu", "second", "skip", "crops", "head", "mean"}


def test_what_decides_computes_as_before(graph):
    pytest.importorskip("nncf")
    images = [np.random.default_rng(seed).integers(0, 255, [3, 8, 8]).astype(np.uint8) for seed in range(2)]
    quantized = openvino_quantization.quantized(graph, images, 2)
    fed = {
        operation.get_friendly_name(): operation.input_value(0).get_node().get_type_name()
        for operation in quantized.get_ordered_ops()
        if operation.get_input_size()
    }
    assert {name for name, source in fed.items() if source == "FakeQuantize"} >= {"second", "head"}
    assert fed["box_predictions"] != "FakeQuantize"
    assert fed["class_predictions"] != "FakeQuantize"
    assert fed["decoding"] == "Convolution"
