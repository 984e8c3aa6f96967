"""Every test here runs on all recorded files of its kind, from the folder that TFOD_REFERENCE_DIR names.

Without the variable it runs on the files in fixtures/. A test says by one pattern or several which files it checks, and
gets their paths one by one as `recorded`:

    @pytest.mark.recorded("resize*.npz", "later/resize*.npz")
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
    paths = [path for pattern in marker.args for path in sorted(reference_folder().glob(pattern))]
    reason = f"no {' or '.join(marker.args)} in {reference_folder()}; {REFERENCE} names another folder"
    absent = pytest.param(None, marks=pytest.mark.skip(reason=reason), id="absent")
    metafunc.parametrize("recorded", [pytest.param(path, id=path.name) for path in paths] or [absent])


def _weight_rule(folder: pathlib.Path):
    """The rule in a folder of fixtures or, for a folder inside another, in the one around it."""
    paths = (folder / "weights.py", folder / "weights_tf1.py", folder.parent / "weights.py")
    path = next(path for path in paths if path.is_file())
    spec = importlib.util.spec_from_file_location("recorded_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def weight_rule():
    """From the folder of fixtures to their module weights.py, which makes every weight from its checkpoint key."""
    return _weight_rule


@pytest.fixture(scope="session")
def variables_as_recorded():
    """From a network to its variables by the names in the fixtures: checkpoint keys, or TensorFlow 1 names for slim."""
    from tfod_csf.modeling import slim_variable_names
    from tfod_csf.training.checkpoints import checkpoint_view

    def variables(model):
        if model.feature_extractor.slim_scope is not None:
            return slim_variable_names.tf1_variables(model)
        return checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(model))

    return variables


@pytest.fixture(scope="session")
def build_recorded_model(variables_as_recorded):
    """From the path of a fixture and is_training to (network of the config beside it, with its weights; its arrays)."""
    from tfod_csf.config import pipeline_config
    from tfod_csf.modeling import model_builder

    def build(path: pathlib.Path, is_training: bool):
        arrays = dict(np.load(path))
        config = pipeline_config.load_pipeline_config(path.with_suffix(".config"))
        model = model_builder.build(config.model, is_training=is_training)
        model.build_variables()
        make_weight, salt = _weight_rule(path.parent).make_weight, int(arrays.get("meta/salt", 0))
        for key, variable in variables_as_recorded(model).items():
            weight = make_weight(key, variable.shape, salt)
            # Images in -1..1 instead of gray levels: the kernel that reads them is larger by this factor.
            is_image_kernel = key.endswith("/kernel/.ATTRIBUTES/VARIABLE_VALUE") and variable.shape[-2] == 3
            variable.assign(weight * arrays.get("meta/image_kernel_gain", 1.0) if is_image_kernel else weight)
        return model, arrays

    return build
