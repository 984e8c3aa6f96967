import re

import pytest

from tfod_csf import cell_classes, label_map
from tfod_csf.label_map import LabelMap, LabelMapError, LabelMapItem

CELLS = label_map.label_map_from_names(cell_classes.STUDY_CLASSES)


def test_names_and_ids_are_in_the_order_of_ids():
    shuffled = LabelMap([LabelMapItem(3, "c"), LabelMapItem(1, "a", "Alpha"), LabelMapItem(2, "b")])
    assert shuffled.names == ["a", "b", "c"]
    assert shuffled.ids == [1, 2, 3]
    assert (shuffled.max_id, len(shuffled), shuffled.name_of(2), shuffled.id_of("c")) == (3, 3, "b", 3)
    assert shuffled.categories == [{"id": 1, "name": "Alpha"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]


def test_round_trip_keeps_unicode_and_quotes(tmp_path):
    written = LabelMap([LabelMapItem(1, "淋巴细胞"), LabelMapItem(2, 'rock "é"', "Rock's")])
    label_map.save_label_map(written, tmp_path / "map.pbtxt")
    assert label_map.load_label_map(tmp_path / "map.pbtxt") == written
    assert "淋巴细胞" in (tmp_path / "map.pbtxt").read_text(encoding="utf-8")


def test_tfod_style_file_with_background_and_byte_order_mark(tmp_path):
    text = "\ufeffitem {\n  id: 0\n  name: 'background'\n}\nitem {\n  id: 1\n  name: 'crop'\n}\n"
    (tmp_path / "map.pbtxt").write_text(text, encoding="utf-8")
    assert label_map.load_label_map(tmp_path / "map.pbtxt").names == ["crop"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one class"),
        ("item { id: 0 name: 'cell' }", "ids begin at 1"),
        ("item { name: 'cell' }", "has no id"),
        ("item { id: 1 }", "has no name"),
        (
            "item { id: 1 name: 'a' display_name: 'monocyte' } item { id: 2 name: 'monocyte' }",
            "displayed as 'monocyte'",
        ),
        (
            "item { id: 1 name: 'a' display_name: 'monocyte' } item { id: 2 name: 'b' display_name: 'monocyte' }",
            "class 'b' (id 2) is displayed as 'monocyte', and so is another class; give each",
        ),
        (
            "item { id: 1 name: 'neutrophil' display_name: 'Lymphocyte' }",
            "is named 'neutrophil' and displayed as 'Lymph",
        ),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "'a' is used twice"),
        ("item { id: 1 nam: 'a' }", "not a label map"),
        (
            "item { id: 4 name: 'eosinophil' } item { id: 4 name: 'Erythrocyte' }",
            "classes 'eosinophil' and 'Erythrocyte' have one id, 4, so that all cells of the second would count as the "
            "first; give each class its own id (",
        ),
        ("item { id: 2 name: 'monocyte' } item { id: 2 name: 'neutrophil' }", "'monocyte' and 'neutrophil' have one"),
        ("item { id: 2 name: 'neutrophil' } item { id: 2 name: 'unknown' }", "'neutrophil' and 'unknown' have one id"),
        ("item { id: 2 name: 'unknown' } item { id: 2 name: 'neutrophil' }", "'unknown' and 'neutrophil' have one id"),
        (
            "item { id: 2 name: 'monocyte' } item { id: 2 name: 'x' display_name: 'neutrophil' }",
            "'monocyte' and 'neutrophil' have one id, 2",
        ),
    ],
)
def test_wrong_files_are_one_sentence_with_the_path(tmp_path, text, words):
    path = tmp_path / "map.pbtxt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelMapError, match=re.escape(words)) as caught:
        label_map.load_label_map(path)
    assert str(path) in str(caught.value)


def test_missing_and_not_utf8_files(tmp_path):
    with pytest.raises(LabelMapError, match="cannot be read"):
        label_map.load_label_map(tmp_path / "none.pbtxt")
    (tmp_path / "gbk.pbtxt").write_bytes("item { id: 1 name: '细胞' }".encode("gbk"))
    with pytest.raises(LabelMapError, match="not UTF-8"):
        label_map.load_label_map(tmp_path / "gbk.pbtxt")


def test_resolve_is_exact_or_up_to_capitals_and_blanks_but_never_a_guess():
    assert CELLS.resolve("monocyte") == "monocyte"
    assert CELLS.resolve(" NEUTROPHIL\n") == "neutrophil"
    assert CELLS.resolve("neutrophils") is None
    assert CELLS.nearest("lymphcyte") == "lymphocyte"
    assert CELLS.nearest("淋巴细胞") is None
    two = label_map.label_map_from_names(["Cell", "cell"])
    assert (two.resolve("cell"), two.resolve("CELL")) == ("cell", None)


def test_class_texts_of_records_are_names_else_display_names():
    items = [LabelMapItem(1, "a", "Alpha"), LabelMapItem(2, "b", "c"), LabelMapItem(3, "c", "a")]
    displayed = LabelMap(items)
    assert displayed.ids_by_text == {"a": 1, "b": 2, "c": 3, "Alpha": 1}
    assert displayed.record_class_ids(["c", "Alpha", "alpha", ""], [9, 9, 9, 2]) == [3, 1, label_map.NO_CLASS_ID, 2]
    assert displayed.record_class_ids([], [3, 7]) == [3, 7]
    assert displayed.record_class_ids(["", "b"], []) == [label_map.NO_CLASS_ID, 2]
    assert displayed.record_class_ids([], []) == []


def test_unknown_ids_and_names_say_what_is_known():
    with pytest.raises(LabelMapError, match="did you mean 'monocyte'"):
        CELLS.id_of("monocytes")
    with pytest.raises(LabelMapError, match="class id 5"):
        CELLS.name_of(5)


def test_num_classes_is_the_largest_id_or_more():
    gap = LabelMap([LabelMapItem(1, "a"), LabelMapItem(3, "b")])
    for classes, num_classes in ((CELLS, 4), (CELLS, 5), (gap, 3), (gap, 5)):
        label_map.check_num_classes(classes, num_classes, "map.pbtxt")
    words = r"map\.pbtxt: class 'b' has id 3 \(classes: a, b\), but num_classes is 2; set num_classes to 3"
    with pytest.raises(LabelMapError, match=words):
        label_map.check_num_classes(gap, 2, "map.pbtxt")


def test_ids_without_a_name_are_called_by_their_id():
    gap = LabelMap([LabelMapItem(1, "a"), LabelMapItem(3, "b")])
    assert gap.unnamed_ids(4) == [2, 4]
    whole = gap.with_all_ids(4)
    assert (whole.ids, whole.names) == ([1, 2, 3, 4], ["a", "id 2", "b", "id 4"])
    assert whole.name_of(2) == "id 2"
    assert CELLS.with_all_ids(4) == CELLS


def test_two_names_of_one_id_are_one_class(tmp_path):
    text = "item { id: 1 name: 'a' } item { id: 2 name: 'b' } item { id: 2 name: 'c' } item { id: 2 name: 'b' }"
    (tmp_path / "map.pbtxt").write_text(text)
    both = label_map.load_label_map(tmp_path / "map.pbtxt")
    assert (len(both), both.names, both.ids) == (2, ["a", "b"], [1, 2])
    assert (both.resolve("c"), both.resolve(" C "), both.id_of("c")) == ("b", "b", 2)
    assert both.record_class_ids(["c", "b", "a"], []) == [2, 2, 1]
    assert both.categories == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    label_map.save_label_map(both, tmp_path / "again.pbtxt")
    assert label_map.load_label_map(tmp_path / "again.pbtxt") == both


@pytest.mark.parametrize(
    "names",
    [
        ["lymphocyte", "lym", "Lymphocyte ", "small cell"],
        ["lym", "lymphocyte"],
        ["lymphocytes", "lymphocyte"],
        ["unknown", "eosinophil", "blast"],
        ["eosinophil", "blast", "unknown"],
    ],
)
def test_names_of_one_class_and_rare_kinds_may_have_one_id(names):
    assert LabelMap(LabelMapItem(1, name) for name in names).names == [names[0]]
    assert LabelMap([LabelMapItem(1, "淋巴细胞", "lymphocyte"), LabelMapItem(1, "lymphocyte")]).names == ["lymphocyte"]


def test_a_class_of_the_study_in_the_display_name_is_what_the_class_is_called():
    chinese = LabelMap(
        [
            LabelMapItem(1, "淋巴细胞", "lymphocyte"),
            LabelMapItem(2, "单核细胞", "Monocyte"),
            LabelMapItem(3, "other", "Other (rare)"),
        ]
    )
    assert chinese.names == ["lymphocyte", "monocyte", "other"]
    assert chinese.written_names == ["淋巴细胞", "单核细胞", "other"]
    assert [chinese.resolve(name) for name in ("lymphocyte", "淋巴细胞", "MONOCYTE", "other")] == [
        *("lymphocyte", "lymphocyte", "monocyte", "other"),
    ]
    assert chinese.record_class_ids(["淋巴细胞", "lymphocyte", "Monocyte"], []) == [1, 1, 2]
    assert [category["name"] for category in chinese.categories] == ["lymphocyte", "Monocyte", "Other (rare)"]


def test_metrics_of_two_classes_have_two_names():
    same = LabelMap([LabelMapItem(1, "a", "cell"), LabelMapItem(2, "b", "cell"), LabelMapItem(3, "c", "C")])
    assert [category["name"] for category in same.categories] == ["a", "b", "C"]


def test_class_map_renames_drops_and_ignores_blanks_and_capitals():
    class_map = label_map.parse_class_map(["platelet=", "Lymphocyte =lymphocyte", "a=b=c"])
    assert class_map == {"platelet": "", "lymphocyte": "lymphocyte", "a=b": "c"}
    assert label_map.mapped_name("Platelet ", class_map) == ""
    assert label_map.mapped_name("LYMPHOCYTE", class_map) == "lymphocyte"
    assert label_map.mapped_name("other", class_map) == "other"


@pytest.mark.parametrize("entries", [["platelet"], ["=lymphocyte"], ["a=b", "A =c"]])
def test_wrong_class_map_is_refused(entries):
    with pytest.raises(LabelMapError, match="--class_map"):
        label_map.parse_class_map(entries)
