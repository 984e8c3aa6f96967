"""Every test here runs on all recorded files of its kind, from the folder that TFOD_REFERENCE_DIR names.

Without the variable it runs on the files in fixtures/. A test says which files it checks and gets their paths one by
one as `recorded`:

    @pytest.mark.recorded("resize*.npz")
    def test_sizes(recorded): ...
"""

import importlib.util
import pathlib

import numpy as np
import pytest

from tests.support.outside_folders import REFERENCE, reference_folder


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("recorded")
    if marker is None:
        return
    (pattern,) = marker.args
    paths = sorted(reference_folder().glob(pattern))
    reason = f"no {pattern} in {reference_folder()}; {REFERENCE} names another folder of recorded numbers"
    absent = pytest.param(None, marks=pytest.mark.skip(reason=reason), id="absent")
    metafunc.parametrize("recorded", [pytest.param(path, id=path.name) for path in paths] or [absent])


def _weight_rule(folder: pathlib.Path):
    spec = importlib.util.spec_from_file_location("recorded_weights", folder / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def weight_rule():
    """From the folder of fixtures to their module weights.py, which makes every weight from its checkpoint key."""
    return _weight_rule


@pytest.fixture(scope="session")
def build_recorded_model():
    """From the path of a fixture and is_training to (network of the config beside it, with its weights; its arrays)."""
    from tfod_csf.config import pipeline_config
    from tfod_csf.modeling import model_builder
    from tfod_csf.training.checkpoints import checkpoint_view

    def build(path: pathlib.Path, is_training: bool):
        arrays = dict(np.load(path))
        config = pipeline_config.load_pipeline_config(path.with_suffix(".config"))
        model = model_builder.build(config.model, is_training=is_training)
        model.build_variables()
        make_weight, salt = _weight_rule(path.parent).make_weight, int(arrays.get("meta/salt", 0))
        for key, variable in checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(model)).items():
            variable.assign(make_weight(key, variable.shape, salt))
        return model, arrays

    return build
