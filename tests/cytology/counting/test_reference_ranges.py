import pytest

from tfod_csf.cytology.counting import reference_ranges
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange, ReferenceRangeError, load_reference_ranges
from tfod_csf.files.csv_tables import TableError


def test_adult_ranges_that_come_with_the_package():
    ranges = load_reference_ranges()
    ends = {name: (found.low, found.high) for name, found in ranges.items()}
    assert ends == {
        "lymphocyte": (63, 99),
        "monocyte": (3, 37),
        "neutrophil": (0, 2),
        "white_cells_per_ul": (0, 5),
    }
    assert all("LHSC" in found.source for found in ranges.values())


def test_both_ends_belong_to_the_range():
    normal = ReferenceRange(63, 80)
    assert [normal.mark(value) for value in (62.9, 63, 80, 80.1)] == ["low", "", "", "high"]
    assert normal.is_certain(40, 62.9)
    assert not normal.is_certain(40, 63)


def test_an_end_within_ten_points_of_0_or_100_percent_marks_nothing():
    ranges = load_reference_ranges()
    # A normal fluid of lymphocytes alone, against 63 to 99, 3 to 37 and 0 to 2 %.
    assert [ranges[name].mark(percent) for name, percent in (("lymphocyte", 100), ("monocyte", 0))] == ["", ""]
    assert [ranges[name].mark(percent) for name, percent in (("lymphocyte", 62), ("monocyte", 38))] == ["low", "high"]
    assert ranges["neutrophil"].mark(2.1) == "high"
    # 50 to 94 %: 100 % is 6 points above the end, 49 % is low.
    assert [load_reference_ranges(population="neonate")["monocyte"].mark(value) for value in (100, 49)] == ["", "low"]
    assert [ReferenceRange(10.1, 89.9).mark(value) for value in (10, 90)] == ["low", "high"]
    assert [ReferenceRange(10, 90).mark(value) for value in (0, 100)] == ["", ""]
    assert not ReferenceRange(63, 99).is_certain(99.5, 100)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("adult,lymphocyte,99,63,%,x", "line 2: lymphocyte ranges from 99 to 63"),
        ("adult,lymphocyte,63,990,%,x", "<= 100"),
        ("adult,lymphocyte,63,,%,x", "ranges from 63 to nothing"),
        ("adult,basophil,0,1,%,x", "'basophil' is not known"),
        ("adult,monocyte,0,1,%,x\nadult,Monocyte,0,1,%,x", "line 3: quantity 'monocyte' is repeated"),
        ("adult,monocyte,15,45,fraction,x", "line 2: the unit of monocyte is 'fraction'; give percent, not fractions"),
        ("adult,White cells per uL,0,5,10^9/L,x", "is '10\\^9/L'; give the range in cells per uL"),
        # Two of the three ranges of a laboratory whose table says no unit.
        ("adult,lymphocyte,0.4,0.8,,x\nadult,neutrophil,0,0.06,,x", "no range .* beyond 0.8, so these are fractions"),
        ("child,monocyte,0,1,%,x", "no reference ranges for population 'adult'; the table has child"),
    ],
)
def test_wrong_tables_are_refused_with_their_line(tmp_path, row, message):
    path = tmp_path / "ranges.csv"
    path.write_text(f"population,quantity,low,high,unit,source\n{row}\n", encoding="utf-8")
    with pytest.raises(ReferenceRangeError, match=message):
        load_reference_ranges(path)


def test_capitals_and_blanks_do_not_make_another_population(tmp_path):
    path = tmp_path / "ranges.csv"
    rows = (
        "adult ,Lymphocyte,40,80,Percent,x\nAdult,monocyte,15,45,％,x\n\u00a0adult,white_cells_per_ul,0,5,/\u03bcL,x\n"
    )
    path.write_text(f"population,quantity,low,high,unit,source\n{rows}", encoding="utf-8")
    found = load_reference_ranges(path, "ADULT")
    assert {name: (of.low, of.high) for name, of in found.items()} == {
        "lymphocyte": (40, 80),
        "monocyte": (15, 45),
        "white_cells_per_ul": (0, 5),
    }
    # One narrow range alone may be in percent.
    path.write_text("population,quantity,low,high,source\nadult,neutrophil,0,1,x\n", encoding="utf-8")
    assert load_reference_ranges(path)["neutrophil"].high == 1


def test_ranges_of_another_population_may_be_missing_still(tmp_path):
    path = tmp_path / "ranges.csv"
    path.write_text("population,quantity,low,high,source\nadult,monocyte,3,37,x\nchild,monocyte,,,\n", encoding="utf-8")
    assert load_reference_ranges(path) == {"monocyte": ReferenceRange(3, 37, "x")}
    with pytest.raises(ReferenceRangeError, match="line 3: monocyte ranges from nothing to nothing"):
        load_reference_ranges(path, "child")
    path.write_text("population,quantity,low,high,source\nadult,monocyte,-3,37,x\n", encoding="utf-8")
    with pytest.raises(TableError, match="line 2: low is '-3'; expected a number >= 0"):
        load_reference_ranges(path)


def test_other_populations_of_the_table():
    assert load_reference_ranges(population="neonate")["monocyte"].low == 50
    assert list(load_reference_ranges(population="age_1_to_5")) == [reference_ranges.WHITE_CELLS_PER_UL]
