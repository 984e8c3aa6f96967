"""Which contradicted labels a person sees first."""

from tfod_csf.evaluation.label_problems.problem_list import LabelProblem, places_to_show
from tfod_csf.evaluation.label_problems.suspicion import OVERLOOKED, SWAPPED, Suspicion

BOX = (0.0, 0.0, 10.0, 10.0)


def problem(kind: str, suggested: str) -> LabelProblem:
    return LabelProblem("p/a.jpg", "p", Suspicion(kind, 0.9, None, "", suggested, None, BOX, 0.0))


def test_many_of_one_kind_do_not_hide_the_others():
    problems = [problem(OVERLOOKED, "erythrocyte")] * 50
    problems += [problem(SWAPPED, "neutrophil")] * 3 + [problem(OVERLOOKED, "neutrophil")]
    # Three kinds with their class: 12 // 6 places for each, of which the last one needs one.
    assert places_to_show(problems, 12) == [*range(9), 50, 51, 53]


def test_fewer_than_may_be_shown_or_than_there_are_kinds():
    problems = [problem(OVERLOOKED, "erythrocyte"), problem(SWAPPED, "neutrophil")]
    assert places_to_show(problems, 200) == [0, 1]
    assert places_to_show(problems, 2) == [0, 1]
    assert places_to_show(problems, 1) == [0]
    assert places_to_show([], 10) == []
