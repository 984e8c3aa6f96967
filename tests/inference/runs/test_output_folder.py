"""Nobody's files are replaced, and no image is written over."""

import json
import os
import shutil

import pytest

from tests.support.hand_made_model import save_gray
from tfod_csf import run_folder
from tfod_csf.inference.runs import output_folder
from tfod_csf.inference.runs.output_folder import OutputFolderError
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients


def refuse(images_dir, out):
    images = patients.find_images(images_dir, ProblemLog(quiet=True))
    output_folder.refuse_images_among_results(images_dir, images, out)


@pytest.fixture
def study(tmp_path):
    """STUDY/patients/p1/pictures/a.png: images where a run with --output_dir=STUDY would draw its pictures."""
    save_gray(tmp_path / "STUDY" / "patients" / "p1" / "pictures" / "a.png", 0)
    return tmp_path / "STUDY"


@pytest.mark.parametrize("images", ["patients", "patients/p1", "patients/p1/pictures"])
def test_results_would_be_written_among_the_images(study, images):
    with pytest.raises(OutputFolderError, match="batch_infer writes its results into the same folder"):
        refuse(study / images, study)


@pytest.mark.parametrize("out", ["", "sub", "sub/deeper"])
def test_results_would_be_read_as_images(study, out):
    images_dir = study / "patients"
    with pytest.raises(OutputFolderError, match="lies in --images_dir"):
        refuse(images_dir, images_dir / out)


def test_links_are_followed_in_both_directions(study, tmp_path):
    (tmp_path / "link").symlink_to(study / "patients" / "p1")
    with pytest.raises(OutputFolderError, match="into the same folder"):
        refuse(tmp_path / "link", study)
    # The output's patients/ is a link to the images.
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "patients").symlink_to(study / "patients")
    with pytest.raises(OutputFolderError, match="into the same folder"):
        refuse(study / "patients", tmp_path / "out")
    # Single images are links to files that lie where results are written.
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").symlink_to(study / "patients" / "p1" / "pictures" / "a.png")
    with pytest.raises(OutputFolderError, match="into the same folder"):
        refuse(tmp_path / "images", study)
    # The output is reached through a link that leads into the images.
    (tmp_path / "results").symlink_to(study / "patients" / "p1")
    with pytest.raises(OutputFolderError, match="lies in --images_dir"):
        refuse(study / "patients", tmp_path / "results" / "new")


def test_rounds_are_results_too(study, tmp_path):
    images_dir = tmp_path / "OUT" / "rounds" / "2"
    shutil.copytree(study, images_dir)
    with pytest.raises(OutputFolderError, match="rounds/"):
        refuse(images_dir, tmp_path / "OUT")


def test_images_beside_the_results_are_fine(study):
    os.rename(study / "patients", study / "images")
    refuse(study / "images", study)


@pytest.mark.parametrize(
    "name", ["patients/p1/notes.txt", "rounds/x", "classification/x", "differentials.csv", "problems.csv"]
)
def test_foreign_files_are_not_replaced(tmp_path, name):
    (tmp_path / "my own.txt").write_text("this is in nobody's way")
    output_folder.refuse_foreign_files(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("not ours")
    with pytest.raises(OutputFolderError, match=rf"holds {name.partition('/')[0]}, but no run\.json of batch_infer"):
        output_folder.refuse_foreign_files(tmp_path)
    run_folder.begin(tmp_path, {})
    output_folder.refuse_foreign_files(tmp_path)


def test_a_run_that_found_nothing_leaves_its_problems_and_may_be_repeated(tmp_path):
    ProblemLog(quiet=True).write_csv(tmp_path / "problems.csv")
    (tmp_path / "patients").mkdir()
    output_folder.refuse_foreign_files(tmp_path)
    assert json.dumps(sorted(os.listdir(tmp_path))) == '["patients", "problems.csv"]'


def test_a_live_page_that_was_left_is_ours_and_any_other_is_somebody_elses(tmp_path):
    page = tmp_path / output_folder.LIVE_PAGE
    page.write_text('<html><head><meta name="generator" content="tfod_csf 1.0"></head></html>')
    output_folder.refuse_foreign_files(tmp_path)
    page.write_text("<html>my cats</html>")
    with pytest.raises(output_folder.OutputFolderError, match=r"holds live\.html"):
        output_folder.refuse_foreign_files(tmp_path)
