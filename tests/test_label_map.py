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
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "id 1 is used twice: 'a' and 'b'"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "'a' is used twice"),
        ("item { id: 1 nam: 'a' }", "not a label map"),
    ],
)
def test_wrong_files_are_one_sentence_with_the_path(tmp_path, text, words):
    path = tmp_path / "map.pbtxt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelMapError, match=words) as caught:
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


def test_num_classes_is_checked_for_count_and_gaps():
    label_map.check_num_classes(CELLS, 4, "map.pbtxt")
    with pytest.raises(LabelMapError, match=r"map.pbtxt: 4 classes .* num_classes is 5"):
        label_map.check_num_classes(CELLS, 5, "map.pbtxt")
    gap = LabelMap([LabelMapItem(1, "a"), LabelMapItem(3, "b")])
    with pytest.raises(LabelMapError, match="id 2 is missing"):
        label_map.check_num_classes(gap, 2, "map.pbtxt")


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
