import numpy as np
import pytest
from PIL import Image

from tfod_csf.benchmarks.csf_small import cell_classifier
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.config import network_presets, paper_settings
from tfod_csf.config.pipeline_config import load_pipeline_config, save_pipeline_config
from tfod_csf.modeling import model_builder
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.training.checkpoints import fine_tuning


@pytest.fixture
def images(tmp_path):
    """One image: a blue cell of 40 x 20 px in its upper left corner, a green one, a red cell and a doubtful cell."""
    pixels = np.full((100, 120, 3), 250, np.uint8)
    pixels[0:20, 0:40] = (0, 0, 200)
    pixels[60:90, 80:110] = (0, 200, 0)
    Image.fromarray(pixels).save(tmp_path / "cells.png")
    objects = [
        LabeledObject("monocyte", 0, 0, 40, 20),
        LabeledObject("unknown", 80, 60, 110, 90),
        LabeledObject("erythrocyte", 50, 50, 60, 60),
        LabeledObject("not_sure", 50, 50, 60, 60),
    ]
    return [SourceImage(tmp_path / "cells.png", "pbc_dense", "block_00", objects)]


def test_crops_are_squares_around_white_cells(images):
    crops, labels = cell_classifier.white_cells(images)
    assert crops.shape == (2, 112, 112, 3)
    assert [cell_classifier._NAMES[label] for label in labels] == ["monocyte", "unknown"]
    assert (crops[:, 56, 56] == [[0, 0, 200], [0, 200, 0]]).all()
    # The first square has sides of 52 px around (20, 10): the cell is in rows 112 / 52 * (16 to 36) = 34 to 78.
    assert (crops[0, 36:76, 56] == (0, 0, 200)).all()
    assert (crops[0, 80:, 56] == 250).all()
    assert (crops[0, 10, 56] == 0).all()  # beyond the image


def test_the_backbone_is_what_a_detector_starts_from(images, tmp_path):
    config = tmp_path / "pipeline.config"
    save_pipeline_config(paper_settings.generate(network_presets.network_preset("resnet18")), config)
    prefix = cell_classifier.train(images, config, 1, tmp_path / "start")
    detector = model_builder.build(load_pipeline_config(config).model, is_training=True)
    detector.build_variables()
    extractor = detector.feature_extractor
    halves = (*extractor.proposal_features.variables, *extractor.box_classifier_features.variables)
    before = [value.numpy() for value in halves]
    report = fine_tuning.restore_fine_tune_checkpoint(detector, prefix, "detection")
    assert len(report.restored) == len(halves)
    assert all(np.isfinite(value.numpy()).all() for value in halves)
    assert any((value.numpy() != old).any() for value, old in zip(halves, before, strict=True))
