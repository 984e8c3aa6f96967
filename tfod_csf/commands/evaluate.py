"""Compares an exported model with labelled images: Pascal and COCO metrics, curves, confusion matrix.

The labelled images are a TFRecord (--input_path) or a folder of LabelImg XML (--images_dir). Writes metrics.json,
metrics.csv, per_class.csv, precision_recall.csv and .png, confusion_matrix.csv and .png, and problems.csv. Cells
labelled `unknown` can be counted (as a class where the label map has it, else as background) or ignored; where there
are any, the reading that is not TFOD's on the same records is written into a folder of its own.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("model", None, "Exported model folder.", flag_values=FLAGS)
flags.DEFINE_string("input_path", None, "TFRecord: a file, a glob or name@N.", flag_values=FLAGS)
flags.DEFINE_string("images_dir", None, "Folder of images labelled with LabelImg.", flag_values=FLAGS)
flags.DEFINE_string("annotations_dir", None, "Folder of their XML; default: beside the images.", flag_values=FLAGS)
flags.DEFINE_list(
    "class_map", [], "Rename or drop classes: OLD=NEW, or OLD= (as create_csf_tf_record).", flag_values=FLAGS
)
flags.DEFINE_boolean("rescale_boxes", False, "Scale boxes of images resized after annotation.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_float("min_score", None, "Operating point; default: the model's own, else 0.5.", flag_values=FLAGS)
flags.DEFINE_float("matching_iou_threshold", 0.5, "IoU of a match (Pascal, confusion matrix).", 0, 1, flag_values=FLAGS)
flags.DEFINE_enum(
    "unknown_boxes",
    "both",
    ["both", "count", "ignore"],
    "Whether detections on cells labelled unknown are counted or ignored.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("strict", False, "End at the first skipped or mended thing.", flag_values=FLAGS)
flags.DEFINE_float(
    "max_skipped_fraction", 0.1, "Exit with an error if more of the images were skipped.", 0, 1, flag_values=FLAGS
)
flags.mark_flags_as_required(["model", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Checks paths and model, runs it over the images, writes, and prints the table."""
    if bool(FLAGS.input_path) == bool(FLAGS.images_dir):
        raise UserError("give --input_path (a TFRecord) or --images_dir (a folder of LabelImg XML), one of the two.")
    from tfod_csf import label_map
    from tfod_csf.files import tfrecord
    from tfod_csf.inference import cell_selection, ground_truth
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import SKIPPED, ProblemLog
    from tfod_csf.study import patients

    folder = ModelFolder.open(FLAGS.model)
    stored = {folder.name: folder.thresholds}
    thresholds = cell_selection.common_thresholds(stored, min_score=FLAGS.min_score)
    class_map = label_map.parse_class_map(FLAGS.class_map)
    problems, pairs, shards = ProblemLog(strict=FLAGS.strict), [], []
    if FLAGS.images_dir:
        pairs = patients.find_pairs(FLAGS.images_dir, FLAGS.annotations_dir, problems)
    elif not (shards := tfrecord.find_files(FLAGS.input_path)):
        raise UserError(f"--input_path={FLAGS.input_path}: no such file; give a record of create_csf_tf_record.")
    from tfod_csf.evaluation.detection_report import DetectionReport
    from tfod_csf.inference import detector, record_reader

    output_dir, labels = pathlib.Path(FLAGS.output_dir), folder.label_map
    model = detector.Detector.open(folder)
    if FLAGS.images_dir:
        images = ground_truth.read_labelled_folder(pairs, labels, problems, class_map, FLAGS.rescale_boxes)
    else:
        images = record_reader.read_records(shards, labels, problems)
    readings = ground_truth.unknown_readings(labels, FLAGS.unknown_boxes)
    reports = {
        name: DetectionReport(labels.categories, thresholds.min_score, FLAGS.matching_iou_threshold)
        for name in readings
    }
    try:
        has_unknown = _compare(model, images, thresholds, readings, reports, len(pairs) or None)
    except UserError:
        if problems.problems:
            problems.write_csv(output_dir / "problems.csv")
        raise
    problems.write_csv(output_dir / "problems.csv")
    num_images = next(iter(reports.values())).num_images
    if not num_images:
        raise UserError(f"no labelled image could be used ({problems.summary()}); see {output_dir}/problems.csv.")
    num_skipped = len(problems.skipped_files()) if FLAGS.images_dir else problems.count(SKIPPED)
    problems.check_skipped_files(
        num_skipped, num_images + num_skipped, FLAGS.max_skipped_fraction, "--max_skipped_fraction"
    )
    _write(model, reports, thresholds.min_score, has_unknown)
    print(f"{problems.summary()} (problems.csv); written to {output_dir}.")


def _write(model, reports, min_score: float, has_unknown: bool) -> None:
    """Files and table of the first reading of cells labelled unknown; of the other too, where there are such cells."""
    from tfod_csf.evaluation import plots

    settings = {"model": model.name, "fingerprint": model.fingerprint, "temperature": model.temperature}
    settings["data"] = FLAGS.input_path or FLAGS.images_dir
    for number, (name, report) in enumerate(reports.items()):
        if number and not has_unknown:
            return
        target = pathlib.Path(FLAGS.output_dir, f"unknown_{name}" if number else "")
        metrics = report.write(target, {**settings, "cells_labelled_unknown": name if has_unknown else "none"})
        plots.plot_precision_recall(report.curves(), min_score, target / "precision_recall.png", model.name)
        plots.plot_confusion_matrix(report.confusion, target / "confusion_matrix.png", model.name)
        heading = f" (cells labelled unknown are {name})" if has_unknown else ""
        print(f"{model.name} on {report.num_images} images{heading}:\n{report.text(metrics)}\n")


def _compare(model, images, thresholds, readings, reports, total: int | None) -> bool:
    """Detects in every image and adds it to the reports; returns whether any cell was labelled unknown."""
    from tfod_csf.inference import ground_truth
    from tfod_csf.inference.cell_selection import select_cells
    from tfod_csf.progress_bar import progress_bar

    has_unknown = False
    for image in progress_bar(images, unit="image", total=total):
        detections = model.detect(image.pixels, image.image_id, image.jpeg)
        cells = select_cells(detections, model.label_map, thresholds).detections
        found = [ground_truth.detections_dict(part) for part in (detections, cells)]
        for name, report in reports.items():
            report.add_image(image.image_id, readings[name](image).groundtruth_dict, *found)
        has_unknown |= image.has_unknown(model.label_map)
    return has_unknown


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "evaluate"))
