"""differentials.csv, saturation.csv and the pages never answer "enough cells?" in two ways."""

import re

import numpy as np
import pytest
from lxml import html

from tests.support.report_pages import words
from tfod_csf.commands import command_line
from tfod_csf.files import csv_tables

CLASSES = ("lymphocyte", "monocyte", "neutrophil")


def random_images(rng):
    """Images of a patient: between 2 and 20 of them, more or less clustered, sometimes of one class only."""
    shares = rng.dirichlet([2, 1, 0.5]) if rng.random() > 0.15 else np.array([1.0, 0, 0])
    alike = rng.choice([3.0, 30.0, 3000.0])
    of_images = rng.dirichlet(np.maximum(shares * alike, 1e-6), rng.integers(2, 20))
    counts = np.array([rng.multinomial(rng.poisson(rng.choice([4, 12, 30])), p) for p in of_images])
    return [dict(zip(CLASSES, map(int, row), strict=True)) for row in counts]


@pytest.fixture(scope="module")
def answers(tmp_path_factory, write_patient, write_run):
    """{patient: (row of differentials.csv, row of saturation.csv, page, row of the page of all patients)}."""
    run, out = tmp_path_factory.mktemp("one") / "run", tmp_path_factory.mktemp("one_out")
    write_run(run)
    rng = np.random.default_rng(7)
    for number in range(20):
        name = f"p{number:02d}"
        score = 0.6 if number % 13 == 12 else 0.9
        write_patient(
            run / "patients" / name, name, random_images(rng), models=("m", "n")[: 1 + (number % 5 == 0)], score=score
        )
    where = [f"--inference_dir={run}", f"--output_dir={out}"]
    more = ["--replicates=100"]
    for command in (["differential"], ["saturation", "--max_plots=0", "--seed=5", *more], ["report", *more]):
        assert command_line.main([command[0], *where, *command[1:]]) == 0
    tables = [
        {row["patient_id"]: row for row in csv_tables.read_rows(out / name)}
        for name in ("differentials.csv", "saturation.csv")
    ]
    cohort = html.parse(str(out / "report.html")).getroot()
    rows = {words(row.find("th")): row for row in cohort.xpath("//table[@id='cohort']/tbody/tr")}
    pages = {name: html.parse(str(out / "patients" / name / "report.html")).getroot() for name in tables[0]}
    return {name: (tables[0][name], tables[1][name], pages[name], rows[name]) for name in tables[0]}


def test_every_answer_occurs(answers):
    assert {row["enough_cells"] for row, *_ in answers.values()} == {"yes", "no", "not known"}


def test_tables_and_pages_agree(answers):
    for name, (differential, saturation, page, row) in answers.items():
        answer, needed = differential["enough_cells"], differential["cells_needed"]
        assert saturation["saturated"] == ("" if answer == "not known" else answer), name
        assert saturation["cells_needed"] == needed, name
        assert saturation["n_sat_bootstrap"] == (needed if answer == "yes" else ""), name
        assert saturation["reach_points"] == differential["reach_points"], name
        verdict = words(page.xpath("//section[@id='enough']/p")[0])
        assert verdict.startswith({"yes": "Yes", "no": "No", "not known": "Not known"}[answer]), (name, verdict)
        if needed:
            assert re.search(rf"\b{needed} white cells are needed", verdict), (name, verdict)
        letters = row.get("data-f")
        assert ("e" in letters, "k" in letters) == (answer == "no", answer == "not known"), name
        assert words(row.xpath("td")[5]) == (needed or "–"), name


def test_nothing_else_on_a_page_answers(answers):
    for name, (differential, _, page, _) in answers.items():
        remarks = " ".join(words(item) for item in page.xpath("//div[contains(@class, 'remarks')]//li"))
        has_percentages = differential["reach_points"] != ""
        says_more = "more white cells are needed" in remarks
        assert says_more == (has_percentages and differential["enough_cells"] == "no"), name
        assert not [fact for fact in page.xpath("//dl[@class='facts']//dt") if "nough" in words(fact)], name


def test_a_yes_keeps_its_promise(answers):
    for name, (differential, saturation, *_) in answers.items():
        if differential["enough_cells"] == "yes":
            assert float(differential["reach_points"]) <= 10, name
            assert int(float(differential["cells_needed"])) >= 30, name
            assert float(differential["white_cells"]) >= float(differential["cells_needed"]), name
            assert float(differential["unknown_white_percent"]) <= 10, name
        for column in ("n_sat_orders", "n_sat_bootstrap"):
            assert not saturation[column] or float(saturation[column]) >= 30, (name, column)
