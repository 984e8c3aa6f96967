import sys

from tfod_csf.benchmarks.robustness import long_run

# Stands for batch_infer: "finishes" four patients of 100 images, one after the other.
COMMAND = """
import pathlib, sys, time
for number in range(4):
    folder = pathlib.Path(sys.argv[1], "patients", str(number))
    folder.mkdir(parents=True)
    (folder / "stamp.json").touch()
    time.sleep(0.3)
"""


def test_a_row_for_what_was_done_since_the_row_before(tmp_path):
    command = [sys.executable, "-c", COMMAND, str(tmp_path / "run")]
    rows = list(long_run.measure(command, tmp_path / "run", 400))
    assert [row["images"] for row in rows] == sorted({row["images"] for row in rows})
    assert rows[-1]["images"] <= 400
    for row in rows:
        assert row["memory_mb"] > 1
        assert row["open_files"] >= 0
        assert row["seconds_per_image"] > 0


def test_images_are_of_patients_of_100(tmp_path):
    long_run.write_images(tmp_path, 101)
    assert [len(list(folder.iterdir())) for folder in sorted(tmp_path.iterdir())] == [100, 1]
