"""Table 1 of the paper; ICC against Shrout and Fleiss (Psychol Bull 1979;86:420), kappa against statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss_kappa

from tfod_csf.cytology.annotated_cells import ImageCells
from tfod_csf.cytology.studies.observers import (
    NOT_MARKED,
    among_people,
    fleiss_kappa,
    intraclass_correlation,
    pair_kappas,
    same_cells,
    spread,
    study,
)

TABLE_1 = {
    "erythrocyte": ([13, 12, 20, 27], 7),
    "lymphocyte": ([66, 43, 77, 80], 17),
    "monocyte": ([67, 48, 70, 73], 11),
    "neutrophil": ([41, 40, 43, 54], 6),
}
# Six subjects rated by four judges; Shrout and Fleiss print ICC(2,1) = .29; R's psych::ICC gives 0.019 to 0.76.
SHROUT = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def image(*cells):
    """Cells as (name, x): boxes of 10 x 10 pixels at x."""
    boxes = np.array([[0, x, 10, x + 10] for _, x in cells], float).reshape(-1, 4)
    return ImageCells(tuple(name for name, _ in cells), boxes)


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1_people(name):
    counts, printed = TABLE_1[name]
    assert round(spread(counts).sd) == printed


@pytest.mark.parametrize("count", [28, 77, 66, 50])
def test_table_1_rounds_of_the_machine(count):
    assert spread([count] * 4).sd == 0


def test_spread_of_one_observer_and_of_no_cells():
    assert math.isnan(spread([5]).sd)
    assert spread([0, 0]).sd == 0
    assert math.isnan(spread([0, 0]).cv_percent)


MACHINE = {"erythrocyte": 28, "lymphocyte": 77, "monocyte": 66, "neutrophil": 50}


def test_the_machine_of_table_1_could_be_one_of_the_people():
    # By hand, lymphocytes: mean 66.5, SD 16.782; a further person: 16.782 * sqrt(1.25) = 18.763; z = 10.5 / 18.763.
    found = {name: among_people(TABLE_1[name][0], count) for name, count in MACHINE.items()}
    assert {name: round(among.z, 2) for name, among in found.items()} == {
        "erythrocyte": 1.28,
        "lymphocyte": 0.56,
        "monocyte": 0.12,
        "neutrophil": 0.76,
    }
    assert all(among.is_within for among in found.values())
    # t with 3 degrees of freedom: 3.1824.
    assert found["lymphocyte"].high == pytest.approx(66.5 + 3.1824 * 18.763, abs=0.01)
    assert found["lymphocyte"].p_value == pytest.approx(2 * stats.t.sf(10.5 / 18.763, 3), rel=1e-3)
    assert not among_people(TABLE_1["lymphocyte"][0], 150).is_within


def test_people_who_all_agree_have_no_spread():
    found = among_people([5, 5, 5], 6)
    assert (math.isnan(found.z), found.low, found.high) == (True, 5, 5)
    with pytest.raises(ValueError, match="two people"):
        among_people([5], 6)


def test_the_prediction_interval_holds_one_more_person():
    rng = np.random.default_rng(0)
    within = [among_people(draw[:4], draw[4]).is_within for draw in rng.normal(50, 8, (4000, 5))]
    assert np.mean(within) == pytest.approx(0.95, abs=0.012)


def test_kappas_of_pairs_by_hand():
    # Four cells. Anna and Bert agree on three; the machine agrees with Anna on all, with Bert on three.
    anna = image(("a", 0), ("a", 50), ("b", 100), ("b", 150))
    bert = image(("a", 1), ("b", 51), ("b", 101), ("b", 151))
    found = pair_kappas([[anna], [bert]], [anna])
    # Two by two with 1, 1, 0, 2: observed 3 / 4, chance (2 * 1 + 2 * 3) / 16 = 1 / 2.
    assert found.people.value == pytest.approx(0.5)
    assert found.machine.value == pytest.approx((1 + 0.5) / 2)
    assert found.difference.value == pytest.approx(0.25)
    assert math.isnan(found.people.low)
    # A cell that Bert did not mark is not an "a": Anna a, a, b, b and Bert a, not, b, b give the same table.
    without = image(("a", 1), ("b", 101), ("b", 151))
    assert pair_kappas([[anna], [without]], [anna], "a").people.value == pytest.approx(0.5)
    # Among the cells that both marked there is no disagreement.
    assert pair_kappas([[anna], [without]], [anna]).people.value == 1


def test_intervals_of_pair_kappas_sample_images():
    rng = np.random.default_rng(1)
    truth = [list(rng.choice(["a", "b", "c"], 12)) for _ in range(8)]

    def seen(wrong):
        names = [[str(rng.choice(["a", "b", "c"])) if rng.random() < wrong else n for n in cells] for cells in truth]
        return [image(*((name, 50 * place) for place, name in enumerate(cells))) for cells in names]

    people, machine = [seen(0.1), seen(0.1), seen(0.1)], seen(0.9)
    found = pair_kappas(people, machine)
    assert found.people.low < found.people.value < found.people.high <= 1
    assert found.difference.high < 0
    assert found.difference.value == pytest.approx(found.machine.value - found.people.value)


def test_intraclass_correlation_published_example():
    result = intraclass_correlation(np.array(SHROUT))
    assert result.value == pytest.approx(0.29, abs=0.005)
    assert (result.low, result.high) == pytest.approx((0.019, 0.76), abs=0.005)


def test_intraclass_correlation_extremes():
    assert intraclass_correlation(np.array([[1, 1], [5, 5], [9, 9]])).value == pytest.approx(1)
    assert math.isnan(intraclass_correlation(np.array([[3, 3], [3, 3]])).value)
    assert math.isnan(intraclass_correlation(np.array([[3, 4]])).value)


def test_cells_of_three_people_are_joined_whatever_they_are_called():
    first = image(("lymphocyte", 0), ("monocyte", 50))
    second = image(("monocyte", 1), ("neutrophil", 100))
    third = image(("lymphocyte", 2), ("neutrophil", 101))
    assert same_cells([first, second, third]) == [
        ["lymphocyte", "monocyte", "lymphocyte"],
        ["monocyte", NOT_MARKED, NOT_MARKED],
        [NOT_MARKED, "neutrophil", "neutrophil"],
    ]
    assert same_cells([image(), image()]) == []


def test_fleiss_kappa_against_statsmodels():
    rng = np.random.default_rng(0)
    cells = [[list(rng.choice(list("abc"), 4, p=[0.6, 0.3, 0.1])) for _ in range(7)] for _ in range(9)]
    table = np.array([[cell.count(name) for name in "abc"] for image in cells for cell in image])
    result = fleiss_kappa(cells)
    assert result.value == pytest.approx(statsmodels_fleiss_kappa(table))
    assert result.low < result.value < result.high


def test_fleiss_kappa_by_hand_and_extremes():
    # Two raters, cells (a, a), (a, b): observed (1 + 0) / 2; a 3/4, b 1/4: chance 10/16; kappa = (8 - 10) / 6 = -1/3.
    one_image = fleiss_kappa([[["a", "a"], ["a", "b"]]])
    assert one_image.value == pytest.approx(-1 / 3)
    assert math.isnan(one_image.low)
    assert fleiss_kappa([[["a", "a"]], [["b", "b"]]]).value == 1
    assert math.isnan(fleiss_kappa([[], []]).value)
    assert math.isnan(fleiss_kappa([[["a", "a"]]]).value)


def test_study_counts_cells_on_the_given_images_only():
    people = {
        "anna": {"x": image(("lymphocyte", 0), ("monocyte", 50)), "y": image(), "z": image(("lymphocyte", 0))},
        "王": {"x": image(("lymphocyte", 1)), "y": image(("neutrophil", 9)), "z": image()},
    }
    result = study(people, ["x", "y"], ["lymphocyte", "monocyte", "neutrophil"])
    np.testing.assert_array_equal(result.counts, [[1, 1, 0], [1, 0, 1]])
    assert (result.num_cells, result.num_by_all) == (3, 1)
    assert [s.sd for s in result.spreads] == pytest.approx([0, math.sqrt(0.5), math.sqrt(0.5)])
    nothing = study({"a": {}, "b": {}}, [], ["lymphocyte"])
    assert (nothing.num_cells, nothing.counts.tolist()) == (0, [[0], [0]])
