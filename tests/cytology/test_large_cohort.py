"""Many patients: time grows with their number, memory does not. TFOD_CSF_COHORT=2000 sets another number than 200."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tfod_csf import run_folder

PATIENTS = int(os.environ.get("TFOD_CSF_COHORT", "200"))
IMAGES, CELLS = 15, 25
CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")
# A process runs a command on the small cohort, then on the large one; what its memory grows by is the cohort's.
_MEASURE = """
import json, resource, sys, time
from tfod_csf.commands import command_line
for arguments in json.loads(sys.argv[1]):
    start = time.perf_counter()
    if status := command_line.main(arguments):
        sys.exit(status)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"MEASURED {time.perf_counter() - start:.1f} s, {memory} MB")
"""


def write_cohort(output, patients):
    """Tables as batch_infer writes them, and a hospital's table."""
    rng = np.random.default_rng(0)
    hospital = ["patient_id,lymphocyte,monocyte,neutrophil,n"]
    scores = ",".join(f"score_{name}" for name in CLASSES)
    header = "patient_id,image,cell_id,model,xmin,ymin,xmax,ymax,predicted_class,score,"
    for p in range(patients):
        name = f"patient_{p:05d}"
        folder = output / "patients" / name
        folder.mkdir(parents=True)
        share = rng.dirichlet([4, 2, 2])
        kinds = rng.choice(4, (IMAGES, CELLS), p=[*(0.8 * share), 0.2])
        cells = [f"{header}{scores},status,counted_as"]
        images = ["patient_id,image,sha256,width,height,status,reason,seconds,model,cells,limit_reached"]
        for i, row in enumerate(kinds):
            for c, kind in enumerate(row, start=1):
                box = f"{10 * c},5,{10 * c + 8},13"
                cells.append(f"{name},{i}.jpg,{c},m,{box},{CLASSES[kind]},0.9000,,,,,counted,{CLASSES[kind]}")
            images.append(f"{name},{i}.jpg,{'0' * 64},640,480,ok,,{1 + rng.random():.4f},m,{CELLS},no")
        (folder / "cells.csv").write_text("\n".join(cells) + "\n", encoding="utf-8")
        (folder / "images.csv").write_text("\n".join(images) + "\n", encoding="utf-8")
        counts = rng.multinomial(200, share) / 2
        hospital.append(",".join([name, *map(str, counts), "200"]))
    (output / "hospital.csv").write_text("\n".join(hospital) + "\n", encoding="utf-8")
    thresholds = {"min_score": 0.5, "unknown_below": 0.8, "count_unknown": "apart"}
    run_folder.finish(output, {"thresholds": thresholds})


def measured(*runs):
    """(seconds, largest memory so far in MB) of runs of a command, one after the other in one process."""
    run = subprocess.run([sys.executable, "-c", _MEASURE, json.dumps(runs)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = re.findall(r"MEASURED ([\d.]+) s, (\d+) MB", run.stdout)
    assert len(found) == len(runs)
    return [(float(seconds), int(megabytes)) for seconds, megabytes in found]


def flags_of(run, out):
    """{command: its flags} for a cohort; all patients are examined by the process that is measured."""
    where = [f"--inference_dir={run}", f"--output_dir={out}", "--num_processes=1"]
    return {
        "differential": where,
        "saturation": [*where, "--max_plots=5", "--replicates=100"],
        "report": [*where, "--pages=cohort", "--replicates=100"],
        "agreement": [f"--machine={out}", f"--hospital={run / 'hospital.csv'}", f"--output_dir={out}"],
    }


@pytest.mark.slow
def test_memory_stays_flat_and_time_linear(tmp_path):
    sizes, grown = (PATIENTS // 10, PATIENTS), {}
    for patients in sizes:
        write_cohort(tmp_path / f"run_{patients}", patients)
    flags = [flags_of(tmp_path / f"run_{patients}", tmp_path / f"out_{patients}") for patients in sizes]
    for name in flags[0]:
        (_, small), (seconds, large) = measured(*([name, *of_size[name]] for of_size in flags))
        print(f"{PATIENTS} patients, {name}: {seconds:.1f} s, {large} MB")
        grown[name] = large - small
    for name in ("differential", "saturation", "report"):
        assert grown[name] < 40, grown
    # The slopes of all pairs of patients are held for Passing-Bablok: 8 bytes each, up to 5,000 patients.
    assert grown["agreement"] < 40 + 8e-6 * min(PATIENTS, 5000) ** 2, grown
