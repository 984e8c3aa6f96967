import pathlib

import pytest
from lxml import etree

from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.label_map import LabelMap, LabelMapItem, label_map_from_names, parse_class_map
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

CELLS = label_map_from_names(STUDY_CLASSES)


def xml(*objects: str, size: str = "<size><width>96</width><height>72</height></size>", attributes: str = "") -> str:
    return f"<annotation {attributes}><filename>IMG_1.jpg</filename>{size}{''.join(objects)}</annotation>"


def cell(name="lymphocyte", box=(8, 10, 34, 36), extra="") -> str:
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    return f"<object><name>{name}</name>{extra}<bndbox>{sides}</bndbox></object>"


def read(text: str, tmp_path: pathlib.Path) -> tuple[Annotation | None, ProblemLog]:
    path = tmp_path / "IMG_1.xml"
    path.write_text(text, encoding="utf-8")
    problems = ProblemLog(quiet=True)
    return labelimg.read_annotation(path, problems), problems


def reasons(problems: ProblemLog) -> list[tuple[str, str]]:
    return [(problem.action, problem.reason) for problem in problems.problems]


def annotation_of(*objects: LabeledObject, width=96, height=72) -> Annotation:
    return Annotation(pathlib.Path("IMG_1.xml"), "IMG_1.jpg", width, height, list(objects))


def test_all_that_labelimg_writes_is_read(tmp_path):
    extra = "<pose>Left</pose><truncated>1</truncated><difficult>1</difficult>"
    found, problems = read(xml(cell(extra=extra), attributes='verified="yes"'), tmp_path)
    assert found.objects == [LabeledObject("lymphocyte", 8.0, 10.0, 34.0, 36.0, 1, 1, "Left")]
    assert (found.filename, found.width, found.height, found.verified) == ("IMG_1.jpg", 96, 72, True)
    assert problems.problems == []


def test_missing_difficult_truncated_and_pose_have_vocs_defaults(tmp_path):
    found, problems = read(xml(cell()), tmp_path)
    assert found.objects == [LabeledObject("lymphocyte", 8.0, 10.0, 34.0, 36.0, 0, 0, "Unspecified")]
    assert not found.verified
    assert problems.problems == []


def test_no_objects_is_an_image_without_cells(tmp_path):
    found, problems = read(xml(), tmp_path)
    assert found.objects == []
    assert problems.problems == []
    assert labelimg.boxes_of(found.objects).shape == (0, 4)


def test_parts_of_an_object_are_not_its_box(tmp_path):
    part = "<part><name>nucleus</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    found, _ = read(xml(cell(extra=part)), tmp_path)
    assert [(o.xmin, o.xmax) for o in found.objects] == [(8.0, 34.0)]


@pytest.mark.parametrize("value", ["1e999", "0x10", "1_0", "٣", "5,5", "inf"])
def test_odd_numbers_are_no_coordinates(tmp_path, value):
    found, problems = read(xml(cell(box=(value, 10, 34, 36))), tmp_path)
    assert found.objects == []
    assert "not a number" in problems.problems[0].reason
    assert problems.skipped_files() == set()


def test_a_flag_that_is_neither_0_nor_1(tmp_path):
    found, problems = read(xml(cell(extra="<difficult>yes</difficult>")), tmp_path)
    assert found.objects[0].difficult == 1
    assert reasons(problems) == [("mended", "<difficult> is 'yes', read as 1")]
    assert read(xml(cell(extra="<difficult>perhaps</difficult>")), tmp_path)[0].objects[0].difficult == 0


def test_tags_may_have_capitals_and_a_namespace(tmp_path):
    text = xml(cell(extra="<Difficult>1</Difficult>"), cell("monocyte", (50, 30, 84, 64), "<Truncated>1</Truncated>"))
    for old, new in (("<annotation ", '<Annotation xmlns="urn:voc" '), ("</annotation", "</Annotation")):
        text = text.replace(old, new)
    for tag in ("object", "name", "bndbox", "xmin", "filename", "size", "width"):
        text = text.replace(f"<{tag}>", f"<{tag.capitalize()}>").replace(f"</{tag}>", f"</{tag.capitalize()}>")
    found, problems = read(text, tmp_path)
    assert [(o.name, o.xmin, o.difficult, o.truncated) for o in found.objects] == [
        ("lymphocyte", 8, 1, 0),
        ("monocyte", 50, 0, 1),
    ]
    assert (found.filename, found.width) == ("IMG_1.jpg", 96)
    assert problems.problems == []


def test_corners_that_are_fractions_skip_the_file(tmp_path):
    found, problems = read(xml(cell(box=(0.12, 0.1, 0.25, 0.2)), cell("monocyte", (0.5, 0.5, 1, 1))), tmp_path)
    assert found is None
    assert problems.problems[0].reason == "the corners look like fractions of the image: none is above 1"
    # Beside boxes in pixels it is one faulty box.
    found, problems = read(xml(cell(box=(0.12, 0.1, 0.25, 0.2)), cell(box=(8, 10, 9, 11))), tmp_path)
    assert [(o.xmin, o.xmax) for o in found.objects] == [(8, 9)]
    assert reasons(problems) == [("skipped", "the box [0.12, 0.1, 0.25, 0.2] is less than a pixel (0.1) wide or high")]


def test_most_corners_swapped_are_width_and_height(tmp_path):
    boxes = [(50, 40, 20, 25), (60, 10, 20, 25), (8, 10, 34, 36)]
    found, problems = read(xml(*(cell(box=box) for box in boxes)), tmp_path)
    assert found is None
    assert "look like x, y, width, height: 2 of 3 boxes" in problems.problems[0].reason
    # One slip, and half of the boxes, are put in order.
    found, problems = read(xml(cell(box=boxes[0])), tmp_path)
    assert (found.objects[0].xmin, found.objects[0].ymax) == (20, 40)
    found, _ = read(xml(*(cell(box=box) for box in (*boxes, (1, 1, 9, 9)))), tmp_path)
    assert len(found.objects) == 4


@pytest.mark.parametrize(
    ("extra", "is_rotated"),
    [
        ("<attributes><attribute><name>rotation</name><value>35.0</value></attribute></attributes>", True),
        ("<attributes><attribute><name>Rotation</name><value>-0,5</value></attribute></attributes>", True),
        ("<angle>0.7</angle>", True),
        ("<attributes><attribute><name>rotation</name><value>0.0</value></attribute></attributes>", False),
        ("<attributes><attribute><name>occluded</name><value>1</value></attribute></attributes>", False),
        ("<rotation></rotation>", False),
    ],
)
def test_a_rotated_box_is_not_an_upright_one(tmp_path, extra, is_rotated):
    found, problems = read(xml(cell(extra=extra), cell("monocyte", (50, 30, 84, 64))), tmp_path)
    assert [o.name for o in found.objects] == ["monocyte"] if is_rotated else ["lymphocyte", "monocyte"]
    assert ["rotated box" in problem.reason for problem in problems.problems] == [True] * is_rotated


def test_polygons_and_objects_in_a_list_are_not_silently_no_cells(tmp_path):
    found, problems = read(xml("<object><name>a</name><polygon><x1>1</x1></polygon></object>"), tmp_path)
    assert (found.objects, problems.problems[0].reason) == ([], "a polygon is not a box")
    found, problems = read(xml(f"<objects>{cell()}</objects>"), tmp_path)
    assert (found, problems.problems[0].reason) == (None, "1 objects are not directly in <annotation>")


def test_blanks_in_names_are_tidied_with_one_row_per_name(tmp_path):
    found, problems = read(xml(cell("big  cell "), cell("big  cell ", (50, 30, 84, 64))), tmp_path)
    assert [o.name for o in found.objects] == ["big cell", "big cell"]
    assert [(p.reason, p.count) for p in problems.problems] == [("class 'big  cell ' read as 'big cell'", 2)]


def test_near_repeats_are_reported_and_kept(tmp_path):
    # 10 x 10 boxes, one pixel apart: IoU = 9 * 10 / (200 - 90) = 0.82.
    found, problems = read(xml(cell(box=(0, 0, 10, 10)), cell("monocyte", (1, 0, 11, 10))), tmp_path)
    assert len(found.objects) == 2
    assert "boxed as lymphocyte and as monocyte (IoU 0.82)" in problems.problems[0].reason
    assert problems.problems[0].action == "noted"


def test_too_many_objects_and_too_large_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(labelimg, "MAX_OBJECTS", 1)
    found, problems = read(xml(cell(), cell(box=(50, 30, 84, 64))), tmp_path)
    assert found is None
    assert "2 objects" in problems.problems[0].reason
    monkeypatch.setattr(labelimg, "MAX_XML_BYTES", 100)
    assert read(xml(cell()), tmp_path)[0] is None


def test_a_missing_file_is_a_row(tmp_path):
    problems = ProblemLog(quiet=True)
    assert labelimg.read_annotation(tmp_path / "none.xml", problems) is None
    assert problems.skipped_files() == {str(tmp_path / "none.xml")}


def test_boxes_at_the_very_edge_are_left_alone():
    annotation = annotation_of(LabeledObject("a", 0, 0, 96, 72))
    problems = ProblemLog(strict=True)
    assert labelimg.fit_to_image(annotation, 96, 72, problems) == annotation


def test_boxes_over_the_edge_are_cut_off_and_those_outside_left_out():
    annotation = annotation_of(LabeledObject("a", -5, 10, 20, 80), LabeledObject("b", 96, 0, 120, 30))
    problems = ProblemLog(quiet=True)
    fitted = labelimg.fit_to_image(annotation, 96, 72, problems)
    assert fitted.objects == [LabeledObject("a", 0, 10, 20, 72)]
    assert [p.action for p in problems.problems] == ["mended", "skipped"]
    assert annotation.objects[0].xmin == -5  # the given annotation is not changed


def test_a_box_beyond_the_edge_means_a_larger_copy():
    inside, beyond = LabeledObject("a", 8, 10, 34, 36), LabeledObject("b", 110, 20, 140, 50)
    problems = ProblemLog(quiet=True)
    assert labelimg.fit_to_image(annotation_of(inside, beyond), 96, 72, problems) is None
    assert problems.problems[0].reason == (
        "boxes lie outside the image of 96 x 72: they reach to about 140 x 50, as in a larger copy"
    )
    assert problems.skipped_files() == {"IMG_1.xml"}
    # A box of one pixel at the edge, counted from 1, is that one box.
    at_the_edge = annotation_of(inside, LabeledObject("b", 96, 20, 97, 21))
    assert labelimg.fit_to_image(at_the_edge, 96, 72, ProblemLog(quiet=True)).objects == [inside]


def test_another_size_is_refused_unless_rescaling_is_asked_for():
    annotation = annotation_of(LabeledObject("a", 20, 40, 60, 80), width=200, height=100)
    problems = ProblemLog(quiet=True)
    assert labelimg.fit_to_image(annotation, 100, 50, problems) is None
    assert problems.problems[0].reason == "<size> says 200 x 100 pixels, the image has 100 x 50"
    fitted = labelimg.fit_to_image(annotation, 100, 50, problems, rescale_boxes=True)
    assert fitted.objects == [LabeledObject("a", 10, 20, 30, 40)]
    assert (fitted.width, fitted.height) == (100, 50)
    # Another aspect is another image, however much rescaling is wished for; one pixel of rounding is not.
    assert labelimg.fit_to_image(annotation, 100, 100, problems, rescale_boxes=True) is None
    assert labelimg.fit_to_image(annotation, 67, 33, problems, rescale_boxes=True) is not None


def test_names_are_parted_into_classes_and_the_rest():
    names = ["lymphocyte", "MONOCYTE", "RBC", "platelet", "unknown", "dog", "dog"]
    annotation = annotation_of(*(LabeledObject(name, 0, 0, 1 + i, 1) for i, name in enumerate(names)))
    problems = ProblemLog(quiet=True)
    class_map = parse_class_map(["rbc=erythrocyte", "platelet="])
    named, ignored = labelimg.resolve_names(annotation, CELLS, problems, class_map)
    assert [o.name for o in named.objects] == ["lymphocyte", "monocyte", "erythrocyte"]
    assert [o.name for o in ignored] == ["unknown", "dog", "dog"]
    assert [(p.action, p.count, p.reason) for p in problems.problems] == [
        ("mended", 1, "class 'MONOCYTE' read as 'monocyte'"),
        ("skipped", 2, "class 'dog' is not in the label map"),
    ]
    assert problems.skipped_files() == set()


def test_another_name_of_the_label_map_is_more_than_another_spelling():
    label_map = LabelMap([LabelMapItem(4, "erythrocyte"), LabelMapItem(4, "eosinophil")])
    annotation = annotation_of(LabeledObject("eosinophil", 0, 0, 1, 1), LabeledObject("ERYTHROCYTE", 0, 0, 2, 2))
    problems = ProblemLog(quiet=True)
    labelimg.resolve_names(annotation, label_map, problems)
    assert [p.remedy for p in problems.problems] == [
        "The label map has both names for one class; if they are two classes, give each its own id there.",
        "No action is needed.",
    ]


def test_unknown_is_a_class_when_the_label_map_says_so():
    five = label_map_from_names([*STUDY_CLASSES, "unknown"])
    annotation = annotation_of(LabeledObject("Unknown", 0, 0, 1, 1), LabeledObject("tumour", 0, 0, 2, 2))
    class_map = parse_class_map(["tumour=unknown"])
    named, ignored = labelimg.resolve_names(annotation, five, ProblemLog(quiet=True), class_map)
    assert [o.name for o in named.objects] == ["unknown", "unknown"]
    assert ignored == []


def test_written_xml_is_what_labelimg_reads_and_read_back_the_same(tmp_path):
    objects = [LabeledObject("淋巴细胞", 1.4, 2.6, 30, 40.2, difficult=1), LabeledObject("a<b&c", 5, 5, 5.2, 9)]
    annotation = annotation_of(*objects)
    annotation.folder, annotation.verified = "患者 =1", True
    path = tmp_path / "IMG_1.xml"
    labelimg.write_annotation(annotation, path)
    # What LabelImg's reader asks for: filename, verified, and per object name, difficult and four whole numbers.
    root = etree.fromstring(path.read_bytes())
    assert (root.findtext("filename"), root.get("verified")) == ("IMG_1.jpg", "yes")
    boxes = [
        [int(element.findtext(f"bndbox/{s}")) for s in labelimg.BNDBOX_SIDES] for element in root.findall("object")
    ]
    assert boxes == [[1, 3, 30, 40], [5, 5, 6, 9]]
    assert [int(element.findtext("difficult")) for element in root.findall("object")] == [1, 0]
    assert [child.tag for child in root.find("object")] == ["name", "pose", "truncated", "difficult", "bndbox"]

    problems = ProblemLog(strict=True)
    again = labelimg.read_annotation(path, problems)
    assert [o.name for o in again.objects] == ["淋巴细胞", "a<b&c"]
    assert (again.width, again.height, again.folder, again.verified) == (96, 72, "患者 =1", True)


def test_an_annotation_without_size_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="width and height"):
        labelimg.write_annotation(annotation_of(width=None), tmp_path / "x.xml")


def test_thousands_of_boxes_on_one_cell_are_a_hundred_rows(tmp_path):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    objects = "".join(f"<object><name>c{number}</name>{box}</object>" for number in range(400))
    (tmp_path / "a.xml").write_text(f"<annotation>{objects}</annotation>")
    problems = ProblemLog(quiet=True)
    assert len(labelimg.read_annotation(tmp_path / "a.xml", problems).objects) == 400
    assert len(problems.problems) == 1 + labelimg.MAX_CLOSE_PAIRS
    assert "79,800 pairs" in problems.problems[0].reason  # 400 * 399 / 2
