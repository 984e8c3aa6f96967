"""Switches for slow tests and tests that need the network; fixtures that several packages share."""

import os
import pathlib
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TFOD's numbers were recorded with oneDNN's kernels, which TensorFlow chooses by itself only on CPUs with AVX-512. With
# batch norm in training the others' numbers differ by more than the tolerances.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import pytest

from tests.support import bad_inputs, outside_folders
from tests.support import browser as browsers

SWITCHES = {
    "slow": ("--runslow", "run the slow tests too"),
    "network": ("--runnetwork", "run the tests that fetch programs from the package index too"),
}


def pytest_addoption(parser):
    for switch, help_text in SWITCHES.values():
        parser.addoption(switch, action="store_true", default=False, help=help_text)


def pytest_configure(config):
    # A variable that names no folder ends the run here, before the first test.
    outside_folders.reference_folder()
    outside_folders.data_folder()


def pytest_collection_modifyitems(config, items):
    for marker, (switch, _) in SWITCHES.items():
        if config.getoption(switch):
            continue
        skip = pytest.mark.skip(reason=f"{marker}; run with {switch}")
        for item in items:
            if marker in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Random weights are the same in each run, whichever tests ran before; so are those of fixtures."""
    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].utils.set_random_seed(1)


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal():
    """What runs in the background may ignore Ctrl-C and hang-ups, and so would the programs that tests send them to."""
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def op_determinism_ends_with_the_test():
    """batch_infer makes TensorFlow deterministic for its process; random operations without a seed are errors then."""
    yield
    config = sys.modules.get("tensorflow.python.framework.config")
    if config is not None and config.is_op_determinism_enabled():
        config.disable_op_determinism()


@pytest.fixture(scope="session")
def bad_inputs_dir() -> pathlib.Path:
    """The folder of damaged and unusual images and XML, see tests/support/bad_inputs.py."""
    folder = bad_inputs.folder()
    if folder is None:
        pytest.skip(bad_inputs.ABSENT)
    return folder


@pytest.fixture(scope="session")
def reference_dir() -> pathlib.Path:
    """The folder of numbers that TFOD computed; the part of it in tests/fidelity/fixtures where no other is named."""
    return outside_folders.reference_folder()


@pytest.fixture
def saved_figures(monkeypatch) -> list:
    """The matplotlib figures that a test writes, in order, so that it can read what is in them."""
    from matplotlib.figure import Figure

    figures, savefig = [], Figure.savefig

    def noted(figure, *arguments, **options):
        figures.append(figure)
        return savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", noted)
    return figures


@pytest.fixture(scope="session")
def hand_made_model(tmp_path_factory) -> pathlib.Path:
    """A model folder that is ready in a second; what it finds is said in hand_made_model.py."""
    from tests.support import hand_made_model

    return hand_made_model.save(tmp_path_factory.mktemp("exported_models") / "hand_made")


@pytest.fixture(scope="session")
def guarded_model(hand_made_model, tmp_path_factory) -> pathlib.Path:
    """The hand-made model with a domain guard, see guarded_model.py."""
    from tests.support import guarded_model

    return guarded_model.save(hand_made_model, tmp_path_factory.mktemp("exported_models") / "guarded")


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
        exporter.ExportOptions(max_batch=2),
    )
    return output


@pytest.fixture(scope="session")
def shipped_models(tiny_exported_model, tmp_path_factory) -> pathlib.Path:
    """A folder as tfod_csf/shipped_models/, with the tiny exported model packed as csf_tiny 1.0."""
    from tfod_csf.export import packing
    from tfod_csf.model_folder import ModelFolder

    folder = tmp_path_factory.mktemp("shipped_models")
    card = tmp_path_factory.mktemp("card") / "card.md"
    card.write_text("# csf_tiny\n\nUntrained; finds nothing that is there.\n")
    packing.pack(ModelFolder.open(tiny_exported_model), folder / "csf_tiny", "1.0", card)
    return folder


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; tests are skipped where there is none."""
    with browsers.running() as running:
        yield running
