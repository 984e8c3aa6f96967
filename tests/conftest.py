"""Switch for slow tests, and the folder of reference material that not every clone has."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def shared_folder() -> pathlib.Path | None:
    """Folder of real images and recorded numbers: TFOD_CSF_SHARED_DIR, or `shared` beside the clone; None if absent."""
    folder = pathlib.Path(os.environ.get("TFOD_CSF_SHARED_DIR", REPOSITORY.parent / "shared"))
    return folder if folder.is_dir() else None


def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true", default=False, help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow; run with --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
    folder = shared_folder()
    if folder is None:
        pytest.skip("the folder of real images and recorded numbers is absent (TFOD_CSF_SHARED_DIR)")
    return folder


@pytest.fixture(scope="session")
def hand_made_model(tmp_path_factory) -> pathlib.Path:
    """A model folder that is ready in a second; what it finds is said in hand_made_model.py."""
    from tests.support import hand_made_model

    return hand_made_model.save(tmp_path_factory.mktemp("exported_models") / "hand_made")


@pytest.fixture(scope="session")
def records_dir(tmp_path_factory) -> pathlib.Path:
    """The tiny records that tiny_training.py describes."""
    from tests.support import tiny_training

    folder = tmp_path_factory.mktemp("tiny_records")
    tiny_training.make_records(folder)
    return folder


@pytest.fixture(scope="session")
def trained_run(records_dir, tmp_path_factory) -> dict:
    """A short training run of the tiny network: model_dir, config_path, log."""
    from tests.support import tiny_training

    return tiny_training.run_and_evaluate(tmp_path_factory.mktemp("tiny_run"), records_dir)


@pytest.fixture(scope="session")
def tiny_checkpoint(records_dir, tmp_path_factory) -> pathlib.Path:
    """Folder with pipeline.config and ckpt-1 of an untrained tiny network, see tiny_export.py."""
    from tests.support import tiny_export

    folder = tmp_path_factory.mktemp("tiny_checkpoint")
    tiny_export.write_checkpoint(folder, records_dir)
    return folder


@pytest.fixture(scope="session")
def tiny_exported_model(tiny_checkpoint, records_dir, tmp_path_factory) -> pathlib.Path:
    """Model folder of the tiny network, image_tensor with serving_batch, written by the exporter."""
    from tfod_csf.config.pipeline_config import load_pipeline_config
    from tfod_csf.export import exporter
    from tfod_csf.label_map import load_label_map

    output = tmp_path_factory.mktemp("exported_models") / "tiny"
    exporter.export(
        "image_tensor",
        load_pipeline_config(tiny_checkpoint / "pipeline.config"),
        tiny_checkpoint,
        output,
        load_label_map(records_dir / "label_map.pbtxt"),
        exporter.ExportOptions(batch_signature=True),
    )
    return output
