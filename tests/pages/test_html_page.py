"""What every page has in common: nothing but its own style and script can act, whatever its context holds."""

import base64
import hashlib
import re

import jinja2
import pytest
from lxml import html

from tfod_csf.pages.html_page import PageTemplates

TEMPLATE = """{% extends "base.html.j2" %}
{% block body %}<main id="main"><p>{{ name }}, {{ 3 | num }}</p></main>{% endblock %}
{% block footer %}{{ made }}{% endblock %}
"""


@pytest.fixture
def templates(tmp_path):
    """A folder with a template, a style sheet and a script of its own."""
    (tmp_path / "one.html.j2").write_text(TEMPLATE, encoding="utf-8")
    (tmp_path / "own.css").write_text("p { color: red; }\n", encoding="utf-8")
    (tmp_path / "own.js").write_text("void 0;\n", encoding="utf-8")
    return PageTemplates(tmp_path, ("page.css", "own.css"), ("pictures.js",))


def test_the_policy_names_the_one_style_and_the_one_script_by_their_checksums(templates):
    page = templates.render("one.html.j2", "Title", scripts=("own.js",), name="n", made="now", title="t")
    style, script = (re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL).group(1) for tag in ("style", "script"))
    assert "p { color: red; }" in style
    assert "dialog" in style
    assert script.endswith("void 0;\n")
    (policy,) = html.fromstring(page).xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    for directive, text in (("style-src", style), ("script-src", script)):
        assert allowed[directive] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert (allowed["default-src"], allowed["img-src"]) == ("'none'", "data:")


def test_names_are_text_and_cannot_turn_what_is_around_them(templates):
    hostile = "</style><script>alert(1)</script>\u202e"
    page = templates.render("one.html.j2", hostile, hostile, hostile, name=hostile, made=hostile, title=hostile)
    parsed = html.fromstring(page)
    assert len(parsed.xpath("//script")) == len(parsed.xpath("//style")) == 1
    assert "<script>alert(1)</script>" in parsed.text_content()
    assert "\u202e" not in page


def test_a_template_that_lacks_something_is_an_error(templates):
    with pytest.raises(jinja2.UndefinedError):
        templates.render("one.html.j2", "Title", title="t", made="now")
