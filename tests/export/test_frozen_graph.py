"""What is refused as a frozen graph, and by which name; the files are described node by node."""

import pytest

from tests.support.saved_models import graph_of
from tfod_csf.export import frozen_graph
from tfod_csf.export.frozen_graph import FrozenGraphError
from tfod_csf.files import saved_model_pb2

# (name, operation, names of what it takes)
DETECTOR = [
    ("image_tensor", "Placeholder", ()),
    ("weights", "Const", ()),
    ("map/while/Enter", "Enter", ("image_tensor",)),
    ("map/while/Exit", "Exit", ("map/while/Enter",)),
    ("net", "Conv2D", ("map/while/Exit:0", "weights", "^assert")),
    ("assert", "Assert", ("image_tensor",)),
    ("detection_boxes", "Identity", ("net",)),
    ("detection_scores", "Identity", ("net:1",)),
    ("detection_classes", "Identity", ("net",)),
    ("num_detections", "Identity", ("net",)),
]


def written(tmp_path, nodes):
    graph = saved_model_pb2.Graph()
    for name, op, inputs in nodes:
        graph.node.add(name=name, op=op, input=inputs)
    path = tmp_path / "frozen_inference_graph.pb"
    path.write_bytes(graph.SerializeToString())
    return path


def test_the_first_four_outputs_are_enough_and_further_ones_are_used_where_they_are(tmp_path):
    found = frozen_graph.read(written(tmp_path, [*DETECTOR, ("unused", "WriteFile", ())]))
    assert found.input_name == "image_tensor"
    assert found.outputs == ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
    assert found.nodes == {name for name, _, _ in DETECTOR}
    assert found.unused == ()
    more = [("raw_detection_scores", "Identity", ("net",)), ("detection_masks", "Identity", ("net",))]
    found = frozen_graph.read(written(tmp_path, [*DETECTOR, *more]))
    assert found.outputs[-1] == "raw_detection_scores"
    assert found.unused == ("detection_masks",)
    assert "detection_masks" not in found.nodes


def test_the_folder_of_the_model_zoo_is_taken_too(tmp_path):
    path = written(tmp_path, DETECTOR)
    assert frozen_graph.read(tmp_path).path == path


def changed(**changes):
    """DETECTOR with other operations, or other inputs, for the named nodes."""
    return [
        (name, *(changes[name] if isinstance(changes.get(name), tuple) else (changes.get(name, op), inputs)))
        for name, op, inputs in DETECTOR
    ]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], "holds no graph"),
        (
            [("input", "Placeholder", ()), ("MobilenetV1/Predictions", "Softmax", ("input",))],
            r"is not an object detector as TFOD exports it: it has no node detection_boxes \(inputs: input; last node: "
            r"MobilenetV1/Predictions\)",
        ),
        (DETECTOR[:-1], "has no node num_detections"),
        (changed(weights="VariableV2"), "its weights are not in it, it is not frozen"),
        (changed(weights="ReadFile"), r"can reach files, the network or Python \(ReadFile\)"),
        (changed(weights="PyFunc"), r"can reach files, the network or Python \(PyFunc\)"),
        (changed(weights="Placeholder"), "are computed from the inputs image_tensor, weights; expected one of"),
        (changed(image_tensor="Const"), "are computed from the inputs none; expected one of image_tensor, enc"),
        (changed(net=("Conv2D", ("absent",))), r"is damaged \(the node absent is missing\)"),
    ],
)
def test_graphs_that_are_refused(tmp_path, nodes, words):
    with pytest.raises(FrozenGraphError, match=words):
        frozen_graph.read(written(tmp_path, nodes))


def test_operations_inside_functions_are_looked_at(tmp_path):
    path = written(tmp_path, DETECTOR)
    graph = saved_model_pb2.Graph.FromString(path.read_bytes())
    graph.library.function.add().node_def.add(op="WriteFile")
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(FrozenGraphError, match=r"\(WriteFile\)"):
        frozen_graph.read(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (graph_of({}, nodes=[("n", "Const", "")]).SerializeToString(), "is a SavedModel, not a frozen graph"),
        (b'node {\n  name: "image_tensor"\n  op: "Placeholder"\n}\n', "is a graph written as text"),
        (b"\x89HDF\r\n\x1a\n" + bytes(range(256)), "is damaged, cut short or not a frozen graph"),
        (b"", "holds no graph"),
    ],
)
def test_files_of_another_kind(tmp_path, data, words):
    path = tmp_path / "frozen_inference_graph.pb"
    path.write_bytes(data)
    with pytest.raises(FrozenGraphError, match=words):
        frozen_graph.read(path)


def test_a_file_cut_short_and_one_that_is_not_there(tmp_path):
    path = written(tmp_path, DETECTOR)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FrozenGraphError, match="is damaged, cut short or not a frozen graph"):
        frozen_graph.read(path)
    with pytest.raises(FrozenGraphError, match=r"absent\.pb: cannot be read \(No such file or directory\)"):
        frozen_graph.read(tmp_path / "absent.pb")
