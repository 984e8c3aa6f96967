import numpy as np

from tfod_csf.classification import NO_CELL, OUTCOMES, TRUE_CLASSES
from tfod_csf.evaluation.classification_counts import ClassificationCounter, ValidationImage


def image(patient, names, found, shift=0.0):
    """Annotated cells of 10 x 10 pixels beside each other, and (place, class, score) of the found ones."""
    boxes = np.array([[0, 20 * m, 10, 20 * m + 10] for m in range(len(names))], float).reshape(-1, 4)
    found_boxes = np.array([[0, 20 * m + shift, 10, 20 * m + 10 + shift] for m, _, _ in found], float).reshape(-1, 4)
    scores = np.array([score for *_, score in found])
    return ValidationImage(patient, 400, 100, names, boxes, [name for _, name, _ in found], scores, found_boxes)


def cells(patient):
    """{(true class, outcome): cells}, those that are not 0."""
    return {(TRUE_CLASSES[t], OUTCOMES[j]): patient.counts[t, j] for t, j in np.argwhere(patient.counts)}


def test_outcomes_of_each_patient_worked_by_hand():
    counter = ClassificationCounter(0.8)
    names = ["neutrophil", "lymphocyte", "Unknown", "neutrophil"]
    found = [(0, "neutrophil", 0.9), (1, "monocyte", 0.7), (2, "eosinophil", 0.95), (10, "lymphocyte", 0.6)]
    counter.add_image(image("a", names, found))
    counter.add_image(image("b", ["monocyte"], [(0, "monocyte", 0.8)]))
    counter.add_image(image("a", [], []))
    first, second = counter.patients()
    assert cells(first) == {
        ("neutrophil", "neutrophil"): 1,
        ("lymphocyte", "unknown: monocyte"): 1,
        ("other", "other"): 1,
        ("neutrophil", "missed"): 1,
        (NO_CELL, "unknown: lymphocyte"): 1,
    }
    assert cells(second) == {("monocyte", "monocyte"): 1}
    assert (first.images, second.images) == (2, 1)
    assert first.pictures["cells per image"] == 2
    assert first.pictures["box size (% of the image's)"] == 5  # the root of 100 / 40,000


def test_a_box_too_far_away_is_a_missed_cell_and_a_false_one():
    far = image("a", ["monocyte"], [(0, "monocyte", 0.9)], shift=6.0)  # IoU 40 / 160
    counter, lenient = ClassificationCounter(0.8), ClassificationCounter(0.8, 0.2)
    counter.add_image(far)
    lenient.add_image(far)
    assert cells(counter.patients()[0]) == {("monocyte", "missed"): 1, (NO_CELL, "monocyte"): 1}
    assert cells(lenient.patients()[0]) == {("monocyte", "monocyte"): 1}


def test_where_not_every_cell_was_annotated_nothing_is_false():
    counter = ClassificationCounter(0.8, count_false=False)
    counter.add_image(image("a", ["monocyte"], [(0, "monocyte", 0.9), (5, "monocyte", 0.9)]))
    assert cells(counter.patients()[0]) == {("monocyte", "monocyte"): 1}


def test_no_images():
    assert ClassificationCounter(0.8).patients() == ()
