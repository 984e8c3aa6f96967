import json

import pytest

from tfod_csf.benchmarks.robustness.merged_archive import Archive
from tfod_csf.files import csv_tables


@pytest.mark.slow
def test_the_copies_of_one_patient_are_an_archive_that_can_be_merged(tmp_path):
    archive = Archive(tmp_path, num_patients=7, num_images=2, num_shards=3)
    archive.make()
    used = archive.merge()
    assert used.cpu_seconds > 0
    assert used.memory_mb > 20
    record = json.loads((archive.output_dir / "run.json").read_text(encoding="utf-8"))
    assert record["images"] == {"found": 14, "failed": 0}
    rows = csv_tables.read_rows(archive.output_dir / "differentials.csv")
    assert [row["patient_id"] for row in rows] == [f"patient_{number:06d}" for number in range(1, 8)]
    assert len({row["lymphocyte"] for row in rows}) == 1
    assert csv_tables.read_rows(archive.output_dir / "problems.csv") == []
