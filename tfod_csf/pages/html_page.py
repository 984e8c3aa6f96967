"""One self-contained HTML page from a template, with its style sheet, script, charts and pictures inside.

Its Content-Security-Policy allows only this style sheet and script (by hash) and data: URLs; so the name of a folder
that was inserted as markup by mistake could neither run nor reach a network. The same inputs give the same bytes.

templates/ holds what pages share: base.html.j2 (`{% extends "base.html.j2" %}`, blocks body and footer), page.css, and
pictures.js, which gives lists of class gallery or fields their keys and, with the dialog of id viewer, larger pictures.
"""

import base64
import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup

from tfod_csf import __version__, wording

_SHARED = pathlib.Path(__file__).with_name("templates")


class PageTemplates:
    """The templates of one kind of page.

    Args:
      folder: holds them; they may extend and include those of this package.
      styles, scripts: files that together are a page's style sheet and script, of this folder or of this package.
      filters: {name: function} for the templates, besides `num` and `visible`.
      is_served: whether a server of this program shows the page, which then may fetch from that server.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        styles: Sequence[str] = ("page.css",),
        scripts: Sequence[str] = (),
        filters: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
        is_served: bool = False,
    ):
        self._folders = (folder, _SHARED)
        self._styles, self._scripts = tuple(styles), tuple(scripts)
        self._sources = "img-src 'self' data:; connect-src 'self'" if is_served else "img-src data:"
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folders, encoding="utf-8"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"num": wording.number, "visible": wording.visible, **filters}

    def render(
        self,
        template: str,
        printed_title: str,
        printed_mark: str = "",
        printed_notice: str = "",
        scripts: Sequence[str] = (),
        **context: Any,
    ) -> str:
        """A page.

        Args:
          template: its file; a page has a `title` in its context.
          printed_title, printed_mark, printed_notice: at the top left, top right and bottom left of a printed sheet.
          scripts: more files of its script.
          **context: what this template needs.

        Raises:
          jinja2.UndefinedError: the template needs something that is not given.
        """
        margins = _sheet_margins(printed_title, printed_mark, printed_notice)
        style = Markup("".join(map(self._text, self._styles)) + margins)
        script = Markup("".join(map(self._text, (*self._scripts, *scripts))))
        policy = (
            f"default-src 'none'; {self._sources}; style-src '{_checksum(style)}'; script-src '{_checksum(script)}'; "
            "base-uri 'none'; form-action 'none'"
        )
        every_page = {"style": style, "script": script, "security_policy": policy, "version": __version__}
        return self._environment.get_template(template).render(**every_page, **context)

    def _text(self, name: str) -> str:
        return _file_text(next(folder / name for folder in self._folders if (folder / name).exists()))


@functools.cache
def _file_text(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """What a template prints of a value: text without characters that turn or hide what is around it."""
    return wording.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _checksum(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _sheet_margins(title: str, mark: str, notice: str) -> str:
    """Title, notice and number in the margins of every printed sheet, so that two patients' cannot be mixed up."""
    look = "font: 8pt system-ui, sans-serif; color: #55626f;"
    return (
        f"@media print {{ @page {{ @top-left {{ content: {_css_string(title)}; {look} font-weight: 700; }} "
        f"@top-right {{ content: {_css_string(mark)}; {look} font-weight: 700; }} "
        f"@bottom-left {{ content: {_css_string(notice)}; {look} }} "
        f"@bottom-right {{ content: counter(page) ' / ' counter(pages); {look} }} }} }}\n"
    )


def _css_string(text: str) -> str:
    r"""A CSS string in which everything but letters, digits and blanks is escaped.

    >>> _css_string("王 <1>'")
    '"王 \\3c 1\\3e \\27 "'
    """
    return '"' + "".join(c if c.isalnum() or c == " " else f"\\{ord(c):x} " for c in text) + '"'
