import dataclasses

import numpy as np

from tfod_csf.cytology.counting.differential import DifferentialRules, differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.counting.unknown_cells import UnnamedCells
from tfod_csf.cytology.report import sentences

RULES = DifferentialRules()


def result(counts, **more):
    white = [counts.get(name, 0) / 8 for name in ("lymphocyte", "monocyte", "neutrophil")]
    more = {"images_used": 3, "references": load_reference_ranges(), "image_counts": [white] * 8, **more}
    return differential("p", {"m": counts}, **more)


def levels(found, **more):
    return [remark.level for remark in sentences.remarks(found, RULES, 0, **more)]


def test_remarks_name_what_to_look_at():
    assert levels(result({"lymphocyte": 400, "monocyte": 100, "neutrophil": 10})) == []
    assert levels(result({}, images_used=0, images_failed=2)) == ["stop", "look"]
    found = result({"lymphocyte": 25, "monocyte": 10, "neutrophil": 5, "unknown": 1}, images_failed=1)
    texts = [remark.text for remark in sentences.remarks(found, RULES, images_limited=1)]
    # 1 of 41; erythrocytes are not among the 41.
    assert texts[0].startswith("1 unknown cell may be white, 2.4 % of the white cells: a person decides on them")
    assert texts[1] == "1 of 4 images could not be used (see Images)."
    # Goodman, A = 5.731: (62.5 % * 40 + A / 2) / (40 + A) = 60.93 % is the middle, 17.21 points half the width.
    assert texts[2].startswith("An interval reaches 18.8 points from its percentage: more white cells are needed")
    assert texts[3].startswith("On 1 image the model reached its detection limit; some cells may be missing")


def test_the_remark_names_the_reason_that_holds():
    few = result({"lymphocyte": 40, "monocyte": 20, "neutrophil": 20})
    short = dataclasses.replace(few, reach_points=9.0)  # every interval is short enough, yet the answer is no
    (text,) = [remark.text for remark in sentences.remarks(short, RULES, 0)]
    assert text.startswith("Other images could have given other percentages: more white cells are needed")
    (text,) = [remark.text for remark in sentences.remarks(dataclasses.replace(few, reach_points=11.0), RULES, 0)]
    assert text.startswith("An interval reaches 11.0 points from its percentage: more white cells are needed")


def test_a_model_without_classes_of_the_study():
    none = result({"Lymphocytes": 40}, model_classes=["Lymphocytes", "Monocytes"])
    (remark,) = sentences.remarks(none, RULES, 0)
    assert remark.level == "stop"
    assert remark.text == "None of the model's classes is lymphocyte, monocyte or neutrophil: there are no percentages."
    assert sentences.enough_verdict(none, RULES) == "No: none of the model's classes is a white cell."
    some = result({"lymphocyte": 400, "monocyte": 100}, model_classes=["lymphocyte", "monocyte", "Neutrophils"])
    assert "None of the model's classes is neutrophil: such cells are not counted." in [
        remark.text for remark in sentences.remarks(some, RULES, 0)
    ]


def test_models_that_differ():
    models = {"a": {"lymphocyte": 300, "monocyte": 100}, "b": {"lymphocyte": 200, "monocyte": 200}}
    found = differential("p", models, images_used=3)
    assert sentences.remarks(found, RULES, 0)[-1].text == "The models differ by up to 25.0 points on a class."


def test_verdicts():
    def verdict(images, **more):
        counts = dict(zip(("lymphocyte", "monocyte", "neutrophil"), np.sum(images, axis=0).tolist(), strict=True))
        found = differential("p", {"m": {**counts, **more}}, images_used=len(images), image_counts=images)
        return sentences.enough_verdict(found, RULES)

    assert verdict([[1, 1, 0]]) == "No: 2 white cells were counted, and percentages need at least 30."
    assert verdict([[200, 100, 100]]).startswith("Not known for ± 10 points: 1 image with white cells cannot show")
    assert verdict([[80, 0, 0]] * 6).startswith("Not known for ± 10 points: all white cells are of one class")
    yes = verdict([[20, 10, 10]] * 8)
    assert yes.startswith(
        "Yes, for ± 10 points: 138 white cells are needed at these percentages, and 320 white cells were"
    )
    assert verdict([[20, 10, 10]] * 8, unknown=100).startswith("Not known for ± 10 points: unknown cells are 23.8 %")
    apart = [[40, 0, 0], [0, 40, 0], [40, 0, 0], [0, 40, 0], [0, 0, 40]]
    assert verdict(apart).endswith("even 4 times as many images like these could give other percentages.")
    few = verdict([[8, 4, 4]] * 5)  # 80 of 138 cells: 9 images of 16 cells
    assert few.startswith("No, not for ± 10 points: about 138 white cells are needed at these percentages (9 images")


def test_too_many_unknown_cells_stop_the_reader():
    # 8 images of 5 lymphocytes, 1 monocyte, 6 unknown that are most likely neutrophils, and 100 erythrocytes.
    cells = UnnamedCells({"m": {"lymphocyte": 40, "monocyte": 8, "erythrocyte": 800}}, {"m": {"neutrophil": 48}})
    counts = {"lymphocyte": 40, "monocyte": 8, "erythrocyte": 800, "unknown": 48}
    found = differential("p", {"m": counts}, images_used=8, image_counts=[[5, 1, 0]] * 8, undecided=cells)
    (stop, *_) = sentences.remarks(found, RULES, 0)
    assert stop.level == "stop"
    assert stop.text.startswith("48 unknown cells may be white, 50.0 % of the white cells, more than 10 %")
    assert sentences.shown_shares(found, RULES) == {}
    assert not sentences.enough_verdict(found, RULES).startswith("Yes")
    assert sentences.unknown_words(found) == "48 may be white: 50.0\u00a0% of the white cells"


def test_cells_that_a_person_left_unknown_remain_unknown():
    def remark(undecided, left, **rules):
        cells = UnnamedCells({"m": {"lymphocyte": 80}}, {"m": undecided}, {"m": left})
        counts = {"lymphocyte": 80, "unknown": sum(undecided.values()) + sum(left.values())}
        found = differential("p", {"m": counts}, images_used=8, image_counts=[[10, 0, 0]] * 8, undecided=cells)
        return sentences.remarks(found, DifferentialRules(**rules), 0)[0]

    all_left = remark({}, {"unknown": 20})
    assert (all_left.level, all_left.text) == (
        "stop",
        "20 unknown cells may be white, 20.0 % of the white cells, more than 10 %: a person looked at them and left "
        "them unknown; they are of rarer classes or cannot be named. Each percentage may lie anywhere in its "
        "worst case.",
    )
    some = remark({"neutrophil": 15}, {"unknown": 5}, max_unknown_percent=30)
    assert some.level == "look"
    assert some.text.endswith("the gallery shows them first (5 of them a person looked at and left unknown).")


def test_unknown_cells_counted_as_predicted_are_not_called_none():
    # 64 decided white cells, 16 likely neutrophils counted as such: 16 of 80.
    cells = UnnamedCells({"m": {"lymphocyte": 64}}, {"m": {"neutrophil": 16}})
    found = differential("p", {"m": {"lymphocyte": 64, "neutrophil": 16}}, images_used=8, undecided=cells)
    assert sentences.unknown_words(found) == (
        "16 counted above under their most likely class: 20.0\u00a0% of the white cells"
    )


def test_counting_more_is_not_all_where_too_much_is_unknown():
    cells = UnnamedCells({"m": {"lymphocyte": 32, "monocyte": 8}}, {"m": {"neutrophil": 10}})
    counts = {"lymphocyte": 32, "monocyte": 8, "unknown": 10}
    found = differential("p", {"m": counts}, images_used=8, image_counts=[[4, 1, 0]] * 8, undecided=cells)
    verdict = sentences.enough_verdict(found, RULES)
    assert verdict.startswith("No, not for")
    assert verdict.endswith("More cells alone are not enough: too many are unknown.")
    assert not sentences.enough_verdict(found, DifferentialRules(max_unknown_percent=50)).endswith("are unknown.")


def test_unknown_erythrocytes_are_only_a_note():
    cells = UnnamedCells({"m": {"lymphocyte": 100}}, {"m": {"erythrocyte": 50}})
    found = differential("p", {"m": {"lymphocyte": 100, "unknown": 50}}, images_used=8, undecided=cells)
    assert [remark.level for remark in sentences.remarks(found, RULES, 0)] == ["note", "look"]
    assert sentences.unknown_words(found) == "most likely erythrocytes"


def test_what_the_cells_are_worth():
    assert sentences.worth_words(result({"lymphocyte": 1})) == ""
    assert sentences.worth_words(result({"lymphocyte": 80})) == (
        "Clustering not known: the intervals take the cells as independent."
    )
    found = result({"lymphocyte": 60, "monocyte": 30, "neutrophil": 10})
    assert sentences.worth_words(found) == (
        "For the intervals the 100 white cells are worth 100 independent ones: design effect 0.0 on 8 images."
    )


def test_a_run_of_an_older_version_still_names_classes():
    assert sentences.known_classes({}) == ["lymphocyte", "monocyte", "neutrophil", "erythrocyte"]
    run = {"models": [{"classes": ["b", "a"]}, {"classes": ["a", "c"]}, {}]}
    assert sentences.known_classes(run) == ["b", "a", "c"]
