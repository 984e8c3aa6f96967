"""pipeline.config: what is read, what is refused and with which words, what an override does."""

import pytest

from tfod_csf.config.pipeline_config import ConfigError, config_text, load_pipeline_config, override
from tfod_csf.config.pipeline_config import save_pipeline_config as save


def _load(tmp_path, text):
    path = tmp_path / "pipeline.config"
    path.write_text(text, encoding="utf-8")
    return load_pipeline_config(path)


def _error(tmp_path, text):
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, text)
    return str(error.value).replace(str(tmp_path), "DIR")


def test_round_trip_keeps_every_set_field_and_unicode_paths(tmp_path):
    config = _load(tmp_path, 'train_config { batch_size: 4 } train_input_reader { label_map_path: "数据/é.pbtxt" }')
    save(config, tmp_path / "again.config")
    assert load_pipeline_config(tmp_path / "again.config") == config
    assert "数据/é.pbtxt" in (tmp_path / "again.config").read_text(encoding="utf-8")
    assert config.train_config.HasField("batch_size")
    assert not config.train_config.HasField("num_steps")


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "bom.config"
    path.write_bytes(b"\xef\xbb\xbftrain_config {\r\n  batch_size: 4\r\n}\r\n")
    assert load_pipeline_config(path).train_config.batch_size == 4


def test_mistyped_field_names_line_and_nearest_field(tmp_path):
    assert _error(tmp_path, "model {\n  faster_rcnn {\n    num_clases: 4\n  }\n}") == (
        "DIR/pipeline.config, line 3, column 5: FasterRcnn has no field num_clases; did you mean num_classes?"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model { ssd { } }", "model.ssd is not supported; the model here is model.faster_rcnn."),
        ('model { faster_rcnn { num_classes: "four" } }', 'line 1, column 36: Couldn\'t parse integer: "four".'),
        ("train_config { fine_tune_checkpoint_version: V3 }", "CheckpointVersion"),
        ("train_config {", "line 1"),
        ("optimizer { }", "TrainEvalPipelineConfig has no field optimizer"),
        ('train_input_reader { label_map_path: "C:\\train\\map" }', "train_input_reader.label_map_path"),
        ('train_input_reader { label_map_path: "C:\\x" }', "write / or \\\\ in Windows paths"),
    ],
)
def test_text_that_does_not_parse_is_one_sentence(tmp_path, text, words):
    message = _error(tmp_path, text)
    assert words in message
    assert message.startswith("DIR/pipeline.config")
    assert "tfod_csf.protos" not in message


def test_missing_file_folder_and_other_encoding(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no such file"):
        load_pipeline_config(tmp_path / "absent.config")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_pipeline_config(tmp_path)
    (tmp_path / "gbk.config").write_bytes("# 数据\nmodel { }".encode("gbk"))
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_pipeline_config(tmp_path / "gbk.config")


def test_a_field_written_twice_has_its_last_value_and_a_warning(tmp_path, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        config = _load(tmp_path, "train_config { batch_size: 4 batch_size: 8 }")
    assert config.train_config.batch_size == 8
    assert "batch_size" in caplog.text


def test_override_replaces_scalars_and_oneofs_and_appends_repeated_values(tmp_path):
    config = _load(
        tmp_path,
        "train_config { batch_size: 4 optimizer { adam_optimizer { } } data_augmentation_options "
        "{ random_horizontal_flip { } } }",
    )
    text = (
        "train_config { batch_size: 2 optimizer { momentum_optimizer { } } data_augmentation_options "
        "{ random_vertical_flip { } } }"
    )
    changed = override(config, text)
    assert changed.train_config.batch_size == 2
    assert changed.train_config.optimizer.WhichOneof("optimizer") == "momentum_optimizer"
    assert [step.WhichOneof("preprocessing_step") for step in changed.train_config.data_augmentation_options] == [
        "random_horizontal_flip",
        "random_vertical_flip",
    ]
    assert config.train_config.batch_size == 4
    with pytest.raises(ConfigError, match=r"--config_override, line 1.*did you mean batch_size"):
        override(config, "train_config { batch_sise: 2 }")


def test_empty_config_is_empty_text(tmp_path):
    assert config_text(_load(tmp_path, "")) == ""
