"""One self-contained HTML page from a template, with its style sheet, script, charts and pictures inside.

Its Content-Security-Policy allows only this style sheet and script (by hash) and data: URLs; so the name of a folder
that was inserted as markup by mistake could neither run nor reach a network. The same inputs give the same bytes.
"""

import base64
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from tfod_csf import __version__, wording
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.corrected_differential import Corrections
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.counting.saturation import SaturationRules
from tfod_csf.cytology.report import charts, sentences
from tfod_csf.cytology.signing.signed_result import Basis

_TEMPLATES = pathlib.Path(__file__).with_name("templates")


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
        """What to know when fewer cells are called unknown than in the run; "" otherwise."""
        of_run = float((self.run.get("thresholds") or {}).get("unknown_below", 0))
        if self.thresholds.unknown_below >= of_run:
            return ""
        return (
            f"Cells count as known from a score of {100 * self.thresholds.unknown_below:g} % on; in the run it was "
            f"{100 * of_run:g} %. Fewer cells are called unknown, and more of the known ones may be wrong."
        )

    @property
    def basis(self) -> Basis:
        """What a signature over a result of the report rests on."""
        return Basis(self.thresholds, self.changed, self.rules, self.references, self.population)


def _shown(value: Any) -> Any:
    """What a template prints of a value: text without characters that turn or hide what is around it."""
    return wording.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell_words": sentences.cell_words,
        "count_words": sentences.count_words,
        "mark_text": sentences.mark_text,
        "marker": charts.marker,
        "moment": _moment,
        "num": wording.number,
        "percentage": sentences.percentage,
        "visible": wording.visible,
    }
    return environment


@functools.cache
def _template_text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def render(
    template: str,
    printed_title: str,
    facts: RunFacts,
    printed_mark: str = "",
    scripts: tuple[str, ...] = ("report.js",),
    **context: Any,
) -> str:
    """A page.

    Args:
      template: file in templates/.
      printed_title: printed at the top of every sheet.
      facts: what every page says.
      printed_mark: printed at the top right of every sheet.
      scripts: files in templates/, which together are the page's script.
      **context: what this template needs.
    """
    style = Markup(_template_text("report.css") + _sheet_margins(printed_title, printed_mark))
    script = Markup("".join(map(_template_text, scripts)))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_checksum(style)}'; script-src '{_checksum(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    every_page = {
        "style": style,
        "script": script,
        "security_policy": policy,
        "version": __version__,
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
    return _environment().get_template(template).render(**every_page, **context)


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


def _checksum(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _sheet_margins(title: str, mark: str) -> str:
    """Title, notice and number in the margins of every printed sheet, so that two patients' cannot be mixed up."""
    look = "font: 8pt system-ui, sans-serif; color: #55626f;"
    return (
        f"@media print {{ @page {{ @top-left {{ content: {_css_string(title)}; {look} font-weight: 700; }} "
        f"@top-right {{ content: {_css_string(mark)}; {look} font-weight: 700; }} "
        f"@bottom-left {{ content: {_css_string(sentences.SHORT_NOTICE)}; {look} }} "
        f"@bottom-right {{ content: counter(page) ' / ' counter(pages); {look} }} }} }}\n"
    )


def _css_string(text: str) -> str:
    r"""A CSS string in which everything but letters, digits and blanks is escaped.

    >>> _css_string("王 <1>'")
    '"王 \\3c 1\\3e \\27 "'
    """
    return '"' + "".join(c if c.isalnum() or c == " " else f"\\{ord(c):x} " for c in text) + '"'
