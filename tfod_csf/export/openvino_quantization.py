"""int8 for the layers that take the time, float32 for everything that decides.

NNCF puts FakeQuantize operations in front of convolutions; OpenVINO then computes these in int8. Which operations may
be touched is worked out here from the graph: those that compute features, between the first and the last convolutions.
Preprocessing, the predictions of both stages (objectness, classes, box encodings), proposals, box decoding and
suppression stay in float32.
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfod_csf.inference import no_telemetry  # noqa: F401 - before OpenVINO

_LAYERS = {"Convolution", "GroupConvolution", "MatMul"}
# Every input of these is a feature map; of other operations the first one is, and the rest are sizes and boxes.
_OF_SEVERAL_MAPS = {"Add", "Multiply", "Subtract", "Concat", "Maximum"}
_NO_FEATURES = {"Constant", "Parameter", "Loop", "TopK", "NonMaxSuppression"}


def quantized(model: Any, images: Iterable[np.ndarray], num_images: int) -> Any:
    """The model with FakeQuantize operations, in int8 where it computes features.

    Args:
      model: openvino.Model in float32, with one input [1, H, W, 3].
      images: uint8 [H, W, 3] each; gone through several times.
      num_images: how many there are.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    # Its own set_log_level sets the level of whatever handlers others have put there, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    dtype = model.inputs[0].element_type.to_dtype()
    features = feature_operations(model)
    others = [
        operation.get_friendly_name()
        for operation in model.get_ordered_ops()
        if operation.get_friendly_name() not in features
    ]
    return nncf.quantize(
        model,
        nncf.Dataset(images, lambda image: image[np.newaxis].astype(dtype)),
        preset=nncf.QuantizationPreset.MIXED,  # activations behind a ReLU have no negative half
        subset_size=num_images,
        ignored_scope=nncf.IgnoredScope(names=others, validate=False),
        # Without VNNI, sums of two products of 8 bits overflow 16 bits in silence; with weights of 7 bits they cannot.
        # A model may be carried from a processor that has it to one that does not.
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
    )


def feature_operations(model: Any) -> set[str]:
    """Names of the operations of an openvino.Model that compute features for a later layer.

    How it works: from the first input of every layer, the graph is followed back along feature maps; what has no layer
    before it (preprocessing) is skipped. A layer whose result no later layer takes as features is a prediction, and is
    not found.
    """
    operations = model.get_ordered_ops()
    waiting = [operation.input_value(0).get_node() for operation in operations if operation.get_type_name() in _LAYERS]
    found: set[str] = set()
    while waiting:
        operation = waiting.pop()
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        if name in found or kind in _NO_FEATURES:
            continue
        found.add(name)
        num_maps = operation.get_input_size() if kind in _OF_SEVERAL_MAPS else min(1, operation.get_input_size())
        waiting += [operation.input_value(index).get_node() for index in range(num_maps)]
    behind_a_layer: set[str] = set()
    for operation in operations:
        sources = (operation.input_value(index).get_node() for index in range(operation.get_input_size()))
        if operation.get_type_name() in _LAYERS or any(
            source.get_friendly_name() in behind_a_layer for source in sources
        ):
            behind_a_layer.add(operation.get_friendly_name())
    return found & behind_a_layer
