"""The wheel: it holds every file of the package, and what it installs works without the clone."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tfod_csf.files import csv_tables

REPOSITORY = pathlib.Path(__file__).parents[1]
PACKAGE = REPOSITORY / "tfod_csf"


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, because building writes beside the sources."""
    pytest.importorskip("pip")
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    _pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", f"--wheel-dir={built}", source)
    (found,) = built.glob("*.whl")
    return found


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if name.startswith(f"{PACKAGE.name}/")}
    assert held == {path.relative_to(REPOSITORY).as_posix() for path in files}


@pytest.mark.slow
def test_an_installed_wheel_finds_cells_with_the_model_that_ships(wheel, tmp_path):
    """Installed beside the packages of this environment, but before the clone, and run elsewhere."""
    site = tmp_path / "site"
    _pip("install", "--no-deps", "--no-index", "--no-compile", f"--target={site}", wheel)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def tfod_csf(*arguments: str) -> str:
        return run(sys.executable, str(site / "bin" / "tfod_csf"), *arguments)

    where = run(sys.executable, "-c", "import tfod_csf; print(tfod_csf.__file__)")
    assert pathlib.Path(where.strip()).is_relative_to(site)
    assert f"{site}/tfod_csf/shipped_models/csf_small/MODEL_CARD.md" in tfod_csf("models")
    assert "detections (the export's and today's)" in tfod_csf("model_check", "csf_small")
    tfod_csf("synthesize", "--output_dir=slides", "--num_patients=1", "--images_per_patient=4")
    assert " by csf_small, " in tfod_csf(
        "batch_infer", "--model=csf_small", "--images_dir=slides", "--output_dir=results"
    )
    (images,) = (tmp_path / "results").glob("patients/*/images.csv")
    assert {row["in_domain"] for row in csv_tables.read_rows(images)} == {"no"}  # drawn cells are no photographs
    tfod_csf("report", "--inference_dir=results")
    assert (tmp_path / "results" / "report.html").is_file()
    tfod_csf("create_csf_tf_record", "--images_dir=slides", "--test_fraction=0.5")
    tfod_csf("generate_pipeline_config", "--fine_tune_from=csf_small", "--output_path=pipeline.config")
    assert 'fine_tune_checkpoint: "csf_small"' in (tmp_path / "pipeline.config").read_text(encoding="utf-8")
