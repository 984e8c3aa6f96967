"""What is kept of each image between reading and writing, and for how long."""

import tempfile

from tests.support import labeled_folders
from tfod_csf.data.annotated import annotated_set
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients

OPTIONS = annotated_set.ReadingOptions(label_map_from_names(["lymphocyte", "monocyte"]))


def _read(images, scratch_dir, options=OPTIONS):
    problems = ProblemLog(quiet=True)
    files = patients.find_pairs(images, None, problems)
    return annotated_set.read(files, options, problems, 1, str(scratch_dir)), problems


def test_an_entry_counts_classes_and_its_content_comes_back(tmp_path):
    study = {"P": [["lymphocyte", "monocyte", "lymphocyte"], [], ["dog"]]}
    read, _ = _read(labeled_folders.write_study(tmp_path / "images", study), tmp_path)
    assert [entry.class_counts for entry in read.entries] == [{"lymphocyte": 2, "monocyte": 1}, {}, {}]
    assert [entry.num_ignored for entry in read.entries] == [0, 0, 1]
    # In any order: each content is found by its place in the file.
    last, _, first = (read.ready(entry) for entry in reversed(read.entries))
    assert [(o.name, o.xmin, o.ymin, o.xmax, o.ymax) for o in first.objects] == [
        ("lymphocyte", 1, 10, 6, 16),
        ("monocyte", 7, 10, 12, 16),
        ("lymphocyte", 13, 10, 18, 16),
    ]
    assert (first.width, first.height) == (labeled_folders.WIDTH, labeled_folders.HEIGHT)
    assert last.objects == []
    assert [o.name for o in last.ignored] == ["dog"]
    assert first.jpeg == (tmp_path / "images" / "P" / "0.jpg").read_bytes()


def test_difficult_boxes_are_ignored_when_asked(tmp_path):
    labeled_folders.write_labeled(tmp_path / "P" / "a.jpg", ["lymphocyte", "monocyte"], seed=1, difficult=[0, 1])
    (entry,) = _read(tmp_path, tmp_path)[0].entries
    assert (dict(entry.class_counts), entry.num_difficult_left_out) == ({"lymphocyte": 1, "monocyte": 1}, 0)
    options = annotated_set.ReadingOptions(OPTIONS.label_map, ignore_difficult_instances=True)
    (entry,) = _read(tmp_path, tmp_path, options)[0].entries
    assert (dict(entry.class_counts), entry.num_difficult_left_out) == ({"lymphocyte": 1}, 1)


def test_an_image_in_another_format_is_kept_as_jpeg(tmp_path):
    labeled_folders.write_study(tmp_path / "images", {"P": [["lymphocyte"]]}, suffix=".png")
    read, _ = _read(tmp_path / "images", tmp_path)
    assert read.entries[0].is_reencoded
    assert read.ready(read.entries[0]).jpeg.startswith(b"\xff\xd8")


def test_no_images(tmp_path):
    assert annotated_set.read([], OPTIONS, ProblemLog(quiet=True), 1, str(tmp_path)).entries == []


def test_the_temporary_file_ends_with_the_set():
    with tempfile.TemporaryFile() as waiting:
        read = annotated_set.AnnotatedSet(waiting)
        assert not waiting.closed
        del read
        assert waiting.closed
