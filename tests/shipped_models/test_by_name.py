"""Models that are found by name, and what is asked of those that ship."""

import json
import pathlib
import re

import pytest

from tfod_csf.errors import UserError
from tfod_csf.files import manifest
from tfod_csf.model_folder import MODEL_CARD, ModelFolder
from tfod_csf.shipped_models import by_name

MAX_BYTES = 20_000_000
ABSOLUTE = re.compile(r"(?<![\w.:/<])(/(home|work|tmp|root|mnt|data|usr|opt|Users)/|[A-Za-z]:\\)")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of models in place of the package's, with `small` and a folder that is no model."""
    folder = tmp_path / "shipped_models"
    for name in ("small", "unfinished"):
        (folder / name).mkdir(parents=True)
    (folder / "small" / manifest.FILE_NAME).touch()
    (folder / "README.md").touch()
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_name_is_found_and_another_text_is_a_path(shipped):
    assert by_name.names() == ["small"]
    assert by_name.find("small") == shipped / "small"
    assert by_name.find("exported_models/small") == pathlib.Path("exported_models/small")
    assert by_name.find_existing("small") == shipped / "small"


def test_a_path_that_exists_wins(shipped):
    pathlib.Path("small").mkdir()
    assert not by_name.is_name("small")
    assert by_name.find("small") == pathlib.Path("small")


def test_an_unknown_name_is_an_error_that_lists_the_names(shipped):
    ending = r"ships \(these do: small\); give a folder that exporter_main_v2 wrote\.$"
    with pytest.raises(UserError, match=f"csf_big: there is no such folder, .* {ending}"):
        by_name.find_existing("csf_big")
    (shipped / "small" / manifest.FILE_NAME).unlink()
    with pytest.raises(UserError, match=r"no model of that name ships \(no model does\)"):
        ModelFolder.open("small")


def test_what_limits_a_shipped_model_of_a_run(monkeypatch):
    monkeypatch.setattr(by_name, "RESTRICTIONS", {"small": "small has seen no fluid.", "other": "other."})
    words = by_name.vouching_words("small", "0.3", "0a1b")
    assert words == "SHA256SUMS of the shipped small 0.3, sha256 0a1b"
    assert by_name.restrictions({"small": words, "mine": "SHA256SUMS"}) == ["small has seen no fluid."]
    # Another model of that name, for example one that was trained on from it.
    assert by_name.restrictions({"small": "SHA256SUMS"}) == []
    assert by_name.restrictions({}) == []


def test_what_ships_is_not_changed(shipped, tmp_path):
    with pytest.raises(UserError, match=r"small ships with .* copy it with tfod_csf models small --output_dir="):
        by_name.refuse_to_change("shipped_models/small")
    (tmp_path / "link").symlink_to(shipped / "small")
    with pytest.raises(UserError, match="is not changed"):
        by_name.refuse_to_change(tmp_path / "link")
    by_name.refuse_to_change(tmp_path)


def _faults(folder: pathlib.Path) -> list[str]:
    """What keeps a folder from being shipped."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [] if sum(path.stat().st_size for path in files) <= MAX_BYTES else ["is too large"]
    texts = [path for path in files if path.suffix in (".json", ".config", ".pbtxt", ".md")]
    found += [f"{path.name} names a folder of a machine" for path in texts if ABSOLUTE.search(path.read_text("utf-8"))]
    return found + ([] if (folder / MODEL_CARD).is_file() else ["has no card"])


def test_faults_of_a_folder_are_seen(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"annotations_dir": "/home/somebody/slides"}))
    assert _faults(tmp_path) == ["model.json names a folder of a machine", "has no card"]
    (tmp_path / "model.json").write_text(
        json.dumps({"see": "https://doi.org/10.1/data/x", "annotations_dir": "slides"})
    )
    (tmp_path / MODEL_CARD).touch()
    assert _faults(tmp_path) == []


def test_what_ships_is_whole_small_and_names_no_machine():
    for name in by_name.names():
        folder = ModelFolder.open(name)
        assert folder.vouched_for_by.startswith(f"SHA256SUMS of the shipped {name} {folder.version}, sha256 ")
        assert by_name.restrictions({name: folder.vouched_for_by}) == [by_name.RESTRICTIONS[name]]
        assert _faults(folder.path) == [], name
