"""Puts the names back into results of a blinded study: tables, JSON, HTML and XML, and the names of files.

A pseudonym is long and looks like nothing else, so it is replaced wherever it is a word of its own. Everything else is
copied unchanged; text inside a picture (a plot's title) keeps its pseudonyms, and checksums in the results are those of
the blinded files, apart from those of the patients' tables in the run.json of a finished run.
"""

import base64
import contextlib
import csv
import dataclasses
import hashlib
import html
import json
import os
import pathlib
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import run_folder
from tfod_csf.cytology.blinding.blind import BlindError
from tfod_csf.cytology.blinding.pseudonyms import BlindedImage
from tfod_csf.files import atomic_write, csv_tables, given_files
from tfod_csf.study import folder_names

_TOKEN = re.compile(r"(?<![a-z0-9])([pi][a-z2-7]{4,52})(\.(?:jpg|png))?(?![a-z0-9])")
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_LINK = re.compile(r'(?<=\s)(href|src)="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Names:
    """The names behind pseudonyms.

    Attributes:
      words: {pseudonym of a patient: id, pseudonym of an image: its path without ending}.
      folders: {pseudonym of a patient: the patient's folder name}.
      images: {blinded file name: path of the image relative to the patient's folder}.
      pictures: {name of a blinded image's labeled picture: path of the image's}.
    """

    words: Mapping[str, str]
    folders: Mapping[str, str]
    images: Mapping[str, str]
    pictures: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[BlindedImage]) -> "Names":
        """From the table of `blind`."""
        pseudonym_of = {row.patient_id: row.pseudonym for row in rows}
        words = {pseudonym: patient_id for patient_id, pseudonym in pseudonym_of.items()}
        for row in rows:
            words[pathlib.PurePath(row.blinded_image).stem] = os.path.splitext(row.image)[0]
        folders = folder_names.folder_names(list(pseudonym_of))
        return cls(
            words=words,
            folders={pseudonym_of[patient_id]: folder for patient_id, folder in folders.items()},
            images={row.blinded_image: row.image for row in rows},
            pictures={
                str(folder_names.picture_name(row.blinded_image)): str(folder_names.picture_name(row.image))
                for row in rows
            },
        )

    def in_text(self, text: str, written: Callable[[str], str] = str) -> str:
        """A text with every pseudonym replaced; `written` escapes a name for its place."""

        def replaced(match: re.Match) -> str:
            token, ending = match[1], match[2] or ""
            if match[0] in self.images:
                return written(self.images[match[0]])
            return written(self.words[token]) + ending if token in self.words else match[0]

        return _TOKEN.sub(replaced, text)

    def in_path(self, path: str) -> str:
        """A relative path with "/" in which every pseudonym is replaced.

        A part that begins with an image's pseudonym gets the image's folders too (pictures/day1/a.jpg); within a part
        they are joined by "__".
        """
        parts: list[str] = []
        for part in path.split("/"):
            match = _TOKEN.match(part)
            if part in self.pictures and run_folder.PICTURES in parts:
                parts.append(self.pictures[part])
            elif match and match[1] in self.words and match[1] not in self.folders:
                parts.append(self.in_text(part))
            else:
                parts.append(_TOKEN.sub(self._in_name, part))
        return "/".join(parts)

    def _in_name(self, match: re.Match) -> str:
        folder = self.folders.get(match[1])
        return folder + (match[2] or "") if folder else self.in_text(match[0]).replace("/", "__")


def _json(value: Any, names: Names) -> Any:
    if isinstance(value, dict):
        return {names.in_text(key): _json(content, names) for key, content in value.items()}
    if isinstance(value, list):
        return [_json(content, names) for content in value]
    return names.in_text(value) if isinstance(value, str) else value


def _css(name: str) -> str:
    """A name inside a CSS string: everything but letters, digits and blanks escaped."""
    return "".join(c if c.isalnum() or c == " " else f"\\{ord(c):x} " for c in name)


def _page(text: str, names: Names) -> str:
    """An HTML page; its policy names the checksum of the style sheet, which holds the patient's name for printing."""
    style = _STYLE.search(text)
    if style is None:
        return _markup(text, names)
    before, after = style[1], names.in_text(style[1], _css)
    page = _markup(text[: style.start(1)], names) + after + _markup(text[style.end(1) :], names)
    return page.replace(_checksum(before), _checksum(after))


def _checksum(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _markup(text: str, names: Names) -> str:
    def relinked(match: re.Match) -> str:
        path = urllib.parse.unquote(html.unescape(match[2]))
        found = names.in_path(path)
        return match[0] if found == path else f'{match[1]}="{html.escape(urllib.parse.quote(found))}"'

    return names.in_text(_LINK.sub(relinked, text), html.escape)


def _in_file(path: pathlib.Path, names: Names) -> str | None:
    """The file's text with names, or None when it is to be copied unchanged."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json", ".geojson", ".html", ".xml", ".svg", ".txt", ".md"):
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        if suffix == ".csv":
            return csv_tables.map_cells(text, names.in_text)
        if suffix in (".json", ".geojson"):
            return json.dumps(_json(json.loads(text), names), indent=2, ensure_ascii=False) + "\n"
    except (UnicodeDecodeError, ValueError, csv.Error):
        return None
    if suffix == ".html":
        return _page(text, names)
    return _markup(text, names) if suffix in (".xml", ".svg") else names.in_text(text)


def unblind(
    results_dir: pathlib.Path,
    output_dir: pathlib.Path,
    rows: Sequence[BlindedImage],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[int, int]:
    """Copies results with names.

    Args:
      rows: the table of `blind`, checked with its key.

    Returns:
      (files written, files among them in which or in whose path a name was put back).

    Raises:
      BlindError: the output exists, or lies in the results, or these hold a link to somewhere else. Nothing is written.
    """
    if output_dir.exists() and any(output_dir.iterdir()):
        raise BlindError(f"--output_dir={output_dir}: is not empty; give a new folder for the results with names.")
    if output_dir.resolve().is_relative_to(results_dir.resolve()):
        raise BlindError(f"--output_dir={output_dir}: lies in --results_dir; names do not go there.")
    names = Names.of(rows)
    with atomic_write.replacing_folder(output_dir) as folder:
        return _copy(results_dir, folder, names, progress)


def _copy(
    results_dir: pathlib.Path,
    output_dir: pathlib.Path,
    names: Names,
    progress: Callable[[Iterable[Any]], Iterable[Any]],
) -> tuple[int, int]:
    """Copies every file; see `unblind`.

    Raises:
      BlindError: one is a link to a file or folder outside, which may be anybody's.
    """
    num_files = num_named = 0
    finished: dict[pathlib.Path, pathlib.Path] = {}  # {folder of a run: its copy}
    below = given_files.files_below(results_dir, follow_links=False)
    for path in progress([path for path in map(pathlib.Path, below) if path.is_file()]):
        if not path.resolve().is_relative_to(results_dir.resolve()):
            raise BlindError(f"{path}: is a link out of --results_dir, which is not followed; remove it.")
        relative = path.relative_to(results_dir).as_posix()
        target = output_dir / names.in_path(relative)
        text = _in_file(path, names)
        if text is None:
            atomic_write.copy_file(path, target)
            is_named = False
        else:
            atomic_write.write_text(target, text)
            is_named = text != path.read_text(encoding="utf-8-sig")
        num_files += 1
        num_named += is_named or target != output_dir / relative
        if path.name == run_folder.RUN_JSON:
            finished[path.parent] = target.parent
    for source, target_folder in finished.items():
        _finish(source, target_folder, names)
    return num_files, num_named


def _finish(source: pathlib.Path, target: pathlib.Path, names: Names) -> None:
    """Makes a copied run finished with its tables as they are now; one that was not finished stays so."""
    with contextlib.suppress(run_folder.RunError):
        blinded = run_folder.finished_run(source)
        record = json.loads((target / run_folder.RUN_JSON).read_text(encoding="utf-8"))
        run_folder.finish(target, record)
        table = target / "differentials.csv"
        if table.is_file():
            digests = {
                run_folder.digest_of(folder): run_folder.digest_of(
                    target / run_folder.PATIENTS_DIR / names.in_path(folder.name)
                )
                for folder in run_folder.folders_of(source, blinded)
            }
            text = csv_tables.map_cells(table.read_text(encoding="utf-8"), lambda cell: digests.get(cell, cell))
            atomic_write.write_text(table, text)
