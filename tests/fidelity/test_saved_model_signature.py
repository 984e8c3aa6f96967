"""Exported signatures, folder and callable object against those recorded from TFOD (saved_model_signature.json)."""

import json
import re

import pytest
from google.protobuf import text_format

from tfod_csf.config.protos import pipeline_pb2

INPUT_TYPES = ("image_tensor", "float_image_tensor", "encoded_image_string_tensor", "tf_example")


def _recorded_type(path, input_type):
    """What was recorded of one input type, with its pipeline_config_text ("(same)" is image_tensor's)."""
    types = json.loads(path.read_text(encoding="utf-8"))
    if input_type not in types:
        pytest.skip(f"{path.name} has no {input_type}")
    text = types[input_type]["pipeline_config_text"]
    return {**types[input_type], "text": types["image_tensor"]["pipeline_config_text"] if text == "(same)" else text}


@pytest.fixture(scope="session")
def recorded_network():
    """From a config's text to (model, module); the network of equal texts is built once."""
    from tfod_csf.export.detection_module import DetectionModule
    from tfod_csf.modeling import model_builder

    built = {}

    def build(recorded_type, input_type):
        config = text_format.Parse(recorded_type["text"], pipeline_pb2.TrainEvalPipelineConfig())
        key = config.model.SerializeToString()
        if key not in built:
            built[key] = model_builder.build(config.model, is_training=False)
            built[key].build_variables()
        return built[key], DetectionModule(built[key], config.model.faster_rcnn, input_type)

    return build


@pytest.mark.recorded("saved_model_signature*.json")
@pytest.mark.parametrize("input_type", INPUT_TYPES)
def test_names_dtypes_and_shapes(recorded, input_type, recorded_network):
    expected = _recorded_type(recorded, input_type)
    _, module = recorded_network(expected, input_type)
    function = module.__call__.get_concrete_function()
    positional, named = function.structured_input_signature
    (spec,) = [*positional, *named.values()]
    (name,) = expected["inputs"]
    assert spec.name == name == "input_tensor"
    assert (spec.shape.as_list(), spec.dtype.name) == (
        expected["inputs"][name]["shape"],
        expected["inputs"][name]["dtype"],
    )
    found = {
        key: {"shape": tensor.shape.as_list(), "dtype": tensor.dtype.name}
        for key, tensor in function.structured_outputs.items()
    }
    assert found == {
        key: {"shape": value["shape"], "dtype": value["dtype"]} for key, value in expected["outputs"].items()
    }


@pytest.mark.recorded("saved_model_signature*.json")
def test_folder_and_checkpoint_keys(recorded, tiny_exported_model):
    import tensorflow as tf

    expected = json.loads(recorded.read_text(encoding="utf-8"))["image_tensor"]
    found = {
        path.relative_to(tiny_exported_model).as_posix() + ("/" if path.is_dir() else "")
        for path in tiny_exported_model.rglob("*")
    }
    own = {path for path in found if path.startswith("self_test/")} | {"label_map.pbtxt", "model.json", "SHA256SUMS"}
    assert found - own == set(expected["directory"])
    keys = {key for key, _ in tf.train.list_variables(str(tiny_exported_model / "checkpoint" / "ckpt-0"))}
    other = {key for key in keys if not key.startswith("model/")}
    assert other == set(expected["checkpoint_non_model_keys"])


@pytest.mark.recorded("saved_model_signature*.json")
@pytest.mark.parametrize("input_type", INPUT_TYPES)
@pytest.mark.slow
def test_loaded_object_is_callable_as_tfods(recorded, input_type, recorded_network, tmp_path):
    import numpy as np
    import tensorflow as tf

    expected = _recorded_type(recorded, input_type)
    _, module = recorded_network(expected, input_type)
    tf.saved_model.save(module, str(tmp_path), signatures=module.__call__.get_concrete_function())
    loaded = tf.saved_model.load(str(tmp_path))
    assert list(loaded.signatures) == expected["signatures"]
    (function,) = loaded.__call__.concrete_functions
    assert _parts(function.pretty_printed_signature()) == _parts(expected["callable_arguments"])
    if input_type == "image_tensor":
        runtime = expected["runtime_example_50x70_image"]
        images = np.random.default_rng(0).integers(0, 255, [1, 50, 70, 3]).astype(np.uint8)
        outputs = loaded(tf.constant(images))
        found = {key: {"shape": value.shape.as_list(), "dtype": value.dtype.name} for key, value in outputs.items()}
        assert found == runtime


def _parts(signature: str) -> tuple[str, set[str]]:
    """(what stands before the outputs, the outputs' entries, whose order TensorFlow does not keep)."""
    head, _, outputs = signature.partition("Output Type:")
    return head, set(re.findall(r"\['\w+', TensorSpec\([^)]*\)[^)]*\)\]", outputs))
