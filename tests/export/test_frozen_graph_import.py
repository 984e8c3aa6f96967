"""import_frozen_graph on a graph made by hand: the folder, its detections, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from tests.support import frozen_graphs
from tfod_csf.commands import command_line
from tfod_csf.commands import import_frozen_graph as command
from tfod_csf.inference.detector import Detector
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.model_folder import ModelFolder

CONFIG = (
    "model { faster_rcnn { num_classes: %d image_resizer { fixed_shape_resizer { height: 64 width: 64 } } "
    "second_stage_post_processing { batch_non_max_suppression { max_total_detections: 3 } } } }\n"
)


@pytest.fixture
def run(tmp_path, capsys):
    """From flags to (exit status, what was printed); the graph is PATH/graph.pb, the model folder PATH/out."""

    def run_command(*arguments, names=("monocyte", "lymphocyte")):
        save_label_map(label_map_from_names(names), tmp_path / "label_map.pbtxt")
        given = [
            f"--frozen_graph={tmp_path / 'graph.pb'}",
            f"--label_map_path={tmp_path / 'label_map.pbtxt'}",
            f"--output_directory={tmp_path / 'out'}",
            *arguments,
        ]
        status = command_line.run(command.main, command.FLAGS, command.__doc__, "import_frozen_graph", given)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    yield run_command
    for name in command.FLAGS:
        command.FLAGS[name].value = command.FLAGS[name].default
    flags.FLAGS.unparse_flags()


def picture(gray):
    return np.full([40, 60, 3], gray, np.uint8)


def test_the_folder_is_a_model_that_is_vouched_for_and_each_reader_finds_what_the_graph_does(run, tmp_path):
    frozen_graphs.save(tmp_path / "graph.pb")
    (tmp_path / "pipeline.config").write_text(CONFIG % 2)
    status, text = run(f"--pipeline_config_path={tmp_path / 'pipeline.config'}", "--min_score=0.25")
    assert (status, "SavedModel and frozen graph differ by at most 0." in text) == (0, True), text
    model = ModelFolder.open(tmp_path / "out")
    assert model.vouched_for_by == "SHA256SUMS"
    assert model.thresholds == {"min_score": 0.25, "unknown_below": 0.8}
    assert model.info["limits"]["max_total_detections"] == 3
    assert model.info["frozen_graph"]["file"] == "graph.pb"
    # Gray 51 is 0.2 of white, so the scores are 0.8 and 0.4; the third row is padding.
    found = Detector.open(model).detect(picture(51))
    np.testing.assert_allclose(found.scores, [0.8, 0.4], atol=1e-6)
    np.testing.assert_allclose(found.boxes, [[0, 0, 40, 60], [10, 15, 30, 45]])
    assert found.classes.tolist() == [2, 1]

    images = np.stack([picture(0), picture(102), picture(255)])
    expected = [[1.0, 0.5, 0.0], [0.6, 0.3, 0.0], [0.0, 0.0, 0.0]]
    loaded = tf.saved_model.load(str(model.saved_model_dir))
    batch = loaded.signatures["serving_batch"](input_tensor=tf.constant(images))
    np.testing.assert_allclose(batch["detection_scores"], expected, atol=1e-6)
    np.testing.assert_allclose(loaded(tf.constant(images[1:2]))["detection_scores"], expected[1:2], atol=1e-6)

    # The signature as readers take it that do not know TensorFlow 2's functions (OpenVINO, TensorFlow Serving).
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(model.saved_model_dir))
        signature = graph.signature_def["serving_default"]
        names = {name: info.name for name, info in signature.outputs.items()}
        outputs = session.run(names, {signature.inputs["input_tensor"].name: images[1:2]})
    assert set(outputs) == {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
    np.testing.assert_allclose(outputs["detection_scores"], expected[1:2], atol=1e-6)
    calls = {node.name for node in graph.graph_def.node if node.op.endswith("PartitionedCall")}
    assert calls
    assert not calls.intersection(name.partition(":")[0] for name in names.values())


@pytest.mark.slow
def test_encoded_pictures(run, tmp_path):
    frozen_graphs.save(tmp_path / "graph.pb", input_type="encoded_image_string_tensor")
    assert run()[0] == 0
    model = ModelFolder.open(tmp_path / "out")
    assert (model.info["input_type"], model.info["signatures"]) == ("encoded_image_string_tensor", ["serving_default"])
    np.testing.assert_allclose(Detector.open(model).detect(picture(51)).scores, [0.8, 0.4], atol=1e-6)


@pytest.mark.parametrize(
    ("graph", "names", "words"),
    [
        ({"num_classes": 3}, ("one", "two"), "label_map.pbtxt: its last id is 2, but the frozen graph has 3 classes"),
        ({"num_classes": None}, ("one", "two"), "does not tell how many classes it has; give the pipeline.config"),
        ({"classes": (3.0, 1.0, 1.0)}, ("one", "two"), "gives class 3; expected whole numbers from 1 to 2"),
        ({"classes": (1.0, 0.0, 1.0)}, ("one", "two"), "gives class 0; expected"),
        ({"input_shape": (8, None, None, 3)}, ("one", "two"), "is uint8 (8, None, None, 3); expected uint8"),
        ({"input_shape": (None, None, None, 1)}, ("one", "two"), "expected uint8 (1, None, None, 3)"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_writes_nothing(run, tmp_path, graph, names, words):
    frozen_graphs.save(tmp_path / "graph.pb", **graph)
    status, text = run(names=names)
    assert status == 1
    assert words in text
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.pb", "label_map.pbtxt"]


def test_the_config_tells_the_classes_where_the_graph_does_not_and_must_agree_where_it_does(run, tmp_path):
    (tmp_path / "pipeline.config").write_text(CONFIG % 3)
    given = f"--pipeline_config_path={tmp_path / 'pipeline.config'}"
    frozen_graphs.save(tmp_path / "graph.pb", num_classes=None, input_shape=(None, 40, 60, 3))
    assert run(given, names=("one", "two", "three"))[0] == 0
    model = ModelFolder.open(tmp_path / "out")
    assert model.label_map.names == ["one", "two", "three"]
    # An input of one size keeps it.
    signature = tf.saved_model.load(str(model.saved_model_dir)).signatures["serving_default"]
    assert signature.structured_input_signature[1]["input_tensor"].shape.as_list() == [1, 40, 60, 3]
    frozen_graphs.save(tmp_path / "graph.pb", num_classes=2)
    status, text = run(given)
    assert (status, "has 2 classes, but the pipeline.config says num_classes: 3" in text) == (1, True), text
    assert ModelFolder.open(tmp_path / "out").label_map.names == ["one", "two", "three"]
