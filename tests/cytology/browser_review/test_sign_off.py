"""A sign-off makes the revision that review_import makes of the same decisions in LabelImg."""

import json

import pytest

from tests.support.review_desk import edit, nothing, rename
from tfod_csf.commands import command_line, review_serve
from tfod_csf.cytology.browser_review import desk, sign_off
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.sidecar import ReviewError
from tfod_csf.files import csv_tables

IMAGE, EMPTY = "=王__day1__a.jpg", "=王__b.jpg"


def decide(one, *entries):
    for entry in entries:
        patient = one.patient("=王")
        seen = patient.version
        if entry["action"] in ("name", "move"):
            seen = patient.images[IMAGE].cells[entry["cell"]].version
        elif entry["action"] == "verify":
            seen = patient.images[entry["image"]].version
        one.decide("=王", entry, seen, f"r{one.last_version('=王')}-{len(entries)}-{entry}")


def name(cell, name):
    return {"action": "name", "image": IMAGE, "cell": cell, "name": name}


def draw(box, name="unknown"):
    return {"action": "draw", "image": IMAGE, "name": name, "box": box}


def verify(image=IMAGE):
    return {"action": "verify", "image": image}


UNDO = {"action": "undo"}


def tables(output):
    """What a review leaves, without times, checksums and ids of exports."""
    files = {}
    for path in sorted(output.rglob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.name in ("review_changes.csv", "changes.csv", "review_summary.csv"):
            columns = lines[0].split(",")
            kept = [i for i, c in enumerate(columns) if c not in ("when", "last_review", "revision_sha256")]
            lines = [[line.split(",")[i] for i in kept] for line in lines]
        files[path.relative_to(output).as_posix()] = lines
    return files


def test_the_same_decisions_in_labelimg_give_the_same_tables(study):
    browser, program = study.export("browser"), study.export("labelimg")
    with desk.open_desk(browser, "Dr Li") as one:
        decide(one, name(2, "monocyte"), name(3, ""), draw([5, 20, 15, 30], "neutrophil"), name(1, "monocyte"), UNDO)
        decide(one, verify(), verify(EMPTY))
        done = sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(browser))
        assert (done.revision, done.progress.verified) == (1, 2)
        assert one.signed_off("=王")["version"] == one.last_version("=王")
    by_browser = tables(study.output)
    (study.output).rename(study.root / "by_browser")

    def change(annotation):
        rename(1, "monocyte")(annotation)
        del annotation.objects[2]
        annotation.objects.append(type(annotation.objects[0])("neutrophil", 5, 20, 15, 30))

    edit(program / "=王" / "=王__day1__a.xml", change, verified=True)
    edit(program / "=王" / "=王__b.xml", nothing, verified=True)
    assert study.take(program / "=王", reviewer="Dr Li") == 0
    by_program = tables(study.output)
    assert by_browser == by_program
    record = json.loads((study.root / "by_browser/patients/=王/revisions/0001/revision.json").read_text("utf-8"))
    assert (record["reviewer"], record["images_verified"]) == ("Dr Li", {"b.jpg": ["Dr Li"], "day1/a.jpg": ["Dr Li"]})
    assert (done.sha256, len(done.sha256)) == (
        revisions.read_revisions(study.root / "by_browser/patients/=王")[-1].sha256,
        64,
    )


def test_a_sign_off_can_be_followed_by_further_decisions_and_by_undoing_all(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        take = study.importer(folder)
        decide(one, name(1, "monocyte"))
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), take).revision == 1
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), take).revision is None  # nothing new
        decide(one, name(2, "monocyte"))
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), take).revision == 2
        decide(one, UNDO, UNDO)
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), take).revision == 3
    cells = study.cells("=王")
    assert (cells["day1/a.jpg", 1][0], cells["day1/a.jpg", 2]) == ("lymphocyte", ("unknown", "relabelled"))


def test_a_killed_server_signs_off_what_it_had_acknowledged(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        decide(one, name(2, "neutrophil"))
    with desk.open_desk(folder, "Dr Li") as one:
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(folder)).revision == 1
    assert study.cells("=王")["day1/a.jpg", 2] == ("neutrophil", "relabelled")


def test_the_second_reviewer_is_not_told_what_the_first_decided(study):
    first, second = study.export("first"), study.export("second")
    with desk.open_desk(first, "Dr Li") as one:
        decide(one, name(2, "monocyte"))
        sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(first))
    with desk.open_desk(second, "Wu") as one:
        assert one.patient("=王").images[IMAGE].cells[2].name == "unknown"
        decide(one, name(2, "neutrophil"))
        with pytest.raises(ReviewError, match="A colleague decided differently") as refused:
            sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(second, "Wu"))
        assert not {"Li", "monocyte", "Dr"} & set(str(refused.value).split())
        assert one.signed_off("=王") is None
        take = study.importer(second, "Wu", "--disagreements=unknown")
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), take).revision == 2
    assert study.cells("=王")["day1/a.jpg", 2] == ("unknown", "disputed")
    assert "Wu" in (study.output / "review_changes.csv").read_text(encoding="utf-8")


def test_a_reviewed_state_in_place_of_the_run_is_refused_before_anything_of_it_is_exported(study, capsys):
    assert study.take(study.export()) == 0
    folder = study.root / "second"
    arguments = [f"--inference_dir={study.output}", f"--review_dir={folder}", f"--output_dir={study.root / 'other'}"]
    arguments += ["--reviewer=Wu", f"--images_dir={study.root / 'images'}"]
    assert command_line.run(review_serve.main, review_serve.FLAGS, "", "review_serve", arguments) != 0
    assert "is a reviewed state" in capsys.readouterr().err
    assert not folder.exists()


def test_work_in_labelimg_on_the_same_folder_is_neither_lost_nor_imported_unseen(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        decide(one, name(2, "monocyte"))
        edit(folder / "=王" / "=王__b.xml", nothing, verified=True)
        with pytest.raises(ReviewError, match=r"=王__b.xml: was edited outside of the browser"):
            sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(folder))
        assert not (study.output / "patients/=王/revisions").exists()


def test_a_box_moved_in_the_browser_is_one_moved_in_labelimg(study):
    browser, program = study.export("browser"), study.export("labelimg")
    with desk.open_desk(browser, "Dr Li") as one:
        decide(one, {"action": "move", "image": IMAGE, "cell": 1, "box": [3, 3, 13, 14]})
        assert sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(browser)).revision == 1
    by_browser = tables(study.output)
    assert study.cells("=王")["day1/a.jpg", 1] == ("lymphocyte", "moved")
    (study.output).rename(study.root / "by_browser")

    def change(annotation):
        moved = annotation.objects[0]
        moved.xmin, moved.ymin, moved.xmax, moved.ymax = 3, 3, 13, 14

    edit(program / "=王" / "=王__day1__a.xml", change)
    assert study.take(program / "=王", reviewer="Dr Li") == 0
    assert by_browser == tables(study.output)


def sign_off_all(one, name, take):
    return sign_off.sign_off(one, name, one.last_version(name), take)


def test_problems_of_patients_who_were_signed_off_before_stay(study):
    folder = study.export()
    for patient in ("=王", "p2"):
        (folder / patient / "unrelated.xml").write_text("<annotation/>")
    problems = study.output / "problems.csv"
    with desk.open_desk(folder, "Dr Li") as one:
        take = study.importer(folder)
        for patient in ("=王", "p2", "=王"):
            sign_off_all(one, patient, take)
        files = [row["file"] for row in csv_tables.read_rows(problems)]
        assert files == [str(folder / patient / "unrelated.xml") for patient in ("p2", "=王")]
        (folder / "=王" / "unrelated.xml").unlink()
        sign_off_all(one, "=王", take)
    assert [row["file"] for row in csv_tables.read_rows(problems)] == [str(folder / "p2" / "unrelated.xml")]


def test_a_patient_of_whom_an_image_was_left_out_is_not_signed_off(study):
    folder = study.export()
    picture = folder / "=王" / EMPTY
    exported = picture.read_bytes()
    with desk.open_desk(folder, "Dr Li") as one:
        take = study.importer(folder)
        decide(one, name(2, "monocyte"), verify(EMPTY))
        picture.write_bytes((folder / "=王" / IMAGE).read_bytes())
        with pytest.raises(ReviewError, match=r"=王__b.jpg: not the picture the reviewer was given.*sign off again"):
            sign_off_all(one, "=王", take)
        assert one.signed_off("=王") is None
        picture.write_bytes(exported)
        assert sign_off_all(one, "=王", take).revision == 2
    record = json.loads((study.output / "patients/=王/revisions/0002/revision.json").read_text("utf-8"))
    assert record["images_verified"] == {"b.jpg": ["Dr Li"]}


def test_signed_revisions_carry_a_signature(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        decide(one, verify(EMPTY))
        key = study.root / "key"
        sign_off.sign_off(one, "=王", one.last_version("=王"), study.importer(folder, "Dr Li", f"--signing_key={key}"))
    record = json.loads((study.output / "patients/=王/revisions/0001/revision.json").read_text("utf-8"))
    assert len(record["signature"]["hmac_sha256"]) == 64
