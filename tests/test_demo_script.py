"""run_demo.sh: what it freezes, by the checkpoint's keys, in which the order of the layers can be read."""

import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parent.parent
# A process of its own, as a training is: Keras numbers names on with every network that is built.
FROZEN_KEYS = """
import sys
from tfod_csf import shipped_models
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.modeling import model_builder
from tfod_csf.training import optimizer
from tfod_csf.training.checkpoints.checkpoint_view import checkpoint_view, variables_by_key

folder = next(iter(shipped_models.__path__))
model = model_builder.build(load_pipeline_config(f"{folder}/csf_small/pipeline.config").model, is_training=True)
model.build_variables()
trained = {id(one) for one in optimizer.select_trainable(model.trainable_variables, freeze_variables=sys.argv[1:])}
trainable = {id(one) for one in model.trainable_variables}
for key, variable in variables_by_key(model=checkpoint_view(model)).items():
    if id(variable) in trainable - trained:
        print(key)
"""


def test_the_first_group_of_blocks_is_frozen_and_nothing_else():
    patterns = re.findall(r'freeze_variables:"([^"]+)"', (REPOSITORY / "run_demo.sh").read_text())
    command = [sys.executable, "-c", FROZEN_KEYS, *patterns]
    keys = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    layers = [
        re.match(r"model/_feature_extractor_for_proposal_features/layer_with_weights-(\d+)/", key) for key in keys
    ]
    # Convolution and normalization; a block with a shortcut, and one without: 1 + 2 + 9 + 6 variables.
    assert sorted(int(layer[1]) for layer in layers) == [0] + [1] * 2 + [2] * 9 + [3] * 6
