"""What is stored of training records, by exporter_main_v2 and by describe_domain."""

import json
import shutil

import numpy as np
import pytest

from tests.support import drawn_records
from tfod_csf.commands import command_line
from tfod_csf.domain.picture_statistics import STATISTICS, CellBoxes, measure
from tfod_csf.domain.training_domain import TrainingDomainError
from tfod_csf.files import manifest
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.labeled import domain_description
from tfod_csf.model_folder import ModelFolder


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The training record of 60 fields of six patients."""
    images = [drawn_records.drawn(f"p{seed % 6}/{seed}.jpg", seed, blur=1.0) for seed in range(60)]
    folder = drawn_records.write(tmp_path_factory.mktemp("domain") / "records", {"train": images})
    return str(folder / "train.record-00000-of-00001")


def test_the_images_of_records_by_patient(records):
    domain = domain_description.describe_records([records], drawn_records.LABEL_MAP, {})
    assert (domain.images, domain.groups, domain.grouped) == (60, 6, True)
    # White cells are 16 to 22 pixels wide, so that an image's median is near 2 ** 4.2.
    assert domain.centers[:, STATISTICS.index("white_cell_size")] == pytest.approx(4.2, abs=0.3)
    picture, boxes = drawn_records.field(77, blur=1.0)
    cells = CellBoxes.of(np.array(boxes)[:, [1, 0, 3, 2]], ["lymphocyte"] * len(boxes))
    assert domain.judge(measure(np.asarray(picture), cells, (1.0, 1.0))).in_domain
    assert domain_description.described_words(domain).startswith(
        "Domain guard: from 60 training images of 6 patients, in "
    )


def test_images_are_spread_over_the_records(records):
    domain = domain_description.describe_records([records], drawn_records.LABEL_MAP, {}, max_images=50)
    assert domain.images == 50
    assert domain.groups == 5  # 50 of 60 are all but every sixth, and that is always the same patient's


def test_too_few_images_name_the_record(tmp_path):
    folder = drawn_records.write(tmp_path / "records", {"train": [drawn_records.drawn("p/0.jpg", 0)]})
    with pytest.raises(TrainingDomainError, match=r"train.record-00000-of-00001: 1 images are too few"):
        domain_description.describe_records([str(folder / "train.record-00000-of-00001")], drawn_records.LABEL_MAP, {})


def test_a_config_whose_records_are_gone_or_damaged_gives_no_guard_and_says_so(tmp_path):
    domain, words = domain_description.describe_config([], drawn_records.LABEL_MAP, {})
    assert domain is None
    assert words.startswith("No domain guard: the training records that the config names are not there. describe_dom")
    (tmp_path / "train.record").write_bytes(b"damaged")
    domain, words = domain_description.describe_config([str(tmp_path / "train.record")], drawn_records.LABEL_MAP, {})
    assert domain is None
    assert "train.record" in words


def describe(capsys, *arguments):
    status = command_line.main(["describe_domain", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_the_command_stores_the_description_and_the_model_is_still_the_exported_one(
    records, hand_made_model, tmp_path, capsys
):
    model = shutil.copytree(hand_made_model, tmp_path / "model")
    info = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**info, "manifest": "SHA256SUMS"}))
    manifest.write(model)
    status, text = describe(capsys, f"--model={model}", f"--input_path={records}")
    assert status == 0
    assert f"stored in {model / 'model.json'}; batch_infer uses it from now on." in text
    folder = ModelFolder.open(model)
    assert folder.vouched_for_by == "SHA256SUMS"
    assert len(Detector.open(folder).guards) == 1
    assert len(Detector.open(ModelFolder.open(hand_made_model)).guards) == 0
    other = shutil.copyfile(records, tmp_path / "other.record")
    status, text = describe(capsys, f"--model={model}", f"--input_path={records}", f"--input_path={other}")
    assert status == 0
    assert "from 120 training images" in text
    status, text = describe(capsys, f"--model={model}", f"--input_path={records},{records}", "--max_images=50")
    assert status == 0
    assert "replaced in" in text
    assert "from 50 training images" in text


def test_the_command_refuses_records_that_are_not_there(hand_made_model, tmp_path, capsys):
    status, text = describe(capsys, f"--model={hand_made_model}", f"--input_path={tmp_path}/none.record")
    assert status == 1
    assert f"--input_path={tmp_path}/none.record: no such file" in text


def test_the_command_refuses_a_folder_in_which_nothing_can_be_stored_before_it_measures(
    records, hand_made_model, tmp_path, capsys
):
    model = shutil.copytree(hand_made_model, tmp_path / "model")
    (model / "model.json").unlink()
    status, text = describe(capsys, f"--model={model}", f"--input_path={records}")
    assert status == 1
    assert f"{model / 'model.json'}: no such file; give the folder that exporter_main_v2 wrote" in text
