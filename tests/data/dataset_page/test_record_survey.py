"""What is seen of records, and which cells are shown."""

import dataclasses

import numpy as np
import pytest

from tests.support.drawn_records import HEIGHT, WIDTH, drawn, field, jpeg, ready
from tfod_csf.data.dataset_page import record_survey
from tfod_csf.data.dataset_page.data_page import files_of
from tfod_csf.data.dataset_page.record_survey import Cell, ShownCells
from tfod_csf.files import csv_schemas, example_pb2, tfrecord
from tfod_csf.files.tfrecord import TFRecordError
from tfod_csf.problems import ProblemLog


def test_one_image_is_counted(write_records):
    picture, _ = field(3)
    boxes = [(10, 20, 40, 60), (0.4, 20, 30, 50), (100, 80, WIDTH, HEIGHT)]
    image = ready("P1/a.jpg", jpeg(picture), boxes, ["lymphocyte", "monocyte", "monocyte"], ignored=[(50, 50, 70, 70)])
    seen = record_survey.survey(files_of(write_records({"train": [image]})), ProblemLog(), 1)
    [facts] = seen.images
    assert (facts.name, facts.patient_id, facts.side) == ("P1/a.jpg", "P1", "train")
    assert (facts.width, facts.height) == (WIDTH, HEIGHT)
    assert facts.cells == {"lymphocyte": 1, "monocyte": 2}
    assert facts.ignored == 1  # though the record holds it once for every class
    assert facts.at_edge == {"monocyte": 2}
    assert seen.box_sizes == {
        ("lymphocyte", WIDTH, HEIGHT, 30, 40): 1,
        ("monocyte", WIDTH, HEIGHT, 30, 30): 1,
        ("monocyte", WIDTH, HEIGHT, 60, 40): 1,
    }
    [cut, *_] = seen.shown["monocyte"].cells("cut")
    assert cut.image == 0
    assert seen.shown["monocyte"].cells("largest") == []  # both are cut


def test_patients_are_those_of_the_table_beside_the_records(write_records):
    folder = write_records({"train": [drawn("day_1/a.jpg", 1)], "test": [drawn("day_1/b.jpg", 2)]})
    patients = {"day_1/a.jpg": "P7", "day_1/b.jpg": "P8"}
    rows = [{"image": name, "patient": patient, "side": "train", "sha256": "0"} for name, patient in patients.items()]
    csv_schemas.load("split").write(folder / "split.csv", rows)
    seen = record_survey.survey(files_of(folder), ProblemLog(), 1)
    assert [image.patient_id for image in seen.images] == ["P7", "P8"]


def test_any_number_of_processes_sees_the_same(write_records, monkeypatch):
    monkeypatch.setattr(record_survey, "FEW_IMAGES", 2)
    images = [drawn(f"P{n}/a.jpg", n) for n in range(5)]
    files = files_of(write_records({"train": images[:4], "test": images[4:]}))
    first, second = (record_survey.survey(files, ProblemLog(), number) for number in (1, 2))
    assert [dataclasses.astuple(image) for image in first.images] == [
        dataclasses.astuple(image) for image in second.images
    ]
    assert [image.side for image in first.images] == ["train"] * 4 + ["test"]
    assert first.shown["lymphocyte"].cells("sample") == second.shown["lymphocyte"].cells("sample")


def test_an_image_that_cannot_be_decoded_is_a_row(write_records):
    good, bad = drawn("P1/a.jpg", 1), drawn("P1/b.jpg", 2)
    bad = dataclasses.replace(bad, jpeg=bad.jpeg[:200])
    problems = ProblemLog(quiet=True)
    folder = write_records({"train": [bad, good]})
    seen = record_survey.survey(files_of(folder), problems, 1)
    assert [image.name for image in seen.images] == ["P1/a.jpg"]
    assert seen.num_skipped == 1
    [problem] = problems.problems
    assert problem.file.endswith("train.record-00000-of-00001, record 1")
    assert "cannot be decoded" in problem.reason
    [(number, record)] = seen.records(files_of(folder), {0})
    assert (number, record.name) == (0, "P1/a.jpg")  # the second record is the first image


def test_boxes_in_pixels_are_refused(write_records):
    image = dataclasses.replace(drawn("P1/a.jpg", 1), width=1, height=1)
    with pytest.raises(TFRecordError, match="fractions of the image"):
        record_survey.survey(files_of(write_records({"train": [image]})), ProblemLog(), 1)


def test_weights_of_some_objects_only_are_refused(tmp_path, write_records):
    folder = write_records({"train": [drawn("P1/a.jpg", 1)]})
    [path] = files_of(folder)["train"]
    change(path, lambda feature: feature["image/object/weight"].float_list.value.extend([1.0, 1.0]))
    with pytest.raises(TFRecordError, match="image/object/weight has 2 values for 5 objects"):
        record_survey.survey(files_of(folder), ProblemLog(), 1)


def change(path, how):
    """Changes the features of every Example of a file."""
    examples = [example_pb2.Example.FromString(record) for record in tfrecord.read_records(path)]
    for example in examples:
        how(example.features.feature)
    tfrecord.write_records([example.SerializeToString() for example in examples], path)


def test_the_smallest_the_largest_and_a_sample_are_shown():
    shown = ShownCells(3, 2)
    draws = [0.9, 0.1, 0.5, 0.3, 0.7, 0.2]
    for number, draw in enumerate(draws):
        side = 10.0 + number
        shown.add(Cell(number, (0.0, 0.0, side, side), "lymphocyte"), draw, is_cut=number == 5)
    assert [cell.image for cell in shown.cells("sample")] == [1, 5, 3]  # by their draws
    assert [cell.image for cell in shown.cells("smallest")] == [0, 1]
    assert [cell.image for cell in shown.cells("largest")] == [4, 3]  # 5 is larger, but cut
    assert [cell.image for cell in shown.cells("cut")] == [5]


def test_equal_cells_can_be_shown():
    shown = ShownCells(2, 2)
    for _ in range(3):
        shown.add(Cell(0, (0.0, 0.0, 5.0, 5.0), "lymphocyte"), 0.5, False)
    assert len(shown.cells("sample")) == 2


def test_a_box_near_an_edge_is_cut():
    boxes = np.array([[0.9, 5, 20, 20], [5, 0.9, 20, 20], [5, 5, 79.1, 20], [5, 5, 20, 99.1], [1, 1, 79, 99]])
    assert record_survey.is_at_edge(boxes, 100, 80).tolist() == [True, True, True, True, False]
