"""Same images, same bytes: whoever runs them, in whatever order and company, however often, on however many threads."""

import dataclasses
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.hand_made_model import CANDIDATES, save, save_gray
from tfod_csf import run_folder
from tfod_csf.cytology.counting import cohort
from tfod_csf.files import csv_tables, given_files
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import batch_run
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog


@pytest.fixture
def many_images(tmp_path):
    """Three patients, five images each."""
    for number in range(15):
        save_gray(tmp_path / "images" / f"p{number % 3}" / f"{number}.png", 16 * number)
    return tmp_path / "images"


@pytest.fixture(scope="module")
def models(hand_made_model, tmp_path_factory):
    """Two models that disagree about a cell."""
    moved = [dataclasses.replace(CANDIDATES[0], class_id=2, base=0.93), *CANDIDATES[1:]]
    second = save(tmp_path_factory.mktemp("models") / "second", moved)
    return [ModelFolder.open(hand_made_model), ModelFolder.open(second)]


def infer(images_dir, out, models, ensemble="case", num_rounds=1):
    settings = batch_run.RunSettings(str(images_dir), ensemble=ensemble)
    batch_run.run(
        settings,
        lambda: batch_run.open_detectors(models, settings),
        ScoreThresholds(),
        out,
        ProblemLog(quiet=True),
        lambda folder, record: cohort.write_differentials(
            folder, folder, folders=run_folder.folders_of(folder, record)
        ),
        num_rounds,
    )
    return out


def contents(out, patient="*"):
    """{file: its bytes} of the patients; of images.csv its rows without the seconds, which are measured."""
    found = {"differentials.csv": (out / "differentials.csv").read_bytes()} if patient == "*" else {}
    for folder in sorted(out.glob(f"patients/{patient}")):
        for path in sorted(folder.rglob("*")):
            if path.name == "images.csv":
                rows = csv_tables.read_rows(path)
                found[path.relative_to(out)] = [{**row, "seconds": ""} for row in rows]
            elif path.is_file() and path.name != "stamp.json":
                found[path.relative_to(out)] = path.read_bytes()
    assert found
    return found


@pytest.mark.parametrize("ensemble", ["case", "cell"])
def test_a_second_run_another_order_and_further_rounds(many_images, tmp_path, models, ensemble, monkeypatch):
    first = contents(infer(many_images, tmp_path / "first", models, ensemble))
    again = infer(many_images, tmp_path / "again", models, ensemble, num_rounds=2)
    assert contents(again) == first
    for path in first:
        if str(path).endswith("cells.csv"):
            assert (again / "rounds" / "2" / path).read_bytes() == first[path]

    # The file system names files in another order.
    class Shuffled:
        def __init__(self, folder):
            self._entries = os.scandir(folder)

        def __enter__(self):
            entries = list(self._entries)
            random.Random(1).shuffle(entries)
            return iter(entries)

        def __exit__(self, *error):
            self._entries.close()

    monkeypatch.setattr(given_files, "os", ShuffledOs(Shuffled))
    assert contents(infer(many_images, tmp_path / "shuffled", models, ensemble)) == first


class ShuffledOs:
    """The module os with another scandir."""

    def __init__(self, scandir):
        self.scandir = scandir

    def __getattr__(self, name):
        return getattr(os, name)


def test_a_patient_alone(many_images, tmp_path, models):
    together = infer(many_images, tmp_path / "together", models)
    (tmp_path / "alone").mkdir()
    (many_images / "p1").rename(tmp_path / "alone" / "p1")
    assert contents(infer(tmp_path / "alone", tmp_path / "out", models), "p1") == contents(together, "p1")


@pytest.mark.slow
def test_number_of_threads(many_images, tmp_path, tiny_exported_model):
    """A network with convolutions, of which the hand-made model has none."""
    rng = np.random.default_rng(3)
    for path in sorted(many_images.rglob("*.png")):
        Image.fromarray(rng.integers(0, 256, [64, 64, 3], np.uint8)).save(path)
    flags = [f"--images_dir={many_images}", f"--model={tiny_exported_model}", "--min_score=0.05"]
    found = []
    for threads in ("1", "2"):
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        command = [sys.executable, "-m", "tfod_csf", "batch_infer", *flags, f"--output_dir={tmp_path / threads}"]
        subprocess.run(command, check=True, env={**os.environ, **dict.fromkeys(names, threads)})
        found.append(contents(tmp_path / threads))
    assert found[0] == found[1]
    cells = [content.splitlines()[1:] for path, content in found[0].items() if str(path).endswith("cells.csv")]
    assert sum(map(len, cells)) > 20
