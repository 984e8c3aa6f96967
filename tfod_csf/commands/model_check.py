"""Check that exported models still find what they found when they were exported.

Every exported model folder carries a self-test: drawn images, and the detections in them at the time of the export.
They are computed again and compared; status 1 says that a model gives other detections here. Run it where a model was
copied to and after TensorFlow, OpenVINO or drivers were updated. That files are unchanged is checked by SHA256SUMS,
whenever a model is opened. The self-test does not tell how good a model is: evaluate does, on annotated images.

Example: tfod_csf model_check exported_models/csf
"""

import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.inference.detection_differences import DetectionDifferences

FLAGS = flags.FlagValues()
BARE_FLAG = "model"
flags.DEFINE_multi_string(
    "model",
    None,
    common_flags.model_help("Exported model folder; several may be given, also without --model="),
    required=True,
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)


def main() -> None:
    """Runs the self-test of each model and prints a line for it."""
    from tfod_csf.inference.self_test import SelfTest
    from tfod_csf.model_folder import ModelFolder

    opened, failed = [], []
    for path in FLAGS.model:  # the other models are checked, and what was found about those before is not lost
        try:
            folder = ModelFolder.open(path, FLAGS.trust)
            opened.append((folder, SelfTest.read(folder.path)))
        except UserError as error:
            failed.append(str(error).rstrip("."))
    if not opened:
        raise UserError(f"{' / '.join(failed)}.")

    from tfod_csf.inference.detector import Detector

    for folder, test in opened:
        try:
            differences = test.run(Detector.open(folder))
        except UserError as error:
            failed.append(f"{folder.path}: does not run here ({str(error).rstrip('.')})")
            continue
        faults = test.faults(differences)
        failed += [f"{folder.path}: {'; '.join(faults)}"] if faults else []
        print(f"{folder.path}: {_found(len(test.images), test.min_score, differences)}")
    if failed:
        raise UserError(
            f"{' / '.join(failed)}. Here the model gives other detections than where it was exported, or none: do not "
            "use its results; install the versions that its model.json names, or export and evaluate the model here."
        )


def _found(num_images: int, min_score: float, differences: "DetectionDifferences") -> str:
    """One model's result in words."""
    if not differences.num_cells:
        return (
            f"finds nothing in the {num_images} drawn images with a score of {min_score:.2g} or more, as when it was "
            "exported; that it finds cells is not tested by them."
        )
    return (
        f"{differences.num_cells - differences.num_missing} of {differences.num_cells} detections (the export's and "
        f"today's) in {num_images} drawn images are also in the other run; scores differ by at most "
        f"{differences.largest_score:.2g}, boxes by {differences.largest_box_px:.2g} px."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "model_check", bare_flag=BARE_FLAG))
