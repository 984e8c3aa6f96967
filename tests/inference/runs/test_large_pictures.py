"""Pictures that are cut into tiles, from files to a patient's folder, with a detector of darkness."""

import csv
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from tests.inference.tiles.test_tiled_detection import SLIDE, Darkness
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import batch_run
from tfod_csf.inference.runs.batch_run import RunSettings
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_limits
from tfod_csf.study.tile_grid import TileError

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

HEIGHT, WIDTH = 420, 640
TILES = {"tile_size": "200x160", "tile_overlap": 60}


def slide():
    """A slide with 28 cells of 20 to 55 pixels, some across every border."""
    pixels = np.full((HEIGHT, WIDTH, 3), SLIDE, np.uint8)
    for number, (y, x) in enumerate((y, x) for y in range(20, 360, 90) for x in range(10, 580, 85)):
        pixels[y : y + 20 + number, x : x + 47 - number] = (30, 20, 90)
    return pixels


@pytest.fixture
def images_dir(tmp_path, monkeypatch):
    """Patient p1 with one large TIFF and one small PNG; "large" is more than 100,000 pixels here."""
    monkeypatch.setattr(image_limits, "MAX_PIXELS", 100_000)
    folder = tmp_path / "images" / "p1"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "scan.tif", slide(), photometric="rgb", tile=(64, 64), compression="deflate")
    Image.fromarray(slide()[:150, :190]).save(folder / "small.png")
    return tmp_path / "images"


def run(images_dir, out, *, detectors=None, draw=False, **settings):
    problems = ProblemLog(quiet=True)
    done = batch_run.run(
        RunSettings(str(images_dir), draw=draw, **settings),
        lambda: detectors or [Darkness()],
        ScoreThresholds(),
        out,
        problems,
        write_differentials=lambda folder, record: None,
    )
    return done, problems


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_large_tiff_is_refused_without_the_flag_as_before(images_dir, tmp_path):
    done, problems = run(images_dir, tmp_path / "out")
    assert (done.result.num_images, done.result.num_failed) == (2, 1)
    (problem,) = problems.problems
    assert problem.reason == "640 x 420 pixels, more than 100,000; was not decoded"
    assert "--tile_size" in problem.remedy
    header = rows(tmp_path / "out" / "patients" / "p1" / "images.csv")[0]
    assert "tile_width" not in header


def test_a_large_tiff_is_cut_and_its_cells_are_those_of_the_whole_picture(images_dir, tmp_path):
    done, problems = run(images_dir, tmp_path / "out", draw=True, **TILES)
    assert (done.result.num_failed, problems.problems) == (0, [])
    folder = tmp_path / "out" / "patients" / "p1"
    cells = [row for row in rows(folder / "cells.csv") if row["image"] == "scan.tif"]
    expected = {
        (10 + 85 * column, 20 + 90 * line, 57 + 85 * column - number, 40 + 90 * line + number)
        for number, (line, column) in enumerate((line, column) for line in range(4) for column in range(7))
    }
    found = {tuple(float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")) for row in cells}
    assert found == expected
    assert len(cells) == 28
    small, scan = sorted(rows(folder / "images.csv"), key=lambda row: row["image"], reverse=True)
    assert [scan[name] for name in ("width", "height", "tile_width", "tile_height", "tile_overlap")] == [
        *("640", "420", "200", "160", "60"),
    ]
    assert [small[name] for name in ("tile_width", "tile_height", "tile_overlap")] == ["", "", ""]
    csv_schemas.load("images").check(folder / "images.csv", ["small", "large", "unknown"])
    assert (folder / "pictures" / "scan.tif.jpg").is_file()
    # (640 - 60) / 140 and (420 - 60) / 100, rounded up: 5 x 4 tiles.
    assert len(list((folder / "pictures" / "scan.tif.tiles").iterdir())) == 20
    assert json.loads((folder / "stamp.json").read_text())["settings"]["tiles"] == {
        "width": 200,
        "height": 160,
        "overlap": 60,
    }
    assert done.record["settings"]["tile_size"] == "200x160"


def test_other_cuts_give_the_same_cells_and_redo_the_patient(images_dir, tmp_path):
    tables = []
    for tile_size, overlap in [("200x160", 60), ("300x300", 58), ("640x200", 64)]:
        done, _ = run(images_dir, tmp_path / "out", tile_size=tile_size, tile_overlap=overlap)
        assert not done.result.reused
        tables.append((tmp_path / "out" / "patients" / "p1" / "cells.csv").read_bytes())
        again, _ = run(images_dir, tmp_path / "out", tile_size=tile_size, tile_overlap=overlap)
        assert again.result.reused == {"p1"}
    # The order of cells with equal scores is that of the tiles, so only the numbers of cells follow it.
    without_ids = [sorted(re.sub(rb"(?m)^(p1,[^,]+),\d+,", rb"\1,", table).splitlines()) for table in tables]
    assert without_ids[0] == without_ids[1] == without_ids[2]


def test_several_models_and_a_limit_per_tile(images_dir, tmp_path):
    done, problems = run(images_dir, tmp_path / "out", detectors=[Darkness("a"), Darkness("b", limit=2)], **TILES)
    assert done.result.summaries["p1"].cells["a"] == done.result.summaries["p1"].cells["b"]
    limited = [problem for problem in problems.problems if "limit" in problem.reason]
    assert limited
    assert {problem.item.startswith("tile in row ") for problem in limited if "scan" in problem.file} == {True}
    assert "model b reached its limit of cells in this tile; some may be missing" in {p.reason for p in limited}


def test_a_cell_larger_than_the_overlap_is_noted(images_dir, tmp_path):
    _, problems = run(images_dir, tmp_path / "out", tile_size="200x160", tile_overlap=10)
    (problem,) = problems.problems
    assert "cells of model darkness are larger than the overlap of the tiles" in problem.reason
    assert "--tile_overlap=" in problem.remedy


def test_a_damaged_scan_fails_its_patient_and_not_the_run(images_dir, tmp_path):
    path = images_dir / "p1" / "scan.tif"
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[20], tiff.pages[0].databytecounts[20]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    done, problems = run(images_dir, tmp_path / "out", **TILES)
    assert (done.result.num_images, done.result.num_failed) == (2, 1)
    (problem,) = problems.problems
    assert problem.action == "skipped"
    assert "damaged or truncated" in problem.reason
    failed = [row for row in rows(tmp_path / "out" / "patients" / "p1" / "images.csv") if row["status"] == "failed"]
    assert [row["image"] for row in failed] == ["scan.tif"]


def test_a_scan_that_changes_while_it_is_read_is_examined_again_although_its_bytes_are_the_same(images_dir, tmp_path):
    """`cp --preserve` sets a file's time after its last byte."""

    class Touching(Darkness):
        def detect(self, pixels, image="", jpeg=None):
            os.utime(images_dir / "p1" / "scan.tif", (1, 1))
            return super().detect(pixels, image)

    done, problems = run(images_dir, tmp_path / "out", detectors=[Touching()], **TILES)
    assert [problem.reason for problem in problems.problems] == ["the file was changed while it was read"]
    assert done.result.num_failed == 1
    again, problems = run(images_dir, tmp_path / "out", **TILES)
    assert (again.result.reused, again.result.num_failed, problems.problems) == (set(), 0, [])
    assert len(rows(tmp_path / "out" / "patients" / "p1" / "cells.csv")) > 28


def test_tiles_need_both_numbers():
    with pytest.raises(TileError, match="go together"):
        _ = RunSettings("x", tile_size="100").tiles


def test_patients_cut_in_another_way_do_not_fit_into_one_run(images_dir, tmp_path):
    run(images_dir, tmp_path / "out", **TILES)
    (images_dir / "p1").rename(images_dir / "p2")
    with pytest.raises(UserError, match="other models, thresholds or tiles"):
        run(images_dir, tmp_path / "out", tile_size="300x300", tile_overlap=60)
