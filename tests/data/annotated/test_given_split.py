import pytest

from tfod_csf.data.annotated.dataset_split import SplitError, SplitImage
from tfod_csf.data.annotated.given_split import read_test_set, split_as_given
from tfod_csf.errors import UserError

PATIENT_OF = {"A/1.jpg": "A", "A/day1/2.jpg": "A", "B/1.jpg": "B", "B/3.png": "B"}
IMAGES = [SplitImage(key, patient, f"sha of {key}", {}) for key, patient in PATIENT_OF.items()]


def read(tmp_path, text):
    (tmp_path / "test.csv").write_text(text, encoding="utf-8")
    return read_test_set(tmp_path / "test.csv", PATIENT_OF)


@pytest.mark.parametrize(
    "text",
    [
        "image\nA/day1/2.jpg\n3\n",
        "Image;remark\nA\\day1\\2.jpg;blurred\n;\nB/3;\n",
        "image,patient,side\nA/1.jpg,A,train\n2.jpg,A,test\nB/1.jpg,B,train\nB/3.png,B,Test\n",
    ],
)
def test_images_in_several_spellings_and_the_split_of_an_earlier_set(tmp_path, text):
    assert read(tmp_path, text) == {"A/day1/2.jpg", "B/3.png"}


def test_a_whole_path_is_its_own_image_where_a_subfolder_has_the_same_name(tmp_path):
    (tmp_path / "split.csv").write_text("image\n1.jpg\n", encoding="utf-8")
    assert read_test_set(tmp_path / "split.csv", {"1.jpg": "A", "later/1.jpg": "A"}) == {"1.jpg"}


def test_patients_bring_all_their_images(tmp_path):
    assert read(tmp_path, "patient_id\nB\n") == {"B/1.jpg", "B/3.png"}
    assert read(tmp_path, "patient_id\n") == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image\nA/1.jpg\nA/9.jpg\n", "line 3: there is no image with annotations 'A/9.jpg'"),
        ("patient_id\nC\n", "line 2: there is no patient with annotated images 'C'"),
        ("image\n1.jpg\n", "'1.jpg' is several images"),
        ("image,side\n3,validation\n", "side is 'validation'; expected train or test"),
        ("name\n3\n", "the columns are name; expected one of image and patient_id"),
        ("image,patient_id\n3,B\n", "expected one of image and patient_id"),
        ("", "the columns are none"),
    ],
)
def test_what_would_train_by_mistake_is_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, text)


def test_the_users_choice_is_kept_and_unusable_images_are_ignored():
    assert split_as_given(IMAGES, ["B/3.png", "an image that was skipped.jpg"]) == {"B/3.png"}
    assert split_as_given(IMAGES, ["B/3.png", "B/1.jpg"], "patient") == {"B/1.jpg", "B/3.png"}


@pytest.mark.parametrize(
    ("images", "chosen", "split_by", "groups", "words"),
    [
        (IMAGES, [], "image", [], "none of 4 usable images is left to test with"),
        (IMAGES, PATIENT_OF, "image", [], "none of 4 usable images is left to train with"),
        (IMAGES, ["B/3.png"], "patient", [], "B/3.png would test and B/1.jpg would train, but they are of one patient"),
        (IMAGES, ["B/3.png"], "image", [["A/1.jpg", "B/3.png"]], "B/3.png would test and A/1.jpg .* belong together"),
        (
            [SplitImage("a/1", "a", "same", {}), SplitImage("b/1", "b", "same", {})],
            ["b/1"],
            "patient",
            [],
            "b/1 would test and a/1 would train, but they are the same file",
        ),
    ],
)
def test_what_belongs_together_is_not_on_both_sides(images, chosen, split_by, groups, words):
    with pytest.raises(SplitError, match=words):
        split_as_given(images, chosen, split_by, groups)
