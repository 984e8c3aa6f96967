import pathlib

import pytest
from google.protobuf import text_format

from tests.support import tiny_training
from tfod_csf.config.protos import pipeline_pb2


@pytest.fixture
def config_text(records_dir) -> str:
    return tiny_training.config_text(records_dir)


@pytest.fixture
def config(config_text) -> pipeline_pb2.TrainEvalPipelineConfig:
    """A fresh config of the tiny network on the tiny records, for a test to change."""
    return text_format.Parse(config_text, pipeline_pb2.TrainEvalPipelineConfig())


@pytest.fixture
def config_path(config_text, tmp_path) -> pathlib.Path:
    path = tmp_path / "pipeline.config"
    path.write_text(config_text)
    return path
