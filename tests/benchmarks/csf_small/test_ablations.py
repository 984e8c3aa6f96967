import csv
import dataclasses
import json
import pathlib

import pytest
from google.protobuf import text_format

from tfod_csf.benchmarks.csf_small import ablations, recipe
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.config import supported
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.shipped_models import by_name

COLUMNS = ("set", "laboratory", "figure", "reading", "class", "value")


def image(folder: str, fold: int) -> SourceImage:
    return SourceImage(pathlib.Path("a.jpg"), folder, "block_00", (), fold)


def write_tested(work_dir: pathlib.Path, name: str, values: dict[str, str], cpu_seconds: dict[str, float]) -> None:
    """A row that has been trained and tested; figures that `values` does not give are 0.5."""
    figures = work_dir / name / "figures"
    figures.mkdir(parents=True)
    record = {"settings": {"network": {"num_steps": 3000}}, "cpu_seconds": cpu_seconds}
    (work_dir / name / recipe.TRAINING).write_text(json.dumps(record))
    sets = {
        "In domain": "In domain: pbc",
        "A laboratory that was not trained on": "A laboratory that was not trained on: bccd",
    }
    with (figures / "card_figures.csv").open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(COLUMNS)
        for title, *key in ablations._FIGURES:
            writer.writerow([sets[key[0]], "pbc", *key[1:], values.get(title, "0.5")])


def test_the_table_shows_rows_that_were_tested_in_their_order(tmp_path):
    write_tested(
        tmp_path,
        "from_synthetic",
        {"monocyte": "", "neutrophil": "nan"},
        {"start": 120.0, "training": 60.0, "export": 600.0},
    )
    write_tested(
        tmp_path, "base", {"lymphocyte": "0.94364", "other laboratory: white found": "0.8"}, {"training": 1083.0}
    )
    base, synthetic = ablations.table(tmp_path)
    assert (base["row"], base["steps"], base["cpu_minutes"]) == ("base", 3000, 18.1)  # 1083 / 60 = 18.05
    assert (base["lymphocyte"], base["monocyte"], base["other laboratory: white found"]) == (0.944, 0.5, 0.8)
    assert (synthetic["row"], synthetic["cpu_minutes"], synthetic["monocyte"]) == ("from_synthetic", 3.0, None)

    lines = ablations.write_table(tmp_path).read_text().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("| row | difference | steps | cpu_minutes | white found | lymphocyte | monocyte |")
    assert lines[2].startswith(f"| base | {ablations.ROWS['base'].difference} | 3000 | 18.1 | 0.500 | 0.944 | 0.500 |")
    assert " | 3.0 | 0.500 | 0.500 | n/a | n/a |" in lines[3]
    with (tmp_path / "ablations.csv").open() as opened:
        assert [row["row"] for row in csv.DictReader(opened)] == ["base", "from_synthetic"]


def test_figures_of_other_labels_are_computed_again(tmp_path, monkeypatch):
    written = []
    fingerprints = ["0123", "0123", "4567"]
    monkeypatch.setattr(ablations.source_images, "data_fingerprint", lambda images: fingerprints[len(written)])

    class Figures:
        def __init__(self, images, out, settings):
            self.out, self.settings = out, settings

        def write(self, tests):
            record = {"data_fingerprint": fingerprints[len(written)], "settings": dataclasses.asdict(self.settings)}
            written.append(len(tests))
            self.out.mkdir(exist_ok=True)
            (self.out / "card_figures.json").write_text(json.dumps(record))
            (self.out / "card_figures.md").touch()

    monkeypatch.setattr(ablations, "CardFigures", Figures)
    ablations.test(tmp_path, [])
    ablations.test(tmp_path, [])
    assert written == [2]
    fingerprints[1] = "4567"
    ablations.test(tmp_path, [])
    assert written == [2, 2]


def test_a_table_of_no_rows(tmp_path):
    assert ablations.table(tmp_path) == []
    assert len(ablations.write_table(tmp_path).read_text().splitlines()) == 2


def test_a_row_learns_neither_from_its_fold_nor_from_the_other_laboratory(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(recipe, "run", lambda *arguments: given.append(arguments))
    images = [image("pbc_mgg", 0), image("pbc_dense", 1), image("bccd_dense", 1)]
    ablations.train(ablations.ROWS["annealed"], tmp_path, images)
    ((work_dir, kept, fields, network, start, changes),) = given
    assert (work_dir, kept, start, changes) == (tmp_path, images[1:2], None, "")
    assert fields == ablations.ROWS["base"].fields
    assert (network["decay_factor"], network["num_steps"], network["feature_extractor"]) == (0.9, 3000, "resnet18")


def test_a_row_differs_from_the_first_in_one_thing_or_two():
    base = ablations.ROWS["base"]
    for name, row in ablations.ROWS.items():
        differences = [
            row.fields != base.fields,
            row.network != base.network,
            row.start is not base.start,
            row.changes != base.changes,
        ]
        assert sum(differences) == {"base": 0, "cameras_instance_norm": 2}.get(name, 1), name


def test_a_start_is_made_once_and_given_to_the_training(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(recipe.subprocess, "run", lambda command, check: ran.append(command[3:]) or _Ended())
    work = recipe.Recipe(tmp_path, {})
    for _ in range(2):
        change = ablations.ROWS["from_synthetic"].start.begin(work, tmp_path, [])
    assert [command[0] for command in ran] == [
        "synthesize",
        "create_csf_tf_record",
        "generate_pipeline_config",
        "model_main_tf2",
    ]
    config = load_pipeline_config(by_name.SHIPPED_MODELS / "csf_small" / "pipeline.config")
    config.train_config.ClearField("fine_tune_checkpoint_version")
    text_format.Merge(change, config)
    assert config.train_config.fine_tune_checkpoint == f"{tmp_path}/start/model"
    assert config.train_config.fine_tune_checkpoint_type == "detection"
    supported.check_supported(config)  # the training would not begin


class _Ended:
    returncode = 0


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        ablations.main(["--data_dir=.", "--work_dir=.", "--rows=base,nothing"])
    assert "--rows: 'nothing' is none of base, rms_prop" in capsys.readouterr().err
