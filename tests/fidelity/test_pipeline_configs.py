"""Published Faster R-CNN configs, of TensorFlow 1 and 2, parse as in TFOD and are supported, or refused by name."""

import json
import math

import pytest
from google.protobuf import json_format

from tfod_csf.config import extractor_types
from tfod_csf.config.pipeline_config import load_pipeline_config, save_pipeline_config
from tfod_csf.config.supported import UnsupportedConfigError, check_supported

FOLDERS = ("pipeline_configs", "tf1/pipeline_configs_tf1")
# Configs of a supported type that ask for something else that is not.
REFUSED_FIELDS = {
    "tf1_faster_rcnn_resnet101_ava_v2.1.config": "train_config.merge_multiple_label_boxes: true",
}


@pytest.fixture
def config_paths(reference_dir):
    paths = sorted(path for folder in FOLDERS for path in (reference_dir / folder).glob("*.config"))
    if not paths:
        pytest.skip(f"no pipeline_configs/*.config in {reference_dir} (TFOD_REFERENCE_DIR)")
    return paths


def _same(left, right) -> bool:
    """Equal, floats to the 7 digits that float32 keeps."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-6)
    return left == right


def test_parsed_fields_are_the_recorded_ones(config_paths, reference_dir):
    recorded = {}
    for folder in FOLDERS:
        recorded |= json.loads((reference_dir / folder / "parsed.json").read_text(encoding="utf-8"))
    for path in config_paths:
        if path.name in recorded:
            parsed = json_format.MessageToDict(load_pipeline_config(path), preserving_proto_field_name=True)
            assert _same(parsed, recorded[path.name]), path.name


def test_saving_keeps_every_field(config_paths, tmp_path):
    for path in config_paths:
        config = load_pipeline_config(path)
        save_pipeline_config(config, tmp_path / "again.config")
        assert load_pipeline_config(tmp_path / "again.config") == config, path.name


def test_configs_of_supported_types_are_supported_and_others_refused_by_type(config_paths):
    for path in config_paths:
        config = load_pipeline_config(path)
        extractor_type = config.model.faster_rcnn.feature_extractor.type
        if path.name in REFUSED_FIELDS:
            with pytest.raises(UnsupportedConfigError) as error:
                check_supported(config)
            assert str(error.value).startswith(REFUSED_FIELDS[path.name])
            continue
        if extractor_type in extractor_types.SUPPORTED:
            check_supported(config)
            continue
        with pytest.raises(UnsupportedConfigError) as error:
            check_supported(config, source=path.name)
        message = str(error.value)
        assert message.startswith(f'{path.name}: model.faster_rcnn.feature_extractor.type: "{extractor_type}"')
        assert message.count("; also ") == 0
        assert any(message.endswith(f"use {name}.") for name in extractor_types.SUPPORTED)
