"""Suggest which unlabeled images to label next: those that teach an exported model most.

The model looks at all images. First come those about whose cells it is most in doubt, cells of classes with few labels
before others, and that are unlike the labeled images and those before them. Writes label_suggestions.csv (all images,
with the reasons), label_suggestions.html (the first with the model's cells) and to_label/, these images with the cells
as boxes for LabelImg. Images with a LabelImg XML beside them, and those of --labeled_records, count as labeled.

Example: tfod_csf suggest_labels --model=exported_models/csf --images_dir=new_slides
--labeled_records=tfrecords/train.record-?????-of-????? --output_dir=next
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError
from tfod_csf.files import folder_lock

if TYPE_CHECKING:
    from tfod_csf.detections import Detections
    from tfod_csf.evaluation.label_choice.image_measures import ImageMeasures
    from tfod_csf.evaluation.label_choice.suggestions import LabeledImages, Suggestion
    from tfod_csf.inference.cell_selection import Cells, ScoreThresholds
    from tfod_csf.inference.detector import Detector
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study.image_io import LoadedImage
    from tfod_csf.study.patients import ImageFile

FLAGS = flags.FlagValues()
common_flags.define_exported_model(FLAGS)
common_flags.define_images_dir(FLAGS)
flags.DEFINE_multi_string(
    "labeled_records",
    [],
    "TFRecord of labeled images: a file, a glob or name@N; repeat for several. Their numbers of labels "
    "say which classes are rare. Default: what the model finds says it.",
    flag_values=FLAGS,
)
common_flags.define_class_map(FLAGS)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_integer(
    "num_suggested",
    50,
    "So many images are on the page and in to_label/; the table has all.",
    lower_bound=1,
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Looks at all images, ranks and writes, and says what was found."""
    images_dir, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    if common_flags.class_map(FLAGS) and not FLAGS.labeled_records:
        raise UserError("--class_map is for the classes of --labeled_records; give these too, or leave it out.")
    from tfod_csf.evaluation import labeling_folder
    from tfod_csf.evaluation.label_choice import prelabeled_folder
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study import patients

    labeling_folder.check_is_new(output_dir / prelabeled_folder.FOLDER)
    folder = ModelFolder.open(FLAGS.model, FLAGS.trust)
    problems = ProblemLog(strict=FLAGS.strict)
    images = patients.find_images(images_dir, problems, FLAGS.manifest, FLAGS.patient_pattern)
    shards = _labeled_shards(problems)
    from tfod_csf.inference import cell_selection
    from tfod_csf.inference.detector import Detector

    thresholds = cell_selection.common_thresholds({folder.name: folder.thresholds})
    with folder_lock.only_writer(output_dir):
        _suggest(Detector.open(folder), thresholds, images, shards, output_dir, problems)


def _labeled_shards(problems: "ProblemLog") -> list[str]:
    """The files of --labeled_records, before a model is loaded, which takes seconds."""
    from tfod_csf.files import record_set, tfrecord
    from tfod_csf.inference.labeled import record_reader

    shards = []
    for pattern in FLAGS.labeled_records:
        found = tfrecord.find_files(pattern)
        if not found:
            raise UserError(f"--labeled_records={pattern}: no such file; give a record of create_csf_tf_record.")
        for notice in record_set.check_shards(found, pattern):
            problems.noted(pattern, notice.rstrip("."), "Their images are not known to be labeled.", "shards")
        shards += found
    record_reader.check_records(shards)
    return shards


def _suggest(
    model: "Detector",
    thresholds: "ScoreThresholds",
    images: list["ImageFile"],
    shards: list[str],
    output_dir: pathlib.Path,
    problems: "ProblemLog",
) -> None:
    from tfod_csf.evaluation import labeling_folder
    from tfod_csf.evaluation.label_choice import prelabeled_folder, suggestions, suggestions_page

    num_files = len(images) + len(problems.skipped_files())
    labeled = _labels_of_records(model, shards, output_dir, problems)
    unlabeled = _look_at_all(model, images, shards, labeled, problems)
    problems.write_csv(output_dir / "problems.csv")
    skipped = len(problems.skipped_files())
    problems.check_skipped_files(skipped, num_files, FLAGS.max_skipped_fraction, "--max_skipped_fraction")
    if not unlabeled:
        raise UserError(
            f"{FLAGS.images_dir}: all {len(images)} images are labeled (an XML lies beside them, or a record of "
            "--labeled_records holds them) or skipped; there is none to suggest."
        )
    ranked = suggestions.suggest(unlabeled, labeled, model.label_map.names)
    files = {image.key: image for image in images}
    target = output_dir / prelabeled_folder.FOLDER
    with labeling_folder.new(target, prelabeled_folder.TEXT, model.label_map.names) as folder:
        first = [files[one.image] for one in ranked[: FLAGS.num_suggested]]
        pictures = _write_images(model, thresholds, first, folder, problems)
        suggestions.write_table(ranked, pictures, output_dir)
        numbers = () if labeled.numbers is None else labeled.numbers.tolist()
        searched = suggestions_page.Searched(model.name, len(labeled.names), dict(zip(model.label_map.names, numbers)))
        suggestions_page.write_page(ranked, pictures, searched, output_dir)
    problems.write_csv(output_dir / "problems.csv")
    print(f"{len(ranked)} unlabeled images, {len(labeled.names)} labeled ones. Label first:\n{_first_lines(ranked)}")
    print(f"{problems.summary()} (problems.csv); written to {output_dir}: look at {suggestions_page.PAGE}.")


def _first_lines(ranked: list["Suggestion"], number: int = 5) -> str:
    from tfod_csf.wording import visible

    return "\n".join(
        f"  {rank}. {visible(one.image)}: {one.reason}" for rank, one in enumerate(ranked[:number], start=1)
    )


def _look_at_all(
    model: "Detector", images: list["ImageFile"], shards: list[str], labeled: "LabeledImages", problems: "ProblemLog"
) -> list["ImageMeasures"]:
    """Measures of the unlabeled images; the others are added to what is labeled, unless a record has them."""
    from tfod_csf.data.records import record_statistics
    from tfod_csf.evaluation.label_choice import image_measures
    from tfod_csf.progress_bar import progress_bar
    from tfod_csf.study import patients

    with_xml = patients.labeled_images(FLAGS.images_dir, images, problems)
    digests = record_statistics.image_digests(shards) if shards else set()
    unlabeled = []
    for image in progress_bar(images, unit="image"):
        loaded = _read(model, image, problems)
        if loaded is None or (digests and record_statistics.image_digest(loaded.jpeg_bytes()) in digests):
            continue  # the latter is described by its record
        detections = _detect(model, image, loaded, problems)
        if detections is None:
            continue
        cells = _cells(model, detections, image_measures.LEAST_SCORE).detections
        measures = image_measures.measure(image.key, image.patient_id, loaded.pixels, cells, model.label_map)
        if image.key in with_xml:
            labeled.names.append(image.key)
            labeled.descriptions.append(measures.description)
        else:
            unlabeled.append(measures)
    return unlabeled


def _labels_of_records(
    model: "Detector", shards: list[str], output_dir: pathlib.Path, problems: "ProblemLog"
) -> "LabeledImages":
    """What the records hold; refused where too many of them cannot be used, problems.csv being written."""
    import numpy as np

    from tfod_csf.evaluation.label_choice import image_measures
    from tfod_csf.evaluation.label_choice.suggestions import LabeledImages
    from tfod_csf.inference.labeled import record_reader
    from tfod_csf.problems import SKIPPED

    ids = model.label_map.ids
    names: list[str] = []
    descriptions, numbers = [], np.zeros(len(ids), int)
    class_map = common_flags.class_map(FLAGS)
    for one in record_reader.read_records(shards, model.label_map, problems, None, class_map=class_map):
        classes = one.classes[~one.is_ignored].tolist()
        numbers += [classes.count(class_id) for class_id in ids]
        names.append(one.name)
        descriptions.append(image_measures.describe_labeled(one.pixels, classes, model.label_map))
    skipped = sum(one.count for one in problems.problems if one.action == SKIPPED and one.file in shards)
    if skipped:
        problems.write_csv(output_dir / "problems.csv")
    limit = FLAGS.max_skipped_fraction
    problems.check_skipped_files(skipped, len(names) + skipped, limit, "--max_skipped_fraction", "labeled records")
    return LabeledImages(names, descriptions, numbers if shards else None)


def _read(model: "Detector", image: "ImageFile", problems: "ProblemLog") -> "LoadedImage | None":
    from tfod_csf.inference.runs import image_reading
    from tfod_csf.study.image_io import LoadedImage

    read = image_reading.read(image, model.decode_jpeg)
    problems.extend(read.problems)
    return read.loaded if isinstance(read.loaded, LoadedImage) else None  # none is read in tiles


def _detect(
    model: "Detector", image: "ImageFile", loaded: "LoadedImage", problems: "ProblemLog"
) -> "Detections | None":
    from tfod_csf.detections import DetectionsError
    from tfod_csf.inference.image_detector import DetectionFailedError

    try:
        return model.detect(loaded.pixels, image.key, jpeg=loaded.jpeg)
    except (DetectionFailedError, DetectionsError) as error:
        problems.skipped(image.path, str(error).rstrip("."), "Look at the image; if it is in order, report this.")
        return None


def _cells(model: "Detector", detections: "Detections", min_score: float) -> "Cells":
    """Each cell once."""
    from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells

    return select_cells(detections, model.label_map, ScoreThresholds(min_score=min_score))


def _write_images(
    model: "Detector",
    thresholds: "ScoreThresholds",
    images: list["ImageFile"],
    folder: pathlib.Path,
    problems: "ProblemLog",
) -> dict[str, str]:
    """Writes these images with the model's cells into the folder for LabelImg; {image: its picture for the page}."""
    from tfod_csf.evaluation.label_choice import prelabeled_folder, suggestions_page
    from tfod_csf.inference import drawing
    from tfod_csf.inference.cell_selection import select_cells
    from tfod_csf.problems import ProblemLog

    pictures = {}
    for image in images:
        repeated = ProblemLog(quiet=True)  # its rows are in problems.csv
        loaded = _read(model, image, repeated)
        detections = None if loaded is None else _detect(model, image, loaded, repeated)
        if loaded is None or detections is None:
            problems.skipped(image.path, "changed while this command ran; it is not in to_label", "Run it again.")
            continue
        cells = select_cells(detections, model.label_map, thresholds)
        prelabeled_folder.write_image(image, loaded, cells.detections.boxes, cells.counted_as, folder)
        pictures[image.key] = suggestions_page.picture_of(
            drawing.draw_cells(loaded.pixels, cells, thresholds.unknown_below)
        )
    return pictures


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "suggest_labels"))
