"""The sentence that the page and the laboratory's system share."""

from tfod_csf.cytology.counting.differential import DifferentialRules, differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.counting.result_sentence import no_percentages, plain_mark, result_sentence

RULES = DifferentialRules()


def result(counts, **more):
    white = [counts.get(name, 0) / 8 for name in ("lymphocyte", "monocyte", "neutrophil")]
    more = {"images_used": 3, "references": load_reference_ranges(), "image_counts": [white] * 8, **more}
    return differential("p", {"m": counts}, **more)


def sentence(found):
    return result_sentence(found, RULES).replace("\u00a0", " ")


def test_percentages_and_marks():
    # 60 : 30 : 10 of 100; Goodman's interval of 60 % reaches above 63 %, that of 10 % (4.9 to 19.5) lies above 2 %.
    found = result({"lymphocyte": 60, "monocyte": 30, "neutrophil": 10})
    assert sentence(found) == (
        "100 white cells on 3 images: lymphocytes 60 % (low, uncertain), monocytes 30 %, neutrophils 10 % (high)."
    )
    marks = {name: plain_mark(share) for name, share in found.shares.items()}
    assert marks == {"lymphocyte": "low, uncertain", "monocyte": "", "neutrophil": "high"}
    assert no_percentages(found, RULES) == ""


def test_without_percentages():
    assert sentence(result({"lymphocyte": 1, "monocyte": 2})) == (
        "3 white cells on 3 images: 1 lymphocyte, 2 monocytes, 0 neutrophils. Fewer than 30, so no percentages are "
        "given."
    )
    assert sentence(result({}, images_used=1)) == "No cell was found on 1 image."
    no_image = result({}, images_used=0, images_failed=2)
    assert sentence(no_image) == "No image of this patient could be examined. There is no result."


def test_too_many_unknown_cells():
    # 20 unknown of 120 white cells.
    counts = {"lymphocyte": 60, "monocyte": 30, "neutrophil": 10, "unknown": 20}
    found = result(counts)
    assert found.unknown_beyond_limit
    assert sentence(found) == (
        "100 white cells on 3 images: 60 lymphocytes, 30 monocytes, 10 neutrophils. 17 % of the white cells are "
        "unknown, so no percentages are given."
    )
    allowed = result(counts, rules=DifferentialRules(max_unknown_percent=20))
    assert allowed.unknown_beyond_limit is False
    assert sentence(allowed).startswith("100 white cells on 3 images: lymphocytes 60 %")
    assert result({"lymphocyte": 1, "unknown": 20}).unknown_beyond_limit is None
