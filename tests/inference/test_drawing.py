import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfod_csf.cell_classes import rgb_of
from tfod_csf.detections import Detections
from tfod_csf.inference import drawing
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.label_map import label_map_from_names

ORANGE = (230, 159, 0)  # of unknown, as in the paper
LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "unknown", "浆细胞"])


def cells_of(width, height, *rows):
    """Rows of (box, class, score)."""
    found = Detections(
        image="a.jpg",
        width=width,
        height=height,
        boxes=np.array([row[0] for row in rows]).reshape(-1, 4),
        classes=[row[1] for row in rows],
        scores=[row[2] for row in rows],
    )
    return select_cells(found, LABEL_MAP, ScoreThresholds())


def test_box_in_class_color_and_second_orange_box():
    gray = np.full([480, 640, 3], 200, np.uint8)
    cells = cells_of(640, 480, ([100, 100, 160, 160], 1, 0.97), ([300, 300, 360, 360], 2, 0.796))
    picture = np.asarray(drawing.draw_cells(gray, cells, unknown_below=0.8))
    assert tuple(picture[130, 100]) == rgb_of("lymphocyte")
    assert tuple(picture[330, 300]) == rgb_of("monocyte")
    # Lines are 2 px wide on this image, so the outer box is 3 px further out.
    assert tuple(picture[330, 297]) == ORANGE
    assert not np.any(np.all(picture[90:170, 80:170] == ORANGE, axis=-1))
    assert (picture[130, 130] == 200).all()  # the cell itself stays visible
    assert (gray == 200).all()


def test_class_unknown_is_orange_with_one_box():
    cells = cells_of(200, 200, ([50, 50, 90, 90], 3, 0.9))
    picture = np.asarray(drawing.draw_cells(np.zeros([200, 200, 3], np.uint8), cells, 0.8))
    assert tuple(picture[70, 50]) == ORANGE
    assert not picture[70, :50].any()  # no second box around the first


@pytest.mark.parametrize(("width", "height"), [(48, 36), (640, 480), (2592, 1944)])
def test_any_size(width, height):
    pixels = np.full([height, width, 3], 128, np.uint8)
    edges = [([0, 0, height, width], 1, 0.9), ([height - 5, width - 5, height, width], 4, 0.6)]
    for rows in ([], edges[:1], edges):
        assert drawing.draw_cells(pixels, cells_of(width, height, *rows), 0.8).size == (width, height)


def test_labels_avoid_the_neighbour():
    # The place above cell 2 is taken by cell 1, so its label must not go there.
    cells = cells_of(640, 480, ([100, 100, 200, 200], 1, 0.97), ([204, 100, 304, 200], 2, 0.96))
    pixels = np.full([480, 640, 3], 255, np.uint8)
    picture = np.asarray(drawing.draw_cells(pixels, cells, 0.8)).astype(int)
    assert (picture[106:196, 106:196] == 255).all()


def test_written_whole(tmp_path):
    drawing.save_picture(Image.new("RGB", (20, 10)), tmp_path / "day1" / "a.jpg")
    with Image.open(tmp_path / "day1" / "a.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (20, 10))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size on Windows")
def test_a_disk_that_takes_only_a_part_of_a_picture_gets_none_of_it(tmp_path):
    """A limit of 10,000 bytes acts as a full disk does: a part is written, the next write is an error."""
    code = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from PIL import Image\n"
        "from tfod_csf.inference import drawing\n"
        "picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, [200, 200, 3], np.uint8))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    drawing.save_picture(picture, sys.argv[1])\n"
        "except OSError as error:\n"
        "    sys.exit(error.filename)\n"
    )
    path = tmp_path / "a.jpg"
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, f"{path}\n")
    assert list(tmp_path.iterdir()) == []
