"""Commands of reports, reviews and blinding, killed just before a rename: run again, they end with the same files.

TRIED renames are tried here; TFOD_CSF_ALL_RENAMES=1 tries every one.
"""

import dataclasses
import itertools
import json
import os

import pytest

from tests.support import examined_study, sudden_end
from tests.support.review_desk import Desk, edit, nothing, rename
from tests.support.saved_models import write_empty_model
from tfod_csf import provenance, run_folder
from tfod_csf.commands import (
    blind,
    calibrate,
    command_line,
    export_detections,
    export_report,
    report,
    review_agreement,
    review_export,
    review_import,
    sign_report,
    unblind,
)
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.review import export_session
from tfod_csf.files import key_files
from tfod_csf.model_folder import fingerprint
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
TRIED = range(1, 1000) if os.environ.get("TFOD_CSF_ALL_RENAMES") else (1, 3, 6, 10, 15)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A study in which nothing depends on the time or on chance."""
    monkeypatch.setattr(provenance, "now", lambda: "2022-01-24T13:05:00+08:00")
    monkeypatch.setattr(key_files.secrets, "token_bytes", bytes)
    ids = itertools.count()  # a copy of the process that ends does not count on
    monkeypatch.setattr(export_session.uuid, "uuid4", lambda: next(ids))
    root = tmp_path / "root"
    patients = {"王": {"a.jpg": [SURE, UNSURE], "b.jpg": [SURE]}, "p2": {"a.jpg": [UNSURE]}}
    return Desk(examined_study.write_study(root, patients), root)


def run(module, *flags):
    """The command as a function that returns its exit status."""
    name = module.__name__.rpartition(".")[2]
    return lambda: command_line.run(module.main, module.FLAGS, "", name, list(map(str, flags)))


def review(desk, cell, name="review", source=None):
    """Both patients' unknown cells named, all images verified; returns the folder for an import."""
    folder = desk.export(name, source=source)
    for xml in folder.glob("*/*.xml"):
        edit(xml, rename(1 if "王" in xml.stem else 0, cell) if xml.stem.endswith("__a") else nothing, verified=True)
    return folder


def importing(desk, folder, reviewer="Li", *flags):
    return run(
        review_import,
        f"--review_dir={folder}",
        f"--inference_dir={desk.study.inference_dir}",
        f"--output_dir={desk.output}",
        f"--reviewer={reviewer}",
        "--min_white_cells=1",
        f"--training_dir={desk.root / 'training'}",
        *flags,
    )


def check(desk, command, least):
    kills, wrong = sudden_end.differences(desk.root, command, TRIED)
    assert kills >= least
    assert wrong == {}


def states_of(desk):
    """Whether every page there shows the newest revision of its patient."""
    for page in desk.output.glob("patients/*/report.html"):
        newest = sorted(page.parent.glob("revisions/[0-9]*"))[-1]
        record = json.loads((newest / "revision.json").read_text(encoding="utf-8"))
        yield record["kind"] == "machine" or record["reviewer"] in page.read_text(encoding="utf-8")


def test_a_first_review(desk):
    check(desk, importing(desk, review(desk, "monocyte")), least=2)


def test_a_second_review_leaves_no_page_of_the_first(desk):
    assert importing(desk, review(desk, "monocyte"))() == 0
    assert run(report, f"--inference_dir={desk.output}", "--min_white_cells=1")() == 0
    second = importing(desk, review(desk, "neutrophil", "second", desk.output), "Dr Wu", "--disagreements=newest")
    check(desk, second, least=2)


@pytest.mark.parametrize("number", [2, 4, 6, 9])
def test_no_page_contradicts_the_tables_while_a_second_review_is_stopped(desk, number):
    assert importing(desk, review(desk, "monocyte"))() == 0
    assert run(report, f"--inference_dir={desk.output}", "--min_white_cells=1")() == 0
    assert list(states_of(desk)) == [True, True]
    second = importing(desk, review(desk, "neutrophil", "second", desk.output), "Dr Wu", "--disagreements=newest")
    assert sudden_end.ends_at(number, second)
    assert run(report, f"--inference_dir={desk.output}")() == 1  # unfinished, so no command takes it
    for folder in (desk.output / "patients").iterdir():
        chain = sorted(folder.glob("revisions/[0-9]*"))
        is_current = (chain[-1] / "cells.csv").read_bytes() == (folder / "cells.csv").read_bytes()
        assert not ((folder / "report.html").exists() and is_current and len(chain) == 3)
    assert second() == 0
    assert list(states_of(desk)) == [True, True]


def test_pages_of_other_flags_are_replaced(desk):
    folder = review(desk, "monocyte")
    assert importing(desk, folder)() == 0
    before = {page: page.read_bytes() for page in desk.output.glob("patients/*/report.html")}
    assert len(before) == 2
    assert importing(desk, folder)() == 0
    assert {page: page.read_bytes() for page in before} == before
    assert importing(desk, folder, "Li", "--tolerance_points=3")() == 0
    assert all(page.read_bytes() != content for page, content in before.items())


def test_report(desk):
    check(desk, run(report, f"--inference_dir={desk.study.inference_dir}", "--min_white_cells=1"), least=2)


def signing(desk):
    flags = [
        f"--inference_dir={desk.output}",
        "--patient=王",
        "--patient=p2",
        "--signed_by=Dr Wu",
        "--min_white_cells=1",
    ]
    return run(sign_report, *flags)


def test_sign_report_signs_once_and_leaves_no_page_without_the_signature(desk):
    assert importing(desk, review(desk, "monocyte"))() == 0
    assert run(report, f"--inference_dir={desk.output}", "--min_white_cells=1")() == 0
    check(desk, signing(desk), least=2)


@pytest.mark.parametrize("file_format", ["csv", "fhir"])
def test_export_report(desk, file_format):
    if file_format == "fhir":
        pytest.importorskip("fhir.resources")
    assert importing(desk, review(desk, "monocyte"))() == 0
    assert signing(desk)() == 0
    export = run(
        export_report, f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'lis'}", f"--format={file_format}"
    )
    check(desk, export, least=1)


def test_a_bundle_of_a_report_that_is_not_final_any_more_is_removed(desk, capsys):
    pytest.importorskip("fhir.resources")
    assert importing(desk, review(desk, "monocyte"))() == 0
    assert signing(desk)() == 0
    export = run(export_report, f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'lis'}")
    assert export() == 0
    second = importing(desk, review(desk, "neutrophil", "second", desk.output), "Dr Wu", "--disagreements=newest")
    assert second() == 0
    (desk.root / "lis" / "other.fhir.json").write_text("{}", encoding="utf-8")
    assert export() == 1
    assert [path.name for path in (desk.root / "lis").iterdir()] == ["other.fhir.json"]


def test_review_export_goes_on_with_the_same_export(desk, monkeypatch):
    flags = [f"--inference_dir={desk.study.inference_dir}", f"--output_dir={desk.root / 'review'}"]
    check(desk, run(review_export, *flags), least=2)
    monkeypatch.undo()
    other = [*flags[:1], f"--output_dir={desk.root / 'other'}"]
    # The mark, then images, XML, lists and the exchange of the first patient: the second has begun.
    assert sudden_end.ends_at(9, run(review_export, *other))
    assert run(review_export, *other, "--sample_images=10")() == 1
    assert run(review_export, *other)() == 0
    ids = {json.loads(path.read_text(encoding="utf-8"))["export_id"] for path in desk.root.glob("other/*/cells.json")}
    assert len(ids) == 1
    assert run(review_export, *other)() == 1  # finished: a reviewer may have begun


def test_review_agreement(desk):
    first, second = review(desk, "monocyte"), review(desk, "neutrophil", "second")
    assert importing(desk, first)() == 0
    assert importing(desk, second, "Dr Wu", "--disagreements=unknown")() == 0
    flags = [f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'agreement'}"]
    check(desk, run(review_agreement, *flags), least=2)


def test_export_detections(desk):
    flags = [f"--inference_dir={desk.study.inference_dir}", f"--output_dir={desk.root / 'others'}"]
    export = run(export_detections, *flags)
    assert export() == 0
    (desk.root / "others" / "qupath" / "p2" / "gone.jpg.geojson").write_text("{}", encoding="utf-8")
    check(desk, export, least=2)
    assert not (desk.root / "others" / "qupath" / "p2" / "gone.jpg.geojson").exists()
    (desk.root / "others" / "qupath" / "notes.txt").write_text("mine", encoding="utf-8")
    assert export() == 1
    assert (desk.root / "others" / "qupath" / "notes.txt").exists()


def test_calibrate(desk):
    annotations = desk.root / "annotations"
    for patient, image, cells in (("王", "a", (SURE, UNSURE)), ("王", "b", (SURE,)), ("p2", "a", (UNSURE,))):
        path = annotations / patient / f"{image}.xml"
        objects = [LabeledObject(name, *box) for name, _, box in cells]
        path.parent.mkdir(parents=True, exist_ok=True)
        labelimg.write_annotation(Annotation(path, f"{image}.jpg", 64, 48, objects, folder=patient), path)
    for folder in (desk.study.inference_dir / "patients").iterdir():
        table = cell_rows.read_cells(folder / "cells.csv")
        scores = dict.fromkeys(table.classes, 0.01)
        cells = [
            dataclasses.replace(cell, class_scores={**scores, cell.predicted_class: cell.score}) for cell in table.cells
        ]
        cell_rows.write_cells(folder / "cells.csv", dataclasses.replace(table, cells=tuple(cells)))
    model = write_empty_model(desk.root / "m")
    models = [{"name": "m", "fingerprint": fingerprint(model / "saved_model")}]
    run_folder.finish(desk.study.inference_dir, run_folder.read_run(desk.study.inference_dir) | {"models": models})
    flags = [f"--inference_dir={desk.study.inference_dir}", f"--output_dir={desk.root / 'calibration'}"]
    flags += [f"--annotations_dir={annotations}", "--min_cells=1", f"--model={model}"]
    check(desk, run(calibrate, *flags), least=2)


def blinding(desk, *flags):
    return run(
        blind,
        f"--images_dir={desk.study.images_dir}",
        f"--output_dir={desk.root / 'blinded'}",
        f"--key_file={desk.root / 'safe' / 'key'}",
        *flags,
    )


def test_blind(desk):
    check(desk, blinding(desk), least=2)


def test_unblind(desk):
    assert blinding(desk)() == 0
    flags = [f"--results_dir={desk.root / 'blinded'}", f"--key_file={desk.root / 'safe' / 'key'}"]
    check(desk, run(unblind, *flags, f"--output_dir={desk.root / 'named'}"), least=1)


def test_a_stopped_blinding_is_resumed_with_the_same_pseudonyms_and_never_read_back(desk, monkeypatch, capsys):
    monkeypatch.undo()  # a key of its own for each new blinding
    assert sudden_end.ends_at(5, blinding(desk))
    key = (desk.root / "safe" / "key").read_bytes()
    unfinished = desk.root / "safe" / "key.unfinished.json"
    assert unfinished.stat().st_mode & 0o777 == 0o600
    flags = [f"--results_dir={desk.root / 'blinded'}", f"--key_file={desk.root / 'safe' / 'key'}"]
    assert run(unblind, *flags, f"--output_dir={desk.root / 'named'}")() == 1
    assert "a blinding with this key was stopped; run the same blind again" in capsys.readouterr().err
    assert blinding(desk, f"--output_dir={desk.root / 'elsewhere'}")() == 1
    assert "was stopped; finish it first" in capsys.readouterr().err
    assert blinding(desk)() == 0
    assert (desk.root / "safe" / "key").read_bytes() == key
    assert not unfinished.exists()
    assert run(unblind, *flags, f"--output_dir={desk.root / 'named'}")() == 0
    named = {path.relative_to(desk.root / "named").as_posix() for path in (desk.root / "named").rglob("*.jpg")}
    assert named == {"王/a.jpg", "王/b.jpg", "p2/a.jpg"}
