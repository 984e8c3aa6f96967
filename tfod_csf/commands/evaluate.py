"""Compare an exported model with annotated images: mAP, confusion, mistakes, thresholds.

The annotated images are a TFRecord (--input_path) or a folder of LabelImg XML (--images_dir). Writes metrics.json,
metrics.csv, per_class.csv, precision_recall.csv and .png, confusion_matrix.csv and .png, and problems.csv. Cells
annotated as `unknown` can be counted (as a class where the label map has it, else as background) or ignored; where
there are any, the reading that is not TFOD's on the same records is written into a folder of its own. With --store the
model folder keeps what became of the annotated cells, and later runs give corrected percentages (docs/CORRECTION.md).

errors.html shows missed, invented and confused cells as pictures by TIDE's error types, the worst images, and the
confusion matrix with the pictures behind each number; errors.csv, error_images.csv and error_types.csv have all.
class_counts.csv has the cells of each class on each image.
thresholds.html shows precision, recall and F1 against the score and recommends min_score and unknown_below
(score_thresholds.csv, threshold_pairs.csv, metrics.json); only --store_thresholds writes them into the model folder.
Both pages are of the first reading of unknown cells (docs/EVALUATION.md).
"""

import collections
import datetime
import functools
import logging
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError
from tfod_csf.files import folder_lock

if TYPE_CHECKING:
    from tfod_csf.domain.training_domain import Judgment
    from tfod_csf.evaluation.evaluation_pages import EvaluationPages
    from tfod_csf.evaluation.model_evaluation import ModelEvaluation
    from tfod_csf.evaluation.thresholds.recommended import Recommendations
    from tfod_csf.inference.cell_selection import ScoreThresholds
    from tfod_csf.inference.labeled.labeled_detections import LabeledDetections
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study.patients import AnnotatedFile

FLAGS = flags.FlagValues()
common_flags.define_exported_model(FLAGS)
flags.DEFINE_string("input_path", None, "TFRecord of annotated images: a file, a glob or name@N.", flag_values=FLAGS)
flags.DEFINE_string("images_dir", None, "Folder of images annotated in LabelImg.", flag_values=FLAGS)
common_flags.define_annotations_dir(FLAGS)
common_flags.define_class_map(FLAGS)
common_flags.define_rescale_boxes(FLAGS)
common_flags.define_exif(FLAGS)
common_flags.define_output_dir(FLAGS)
common_flags.define_min_score(FLAGS, default="the model's own, else 0.5")
common_flags.define_matching_iou_threshold(FLAGS)
flags.DEFINE_enum(
    "unknown_boxes",
    "both",
    ["both", "count", "ignore"],
    "Whether detections on cells annotated as unknown are counted or ignored; the matrix of --store always counts "
    "them.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "store",
    False,
    "Keep the confusion matrix in the model folder (classification.json), with which later runs correct percentages. "
    "The images must be of patients that the model never trained on, with every cell annotated. Cells annotated as "
    "unknown count as other cells, whatever --unknown_boxes says.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "store_thresholds",
    None,
    ["f1", "differential"],
    "Keep the recommended min_score and unknown_below in the model folder (model.json): those with the largest F1, or "
    "those with the smallest error of the patients' percentages, which are kept only if they are better than the "
    "thresholds in use by more than chance. The images must be of patients that the model never trained on. Default: "
    "model.json is left as it is.",
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)
flags.DEFINE_boolean(
    "skip_damaged_records",
    False,
    "Use what can be read of --input_path when a file is cut short or damaged, or a shard is missing. What is missing "
    "counts as skipped. Without it, such files end the command.",
    flag_values=FLAGS,
)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Checks paths and model, runs it over the images, writes, and prints the table."""
    if bool(FLAGS.input_path) == bool(FLAGS.images_dir):
        raise UserError("give --input_path (a TFRecord) or --images_dir (a folder of LabelImg XML), one of the two.")
    _refuse_flags_without_effect()
    output_dir = common_flags.output_dir(FLAGS)
    common_flags.class_map(FLAGS)  # a mistake in it is said at once
    from tfod_csf.inference import cell_selection
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.shipped_models import by_name

    folder = ModelFolder.open(FLAGS.model, FLAGS.trust)
    if FLAGS.store or FLAGS.store_thresholds:
        by_name.refuse_to_change(folder.path)
    thresholds = cell_selection.common_thresholds({folder.name: folder.thresholds}, min_score=FLAGS.min_score)
    if FLAGS.store and thresholds.min_score != folder.thresholds["min_score"]:
        raise UserError(
            f"--min_score={FLAGS.min_score:g} is not the model's own {folder.thresholds['min_score']:g}; with --store "
            "do not give it, because the matrix would not fit later runs."
        )
    if FLAGS.store_thresholds == "differential" and thresholds.min_score != folder.thresholds["min_score"]:
        raise UserError(
            f"--min_score={FLAGS.min_score:g} is not the model's own {folder.thresholds['min_score']:g}; with "
            "--store_thresholds=differential do not give it, because what is stored must be better than the model's "
            "own thresholds."
        )
    if FLAGS.store and FLAGS.store_thresholds:
        raise UserError(
            "--store and --store_thresholds cannot be given together, because the matrix would be of the earlier "
            "thresholds; give --store_thresholds first, then run again with --store."
        )
    # What --store writes into the model folder is locked while it is written (`manifest.replacing_listed`).
    with folder_lock.only_writer(output_dir):
        _evaluate(folder, thresholds, output_dir, ProblemLog(strict=FLAGS.strict))


def _refuse_flags_without_effect() -> None:
    of_xml = [name for name in ("annotations_dir", "rescale_boxes", "exif") if FLAGS[name].present]
    if FLAGS.input_path and of_xml:
        raise UserError(
            f"--{of_xml[0]} is for the LabelImg XML of --images_dir; the boxes of --input_path are in the record. "
            "Give it to create_csf_tf_record."
        )
    if FLAGS.images_dir and FLAGS.skip_damaged_records:
        raise UserError("--skip_damaged_records is for --input_path; give --max_skipped_fraction for --images_dir.")


def _evaluate(
    folder: "ModelFolder", thresholds: "ScoreThresholds", output_dir: pathlib.Path, problems: "ProblemLog"
) -> None:
    from tfod_csf.inference.labeled import ground_truth, validation

    class_map = common_flags.class_map(FLAGS)
    pairs, shards = _find_labeled_images(problems)
    if FLAGS.store or FLAGS.store_thresholds:
        validation.refuse_training_records(folder, shards)
    remarks = _remarks_on_training_records(folder, shards)
    from tfod_csf.evaluation.evaluation_pages import EvaluationPages
    from tfod_csf.evaluation.model_evaluation import ModelEvaluation
    from tfod_csf.evaluation.page_facts import PageFacts
    from tfod_csf.inference import detector
    from tfod_csf.inference.labeled import labeled_detections, record_reader

    labels = folder.label_map
    model = detector.Detector.open(folder)
    if FLAGS.images_dir:
        images = ground_truth.read_labeled_folder(
            pairs, labels, problems, model.decode_jpeg, class_map, FLAGS.rescale_boxes, FLAGS.exif
        )
    else:
        images = record_reader.read_records(
            shards, labels, problems, model.decode_jpeg, FLAGS.skip_damaged_records, class_map=class_map
        )
    readings = ground_truth.unknown_readings(labels, FLAGS.unknown_boxes)
    evaluation = ModelEvaluation(labels.categories, list(readings), thresholds.min_score, FLAGS.matching_iou_threshold)
    matrix = validation.ValidationMatrix(thresholds, FLAGS.matching_iou_threshold)
    on_cells = functools.partial(matrix.add, model.label_map) if FLAGS.store else labeled_detections.nothing
    pages = EvaluationPages(
        labels.categories,
        thresholds.min_score,
        thresholds.unknown_below,
        FLAGS.matching_iou_threshold,
        {one["id"]: labels.name_of(one["id"]) for one in labels.categories},
    )
    found = labeled_detections.detect_labeled(model, images, thresholds, readings, on_cells)
    judgments = _add_images(evaluation, pages, found, len(pairs) or None, problems, output_dir)
    settings: dict[str, Any] = {"model": model.name, "fingerprint": model.fingerprint, "temperature": model.temperature}
    settings["data"] = FLAGS.input_path or FLAGS.images_dir
    settings["classes"] = labels.names
    recommendations = pages.recommendations()
    settings["recommended_thresholds"] = recommendations.as_json()
    num_unlike = sum(not judgment.in_domain for judgment in judgments)
    settings["domain_guard"] = {"images": len(judgments), "unlike_training": num_unlike} if judgments else None
    print("\n".join(evaluation.write(output_dir, model.name, settings)))
    data = pathlib.PurePath(settings["data"]).name
    facts = PageFacts(model.name, data, thresholds.min_score, tuple(remarks), datetime.date.today().isoformat())
    print("\n".join(pages.write(output_dir, recommendations, facts)))
    print(_domain_words(judgments))
    print(f"{problems.summary()} (problems.csv); written to {output_dir}.")
    if FLAGS.store:
        print(matrix.store(folder, model, FLAGS.input_path or FLAGS.images_dir))
    if FLAGS.store_thresholds:
        print(_store_thresholds(folder, recommendations, data, model.temperature))


def _remarks_on_training_records(folder: "ModelFolder", shards: list[str]) -> list[str]:
    """For the pages, of records that the model was trained on; they are in the log too."""
    from tfod_csf.inference.labeled import validation

    remarks = []
    for shard in validation.training_records(folder, shards):
        words = "the model was trained on this record; the metrics say nothing about new images."
        logging.getLogger("tfod_csf").warning("%s: %s", shard, words)
        remarks.append(f"{pathlib.PurePath(shard).name}: {words}")
    return remarks


def _domain_words(judgments: "Sequence[Judgment]") -> str:
    """How many images are unlike those that the model was trained on, and in what most of them are."""
    if not judgments:
        return "The model has no domain guard: whether these images are like those of its training was not checked."
    unlike = [judgment for judgment in judgments if not judgment.in_domain]
    aspects = collections.Counter(one.aspect for judgment in unlike for one in judgment.differences)
    listed = f" ({', '.join(f'{aspect}: {count}' for aspect, count in aspects.most_common())})" if unlike else ""
    return (
        f"Domain guard: {len(unlike)} of {len(judgments)} images ({100 * len(unlike) / len(judgments):.1f} %) are "
        f"unlike those of the training{listed}."
    )


def _store_thresholds(folder: "ModelFolder", recommendations: "Recommendations", data: str, temperature: float) -> str:
    """Writes what --store_thresholds asks for into model.json; returns a sentence about it."""
    from tfod_csf import model_folder, provenance
    from tfod_csf.evaluation.thresholds import recommended

    chosen = recommendations.of(FLAGS.store_thresholds)
    if chosen is None:
        raise UserError(
            f"--store_thresholds={FLAGS.store_thresholds}: these labels recommend nothing by it (see above); "
            "model.json is left as it is."
        )
    if FLAGS.store_thresholds == recommended.DIFFERENTIAL and not recommendations.is_certainly_better:
        return "not stored in model.json: the labels do not show that other thresholds are better than those in use."
    if few := recommendations.too_few_to_store(FLAGS.store_thresholds):
        return (
            f"not stored in model.json: there are only {few} labeled; thresholds by f1 are stored if each white-cell "
            f"class has {recommended.MIN_LABELS_TO_STORE} labeled cells."
        )
    if recommendations.is_at_edge(FLAGS.store_thresholds):
        return f"not stored in model.json: min_score {chosen.min_score:g} is at the end of what is searched."
    stored = {"min_score": chosen.min_score, "unknown_below": chosen.unknown_below}
    how = {"criterion": FLAGS.store_thresholds, "data": data, "temperature": temperature, "date": provenance.now()}
    sentence = model_folder.store_thresholds(folder.path, stored, how)
    if chosen.unknown_below <= chosen.min_score:
        sentence += " With them no cell is unknown because of its score, and no person is asked."
    if folder.classification is not None:
        sentence += " classification.json is of the earlier thresholds; run evaluate --store to replace it."
    return sentence


def _find_labeled_images(problems: "ProblemLog") -> tuple[list["AnnotatedFile"], list[str]]:
    """(pairs of image and XML, TFRecord files), one of them empty; before a model is loaded, which takes seconds."""
    if FLAGS.images_dir:
        from tfod_csf.study import patients

        return patients.find_pairs(FLAGS.images_dir, FLAGS.annotations_dir, problems), []
    from tfod_csf.files import record_set, tfrecord

    shards = tfrecord.find_files(FLAGS.input_path)
    if not shards:
        raise UserError(f"--input_path={FLAGS.input_path}: no such file; give a record of create_csf_tf_record.")
    try:
        for notice in record_set.check_shards(shards, FLAGS.input_path):
            problems.noted(FLAGS.input_path, notice.rstrip("."), "Their images are not in the metrics.", "shards")
    except tfrecord.TFRecordError as error:
        if not FLAGS.skip_damaged_records:
            raise
        problems.skipped(FLAGS.input_path, str(error).rstrip("."), "Their images are missing.", "shards")
    if not FLAGS.skip_damaged_records:
        from tfod_csf.inference.labeled import record_reader

        record_reader.check_records(shards)
    return [], shards


def _add_images(
    evaluation: "ModelEvaluation",
    pages: "EvaluationPages",
    found: Iterable["LabeledDetections"],
    total: int | None,
    problems: "ProblemLog",
    output_dir: pathlib.Path,
) -> "list[Judgment]":
    """Examines all images; refuses a set of which none or too few can be used, problems.csv being written.

    Returns:
      What the domain guard says of each image; empty without one.
    """
    from tfod_csf.evaluation.error_gallery.gallery import ExaminedImage
    from tfod_csf.problems import SKIPPED
    from tfod_csf.progress_bar import progress_bar

    judgments: list[Judgment] = []
    try:
        for image in progress_bar(found, unit="image", total=total):
            groundtruth = next(iter(image.groundtruth.values()))
            examined = ExaminedImage(image.name, image.pixels, groundtruth, image.detections, image.cells)
            evaluation.add_image(image.image_id, image.groundtruth, image.detections, image.cells, image.has_unknown)
            pages.add_image(examined, image.patient_id, image.likely_cells, image.raw_scores)
            judgments += [] if image.judgment is None else [image.judgment]
    except UserError:
        if problems.problems:
            problems.write_csv(output_dir / "problems.csv")
        raise
    problems.write_csv(output_dir / "problems.csv")
    num_images = evaluation.num_images
    if not num_images:
        raise UserError(f"no labeled image could be used ({problems.summary()}); see {output_dir}/problems.csv.")
    of_records = sum(problem.count for problem in problems.problems if problem.action == SKIPPED)
    num_skipped = len(problems.skipped_files()) if FLAGS.images_dir else of_records
    problems.check_skipped_files(
        num_skipped, num_images + num_skipped, FLAGS.max_skipped_fraction, "--max_skipped_fraction"
    )
    return judgments


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "evaluate"))
