import pytest

from tests.support.labeled_folders import write_study
from tfod_csf.cytology.blinding import blind
from tfod_csf.cytology.blinding.blind_study import blind_study
from tfod_csf.files import csv_tables
from tfod_csf.problems import ProblemLog, StrictProblemError


@pytest.fixture
def study(tmp_path):
    """Two patients with one and two images, and an image that cannot be read."""
    root = write_study(tmp_path / "images", {"Wang": [["lymphocyte"]], "Li": [[], ["monocyte"]]}, suffix=".png")
    (root / "Li" / "broken.png").write_bytes(b"no image")
    return root


def test_copies_table_and_problems(study, tmp_path):
    secret = blind.SecretFiles.beside(tmp_path / "safe" / "key")
    seen = []

    def progress(images):
        for image in images:
            seen.append(image.key)
            yield image

    done = blind_study(study, None, tmp_path / "out", secret, False, ProblemLog(quiet=True), progress=progress)
    assert str(done) == ("2 patients, 3 images: 0 JPEG with the picture byte for byte, 3 as PNG with the same pixels")
    assert (done.num_images, done.num_skipped) == (4, 1)
    assert sorted(seen) == ["Li/0.png", "Li/1.png", "Li/broken.png", "Wang/0.png"]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3
    assert len(list((tmp_path / "out").rglob("*.xml"))) == 3
    assert {row["patient_id"] for row in csv_tables.read_rows(secret.mapping)} == {"Wang", "Li"}
    assert [row["action"] for row in csv_tables.read_rows(secret.problems)] == ["skipped"]
    # With the same key nothing is new, and what was copied counts as copied.
    again = blind_study(study, None, tmp_path / "out", secret, True, ProblemLog(quiet=True))
    assert again.rows == done.rows
    assert again.num_skipped == 1


def test_problems_are_kept_when_strict_ends_the_run(study, tmp_path):
    secret = blind.SecretFiles.beside(tmp_path / "safe" / "key")
    with pytest.raises(StrictProblemError):
        blind_study(study, None, tmp_path / "out", secret, False, ProblemLog(strict=True, quiet=True))
    assert len(csv_tables.read_rows(secret.problems)) == 1


def test_secrets_in_the_folder_of_copies_are_refused_before_anything_is_written(study, tmp_path):
    secret = blind.SecretFiles.beside(tmp_path / "out" / "key")
    with pytest.raises(blind.BlindError, match="would lie in the blinded folder"):
        blind_study(study, None, tmp_path / "out", secret, False, ProblemLog(quiet=True))
    assert not (tmp_path / "out").exists()
