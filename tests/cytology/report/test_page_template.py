"""What every page of the report says."""

import jinja2
import pytest
from lxml import html

from tests.support.report_pages import facts_of, words
from tfod_csf.cytology.report import cohort_page, page_template
from tfod_csf.cytology.run_tables import Thresholds

THRESHOLDS = Thresholds(0.5, 0.8, "apart")


def rendered(run, changed=False):
    """The page of no patients."""
    return cohort_page.CohortPages(facts_of(run, THRESHOLDS, changed), lambda *page: None).finish()


def parsed(run, changed=False):
    return html.fromstring(rendered(run, changed))


def test_names_of_a_run_are_text():
    run = {"models": [{"name": "<script>alert(1)</script>", "classes": ["<b>"]}], "versions": {"<i>": "</style>"}}
    page = parsed(run)
    assert len(page.xpath("//script")) == len(page.xpath("//style")) == 1
    assert not page.xpath("//i")
    assert "<script>alert(1)</script>" in words(page)


def test_a_run_says_what_it_knows_and_no_more():
    known = {
        "models": [{"name": "csf_1", "fingerprint": "0123abcd", "temperature": 1.5}],
        "started": "2022-01-24T10:00:00+01:00",
        "finished": None,
        "versions": {"numpy": "1.26.4"},
    }
    text = words(parsed(known))
    for part in ("csf_1", "0123abcd", "1.5", "2022-01-24 10:00:00+01:00", "not known", "numpy 1.26.4"):
        assert part in text
    assert "not known" in words(parsed({}))  # an old or damaged run.json is no error
    assert "None" not in words(parsed({"models": None, "versions": None}))


def test_the_scores_it_was_counted_with_are_said():
    text = words(parsed({}))
    assert "from a score of 0.5 on" in text
    assert "below a score of 0.8" in text


def test_a_template_that_lacks_something_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        page_template.render("cohort.html.j2", "title", facts_of({}, THRESHOLDS))
