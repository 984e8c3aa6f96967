import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.statements import Statement, read_statements
from tfod_csf.study.labelimg import LabeledObject

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
FIRST, SECOND = (1, 2, 11, 12), (20, 5, 30, 15)


@pytest.fixture
def desk(tmp_path):
    return Desk(examined_study.write_study(tmp_path, {"p": {"a.jpg": [SURE, UNSURE], "b.jpg": []}}), tmp_path)


def _said(desk):
    return read_statements(revisions.read_revisions(desk.output / "patients" / "p"))


def _edit(review, change, verified=False, image="a"):
    edit(review / "p" / f"p__{image}.xml", change, verified)


def test_nobody_has_said_anything(desk):
    assert read_statements(()) == {}
    assert read_statements(revisions.read_revisions(desk.study.patient("p"))) == {}


def test_elsewhere_only_what_was_changed_is_a_statement(desk):
    review = desk.export()
    _edit(review, rename(1, "monocyte"))
    assert desk.take(review, reviewer="Dr Li") == 0
    person = _said(desk)["dr li"]
    assert (person.reviewer, person.first_revision, person.verified) == ("Dr Li", 1, {})
    assert person.statements == {"a.jpg": {2: Statement("monocyte", None)}}


def test_on_a_verified_image_every_cell_is_one_also_the_removed_and_the_added(desk):
    review = desk.export()

    def change(annotation):
        annotation.objects[0] = LabeledObject("neutrophil", 40, 30, 50, 40)

    _edit(review, change, verified=True)
    _edit(review, nothing, verified=True, image="b")
    assert desk.take(review) == 0
    person = _said(desk)["li"]
    assert person.statements == {
        "a.jpg": {
            1: Statement(""),
            2: Statement("unknown", SECOND),
            3: Statement("neutrophil", (40, 30, 50, 40)),
        }
    }
    assert [(cell.cell_id, cell.name) for cell in person.verified["a.jpg"]] == [(2, "unknown"), (3, "neutrophil")]
    assert person.verified["b.jpg"] == ()
    assert person.exported_from == {"a.jpg": 0, "b.jpg": 0}


def test_a_box_that_was_only_moved_says_that_there_is_a_cell(desk):
    review = desk.export()

    def change(annotation):
        annotation.objects[1].xmin += 3

    _edit(review, change)
    assert desk.take(review) == 0
    word = _said(desk)["li"].statements["a.jpg"][2]
    assert word == Statement(None, (23, 5, 30, 15))
    assert [word.contradicts(name) for name in ("", "unknown", "neutrophil")] == [True, False, False]
    assert [Statement("").contradicts(name) for name in ("", "unknown")] == [False, True]


def test_later_imports_replace_and_withdraw_statements(desk):
    review = desk.export()
    _edit(review, rename(1, "monocyte"), verified=True)
    assert desk.take(review) == 0
    _edit(review, rename(1, "neutrophil"))
    assert desk.take(review) == 0
    # The green mark is gone: what was left unchanged is no statement any more, what was changed stays one.
    person = _said(desk)["li"]
    assert person.statements == {"a.jpg": {2: Statement("neutrophil", None)}}
    assert person.verified == {}


def test_everyone_has_a_word_of_their_own_whatever_the_current_state_is(desk):
    first, second = desk.export("first"), desk.export("second")
    _edit(first, nothing, verified=True)
    _edit(second, rename(0, "monocyte"))
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, "--disagreements=newest", reviewer="B") == 0
    said = _said(desk)
    assert said["a"].statements["a.jpg"][1] == Statement("lymphocyte", FIRST)
    assert said["b"].statements["a.jpg"][1] == Statement("monocyte", None)
    look = desk.export("look", source=desk.output)
    _edit(look, nothing, verified=True)
    assert desk.take(look, "--disagreements=newest", reviewer="C") == 0
    assert _said(desk)["c"].statements["a.jpg"][1] == Statement("monocyte", FIRST)
    assert _said(desk)["c"].exported_from == {"a.jpg": 2}


def test_a_new_examination_begins_with_nobodys_word(desk):
    review = desk.export()
    _edit(review, nothing, verified=True)
    assert desk.take(review, reviewer="A") == 0
    desk.study.examine("p", {"a.jpg": [UNSURE], "b.jpg": []})
    later = desk.export("later")
    _edit(later, rename(0, "monocyte"))
    assert desk.take(later, reviewer="B") == 0
    assert list(_said(desk)) == ["b"]
