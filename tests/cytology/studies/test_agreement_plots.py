"""What is in the plots of machine against hospital, on three patients worked by hand."""

import numpy as np
import pytest

from tfod_csf.cytology.studies import agreement_plots
from tfod_csf.cytology.studies.agreement import Differentials
from tfod_csf.cytology.studies.cell_agreement import Proportion
from tfod_csf.cytology.studies.method_comparison import Estimate

IDS = ("a", "王", "c")
HOSPITAL = np.array([[60.0, 30, 10], [50, 40, 10], [80, 10, 10]])
# Lymphocytes +1, +2, +3 points, monocytes as many less.
MACHINE = HOSPITAL + np.array([[1.0], [2], [3]]) * [1, -1, 0]


def differentials(percent, ids=IDS):
    return Differentials(ids, percent, np.full(len(ids), 200.0))


def points(axes):
    """Coordinates of the one series that is dots."""
    (dots,) = [line for line in axes.lines if line.get_linestyle() == "None"]
    return dots.get_xydata().tolist()


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_bland_altman(saved_figures, tmp_path):
    agreement_plots.plot_bland_altman(tmp_path / "ba.png", differentials(MACHINE), differentials(HOSPITAL))
    lymphocytes, monocytes, neutrophils = saved_figures[0].axes
    assert points(lymphocytes) == [[60.5, 1], [51, 2], [81.5, 3]]
    # Mean 2, standard deviation 1: limits at 2 -/+ 1.96.
    assert texts(lymphocytes) == ["bias +2.0", "-1.96 SD +0.0", "+1.96 SD +4.0"]
    assert texts(monocytes) == ["bias -2.0", "-1.96 SD -4.0", "+1.96 SD -0.0"]
    assert points(neutrophils) == [[10, 0], [10, 0], [10, 0]]
    low, high = lymphocytes.get_ylim()
    assert low == -high
    assert high >= 20


def test_bland_altman_has_sloping_limits_where_differences_change_with_the_mean(saved_figures, tmp_path):
    lymphocytes = np.linspace(10, 90, 20)
    hospital = np.column_stack([lymphocytes, 100 - lymphocytes, 0 * lymphocytes])
    machine = np.column_stack([0.8 * lymphocytes, 100 - 0.8 * lymphocytes, 0 * lymphocytes])
    ids = [str(n) for n in range(20)]
    agreement_plots.plot_bland_altman(tmp_path / "ba.png", differentials(machine, ids), differentials(hospital, ids))
    axes = saved_figures[0].axes[0]
    assert texts(axes) == ["-1.96 SD", "bias", "+1.96 SD"]
    lines = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 50]
    # The mean of both runs from 9 to 81, the difference from -2 to -18, without spread.
    for line in lines:
        np.testing.assert_allclose(line[[0, -1]], [[9, -2], [81, -18]])
    # 200 and 200 cells at 50 %: 1.96 * 100 * sqrt(0.25 * 2 / 200) = 9.8 points from counting alone.
    upper = next(line for line in axes.lines if len(line.get_xdata()) == 101 and line.get_ydata().max() > 0)
    assert upper.get_ydata()[50] == pytest.approx(9.8)
    assert upper.get_ydata()[[0, 100]].tolist() == [0, 0]


def test_bland_altman_of_one_patient_has_no_limits(saved_figures, tmp_path):
    one = [differentials(percent[:1], IDS[:1]) for percent in (MACHINE, HOSPITAL)]
    agreement_plots.plot_bland_altman(tmp_path / "ba.svg", *one)
    assert points(saved_figures[0].axes[0]) == [[60.5, 1]]
    assert texts(saved_figures[0].axes[0]) == []


def test_comparison_names_the_lines(saved_figures, tmp_path):
    agreement_plots.plot_comparison(
        tmp_path / "c.png", differentials(HOSPITAL / 2 + 25), differentials(HOSPITAL), error_ratio=1.0
    )
    axes = saved_figures[0].axes[0]
    assert points(axes) == [[60, 55], [50, 50], [80, 65]]
    title = axes.get_title() + axes.get_title("left")
    assert title == "lymphocyte\nPassing-Bablok: 0.50 x +25.0\nDeming: 0.50 x +25.0"
    identity, passing_bablok, deming = (line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(identity, [[0, 0], [100, 100]])
    np.testing.assert_allclose(passing_bablok, [[0, 25], [100, 75]])
    np.testing.assert_allclose(deming, [[0, 25], [100, 75]])
    # All hospitals say 10 % neutrophils: no line can be fitted, and none is shown.
    neutrophils = saved_figures[0].axes[2]
    assert neutrophils.get_title() + neutrophils.get_title("left") == "neutrophil"


def share(value, low=float("nan"), high=float("nan"), cells=10):
    return Proportion(Estimate(value, low, high), cells)


def test_outcomes_and_accuracies_of_classes(saved_figures, tmp_path):
    names = ("specificity", "positive_predictive_value", "negative_predictive_value")
    shares = {
        "lymphocyte": {
            "sensitivity": share(0.6, 0.5, 0.7),
            "other_class": share(0.2),
            "unknown": share(0.1),
            "missed": share(0.1),
            **{name: share(0.9) for name in names},
        },
        "monocyte": dict.fromkeys(
            ("sensitivity", "other_class", "unknown", "missed", *names), share(float("nan"), cells=0)
        ),
    }
    agreement_plots.plot_classes(tmp_path / "c.png", shares)
    bars, points = saved_figures[0].axes
    widths = [(round(bar.get_x()), round(bar.get_width())) for bar in bars.patches]
    assert widths == [(0, 60), (60, 20), (80, 10), (90, 10)]
    interval = points.lines[0].get_xdata()
    assert list(interval) == pytest.approx([50, 70])
    assert [label.get_text() for label in bars.get_yticklabels()] == ["lymphocyte (10)", "monocyte (0)"]


def test_patients_by_size_of_the_difference(saved_figures, tmp_path):
    agreement_plots.plot_patients(
        tmp_path / "p.png", differentials(MACHINE), differentials(HOSPITAL), [False, False, True]
    )
    axes = saved_figures[0].axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [label[-3:] for label in (labels[0], labels[2])] == ["c *", "a"]
    assert len(labels) == 3
    marks = [line.get_xydata()[0].tolist() for line in axes.lines if len(line.get_xdata()) == 1]
    assert [mark[0] for mark in marks] == [80, 83, 50, 52, 60, 61]  # hospital, machine


def test_only_the_first_forty_patients_are_shown(saved_figures, tmp_path):
    ids = [f"p{i}" for i in range(41)]
    hospital = np.tile([50.0, 30, 20], (41, 1))
    machine = hospital + np.arange(41)[:, None] * [1, -0.5, -0.5]
    agreement_plots.plot_patients(
        tmp_path / "p.png", *(differentials(x, ids) for x in (machine, hospital)), [False] * 41
    )
    labels = [label.get_text() for label in saved_figures[0].axes[0].get_yticklabels()]
    assert (len(labels), labels[0], labels[-1]) == (40, "p40", "p1")


@pytest.mark.parametrize("plot", [agreement_plots.plot_bland_altman, agreement_plots.plot_comparison])
def test_equal_data_give_equal_files(tmp_path, plot):
    for name in ("1.svg", "2.svg"):
        plot(tmp_path / name, differentials(MACHINE), differentials(HOSPITAL))
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()


def test_more_patients_than_can_be_told_apart_are_a_density(saved_figures, tmp_path, monkeypatch):
    monkeypatch.setattr(agreement_plots, "_MAX_POINTS", 2)
    agreement_plots.plot_bland_altman(tmp_path / "ba.png", differentials(MACHINE), differentials(HOSPITAL))
    axes = saved_figures[0].axes[2]  # three patients on one point
    assert not [line for line in axes.lines if line.get_linestyle() == "None"]
    (hexagons,) = [one for one in axes.collections if one.get_array() is not None]
    assert hexagons.get_array().tolist() == [3]
