"""A reviewer's desk for tests: exports a study, edits XML as LabelImg would save it, imports."""

import dataclasses
import html
import pathlib
import re
from collections.abc import Callable

from tests.support.examined_study import Study
from tfod_csf.commands import command_line, review_export, review_import
from tfod_csf.files import csv_tables
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation


@dataclasses.dataclass(frozen=True)
class Desk:
    """A study and where its reviews go."""

    study: Study
    root: pathlib.Path

    @property
    def output(self) -> pathlib.Path:
        """The reviewed state."""
        return self.root / "reviewed"

    def export(self, name: str = "review", *flags: str, source: pathlib.Path | None = None) -> pathlib.Path:
        """Runs review_export; it must end well."""
        source = source or self.study.inference_dir
        arguments = [f"--inference_dir={source}", f"--output_dir={self.root / name}", *flags]
        assert command_line.run(review_export.main, review_export.FLAGS, "", "review_export", arguments) == 0
        return self.root / name

    def take(self, review: pathlib.Path, *flags: str, reviewer: str = "Li") -> int:
        """Runs review_import, without pages unless asked for, and returns its exit status."""
        arguments = [f"--inference_dir={self.study.inference_dir}", f"--output_dir={self.output}"]
        arguments += [f"--review_dir={review}", f"--reviewer={reviewer}", "--min_white_cells=1", "--noreport", *flags]
        return command_line.run(review_import.main, review_import.FLAGS, "", "review_import", arguments)

    def rows(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV below the reviewed state."""
        return csv_tables.read_rows(self.output / name)

    def cells(self, folder: str) -> dict[tuple[str, int], tuple[str, str]]:
        """{(image, cell id): (counted_as, status)} of a patient now."""
        rows = self.rows(f"patients/{folder}/cells.csv")
        return {(row["image"], int(row["cell_id"])): (row["counted_as"], row["status"]) for row in rows}


def edit(xml: pathlib.Path, change: Callable[[Annotation], None], verified: bool = False) -> None:
    """Opens an XML, lets `change` do what it wants with the boxes, and saves."""
    annotation = labelimg.read_annotation(xml, ProblemLog(quiet=True))
    change(annotation)
    annotation.verified = verified
    labelimg.write_annotation(annotation, xml)
    # LabelImg writes the picture's full path, so its XML is never byte for byte the exported one.
    text = xml.read_text(encoding="utf-8")
    written = f"<path>{html.escape(str(xml.resolve()))}</path>"
    xml.write_text(re.sub("<path>.*</path>", lambda _: written, text), encoding="utf-8")


def rename(number: int, name: str) -> Callable[[Annotation], None]:
    """Gives the n-th box (from 0) another name."""

    def change(annotation: Annotation) -> None:
        annotation.objects[number].name = name

    return change


def nothing(annotation: Annotation) -> None:
    """No change."""
