"""The order of suggestions and the reasons."""

import dataclasses
from collections import Counter

import numpy as np

from tfod_csf.evaluation.label_choice import suggestions
from tfod_csf.evaluation.label_choice.image_measures import NO_CELL, Description, ImageMeasures
from tfod_csf.evaluation.label_choice.suggestions import LabeledImages

CLASSES = ["lymphocyte", "monocyte"]


def image(name, doubts, color):
    description = Description(np.ones(2), np.full(6, float(color)))
    return ImageMeasures(name, "p", np.array([3.0, 1.0]), np.array(doubts, float), Counter(), description)


def order(numbers):
    pool = [image("a", [0.4, 0], 0), image("b", [0, 0.2], 9)]
    labeled = LabeledImages([], [], numbers)
    return [one.image for one in suggestions.suggest(pool, labeled, CLASSES)]


def test_doubt_about_a_class_with_few_labels_counts_more():
    assert order(np.array([50, 50])) == ["a", "b"]
    assert order(np.array([90, 10])) == ["b", "a"]


def test_without_labels_what_is_found_says_which_class_is_rare():
    # Expected are 6 lymphocytes and 2 monocytes: weights 10 / 14 and 10 / 6; 0.4 * 10 / 14 < 0.2 * 10 / 6.
    assert order(None) == ["b", "a"]


def test_the_nearest_image_may_be_a_labeled_one():
    pool = [image("a", [1, 0], 0), image("b", [1, 0], 10)]
    labeled = LabeledImages(["old"], [Description(np.ones(2), np.full(6, 9.0))], np.array([1, 1]))
    found = suggestions.suggest(pool, labeled, CLASSES)
    assert [(one.image, one.nearest) for one in found] == [("a", "old"), ("b", "old")]
    assert [one.num_expected for one in found] == [4, 4]


def test_no_image():
    assert suggestions.suggest([], LabeledImages([], [], None), CLASSES) == []


def test_reasons():
    doubts = Counter({(NO_CELL, "monocyte"): 2, ("monocyte", NO_CELL): 1, ("a", "b"): 9, ("a", "c"): 1, ("a", "d"): 1})
    known = LabeledImages(["old"], [Description(np.ones(2), np.ones(6))], np.array([9, 1]))
    assert suggestions.reason_of(doubts, [], True, known) == (
        "in doubt: 9 a or b, 3 monocyte or no cell, 1 a or c, 1 more; unlike the labeled images and those before it"
    )
    few = "likely holds a and b, of which fewer are labeled"
    assert suggestions.reason_of(Counter(), ["a", "b"], False, known) == few
    assert suggestions.reason_of(Counter(), [], False, known) == "no cell here lies close between two classes"


def test_reasons_where_nothing_is_labeled_say_nothing_of_labels():
    pool = [image("a", [1, 0], 0), image("b", [1, 0], 10), image("c", [1, 0], 0)]
    pool = [dataclasses.replace(one, expected=np.array([9.0, 1.0])) for one in pool]
    found = suggestions.suggest(pool, LabeledImages([], [], None), CLASSES)
    few = "likely holds monocyte, of which the model finds fewer"
    # Nothing is before the first; the third is the first once more.
    assert [(one.image, one.reason) for one in found] == [
        ("a", few),
        ("b", f"{few}; unlike those before it"),
        ("c", few),
    ]
