"""What every page of the report says, and its templates."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.corrected_differential import Corrections
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.counting.saturation import SaturationRules
from tfod_csf.cytology.report import sentences
from tfod_csf.cytology.signing.signed_result import Basis
from tfod_csf.pages import svg
from tfod_csf.pages.html_page import PageTemplates


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """How the results were made, as every page reports it.

    Attributes:
      run: contents of run.json.
      thresholds: those the cells were counted with; `changed` when they are not the run's.
      rules, saturation_rules: numbers of the rules.
      references, population: reference ranges, and whose they are.
      made: date of the report, as printed.
      corrections: confusion matrices of the run's models; None where there are none.
    """

    run: Mapping[str, Any]
    thresholds: run_tables.Thresholds
    changed: bool
    rules: DifferentialRules
    saturation_rules: SaturationRules
    references: Mapping[str, ReferenceRange]
    population: str
    made: str
    corrections: Corrections | None = None

    @property
    def threshold_remark(self) -> str:
        """What to know when fewer cells are called unknown than in the run, or fewer are counted; "" otherwise."""
        of_run = self.run.get("thresholds") or {}
        remarks = []
        if self.calls_fewer_unknown:
            remarks.append(
                f"Cells count as known from a score of {100 * self.thresholds.unknown_below:g} % on; in the run it was "
                f"{100 * of_run['unknown_below']:g} %. Fewer cells are called unknown, and more of the known ones may "
                "be wrong."
            )
        if self.counts_fewer_cells:
            remarks.append(
                f"Only cells with a score of {100 * self.thresholds.min_score:g} % or more are counted; in the run it "
                f"was {100 * of_run['min_score']:g} %. The others are in no number, not even as unknown."
            )
        return " ".join(remarks)

    @property
    def calls_fewer_unknown(self) -> bool:
        """Whether a cell may be unknown in the run and known here."""
        return self.thresholds.unknown_below < float((self.run.get("thresholds") or {}).get("unknown_below", 0))

    @property
    def counts_fewer_cells(self) -> bool:
        """Whether a cell may be counted in the run and not here."""
        return self.thresholds.min_score > float((self.run.get("thresholds") or {}).get("min_score", math.inf))

    @property
    def basis(self) -> Basis:
        """What a signature over a result of the report rests on."""
        return Basis(self.thresholds, self.changed, self.rules, self.references, self.population)


@functools.cache
def _templates() -> PageTemplates:
    filters: dict[str, Callable[..., Any]] = {
        "cell_words": sentences.cell_words,
        "count_words": sentences.count_words,
        "mark_text": sentences.mark_text,
        "marker": svg.marker,
        "moment": _moment,
        "percentage": sentences.percentage,
    }
    folder = pathlib.Path(__file__).with_name("templates")
    return PageTemplates(folder, ("page.css", "report.css"), ("pictures.js", "report.js"), filters)


def render(
    template: str,
    printed_title: str,
    facts: RunFacts,
    printed_mark: str = "",
    scripts: Sequence[str] = (),
    **context: Any,
) -> str:
    """A page.

    Args:
      template: file in templates/.
      printed_title: printed at the top of every sheet.
      facts: what every page says.
      printed_mark: printed at the top right of every sheet.
      scripts: files in templates/, behind report.js in the page's script.
      **context: what this template needs.
    """
    every_page: dict[str, Any] = {
        "made": facts.made,
        "short_notice": sentences.SHORT_NOTICE,
        "cannot_see": sentences.CANNOT_SEE,
        "interval_caveat": sentences.INTERVAL_CAVEAT,
        "range_rule": sentences.RANGE_RULE,
        "what_happens_then": sentences.WHAT_HAPPENS_THEN,
        "classes": sentences.known_classes(facts.run),
        "run": _run_view(facts.run),
        "thresholds": facts.thresholds,
        "changed": facts.changed,
        "rules": facts.rules,
        "population": facts.population,
        "reference_sources": "; ".join(dict.fromkeys(r.source for r in facts.references.values() if r.source)),
    }
    return _templates().render(
        template, printed_title, printed_mark, sentences.SHORT_NOTICE, scripts, **every_page, **context
    )


def _run_view(run: Mapping[str, Any]) -> dict[str, Any]:
    """run.json as the template shows it; a run of another version may lack fields."""
    return {
        "models": [
            {
                "name": str(model.get("name", "")),
                "fingerprint": str(model.get("fingerprint", "")),
                "classes": [str(name) for name in model.get("classes") or []],
                "temperature": "" if model.get("temperature") in (None, 1) else str(model["temperature"]),
            }
            for model in run.get("models") or []
        ],
        "started": _moment(run.get("started")),
        "finished": _moment(run.get("finished")),
        "versions": [(str(name), str(version)) for name, version in (run.get("versions") or {}).items()],
    }


def _moment(text: Any) -> str:
    """A time of run.json for readers."""
    return str(text).replace("T", " ") if text else "not known"
