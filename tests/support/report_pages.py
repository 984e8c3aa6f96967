"""Writes the report's pages of a run and reads them back, for the tests of the report."""

import base64
import io
import pathlib

from lxml import html
from PIL import Image

from tfod_csf import run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.counting.saturation import SaturationRules
from tfod_csf.cytology.report import page_template, pages


def facts_of(run: dict, thresholds: run_tables.Thresholds, changed: bool = False) -> page_template.RunFacts:
    """What every page says, with the usual rules, few replicates and a fixed date."""
    return page_template.RunFacts(
        run=run,
        thresholds=thresholds,
        changed=changed,
        rules=DifferentialRules(),
        saturation_rules=SaturationRules(replicates=100),
        references=load_reference_ranges(),
        population="adult",
        made="2022-01-24",
    )


def write(
    run: pathlib.Path, output: pathlib.Path, thresholds: run_tables.Thresholds | None = None, **options
) -> pages.ReportSummary:
    """The report of an inference folder, counted with its own thresholds or with others."""
    counted_with = thresholds or run_tables.new_thresholds(run)[0]
    facts = facts_of(run_folder.read_run(run), counted_with, changed=thresholds is not None)
    return pages.write_report(run, output, facts, pages.ReportOptions(**options))


def page(folder: pathlib.Path, patient: str = "patient_002") -> pathlib.Path:
    """The page of a patient in a report's folder."""
    return folder / "patients" / patient / "report.html"


def words(element: html.HtmlElement) -> str:
    """The text of an element, blanks and line ends as one blank."""
    return " ".join(element.text_content().split())


def text_of(path: pathlib.Path) -> str:
    """The text of a page."""
    return words(html.parse(str(path)).getroot())


def picture_of(address: str) -> Image.Image:
    """The JPEG in a data: address."""
    assert address.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
