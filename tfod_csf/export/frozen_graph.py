"""What a TensorFlow 1 frozen_inference_graph.pb holds, read before TensorFlow is loaded.

TFOD's export_inference_graph.py wrote such files until 2020: one GraphDef in which the weights are constants. Its nodes
have fixed names: one placeholder named for the input type, and outputs named detection_boxes, detection_scores,
detection_classes and num_detections. Graphs of 2018 and later also give detection_multiclass_scores and raw outputs.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from tfod_csf.errors import UserError
from tfod_csf.files import given_files, saved_model_pb2
from tfod_csf.files.saved_model_operations import reaches_beyond
from tfod_csf.wording import listed

FILE_NAME = "frozen_inference_graph.pb"
INPUTS = ("image_tensor", "encoded_image_string_tensor", "tf_example")
OUTPUT_RANKS = {
    "detection_boxes": 3,
    "detection_scores": 2,
    "detection_classes": 2,
    "num_detections": 1,
    "detection_multiclass_scores": 3,
    "raw_detection_boxes": 3,
    "raw_detection_scores": 3,
}
"""TFOD's outputs and their number of dimensions, the image's axis included."""

_REQUIRED = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_OTHER_DETECTOR_OUTPUTS = ("detection_masks", "detection_keypoints", "detection_features")
_MAX_BYTES = 2_147_483_647  # of a protobuf message
_TEXT_START = (b"node {", b"node:", b"node{", b"versions {", b"library {")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable")
_REMEDY = f"give the {FILE_NAME} that TFOD's export_inference_graph.py wrote"


class FrozenGraphError(UserError):
    """A file that is not a detector's frozen graph, or one that must not be run."""


@dataclasses.dataclass(frozen=True)
class FrozenGraph:
    """A detector's frozen graph that passed the checks of `read`.

    Attributes:
      path: the file.
      input_name: its placeholder, one of INPUTS.
      outputs: which of OUTPUT_RANKS it has, in that order.
      unused: further outputs of a detector (detection_masks, ...).
      nodes: names of all nodes that the outputs are computed from, and of the outputs.
      data: the file's bytes: what was checked is what is imported.
    """

    path: pathlib.Path
    input_name: str
    outputs: tuple[str, ...]
    unused: tuple[str, ...]
    nodes: frozenset[str]
    data: bytes = dataclasses.field(repr=False)


def read(path: pathlib.Path) -> FrozenGraph:
    """Reads a frozen graph, or that in a folder as the model zoo has it, and checks what it is.

    Raises:
      FrozenGraphError: the file cannot be read, is of another kind, is not a detector, needs weights or inputs it does
        not hold, or could reach files, the network or Python.
    """
    path = path / FILE_NAME if path.is_dir() else path
    graph, data = _parsed(path)
    nodes = {node.name: node for node in graph.node}
    missing = [name for name in _REQUIRED if name not in nodes]
    if missing:
        raise FrozenGraphError(
            f"{path}: is not an object detector as TFOD exports it: it has no node {missing[0]} (inputs: "
            f"{listed([node.name for node in graph.node if node.op == 'Placeholder']) or 'none'}; last node: "
            f"{graph.node[-1].name}); {_REMEDY}."
        )
    outputs = tuple(name for name in OUTPUT_RANKS if name in nodes)
    needed = _needed(outputs, nodes, path)
    _check_operations([nodes[name] for name in needed], graph, path)
    inputs = sorted(name for name in needed if nodes[name].op == "Placeholder")
    if len(inputs) != 1 or inputs[0] not in INPUTS:
        raise FrozenGraphError(
            f"{path}: its detections are computed from the inputs {listed(inputs) or 'none'}; expected one of "
            f"{', '.join(INPUTS)}, as TFOD exports it; {_REMEDY}."
        )
    unused = tuple(name for name in _OTHER_DETECTOR_OUTPUTS if name in nodes)
    return FrozenGraph(path, inputs[0], outputs, unused, frozenset(needed), data)


def _parsed(path: pathlib.Path) -> tuple[Any, bytes]:
    """The file as a Graph with at least one node, and its bytes."""
    try:
        data = given_files.read_bytes(path, _MAX_BYTES)
    except OSError as error:
        raise FrozenGraphError(f"{path}: cannot be read ({error.strerror or error}); {_REMEDY}.") from error
    if data.lstrip().startswith(_TEXT_START):
        raise FrozenGraphError(f"{path}: is a graph written as text, without weights; {_REMEDY}.")
    if _is_saved_model(data):
        raise FrozenGraphError(
            f"{path}: is a SavedModel, not a frozen graph; {_REMEDY} beside it, or, if TensorFlow 2 wrote it, use its "
            "folder with batch_infer as it is."
        )
    try:
        graph: Any = saved_model_pb2.Graph.FromString(data)
    except DecodeError as error:
        raise FrozenGraphError(f"{path}: is damaged, cut short or not a frozen graph; {_REMEDY}.") from error
    if not graph.node:
        raise FrozenGraphError(f"{path}: holds no graph; {_REMEDY}.")
    return graph, data


def _is_saved_model(data: bytes) -> bool:
    try:
        model: Any = saved_model_pb2.SavedModel.FromString(data)
    except DecodeError:
        return False
    return any(meta_graph.graph_def.node for meta_graph in model.meta_graphs)


def _needed(outputs: Iterable[str], nodes: Mapping[str, Any], path: pathlib.Path) -> set[str]:
    """Names of the nodes that the outputs are computed from, and of the outputs."""
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in nodes:
            raise FrozenGraphError(f"{path}: is damaged (the node {name} is missing); copy the file again.")
        found.add(name)
        # "name", "name:1" for another of its outputs, "^name" for the order alone.
        waiting += [source.removeprefix("^").partition(":")[0] for source in nodes[name].input]
    return found


def _check_operations(needed: Iterable[Any], graph: Any, path: pathlib.Path) -> None:
    operations = {node.op for node in needed}
    operations |= {node.op for function in graph.library.function for node in function.node_def}
    beyond = sorted(filter(reaches_beyond, operations))
    if beyond:
        raise FrozenGraphError(
            f"{path}: holds operations that can reach files, the network or Python ({listed(beyond)}), which a "
            "detector does not need; it is not imported."
        )
    if operations.intersection(_VARIABLES):
        raise FrozenGraphError(f"{path}: its weights are not in it, it is not frozen; {_REMEDY}.")
