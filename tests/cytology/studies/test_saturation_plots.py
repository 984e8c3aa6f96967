"""What is in the plots of the paper's Figure 2."""

import numpy as np
import pytest

from tfod_csf.cytology.counting.enough_cells import EnoughCells
from tfod_csf.cytology.counting.saturation import SaturationRules, saturation
from tfod_csf.cytology.studies import saturation_plots

RULES = SaturationRules(replicates=100)
YES, NO, NOT_KNOWN = EnoughCells("yes", 120), EnoughCells("no", 500), EnoughCells("not known", 46, "too few images")


@pytest.fixture(scope="module")
def result():
    """20 images of 12 lymphocytes, 6 monocytes and 2 neutrophils: 60, 30 and 10 % in every image."""
    return saturation("p", np.tile([12, 6, 2], (20, 1)), RULES)


def title_of(axes):
    return axes.get_title() + axes.get_title("left")


def test_titles_of_cases():
    assert saturation_plots.case_title("high_white_cells") == "high white cells"
    assert saturation_plots.case_title(saturation_plots.NO_CASE) == "no case assigned"


def test_curves_end_at_the_final_percentages(saved_figures, tmp_path, result):
    saturation_plots.plot_patient(tmp_path / "s.png", "王", result, YES, RULES)
    (axes,) = saved_figures[0].axes
    medians = [line for line in axes.lines if line.get_xydata()[-1].tolist() in ([400, 60], [400, 30], [400, 10])]
    assert len(medians) >= 3
    texts = [text.get_text() for text in axes.texts]
    assert {"lymphocyte 60 %", "monocyte 30 %", "neutrophil 10 %"} <= set(texts)
    assert "n_sat 120" in texts
    assert "saturated at 120 white cells (+-10 points)" in title_of(axes)
    assert axes.get_xlabel() == "white cells counted (400 white cells on 20 images)"
    assert axes.get_xlim() == (0, 400)


def test_a_patient_with_one_image_is_not_known(saved_figures, tmp_path):
    saturation_plots.plot_patient(tmp_path / "s.png", "p", saturation("p", [[40, 10, 10]], RULES), NOT_KNOWN, RULES)
    assert title_of(saved_figures[0].axes[0]) == "p: saturation not known (+-10 points)"
    legend = [text.get_text() for text in saved_figures[0].legends[0].get_texts()]
    assert not any("replacement" in text for text in legend)


def test_labels_of_close_percentages_are_seven_apart(saved_figures, tmp_path):
    # 0, 2 and 98 %: the 2 moves up to 7; then all move down by 1, so that the highest is at 97.
    result = saturation("p", np.tile([49, 1, 0], (5, 1)), RULES)
    saturation_plots.plot_patient(tmp_path / "s.png", "p", result, NO, RULES)
    labels = [text for text in saved_figures[0].axes[0].texts if "%" in text.get_text()]
    heights = {label.get_text().split()[0]: label.xy[1] for label in labels}
    assert heights == pytest.approx({"neutrophil": -1, "monocyte": 6, "lymphocyte": 97})


def test_one_panel_for_each_case(saved_figures, tmp_path, result):
    examples = {"high_white_cells": ("a", result, YES), saturation_plots.NO_CASE: ("b", result, NO)}
    saturation_plots.plot_cases(tmp_path / "c.png", examples)
    assert [title_of(axes) for axes in saved_figures[0].axes] == ["high white cells\na", "no case assigned\nb"]
    saturation_plots.plot_cases(tmp_path / "c.png", {str(i): ("p", result, NO) for i in range(4)})
    assert [axes.get_visible() for axes in saved_figures[1].axes] == [True] * 4 + [False] * 2


def test_cohort_has_one_line_for_each_patient(saved_figures, tmp_path):
    cells = np.array([100, 200, 800])
    curves = [
        ("high_white_cells", cells, np.array([0.5, 0.95, 1.0])),
        (saturation_plots.NO_CASE, cells, np.array([0.1, 0.2, 0.95])),
    ]
    saturation_plots.plot_cohort(tmp_path / "c.png", curves, RULES)
    (axes,) = saved_figures[0].axes
    drawn = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata()) == 3]
    assert drawn == [[[100, 50], [200, 95], [800, 100]], [[100, 10], [200, 20], [800, 95]]]
    assert axes.get_xlim() == (0, 1000)  # a quarter beyond the 800 cells that the last patient needs
    legend = [text.get_text() for text in saved_figures[0].legends[0].get_texts()]
    assert legend == ["high white cells", "no case assigned"]
    assert {"paper: needed on average 315", "95 %"} <= {text.get_text() for text in axes.texts}
    saturation_plots.plot_cohort(tmp_path / "none.png", [], RULES)
    assert saved_figures[1].axes[0].get_xlim() == (0, 1.25 * 315)


def test_many_patients_are_ranges_of_their_cases(saved_figures, tmp_path, monkeypatch):
    monkeypatch.setattr(saturation_plots, "_MAX_LINES", 100)
    cells = np.array([0.0, 1000.0])
    curves = [("high_white_cells", cells, np.array([p / 100, p / 100])) for p in range(101)]
    few = [(saturation_plots.NO_CASE, cells, np.array([0.3, 0.3]))] * 19
    saturation_plots.plot_cohort(tmp_path / "c.png", [*curves, *few], RULES)
    (axes,) = saved_figures[0].axes
    drawn = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) > 2]
    assert [sorted(set(heights.tolist())) for heights in drawn] == [[50]]  # 19 patients have no range
    (low, high) = axes.collections[0].get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == (5, 95)
    assert "middle 90 % of the patients" in axes.get_title(loc="left")
