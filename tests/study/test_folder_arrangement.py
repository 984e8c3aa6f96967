import pathlib

import pytest

from tfod_csf.problems import ProblemLog
from tfod_csf.study.folder_arrangement import note_arrangement


def noted(*keys):
    problems = ProblemLog(quiet=True)
    note_arrangement(pathlib.Path("slides"), keys, problems)
    assert {problem.action for problem in problems.problems} <= {"noted"}
    return [problem.reason for problem in problems.problems]


def test_parts_of_a_data_set_are_noted():
    (reason,) = noted("Train/1.png", "valid/2.png", "test/3.png", "P1/4.png")
    assert reason == (
        "folders whose names are those of parts of a data set were taken for patients ('Train', 'test', 'valid')"
    )


def test_parts_of_other_data_sets_are_noted():
    (reason,) = noted("train2017/1.png", "val2017/2.png", "测试集/3.png", "2017/4.png")
    assert "('train2017', 'val2017', '测试集')" in reason


def test_days_above_patients_are_noted():
    (reason,) = noted("2024-01-05/P1/1.jpg", "2024-01-05/P2/1.jpg", "2024-02-11/P1/2.jpg")
    assert reason == (
        "taken as patient '2024-01-05' with the sub-folders 'P1', 'P2' and no image of its own; 'P1' comes again below "
        "another patient"
    )


@pytest.mark.parametrize(
    "keys",
    [
        ("P1/1.jpg", "P2/1.jpg"),
        ("P1/day1/1.jpg", "P1/day2/1.jpg", "P2/Day 1/1.jpg"),
        ("P1/2024-01-05/1.jpg", "P1/2024-01-12/1.jpg"),
        ("P1/1.jpg", "P1/a/1.jpg", "P1/b/1.jpg"),
        ("P1/a/1.jpg", "P2/a/1.jpg"),
        ("testing_hospital_7/1.jpg", "trainer/1.jpg", "imagery/2.jpg"),
        ("1.jpg",),
        (),
    ],
)
def test_sound_arrangements_are_not_noted(keys):
    assert noted(*keys) == []
