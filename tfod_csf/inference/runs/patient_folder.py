"""One patient's folder of results: what batch_infer wrote there, whether it is up to date, and how it is replaced.

    stamp.json    written last: inputs, models and thresholds behind the files, their names, the tables' checksums

A patient's files are replaced only when the new ones are whole, and nothing is removed or replaced that the stamp does
not name. While they are swapped, the stamp names old and new files and nothing else, so that an interrupted patient is
examined again.
"""

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, folder_lock, given_files, inner_paths


class PatientFolderError(UserError):
    """A folder of a patient that holds what this program did not write."""


@dataclasses.dataclass(frozen=True)
class PatientFolder:
    """A patient's folder with its stamp.

    Attributes:
      path: the folder; it need not exist.
      stamp: contents of stamp.json; empty without one.
    """

    path: pathlib.Path
    stamp: Mapping[str, Any]

    @classmethod
    def open(cls, path: pathlib.Path) -> "PatientFolder":
        """Reads the stamp.

        Raises:
          PatientFolderError: the folder holds files, but no stamp; or a table was changed since it was written.
        """
        folder = cls(path, _read_stamp(path))
        if not folder.files and folder_lock.entries(path):
            raise PatientFolderError(
                f"{path}: holds files, but no {run_folder.STAMP} that names them as results of batch_infer; move the "
                "folder away, or give another --output_dir."
            )
        return folder

    @property
    def files(self) -> frozenset[str]:
        """Files of the patient that batch_infer wrote, relative to the folder, with "/"."""
        files = self.stamp.get("files")
        is_usable = isinstance(files, list) and not any(map(inner_paths.leads_out, map(str, files)))
        return frozenset(map(str, files)) if is_usable and files else frozenset()

    def tables(self) -> dict[str, str] | None:
        """{table: sha256} as they are in the folder now; None when one is missing."""
        try:
            return run_folder.table_checksums(self.path)
        except OSError:
            return None

    def check_tables(self) -> None:
        """Refuses tables that somebody has changed, which a run would replace.

        Raises:
          PatientFolderError: names the first.
        """
        for name, expected in dict(self.stamp.get("tables") or {}).items():
            found = (self.tables() or {}).get(name)
            if found is not None and found != expected:
                raise PatientFolderError(
                    f"{self.path / name}: was changed after batch_infer had written it, and this run would replace it; "
                    "move it away, or put it back."
                )

    def may_be_done(self, settings: Mapping[str, Any], images: Collection[str], refused: Collection[str] = ()) -> bool:
        """Whether the files are those of these settings and of images of these names, whatever the images hold.

        A patient with an image on which a model failed is examined again.

        Args:
          refused: names of the images that are not opened.
        """
        summary = self.stamp.get("summary")
        return (
            self.stamp.get("settings") == settings
            and set(self.stamp.get("images") or ()) == set(images)
            and self.stamp.get("refused", []) == sorted(refused)
            and isinstance(summary, dict)
            and not summary.get("detector_failures")
            and self.stamp.get("tables") == self.tables()
        )

    def is_done(
        self, settings: Mapping[str, Any], checksums: Mapping[str, str | None], refused: Collection[str] = ()
    ) -> bool:
        """Whether the files are those of these settings and images; an image that cannot be read is tried again."""
        is_same = self.stamp.get("images") == checksums and None not in checksums.values()
        return is_same and self.may_be_done(settings, checksums, refused)

    def replace(self, new: pathlib.Path, stamp: Mapping[str, Any]) -> None:
        """Puts a patient's new files in the place of the old ones.

        Args:
          new: folder with the new files, all of them; on the same disk.
          stamp: what is known of them; without it the patient is examined again in the next run.

        Raises:
          PatientFolderError: somebody's file has the name of a new one.
        """
        files = [os.path.relpath(path, new).replace(os.sep, "/") for path in given_files.files_below(new)]
        earlier = self.files
        for name in files:
            if name not in earlier and os.path.lexists(self.path / name):
                raise PatientFolderError(
                    f"{self.path / name}: is in the way of a result of this name, and batch_infer did not write it; "
                    "move it away."
                )
        run_folder.remove_pages(self.path)
        atomic_write.write_json(self.path / run_folder.STAMP, {"files": sorted(earlier | set(files))})
        for name in files:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(new / name, self.path / name)
        for name in sorted(earlier - set(files), reverse=True):
            (self.path / name).unlink(missing_ok=True)
            _remove_empty(self.path, (self.path / name).parent)
        atomic_write.write_json(self.path / run_folder.STAMP, {**stamp, "files": sorted(files)})


def _read_stamp(folder: pathlib.Path) -> dict[str, Any]:
    try:
        stamp = given_files.read_json(folder / run_folder.STAMP)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _remove_empty(folder: pathlib.Path, inner: pathlib.Path) -> None:
    """Removes a folder in the patient's folder, and those it lies in, as far as they are empty."""
    while inner != folder and inner.is_dir() and not any(inner.iterdir()):
        inner.rmdir()
        inner = inner.parent
