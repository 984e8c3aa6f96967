import pytest

from tfod_csf.benchmarks import benchmark_run
from tfod_csf.files import csv_schemas


@pytest.mark.slow
def test_every_part_has_its_row(tmp_path):
    options = benchmark_run.BenchmarkOptions(
        parts=["record_writing", "input_pipeline", "training_step", "inference", "stand_in"],
        networks=["resnet18"],
        input_size="64x64",
        max_proposals=8,
        batch_size=1,
        num_images=5,
        image_width=96,
        image_height=72,
        repeats=1,
        seconds=0.1,
    )
    lines = []
    rows = benchmark_run.run(options, tmp_path / "benchmark.csv", say=lines.append)
    assert [row["part"] for row in rows] == list(options.parts)
    assert len(lines) == 5
    assert csv_schemas.load("benchmark").check(tmp_path / "benchmark.csv") == 5
    training, inference = rows[2], rows[3]
    assert training["gflop_per_image"] > inference["gflop_per_image"] > 0
    assert all(row["cores"] >= 1 for row in rows)
