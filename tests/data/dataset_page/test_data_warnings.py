"""Each warning from what causes it, and none without a cause."""

import dataclasses

import numpy as np
import pytest

from tests.data.dataset_page.test_appearance import IMAGE
from tfod_csf.config.protos import image_resizer_pb2
from tfod_csf.data.dataset_page import anchor_fit, appearance, data_warnings, leaks
from tfod_csf.data.dataset_page.data_warnings import LOOK, STOP, NameWithoutClass
from tfod_csf.data.dataset_page.leaks import DUPLICATE, NEAR_DUPLICATE, Leak
from tfod_csf.data.dataset_page.record_survey import Survey

FAIR = {"lymphocyte": 60, "monocyte": 40}


def survey(train=FAIR, test=FAIR, **changes):
    """A survey of one image on each side; a side that is None has none."""
    found = Survey()
    for side, cells in (("train", train), ("test", test)):
        if cells is not None:
            image = dataclasses.replace(IMAGE, side=side, name=side, patient_id=side, cells=cells, **changes)
            found.fingerprints[len(found.images)] = np.ones((1, 1), np.float32)
            found.images.append(image)
            for name, count in cells.items():
                found.box_sizes[name, 100, 80, 20, 20] += count
    return found


def warnings(
    seen=None,
    leaks=(),
    repeats=None,
    shared=(),
    groups=(),
    anchors=None,
    names=("lymphocyte", "monocyte"),
    without_class=(),
):
    seen = seen or survey()
    sizes = anchor_fit.class_sizes(seen.box_sizes, ["lymphocyte", "monocyte"], anchors)
    found = data_warnings.find_warnings(
        seen, leaks, repeats or {}, shared, groups, sizes, names, without_class, anchors
    )
    return [(warning.level, warning.section, warning.text) for warning in found]


def test_no_cause_no_warning():
    assert warnings() == []


def test_a_class_without_any_box():
    found = warnings(names=("lymphocyte", "monocyte", "neutrophil"))
    assert found == [(LOOK, "balance", "No neutrophil in these records: it cannot be learned.")]


def test_most_labels_or_a_frequent_name_without_a_class():
    # 200 cells of the label map on two images.
    rare = [NameWithoutClass("plasma cell", 30, 1, None), NameWithoutClass("blast", 20, 2, None)]
    assert warnings(without_class=rare) == []
    [(level, section, text)] = warnings(without_class=[*rare, NameWithoutClass("monocyt", 9, 3, "monocyte")])
    assert (level, section) == (STOP, "balance")
    assert text.startswith(
        "9 of 259 labels fit no class of the label map, so they are not learned: 'monocyt' (9; did you mean "
        "'monocyte'?). Correct the label map, or give create_csf_tf_record --class_map='monocyt=CLASS' to"
    )
    most = [*rare, NameWithoutClass("erythrocyte", 150, 2, "eritrocyte")]
    [(level, _, text)] = warnings(without_class=most)
    assert level == STOP
    assert text.startswith(
        "200 of 400 labels fit no class of the label map, so they are not learned: 'erythrocyte' (150; did you mean "
        "'eritrocyte'?), 'plasma cell' (30), 'blast' (20). "
    )


def test_leaks_and_shared_patients_come_first():
    pairs = [Leak(1, 0, DUPLICATE, 1.0), Leak(1, 2, NEAR_DUPLICATE, 0.95), Leak(1, 3, NEAR_DUPLICATE, 0.94)]
    found = warnings(survey(test={"lymphocyte": 60, "monocyte": 19}), pairs, {"train": 1, "test": 0}, ["P1", "P2"])
    assert [level for level, *_ in found] == [STOP] * 3 + [LOOK] * 2
    texts = [text for *_, text in found]
    assert texts[0].startswith("Leak: 1 of 1 test images has the same file among the training images")
    assert texts[1].startswith("Leak: 1 of 1 test images has nearly the same picture among the training images")
    assert texts[2].startswith("2 patients have images on both sides ('P1', 'P2')")
    assert "--split_by=patient" in texts[2]
    assert texts[3].startswith("1 image on the train side is there before")
    assert texts[4].startswith("19 monocytes to test with")


@pytest.mark.parametrize(
    ("folder", "text"),
    [("images", "All images are in one folder ('images'). If it is"), ("", "have no folder")],
)
def test_one_folder_of_all_images_says_nothing_of_patients(folder, text):
    seen = survey()
    seen.images = [dataclasses.replace(image, patient_id=folder) for image in seen.images]
    [(level, section, found)] = warnings(seen, shared=leaks.shared_patients(seen))
    assert (level, section) == (LOOK, "leaks")
    assert text in found
    del seen.images[1]  # the test side
    assert [warning for warning in warnings(seen) if "folder" in warning[2]] == []


def test_test_images_that_cannot_be_compared():
    seen = survey()
    del seen.fingerprints[1]
    [(level, section, text)] = warnings(seen)
    assert (level, section) == (LOOK, "leaks")
    assert text.startswith("1 of 1 test images show too little to be compared")


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"train": {"lymphocyte": 60}}, (STOP, "No monocyte to train with: all 40 are on the test side.")),
        ({"test": {"lymphocyte": 60, "monocyte": 40}, "train": {"lymphocyte": 900, "monocyte": 90}}, (LOOK, "monocyte: 40.0 % of the test side's cells, but 11.9 % of all.")),  # noqa: E501
        ({"train": {"lymphocyte": 9900, "monocyte": 100}, "test": {"lymphocyte": 2000, "monocyte": 20}}, (LOOK, "monocyte is rare: 120 cells, 1.0 % of all.")),  # noqa: E501
        ({"test": None}, (LOOK, "There is no test side: nothing will be evaluated.")),
        ({"at_edge": {"monocyte": 11}}, (LOOK, "monocyte: 28 % of the boxes are cut at an edge of their image.")),
    ],
)  # fmt: skip
def test_classes(changes, warning):
    assert warning in [(level, text) for level, _, text in warnings(survey(**changes))]


def test_images():
    seen = survey()
    seen.num_skipped = 2
    seen.images += [dataclasses.replace(IMAGE, cells={}, edge_width=width) for width in (2.0, 2.0, 4.5)]
    found = warnings(seen)
    assert found[0] == (STOP, "images", "2 images cannot be decoded and are not on this page; training stops there.")
    assert found[1][2] == "3 of 5 images have no cell: is their labeling finished?"
    assert found[2][2].startswith("1 image is blurred")
    assert len(found) == 3


def test_colors():
    typical = appearance.Appearance("patient", "A", 1, 0, (200.0,) * 3, None, 0.0, None, 2.0, 0)
    far = dataclasses.replace(typical, name="B", background_distance=15.1, nucleus_distance=3.0)
    stained = dataclasses.replace(typical, name="HH", level="laboratory", nucleus_distance=20.0)
    found = warnings(groups=[stained, far, typical])
    assert [text for *_, text in found] == [
        "The stain of the nuclei of 1 laboratory ('HH') has another color than is typical.",
        "The background of 1 patient ('B') has another color than is typical.",
    ]


def test_anchors():
    resizer = image_resizer_pb2.ImageResizer()
    resizer.identity_resizer.SetInParent()
    large = anchor_fit.Anchors(np.array([[40.0, 40.0]]), resizer)
    found = warnings(anchors=large)  # 20 x 20 in 40 x 40: IoU 0.25
    assert [section for _, section, _ in found] == ["sizes", "sizes"]
    assert found[0][2].startswith("lymphocyte: no anchor fits 100 % of the boxes (best IoU below 0.5); 0 % have one")
    assert found[0][2].endswith("generate_pipeline_config takes the scales of the anchors from the boxes.")
    assert warnings(anchors=anchor_fit.Anchors(np.array([[22.0, 22.0]]), resizer)) == []
    of_model = anchor_fit.Anchors(large.sizes, resizer, is_of_model=True)
    assert warnings(anchors=of_model)[0][2].endswith(
        "The config keeps the anchors of the model that it starts from: accept this, or generate the config without "
        "--fine_tune_from, which takes the scales of the anchors from the boxes."
    )
