"""Hooks of mkdocs: README.md and its like as pages of the site, and links between files as links between pages.

The Markdown files are written for whoever reads them in the repository: `docs/TRAINING.md` links to
`../COMPATIBILITY.md`, which links to `docs/CONFIG.md`. The site holds those files side by side, as pages. A link to a
file of the repository that is not a page becomes its text; one to what is not there is left for `--strict` to refuse.
"""

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = pathlib.Path(__file__).parent.parent
ROOT_PAGES = {
    "README.md": "OVERVIEW.md",  # docs/index.md is the site's first page
    "COMPATIBILITY.md": "COMPATIBILITY.md",
    "CHANGES.md": "CHANGES.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]+)\]\((?P<path>[^)\s:#]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages about the project to the navigation, in the order of `ROOT_PAGES`."""
    for name, page in ROOT_PAGES.items():
        if name != "README.md" and (REPOSITORY / name).is_file():
            config.nav.append(page)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie in the repository's root."""
    for name, page in ROOT_PAGES.items():
        if (REPOSITORY / name).is_file():
            files.append(File.generated(config, page, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with the links between files of the repository turned into links between pages."""
    source = next((name for name, target in ROOT_PAGES.items() if target == page.file.src_uri), None)
    folder = posixpath.dirname(source or f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(folder, match["path"]))
        target = ROOT_PAGES.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(target):
            return f"[{match['text']}]({posixpath.relpath(target, here or '.')}{match['anchor'] or ''})"
        return match["text"] if (REPOSITORY / path).exists() else match[0]

    return _LINK.sub(link, markdown)
