"""TensorFlow 1 checkpoints: the names TFOD restores from, and a converted one's detections."""

import json

import numpy as np
import pytest

from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.modeling import slim_variable_names
from tfod_csf.training.checkpoints import tf1_checkpoints

SAME = "same name on both sides"


def model_names(folder, network):
    """Names of the model's variables, TFOD's list without what nothing depends on."""
    keys = json.loads((folder / f"checkpoint_keys_tf1_{network}.json").read_text(encoding="utf-8"))
    keys = keys.get("variables", keys)
    return [name for name in keys if name != "global_step" and not slim_variable_names.is_unused(name)]


@pytest.mark.recorded("**/finetune_restore_tf1.json")
@pytest.mark.parametrize("case", ["classification", "detection", "detection_load_all"])
def test_which_names_are_restored(recorded, case):
    for network, cases in json.loads(recorded.read_text(encoding="utf-8")).items():
        names = model_names(recorded.parent, network)
        found = tf1_checkpoints.restore_map(names, case.split("_")[0], case.endswith("load_all"))
        expected = cases[case]["checkpoint_name_to_model_variable"]
        expected = {name: name for name in expected[SAME]} if SAME in expected else expected
        # From the model's side; TFOD's map also names what the checkpoint lacks or has in another shape.
        restored = {name: source for source, name in expected.items() if not slim_variable_names.is_unused(name)}
        absent = {*cases[case]["in_map_but_not_in_checkpoint"], *cases[case]["in_map_but_shape_differs"]}
        assert {name: source for name, source in found.items() if source not in absent} == restored, network
        assert absent <= set(found.values()), network


@pytest.mark.recorded("**/moving_average_names_tf1.json")
def test_which_values_are_moving_averages(recorded):
    written = json.loads(recorded.read_text(encoding="utf-8"))["replace_variable_values_with_moving_averages"]
    names = model_names(recorded.parent, "inception_v2")
    sources = tf1_checkpoints.sources(names, ["Conv/weights/ExponentialMovingAverage"], use_moving_averages=True)
    counts = {"plain": {}, "average": {}}
    for name, source in sources.items():
        leaf, kind = name.rsplit("/", 1)[1], "plain" if source == name else "average"
        counts[kind][leaf] = counts[kind].get(leaf, 0) + 1
    assert counts["average"] == written["taken_from_average_by_leaf"]
    assert counts["plain"] | {"global_step": 1} == written["plain_by_leaf"]


@pytest.mark.recorded("**/forward_9_tf1_*.npz")
@pytest.mark.slow
def test_a_converted_checkpoint_gives_tfods_detections(recorded, build_recorded_model, tmp_path):
    import tensorflow as tf

    from tests.support import tf1_checkpoints as written
    from tfod_csf.export import checkpoint_conversion, exporter
    from tfod_csf.export.detection_module import DetectionModule

    # The conversion builds a network of its own; this one is for the values that TensorFlow 1 would have stored.
    model, arrays = build_recorded_model(recorded, is_training=False)
    values = {name: variable.numpy() for name, variable in slim_variable_names.tf1_variables(model).items()}
    written.save(tmp_path / "tf1" / "model.ckpt-5", values | {"global_step": np.int64(5)})
    config = load_pipeline_config(recorded.with_suffix(".config"))
    conversion = checkpoint_conversion.convert(config, tmp_path / "tf1", tmp_path / "converted")
    assert (conversion.num_variables, conversion.unused, conversion.step) == (len(values), (), 5)

    restored = exporter.restored_model(config, exporter.latest_checkpoint(tmp_path / "converted"))
    detect = DetectionModule(restored, config.model.faster_rcnn, "image_tensor").batch_function()
    found = detect(tf.constant(arrays["in/images"]))
    # The last bit decides proposals at the far edge (test_forward.py); raw outputs have one row for each proposal.
    rows = ~arrays["meta/far_edge_proposals"]
    for name, tolerance in (("raw_detection_scores", 2e-5), ("raw_detection_boxes", 3e-5)):
        np.testing.assert_allclose(found[name].numpy()[rows], arrays[f"det/{name}"][rows], atol=tolerance, err_msg=name)
    np.testing.assert_array_equal(found["num_detections"], arrays["det/num_detections"])
