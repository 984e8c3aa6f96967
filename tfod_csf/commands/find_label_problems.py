"""Find labels that are most likely wrong: overlooked, swapped, badly placed or doubled ones.

An exported model looks at the labeled images. Writes label_problems.csv (all labels that it contradicts, the most
likely mistakes first), label_problems.html (a gallery) and review/, the images with the suggestions as boxes called
check_..., for LabelImg. A model that was not trained on these labels finds most.

Example: tfod_csf find_label_problems --model=exported_models/csf --images_dir=slides --output_dir=to_check
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.files import folder_lock

if TYPE_CHECKING:
    from tfod_csf.evaluation.label_problems.problem_list import LabelProblem
    from tfod_csf.inference.detector import Detector
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study.annotated_images import AnnotatedImage
    from tfod_csf.study.patients import AnnotatedFile

FLAGS = flags.FlagValues()
common_flags.define_exported_model(FLAGS)
common_flags.define_images_dir(FLAGS)
common_flags.define_annotations_dir(FLAGS)
common_flags.define_class_map(FLAGS)
common_flags.define_rescale_boxes(FLAGS)
common_flags.define_exif(FLAGS)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_integer(
    "max_review",
    200,
    "So many suggestions are on the page, and their images in review/: up to half of them the most likely of each "
    "kind and class, the others the most likely of all.",
    lower_bound=1,
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)
common_flags.define_problem_limits(FLAGS)

_IN_PLACE = "Correct the original by label_problems.csv, or label its objects as boxes first."


def main() -> None:
    """Runs the model over the labeled images, writes, and says how much was found."""
    images_dir, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    common_flags.class_map(FLAGS)  # a mistake in it is said at once
    from tfod_csf.evaluation import labeling_folder
    from tfod_csf.evaluation.label_problems import review_folder
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study import patients

    labeling_folder.check_is_new(output_dir / review_folder.FOLDER)
    folder = ModelFolder.open(FLAGS.model, FLAGS.trust)
    problems = ProblemLog(strict=FLAGS.strict)
    files = patients.find_pairs(str(images_dir), FLAGS.annotations_dir, problems, FLAGS.manifest, FLAGS.patient_pattern)
    from tfod_csf.inference.detector import Detector

    with folder_lock.only_writer(output_dir):
        _find(Detector.open(folder), files, output_dir, problems)


def _find(model: "Detector", files: list["AnnotatedFile"], output_dir: pathlib.Path, problems: "ProblemLog") -> None:
    from tfod_csf.evaluation import labeling_folder
    from tfod_csf.evaluation.label_problems import problem_list, problem_page, review_folder
    from tfod_csf.progress_bar import progress_bar

    found, num_images, num_labels = [], 0, 0
    num_files = len(files) + len(problems.skipped_files())
    for file in progress_bar(files, unit="image"):
        read = _read(model, file, problems)
        if read is not None:
            num_images, num_labels = num_images + 1, num_labels + len(read.annotation.objects)
            found += _problems_of(model, read)
    problems.write_csv(output_dir / "problems.csv")
    skipped = len(problems.skipped_files())
    problems.check_skipped_files(skipped, num_files, FLAGS.max_skipped_fraction, "--max_skipped_fraction")
    ranked = problem_list.ranked(found)
    shown = {place: ranked[place] for place in problem_list.places_to_show(ranked, FLAGS.max_review)}
    review = output_dir / review_folder.FOLDER
    with labeling_folder.new(review, review_folder.TEXT, model.label_map.names) as folder:
        pictures, not_written = _write_review(model, files, shown, folder, problems)
        in_review = {problem.image for problem in shown.values()} - not_written
        problem_list.write_table(ranked, in_review, output_dir)
        problem_page.write_page(ranked, pictures, num_images, num_labels, model.name, output_dir)
    problems.write_csv(output_dir / "problems.csv")
    counts = ", ".join(f"{number} {kind}" for kind, number in problem_list.counts_of(ranked).most_common())
    print(f"{num_images} images, {num_labels} labels; to check: {counts or 'nothing'}.")
    print(f"{problems.summary()} (problems.csv); written to {output_dir}: look at {problem_page.PAGE}.")


def _read(model: "Detector", file: "AnnotatedFile", problems: "ProblemLog") -> "AnnotatedImage | None":
    from tfod_csf.study import annotated_images

    class_map = common_flags.class_map(FLAGS)
    return annotated_images.read_annotated_image(
        file, problems, model.label_map, class_map, FLAGS.rescale_boxes, FLAGS.exif, model.decode_jpeg
    )


def _problems_of(model: "Detector", read: "AnnotatedImage") -> list["LabelProblem"]:
    """The contradicted labels of one image."""
    from tfod_csf.evaluation.label_problems import suspicion
    from tfod_csf.evaluation.label_problems.problem_list import LabelProblem
    from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
    from tfod_csf.study import labelimg

    objects = read.annotation.objects
    labels = suspicion.Labels(
        labelimg.boxes_of(objects), [labeled.name for labeled in objects], labelimg.boxes_of(read.ignored)
    )
    detections = model.detect(read.loaded.pixels, read.image.key, jpeg=read.loaded.jpeg)
    thresholds = ScoreThresholds(min_score=suspicion.LEAST_SCORE)
    cells = select_cells(detections, model.label_map, thresholds).detections
    names = [model.label_map.name_of(class_id) for class_id in cells.classes.tolist()]
    found = suspicion.Found(cells.boxes, names, cells.scores)
    return [LabelProblem(read.image.key, read.image.patient_id, one) for one in suspicion.suspicions(labels, found)]


def _write_review(
    model: "Detector",
    files: list["AnnotatedFile"],
    shown: dict[int, "LabelProblem"],
    folder: pathlib.Path,
    problems: "ProblemLog",
) -> tuple[dict[int, str], set[str]]:
    """Writes the images of problems, {place: problem}, into the review folder; {place: picture}, images not written."""
    from tfod_csf.evaluation.label_problems import problem_page, review_folder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study.pictures import PixelPicture

    places: dict[str, list[int]] = {}
    for place, problem in shown.items():
        places.setdefault(problem.image, []).append(place)
    pictures: dict[int, str] = {}
    not_written = set()
    for file in files:
        of_image = places.get(file.image.key, [])
        read = _read(model, file, ProblemLog(quiet=True)) if of_image else None  # its rows are in problems.csv
        if read is not None:
            reason = review_folder.write_image(read, [shown[place] for place in of_image], folder)
            if reason:
                problems.noted(file.xml_path, f"not in {review_folder.FOLDER}/: {reason}", _IN_PLACE)
                not_written.add(file.image.key)
            picture = PixelPicture(read.loaded.pixels)
            pictures |= {place: problem_page.picture_of(picture, shown[place]) for place in of_image}
    return pictures, not_written


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "find_label_problems"))
