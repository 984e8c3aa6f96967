import dataclasses

import pytest

from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.study.folder_names import folder_names


@pytest.fixture
def job(tmp_path):
    return ArchiveJob(
        run_id="1",
        images_dir="images",
        output_dir=str(tmp_path / "out"),
        models=("a", "b"),
        trust=False,
        ensemble="case",
        deterministic=True,
        draw=False,
        strict=False,
        thresholds=dataclasses.asdict(ScoreThresholds(min_score=0.3)),
        settings={"version": "1", "models": {"a": {"fingerprint": "f", "temperature": 1.0}}},
    )


def test_a_job_is_read_as_it_was_written(job):
    assert ArchiveJob.read(job.write()) == job
    assert job.score_thresholds == ScoreThresholds(min_score=0.3)


def test_a_patient_is_one_line_that_leads_to_the_same_images(images_dir, job):
    found = patients.find_images(images_dir, ProblemLog())
    names = folder_names([image.patient_id for image in found])
    by_patient = {name: [image for image in found if image.patient_id == name] for name in names}
    work = [PatientWork.of(names[name], images) for name, images in by_patient.items()]
    job.write_work_list(work)
    lines = job.work_list.read_text(encoding="utf-8").splitlines()
    assert [PatientWork.from_line(line) for line in lines] == work
    assert [image for one in work for image in one.image_files(images_dir)] == found
    assert work[1].patient_id == "王=1"
    assert job.patient_folder(work[1]).name == names["王=1"]
