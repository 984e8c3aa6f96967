from tfod_csf.cytology.counting.differential import DifferentialRules, differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.counting.saturation import SaturationRules, saturation
from tfod_csf.cytology.report import sentences

RULES = DifferentialRules()


def result(counts, **more):
    white = [counts.get(name, 0) / 8 for name in ("lymphocyte", "monocyte", "neutrophil")]
    more = {"images_used": 3, "references": load_reference_ranges(), "image_counts": [white] * 8, **more}
    return differential("p", {"m": counts}, **more)


def levels(found, **more):
    return [remark.level for remark in sentences.remarks(found, None, RULES, 0, **more)]


def test_headline_with_percentages_and_marks():
    # 60 : 30 : 10 of 100; Goodman's interval of 60 % reaches above 63 %, that of 10 % (4.9 to 19.5) lies above 2 %.
    text = sentences.headline(result({"lymphocyte": 60, "monocyte": 30, "neutrophil": 10}), RULES)
    expected = (
        "100 white cells on 3 images: lymphocytes 60 % (low, uncertain), monocytes 30 %, neutrophils 10 % (high)."
    )
    assert text.replace("\u00a0", " ") == expected


def test_headline_without_percentages():
    text = sentences.headline(result({"lymphocyte": 1, "monocyte": 2}), RULES)
    assert text.startswith("3 white cells on 3 images: 1 lymphocyte, 2 monocytes, 0 neutrophils. Fewer than 30, so no")
    assert sentences.headline(result({}), RULES) == "No cell was found on 3 images."
    no_image = result({}, images_used=0, images_failed=2)
    assert sentences.headline(no_image, RULES) == "No image of this patient could be examined. There is no result."


def test_remarks_name_what_to_look_at():
    assert levels(result({"lymphocyte": 400, "monocyte": 100, "neutrophil": 10})) == []
    assert levels(result({}, images_used=0, images_failed=2)) == ["stop", "look"]
    found = result({"lymphocyte": 25, "monocyte": 10, "neutrophil": 5, "unknown": 1}, images_failed=1)
    texts = [remark.text for remark in sentences.remarks(found, None, RULES, images_limited=1)]
    assert texts[0] == "1 of 4 images could not be used (see Images)."
    assert texts[1].startswith("1 unknown cell (2.4 % of all cells) waits for a person's decision")
    # Goodman, A = 5.731: (62.5 % * 40 + A / 2) / (40 + A) = 60.93 % is the middle, 17.21 points half the width.
    assert texts[2].startswith("An interval reaches 18.8 points from its percentage; ± 10 points needs about")
    assert texts[3].startswith("On 1 image the model reached its detection limit; some cells may be missing")


def test_models_that_differ():
    models = {"a": {"lymphocyte": 300, "monocyte": 100}, "b": {"lymphocyte": 200, "monocyte": 200}}
    found = differential("p", models, images_used=3)
    assert sentences.remarks(found, None, RULES, 0)[-1].text == "The models differ by up to 25.0 points on a class."


def test_verdicts():
    rules = SaturationRules(replicates=100)
    few = saturation("p", [[1, 1, 0]], rules)
    assert sentences.saturation_verdict(few, rules).startswith("2 white cells are too few")
    one_image = saturation("p", [[30, 10, 0]], rules)
    assert sentences.saturation_verdict(one_image, rules).startswith("Not known: 1 image cannot tell")
    settled = saturation("p", [[20, 10, 5]] * 20, rules)
    assert sentences.saturation_verdict(settled, rules).startswith("Yes, within ± 10 points: from ")
    apart = saturation("p", [[40, 0, 0], [0, 40, 0], [40, 0, 0], [0, 40, 0], [0, 0, 40]], rules)
    assert sentences.saturation_verdict(apart, rules).endswith("More than 20 images would be needed.")
    mixed = saturation("p", [[8, 2, 2], [2, 8, 2], [6, 2, 4], [2, 6, 4], [4, 4, 4]], rules)
    assert sentences.saturation_verdict(mixed, rules).endswith("images like these would be needed; there are 5.")


def test_a_run_of_an_older_version_still_names_classes():
    assert sentences.known_classes({}) == ["lymphocyte", "monocyte", "neutrophil", "erythrocyte"]
    run = {"models": [{"classes": ["b", "a"]}, {"classes": ["a", "c"]}, {}]}
    assert sentences.known_classes(run) == ["b", "a", "c"]
