import json

import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.revisions import RevisionError
from tfod_csf.files import key_files

CELL = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))


@pytest.fixture
def desk(tmp_path):
    """Two reviews of a patient."""
    desk = Desk(examined_study.write_study(tmp_path, {"p": {"a.jpg": [CELL]}}), tmp_path)
    review = desk.export()
    edit(review / "p" / "p__a.xml", rename(0, "monocyte"))
    assert desk.take(review, f"--signing_key={tmp_path / 'key'}") == 0
    edit(review / "p" / "p__a.xml", nothing, verified=True)
    assert desk.take(review, f"--signing_key={tmp_path / 'key'}") == 0
    return desk


@pytest.fixture
def patient(desk):
    return desk.output / "patients" / "p"


def test_the_chain_is_whole_and_begins_with_the_machine(desk, patient):
    chain = revisions.read_revisions(patient, key_files.read_key(desk.root / "key"))
    assert [(r.number, r.kind, r.reviewer) for r in chain] == [
        (0, "machine", ""),
        (1, "review", "Li"),
        (2, "review", "Li"),
    ]
    machine = chain[0].folder / "cells.csv"
    assert machine.read_bytes() == (desk.study.patient("p") / "cells.csv").read_bytes()
    assert chain[2].record["previous_sha256"] == chain[1].sha256
    assert revisions.read_revisions(desk.study.patient("p")) == ()


@pytest.mark.parametrize("name", ["0000/cells.csv", "0001/changes.csv", "0002/differential.csv"])
def test_a_changed_table_breaks_the_chain(patient, name):
    path = patient / "revisions" / name
    path.write_text(path.read_text(encoding="utf-8").replace("monocyte", "neutrophil"), encoding="utf-8")
    with pytest.raises(RevisionError, match="changed after the revision"):
        revisions.read_revisions(patient)


def test_a_changed_record_breaks_the_chain_after_it(patient):
    path = patient / "revisions" / "0001" / "revision.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"Li"', '"Wu"'), encoding="utf-8")
    with pytest.raises(RevisionError, match="does not follow from revision 1"):
        revisions.read_revisions(patient)


def test_a_removed_revision_breaks_the_chain(patient):
    (patient / "revisions" / "0001").rename(patient / "elsewhere")
    with pytest.raises(RevisionError, match="expected revision 1 here"):
        revisions.read_revisions(patient)


def test_a_rewritten_record_needs_the_key(desk, patient):
    key = key_files.read_key(desk.root / "key")
    path = patient / "revisions" / "0002" / "revision.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "reviewer": "Wu"}), encoding="utf-8")
    assert revisions.read_revisions(patient)[2].reviewer == "Wu", "the newest record has no successor that knows it"
    with pytest.raises(RevisionError, match="signature does not fit"):
        revisions.read_revisions(patient, key)
    path.write_text(json.dumps({k: v for k, v in record.items() if k != "signature"}), encoding="utf-8")
    with pytest.raises(RevisionError, match="is not signed"):
        revisions.read_revisions(patient, key)
    with pytest.raises(RevisionError, match="another key"):
        revisions.read_revisions(patient, bytes(32))


def test_a_broken_chain_stops_its_patient_and_is_told(desk, patient, capsys):
    (patient / "revisions" / "0001" / "cells.csv").unlink()
    review = desk.root / "review"
    edit(review / "p" / "p__a.xml", rename(0, "neutrophil"), verified=True)
    assert desk.take(review) == 1
    assert "missing or changed" in capsys.readouterr().err


def test_a_revision_that_fails_leaves_nothing(desk, patient):
    def fails(folder):
        (folder / "cells.csv").write_text("half")
        raise OSError("disk full")

    newest = revisions.read_revisions(patient)[-1]
    with pytest.raises(OSError, match="disk full"):
        revisions.append_revision(patient, revisions.REVIEW, {"when": "now"}, fails, newest)
    assert len(revisions.read_revisions(patient)) == 3
    assert sorted(path.name for path in (patient / "revisions").iterdir()) == ["0000", "0001", "0002"]


def test_a_crash_before_the_current_tables_were_written_is_mended_by_the_next_import(desk, patient):
    newest = (patient / "cells.csv").read_bytes()
    (patient / "cells.csv").write_bytes((desk.study.patient("p") / "cells.csv").read_bytes())
    assert desk.take(desk.root / "review") == 0
    assert (patient / "cells.csv").read_bytes() == newest


def test_how_long_the_machine_took_is_not_what_it_found(desk):
    folder = desk.study.patient("p")
    before = revisions.tables_sha256(folder)
    path = folder / "images.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("0.5000", "0.7000"), encoding="utf-8")
    assert revisions.tables_sha256(folder) == before
    path.write_text(path.read_text(encoding="utf-8").replace(",no,", ",yes,"), encoding="utf-8")
    assert revisions.tables_sha256(folder) != before
