import numpy as np
import pytest
from scipy import stats

from tfod_csf.benchmarks.interval_coverage import simulate_images
from tfod_csf.cell_classes import WHITE_CELLS
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.enough_cells import NO, NOT_KNOWN, YES
from tfod_csf.cytology.counting.live_count import LOOKS, live_count


@pytest.fixture
def patient(tmp_path, write_patient):
    """The function that gives a patient of these [I, 3] white cells per image."""

    def of_counts(counts, **how):
        images = [{name: int(n) for name, n in zip(WHITE_CELLS, row) if n} for row in counts]
        write_patient(tmp_path / "p", "p", images, **how)
        return run_tables.read_patient(tmp_path / "p")

    return of_counts


def first_yes(patient, counts):
    """The number of images at which the differential answers yes first, and the answers up to the end."""
    answers = [cohort.patient_differential(patient(counts[:n])).enough.answer for n in range(1, len(counts) + 1)]
    return answers.index(YES) + 1, answers


def test_one_yes_is_not_the_answer_but_as_many_in_a_row_as_are_asked_for(patient):
    counts = simulate_images(np.random.default_rng(0), 14, 20, (0.5, 0.3, 0.2), 0)
    first, answers = first_yes(patient, counts)
    assert answers[first - 1 : first + LOOKS - 1] == [YES] * LOOKS  # this patient's answer does not waver
    looks = [live_count(patient(counts[:n])).looks for n in range(first - 1, first + LOOKS + 1)]
    assert looks == [0, *range(1, LOOKS + 1), LOOKS]
    live = [live_count(patient(counts[:n])).answer for n in range(first - 1, first + LOOKS + 1)]
    assert live == [NO] * LOOKS + [YES, YES]


def test_images_without_white_cells_confirm_nothing(patient):
    counts = simulate_images(np.random.default_rng(0), 14, 20, (0.5, 0.3, 0.2), 0)
    first, _ = first_yes(patient, counts)
    empty = np.zeros((LOOKS, 3), int)
    assert live_count(patient(np.concatenate([counts[:first], empty]))).answer == NO
    assert live_count(patient(np.concatenate([counts[: first + LOOKS - 1], empty]))).answer == YES


def test_what_cannot_be_known_is_said_at_once(patient):
    count = live_count(patient([[50, 0, 0]] * 6))
    assert (count.answer, count.looks) == (NOT_KNOWN, 0)
    assert "one class" in count.result.enough.why


def test_the_class_with_the_longest_arm_limits(patient):
    count = live_count(patient([[12, 8, 0]] * 3))  # 36 and 24 of 60 cells, independent: fewer than 5 images
    low, high = count.result.shares["lymphocyte"].ci_low, count.result.shares["lymphocyte"].ci_high
    expected = stats.binomtest(36, 60).proportion_ci(1 - 0.05 / 3, "exact")
    assert (low, high) == (pytest.approx(100 * expected.low), pytest.approx(100 * expected.high))
    assert count.reach_points["lymphocyte"] == pytest.approx(60 - low)
    assert count.reach_points["monocyte"] == pytest.approx(count.reach_points["lymphocyte"], abs=0.01)
    assert count.limiting_class in ("lymphocyte", "monocyte")
    assert count.reach_points["neutrophil"] == pytest.approx(count.result.shares["neutrophil"].ci_high)


def test_without_percentages_no_class_limits(patient):
    count = live_count(patient([[3, 2, 1]]))
    assert (count.answer, count.limiting_class, count.reach_points) == (NO, None, {})


def test_models_are_averaged_as_in_the_table(tmp_path, write_patient):
    images = [{"lymphocyte": 30, "monocyte": 10}] * 6
    write_patient(tmp_path / "p", "p", images, models=("a", "b"))
    tables = run_tables.read_patient(tmp_path / "p")
    assert live_count(tables).result.white_cells == 240
