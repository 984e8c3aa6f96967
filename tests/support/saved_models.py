"""SavedModels for tests of what is checked before one is loaded: the smallest one, and graphs that a test describes."""

import pathlib
from collections.abc import Sequence

from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.files import saved_model_pb2
from tfod_csf.label_map import label_map_from_names, save_label_map

ONE_EMPTY_GRAPH = saved_model_pb2.SavedModel(meta_graphs=[saved_model_pb2.MetaGraph()]).SerializeToString()


def write_empty_model(folder: pathlib.Path) -> pathlib.Path:
    """A model folder with the study's classes whose network does nothing."""
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(ONE_EMPTY_GRAPH)
    (folder / "model.json").write_text('{"thresholds": {"min_score": 0.5}}', encoding="utf-8")
    save_label_map(label_map_from_names(list(STUDY_CLASSES)), folder / "label_map.pbtxt")
    return folder


def graph_of(
    functions: dict[str, Sequence[tuple[str, str]]],
    nodes: Sequence[tuple[str, str, str]] = (),
    save: str = "",
    restore: str = "",
    concrete_functions: Sequence[str] = (),
) -> saved_model_pb2.SavedModel:
    """A SavedModel of one graph.

    Args:
      functions: {name: its nodes, (operation, function it calls or "")}.
      nodes: (name, operation, function it calls or "") of the graph itself.
      save, restore: names of the saver's nodes.
      concrete_functions: functions that the object graph names.
    """
    graph = saved_model_pb2.MetaGraph()
    graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name = f"{save}:0", restore
    for name, op, called in nodes:
        _fill(graph.graph_def.node.add(name=name, op=op), called)
    for name, inner in functions.items():
        function = graph.graph_def.library.function.add()
        function.signature.name = name
        for op, called in inner:
            _fill(function.node_def.add(op=op), called)
    for name in concrete_functions:
        graph.object_graph_def.concrete_functions[name].SetInParent()
    return saved_model_pb2.SavedModel(meta_graphs=[graph])


def _fill(node: saved_model_pb2.Node, called: str) -> None:
    if called:
        node.attr["f"].func.name = called
