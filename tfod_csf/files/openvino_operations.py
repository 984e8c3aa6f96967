"""Which operations of an OpenVINO IR a detection model does not have. Read before OpenVINO loads it.

An IR is a graph in XML beside a file of numbers. It can name no library and no other file, and OpenVINO 2026 loads no
operation that it does not have itself; what is left are operations that keep something from one image to the next, that
draw random numbers, and those of extensions that a program has loaded. Only operations on the list below are accepted,
in the graph and in the bodies of its loops.

What `openvino.read_model` and lxml would read differently (other encodings, DOCTYPE, entities) is refused.
"""

import os
import pathlib
import re
from collections.abc import Iterator

from lxml import etree

from tfod_csf.errors import UserError
from tfod_csf.files import given_files

GRAPH = "model.xml"
WEIGHTS = "model.bin"
_MAX_BYTES = 200_000_000  # of the graph; that of ResNet-50 has 0.5 million
# OpenVINO's own sets of operations; "extension", "gpu_opset" and others are not among them.
_OWN_SET = re.compile(r"opset[0-9]{1,2}")
# Other names are quoted in messages, and long ones shortened.
_PLAIN_NAME, _MAX_NAME = re.compile(r"[A-Za-z0-9_.]+"), 80
_FORBIDDEN = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_OTHER_ENCODING = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"'](?!utf-8[\"'])", re.IGNORECASE)
_GRAPH_AND_LOOPS = "Parameter Const Result Loop TensorIterator If"
_LAYERS = """
    Convolution GroupConvolution MatMul MaxPool AvgPool AdaptiveAvgPool ROIPooling ROIAlign PSROIPooling Interpolate
    BatchNormInference LRN NormalizeL2 MVN FakeQuantize ReLU PReLU Elu Selu Sigmoid HardSigmoid HSigmoid HSwish Swish
    Mish Gelu SoftPlus SoftSign Tanh Clamp SoftMax LogSoftmax"""
_NUMBERS = """
    Add Subtract Multiply Divide Mod FloorMod Power SquaredDifference Maximum Minimum Abs Sign Negative Exp Log Sqrt
    Floor Ceiling Round Sin Cos IsFinite IsInf IsNaN Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd
    LogicalOr LogicalNot LogicalXor Select ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2
    ReduceLogicalAnd ReduceLogicalOr CumSum"""
_SHAPES_AND_SELECTION = """
    Convert ConvertLike ShapeOf Reshape Squeeze Unsqueeze Transpose Concat Split VariadicSplit Slice StridedSlice Pad
    Broadcast Tile Range OneHot Eye Reverse ReverseSequence Gather GatherElements GatherND ScatterUpdate
    ScatterElementsUpdate ScatterNDUpdate NonZero TopK Unique Bucketize SpaceToBatch BatchToSpace SpaceToDepth
    DepthToSpace"""
_BOXES = "NonMaxSuppression MatrixNms MulticlassNms PriorBox PriorBoxClustered DetectionOutput Proposal"
_KINDS = (_GRAPH_AND_LOOPS, _LAYERS, _NUMBERS, _SHAPES_AND_SELECTION, _BOXES)
_OPERATIONS = frozenset(name for kind in _KINDS for name in kind.split())


class OpenVINOModelError(UserError):
    """An IR that cannot be read."""


def unknown_operations(folder: str | os.PathLike) -> list[str]:
    """Sorted names of the operations that detection models do not have, as "<set of operations>.<operation>".

    Args:
      folder: with model.xml and model.bin.

    Raises:
      OpenVINOModelError: a file is missing or damaged, or the graph names weights beyond the end of model.bin.
    """
    path = pathlib.Path(folder) / GRAPH
    root = _root(path)
    _check_weights(root, path)
    return sorted(set(_unknown(root)))


def _root(path: pathlib.Path) -> etree._Element:
    again = "copy the model again, or export it with export_openvino."
    try:
        data = given_files.read_bytes(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise OpenVINOModelError(f"{path}: is not there; {again}") from error
    if b"\0" in data or _FORBIDDEN.search(data) or _OTHER_ENCODING.match(data.lstrip(b"\xef\xbb\xbf \t\r\n")):
        raise OpenVINOModelError(f"{path}: is not what OpenVINO writes (DOCTYPE, entities or not UTF-8); {again}")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise OpenVINOModelError(f"{path}: is damaged ({error}); {again}") from error
    if root.tag != "net":
        raise OpenVINOModelError(f"{path}: is not a graph of OpenVINO; {again}")
    return root


def _unknown(root: etree._Element) -> Iterator[str]:
    for layer in root.iter("layer"):
        name, operation_set = layer.get("type", ""), layer.get("version", "")
        if name not in _OPERATIONS or not _OWN_SET.fullmatch(operation_set):
            full_name = f"{operation_set}.{name}"[:_MAX_NAME]
            yield full_name if _PLAIN_NAME.fullmatch(full_name) else repr(full_name)


def _check_weights(root: etree._Element, path: pathlib.Path) -> None:
    """Refuses a graph that names numbers beyond the end of model.bin."""
    weights = path.with_name(WEIGHTS)
    try:
        with given_files.open_file(weights) as file:
            size = os.fstat(file.fileno()).st_size
        needed = max(
            (int(data.get("offset", "0")) + int(data.get("size", "0")) for data in root.iter("data")), default=0
        )
    except FileNotFoundError as error:
        raise OpenVINOModelError(f"{weights}: is not there; copy the model again.") from error
    except ValueError as error:
        raise OpenVINOModelError(f"{path}: is damaged ({error}); copy the model again.") from error
    if needed > size:
        raise OpenVINOModelError(
            f"{weights}: has {size:,} bytes, and the graph needs {needed:,}; copy the model again."
        )
