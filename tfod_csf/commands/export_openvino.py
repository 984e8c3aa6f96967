"""Write an exported model in the form that OpenVINO runs: float32, bfloat16 or int8.

The new folder is used wherever a model folder is: batch_infer, evaluate, calibrate, benchmark. int8 computes the layers
that take the time with 8 bits, in ranges measured on --calibration_input_path or --calibration_images_dir (images like
those of later, best the training record; no annotations are used); predictions, proposals and suppression stay in
float32. It is faster where the processor has int8 instructions (VNNI, AMX): benchmark --parts=formats tells, and tells
what it costs on annotated images. The temperature and the confusion matrix of the model are not copied: run
calibrate and evaluate --store on the new folder. Needs the extra [openvino].

Example: tfod_csf export_openvino --model=exported_models/csf --output_dir=exported_models/csf_fp32
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
common_flags.define_exported_model(FLAGS)
common_flags.define_output_dir(FLAGS, "Model folder to write.")
flags.DEFINE_enum(
    "format",
    "fp32",
    ["fp32", "bf16", "int8"],
    "Number format of the layers that take the time. bf16 needs a processor with bfloat16 instructions; without them "
    "it is computed in float32, with a warning.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "calibration_input_path", None, "TFRecord of images for int8: a file, a glob or name@N.", flag_values=FLAGS
)
flags.DEFINE_string("calibration_images_dir", None, "Folder of images for int8.", flag_values=FLAGS)
flags.DEFINE_integer(
    "calibration_images", 300, "Images used, spread evenly over all.", lower_bound=1, flag_values=FLAGS
)
common_flags.define_trust(FLAGS)


def main() -> None:
    """Checks model and flags, exports, and says how far IR and SavedModel differ."""
    from tfod_csf.files import folder_lock
    from tfod_csf.model_folder import ModelFolder

    output_dir = pathlib.Path(FLAGS.output_dir)
    is_calibrated = [bool(FLAGS.calibration_input_path), bool(FLAGS.calibration_images_dir)]
    if sum(is_calibrated) != (FLAGS.format == "int8"):
        raise UserError(
            "--format=int8 takes --calibration_input_path (a TFRecord) or --calibration_images_dir (a folder of "
            "images), one of the two; other formats take neither."
        )
    source = ModelFolder.open(FLAGS.model, FLAGS.trust)

    from tfod_csf.export import openvino_export

    openvino_export.check_export(source, output_dir)
    with folder_lock.only_writer(output_dir, swapped=True):
        differences = openvino_export.export(source, output_dir, FLAGS.format, _calibration_images(source.label_map))
    found = (
        f"IR and SavedModel were compared on {differences.num_cells} cells: scores differ by "
        f"{differences.mean_score:.2g} on average and {differences.largest_score:.2g} at most, boxes by "
        f"{differences.largest_box_px:.2g} px at most, {differences.num_missing} are missing."
    )
    if not differences.num_cells:
        found = (
            "neither it nor the SavedModel found a cell in the images that they were compared on, so the comparison "
            "says nothing; compare them on your own with benchmark --parts=formats."
        )
    print(f"Wrote {output_dir}; {found}")
    if source.info.get("calibration") or source.classification:
        print(
            f"The temperature and the confusion matrix of {FLAGS.model} are not in it: they were measured on other "
            "arithmetic; run calibrate and evaluate --store on the new folder."
        )


def _calibration_images(label_map):
    if FLAGS.format != "int8":
        return None
    from tfod_csf.export import calibration_images
    from tfod_csf.problems import ProblemLog

    problems, number = ProblemLog(), FLAGS.calibration_images
    if FLAGS.calibration_images_dir:
        return calibration_images.of_folder(FLAGS.calibration_images_dir, label_map, number, problems)
    return calibration_images.of_records(FLAGS.calibration_input_path, label_map, number, problems)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "export_openvino"))
