"""Reviews and signs a patient of a study for tests: `desk` is a `review_desk.Desk` with the patient 王伟."""

import pathlib

from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.commands import command_line, sign_report

PATIENT = "王伟"


def folder_of(desk: Desk, patient: str = PATIENT) -> pathlib.Path:
    """The patient's folder in the reviewed state."""
    return desk.output / "patients" / desk.study.patient(patient).name


def review(desk: Desk, name: str = "review", cell: str = "monocyte", reviewer: str = "Li") -> None:
    """Names the second cell of image a and verifies both images; later reviews start from the reviewed state."""
    exported = desk.export(name, source=None if name == "review" else desk.output)
    folder = exported / desk.study.patient(PATIENT).name
    for image in "ab":
        (xml,) = [path for path in folder.glob("*.xml") if path.stem.endswith(f"__{image}")]
        edit(xml, rename(1, cell) if image == "a" else nothing, verified=True)
    assert desk.take(exported, reviewer=reviewer) == 0


def sign(desk: Desk, *flags: str, patient: str = PATIENT, who: str = "Dr Wu") -> int:
    """Runs sign_report and returns its exit status."""
    arguments = [f"--inference_dir={desk.output}", f"--patient={patient}", "--min_white_cells=1", *flags]
    arguments.append(f"--signed_by={who}")
    return command_line.run(sign_report.main, sign_report.FLAGS, "", "sign_report", arguments)
