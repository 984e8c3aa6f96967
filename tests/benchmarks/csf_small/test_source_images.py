import hashlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tfod_csf.benchmarks.csf_small import source_images
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE, SourceImagesError
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject


def spotted(seed: int) -> Image.Image:
    """A picture with enough structure to be told from others."""
    noise = np.random.default_rng(seed).integers(0, 255, (68, 68), np.uint8)
    small = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3))
    return Image.merge("RGB", [small.point(lambda value: (value - 100) * 4)] * 3)


def add(folder, name, image, objects):
    """An image with its XML; objects are (class, side in px)."""
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, quality=95)
    boxes = [LabeledObject(cell, 1, 1, 1 + side, 1 + side) for cell, side in objects]
    annotation = Annotation(folder / name, name, *image.size, boxes)
    labelimg.write_annotation(annotation, (folder / name).with_suffix(".xml"))


@pytest.fixture
def data_dir(tmp_path):
    for block in range(6):
        add(tmp_path / "pbc_mgg" / f"block_{block:02d}", f"LY_{block}.jpg", spotted(block), [("lymphocyte", 30)])
    add(tmp_path / "pbc_mgg/block_01", "EO_9.jpg", spotted(9), [("unknown", 30)])
    again = spotted(3).rotate(90).resize((51, 51))  # LY_3 of block_03, turned and saved smaller
    objects = [("lymphocyte", 20), ("unknown", 10), ("erythrocyte", 8), ("platelet", 4)]
    add(tmp_path / "pbc_dense/block_00", "LY_a.jpg", again, objects)
    add(
        tmp_path / "pbc_dense/block_00", "BA_b.jpg", spotted(20), [("unknown", 10), ("unknown", 30), ("erythrocyte", 8)]
    )
    for number, patient in enumerate(("01", "01", "03", "04", "05")):
        folder = tmp_path / f"bccd_differential/pseudo_patient_{patient}"
        add(folder, f"BloodImage_{number:05d}.jpg", spotted(30 + number), [("neutrophil", 30), ("unknown", 12)])
    dense = tmp_path / "bccd_dense/pseudo_patient_04"
    add(dense, "BloodImage_00003.jpg", spotted(33), [("neutrophil", 30), ("erythrocyte", 9)])
    lines = (
        "- BloodImage_00000 and BloodImage_00004 (27 percent)\n- BloodImage_00001 and BloodImage_00777 (9 percent)\n"
    )
    (tmp_path / "bccd_differential/DEFECTS.md").write_text(lines)
    return tmp_path


def by_name(data_dir):
    return {image.path.name: image for image in source_images.read_source_images(data_dir)}


def names(image):
    return sorted(one.name for one in image.objects)


def test_images_are_read_once_and_in_order(data_dir):
    images = source_images.read_source_images(data_dir)
    keys = [image.key for image in images]
    assert keys == sorted(keys)
    assert len(keys) == len({image.path.name for image in images}) == 7 + 2 + 5
    assert keys[0] == "bccd_dense/pseudo_patient_04/BloodImage_00003.jpg"  # the denser of two labelings
    assert [image.laboratory for image in images] == ["bccd"] * 5 + ["pbc"] * 9
    assert [image.key for image in images if image.is_dense] == [keys[0], *keys[5:7]]


def test_an_unknown_white_cell_keeps_its_name_where_the_source_says_what_it_is(data_dir):
    images = by_name(data_dir)
    assert names(images["EO_9.jpg"]) == ["unknown"]
    assert names(images["LY_a.jpg"]) == ["erythrocyte", "lymphocyte", NOT_SURE]
    assert names(images["BA_b.jpg"]) == ["erythrocyte", NOT_SURE, "unknown"]
    assert [one.xmax for one in images["BA_b.jpg"].objects if one.name == "unknown"] == [31]  # the largest
    assert names(images["BloodImage_00000.jpg"]) == ["neutrophil", NOT_SURE]


def test_folds_hold_whole_blocks_and_what_belongs_together(data_dir):
    images = by_name(data_dir)
    assert [images[f"LY_{block}.jpg"].fold for block in range(6)] == [0, 1, 2, 3, 4, 0]
    assert images["LY_a.jpg"].fold == images["LY_3.jpg"].fold
    first = int(hashlib.sha256(b"BA_b.jpg").hexdigest()[:8], 16)
    assert images["BA_b.jpg"].fold == first % 5
    # pseudo_patient_01 has two images and overlaps with 05: together three, then 03 and 04 with one each.
    assert [images[f"BloodImage_{number:05d}.jpg"].fold for number in range(5)] == [0, 0, 1, 2, 0]


def test_one_laboratory_alone_has_the_same_folds(data_dir):
    both = source_images.read_source_images(data_dir)
    bccd = source_images.read_source_images(data_dir, [source_images.BCCD])
    assert bccd == both[:5]


def test_what_is_alike_is_named(data_dir):
    images = by_name(data_dir)
    assert images["LY_a.jpg"].repeats == "pbc_mgg/block_03/LY_3.jpg"
    assert {image.path.name for image in images.values() if image.repeats} == {"LY_a.jpg"}
    groups = [images[f"BloodImage_{number:05d}.jpg"].group for number in range(5)]
    joined = "pseudo_patient_01+pseudo_patient_05"
    assert groups == [joined, joined, "pseudo_patient_03", "pseudo_patient_04", joined]
    assert images["LY_3.jpg"].group == ""


def test_the_fingerprint_changes_with_a_box_and_a_fold(data_dir):
    first = source_images.data_fingerprint(source_images.read_source_images(data_dir))
    assert len(first) == 16
    assert first == source_images.data_fingerprint(source_images.read_source_images(data_dir))
    add(data_dir / "pbc_mgg/block_02", "LY_2.jpg", spotted(2), [("lymphocyte", 31)])
    assert first != source_images.data_fingerprint(source_images.read_source_images(data_dir))


def test_the_images_are_written_as_a_study_with_their_names(data_dir, tmp_path):
    images = by_name(data_dir)
    for _ in range(2):
        source_images.write_study([images["BA_b.jpg"], images["BloodImage_00000.jpg"]], tmp_path / "study")
    paths = sorted(path.relative_to(tmp_path / "study").as_posix() for path in (tmp_path / "study").glob("*/*.xml"))
    folders = ["bccd_differential_pseudo_patient_01/BloodImage_00000.xml", "pbc_dense_block_00/BA_b.xml"]
    assert paths == folders
    annotation = labelimg.read_annotation(tmp_path / "study" / folders[1], ProblemLog(quiet=True))
    assert (annotation.width, annotation.height) == (68, 68)
    assert sorted(one.name for one in annotation.objects) == ["erythrocyte", NOT_SURE, "unknown"]
    copied = tmp_path / "study/pbc_dense_block_00/BA_b.jpg"
    assert copied.read_bytes() == images["BA_b.jpg"].path.read_bytes()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("pbc_dense/block_00/LY_a.xml", r"LY_a\.jpg: has no LabelImg XML that can be read"),
        ("bccd_differential/DEFECTS.md", r"DEFECTS\.md: lists no overlapping images"),
        ("bccd_dense/pseudo_patient_04/BloodImage_00003.jpg", "bccd_dense: holds no images"),
    ],
)
def test_what_is_missing_is_named(data_dir, missing, words):
    (data_dir / missing).unlink()
    with pytest.raises(SourceImagesError, match=words):
        source_images.read_source_images(data_dir)
