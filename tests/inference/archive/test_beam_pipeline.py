"""The command under Beam itself, with the Python of an environment that has the extra [archive] (tests/README.md)."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from tests.support.constant_detector import DEADLY, DEADLY_ONCE, ONCE
from tests.support.guarded_model import make_study
from tests.support.hand_made_model import save_gray
from tfod_csf.files import csv_schemas, csv_tables

REPOSITORY = pathlib.Path(__file__).parents[3]
PYTHON = os.environ.get("TFOD_CSF_ARCHIVE_PYTHON") or (
    sys.executable if importlib.util.find_spec("apache_beam") else ""
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="TFOD_CSF_ARCHIVE_PYTHON names no Python with Apache Beam"),
]

# Times, and the folder's name in the settings.
TIMES = re.compile(r'"(started|finished|seconds|seconds_per_image|constant|hand_made|guarded)": ("[^"]*"|[\d.]+)')


def python(*arguments, path=(), **variables):
    """Runs the environment's Python; returns what it printed."""
    environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(map(str, (*path, REPOSITORY)))}
    done = subprocess.run([PYTHON, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def results(folder):
    """{path: content without times} of everything that batch_infer and archive_infer both write."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.startswith("archive/"):
            continue
        if path.name == "images.csv":
            found[name] = [{**row, "seconds": None} for row in csv_tables.read_rows(path)]
        elif path.name in ("run.json", "stamp.json"):
            text = re.sub(r'"images.csv": "\w{64}"', "", path.read_text(encoding="utf-8"))
            found[name] = TIMES.sub(r"\1", text)
        else:
            found[name] = path.read_bytes()
    return found


def test_the_results_are_those_of_batch_infer(tmp_path, guarded_model):
    images = make_study(tmp_path / "images")
    for number in range(8):
        save_gray(images / ("p1", "=王", "p3", "p4")[number % 4] / f"{number}.png", 25 * number)
    (images / "p1" / "broken.jpg").write_bytes(b"no image")
    save_gray(images / "p4" / "copy.png", 0)  # the same picture as p1's
    flags = (f"--model={guarded_model}", f"--images_dir={images}", "--tile_size=160x120")
    python("-m", "tfod_csf", "batch_infer", *flags, f"--output_dir={tmp_path / 'one'}")
    python("-m", "tfod_csf", "archive_infer", *flags, f"--output_dir={tmp_path / 'many'}")
    one, many = results(tmp_path / "one"), results(tmp_path / "many")
    assert one == many
    assert {"run.json", "differentials.csv", "problems.csv", "patients/p3/pictures/2.png.jpg"} <= set(many)
    assert {row["in_domain"] for row in many["patients/both/images.csv"]} == {"yes", "no"}
    assert csv_tables.read_rows(tmp_path / "many" / "archive" / "dead_letters.csv") == []


def test_a_killed_worker_and_a_deadly_image_cost_one_image(tmp_path, hand_made_model):
    """The detector without a network stands for the models, so that no process has to load TensorFlow."""
    customize = """
        import os, sys
        if any("tfod_csf" in argument or "sdk_worker" in argument for argument in sys.orig_argv):
            from tests.support.constant_detector import ConstantDetector
            from tfod_csf.inference.runs import batch_run
            batch_run.open_detectors = lambda folders, settings: [ConstantDetector()]
    """
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(textwrap.dedent(customize))
    images = tmp_path / "images"
    for number in range(10):
        save_gray(images / f"p{number}" / "a.png", 20 + number)
        save_gray(images / f"p{number}" / "b.png", 40 + number)
    flags = (f"--model={hand_made_model}", f"--images_dir={images}", "--nodraw")
    save_gray(images / "p3" / "b.png", DEADLY_ONCE)
    with_path = {"path": (tmp_path / "site",)}
    python("-m", "tfod_csf", "batch_infer", *flags, f"--output_dir={tmp_path / 'one'}", **with_path)
    (tmp_path / "once").touch()
    save_gray(images / "p7" / "a.png", DEADLY)
    many = (f"--output_dir={tmp_path / 'many'}", "--max_attempts=2")
    said = python("-m", "tfod_csf", "archive_infer", *flags, *many, **with_path, **{ONCE: str(tmp_path / "once")})
    assert not (tmp_path / "once").exists()
    assert "A worker process was lost" in said
    assert "1 image (archive/dead_letters.csv); --retry_dead_letters opens them again." in said
    (letter,) = csv_tables.read_rows(tmp_path / "many" / "archive" / "dead_letters.csv")
    assert (letter["patient_id"], letter["image"]) == ("p7", "a.png")
    assert csv_schemas.load("dead_letters").check(tmp_path / "many" / "archive" / "dead_letters.csv") == 1
    expected, found = results(tmp_path / "one"), results(tmp_path / "many")
    differing = {name for name in {**expected, **found} if expected.get(name) != found.get(name)}
    of_all = {"run.json", "problems.csv", "differentials.csv"}
    assert differing == of_all | {f"patients/p7/{name}.csv" for name in ("cells", "images", "differential")} | {
        "patients/p7/stamp.json"
    }
    assert [row["status"] for row in found["patients/p7/images.csv"]] == ["failed", "ok"]
    run = json.loads((tmp_path / "many" / "run.json").read_text(encoding="utf-8"))
    assert not any(patient["done_in_earlier_run"] for patient in run["patients"].values())
    assert run["images"] == {"found": 20, "failed": 1}


def test_beams_servers_cannot_be_reached_from_other_machines():
    program = """
        import sys, grpc, concurrent.futures
        from tfod_csf.inference.archive import beam_pipeline, local_workers
        local_workers.listen_on_loopback_only()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        port = server.add_insecure_port("[::]:0")
        server.start()
        lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/self/net/{name}")]
        print("listens on", *{line[1] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"})
        print("loaded", "apache_beam.dataframe" in sys.modules)
        server.stop(None)
    """
    said = python("-c", textwrap.dedent(program))
    assert re.search(r"listens on (0000000000000000FFFF0000)?0100007F:\w{4}\n", said)  # 127.0.0.1, last byte first
    assert "loaded False" in said
