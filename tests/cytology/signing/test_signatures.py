"""Records of signatures: checked as a chain, protected by a key where there is one."""

import json

import pytest

from tfod_csf.cytology.signing import signatures
from tfod_csf.cytology.signing.signatures import SignatureError
from tfod_csf.files import key_files


def test_signatures_are_numbered_and_read_back(tmp_path):
    assert signatures.read_signatures(tmp_path) == ()
    first = signatures.append_signature(tmp_path, "王 Wu", "", {"counts": {"lymphocyte": 1}})
    second = signatures.append_signature(tmp_path, "Li", "no blasts", {"counts": {"lymphocyte": 2}})
    assert signatures.read_signatures(tmp_path) == (first, second)
    assert (first.number, first.signed_by, second.number, second.comment) == (1, "王 Wu", 2, "no blasts")
    assert second.signed_at[4::3][:2] == "--"


@pytest.mark.parametrize("name", ["signed_by", "signed_at", "comment", "content"])
def test_a_changed_record_is_found(tmp_path, name):
    signatures.append_signature(tmp_path, "Wu", "", {"a": 1})
    path = tmp_path / "signatures" / "0001.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, name: "another"}), encoding="utf-8")
    with pytest.raises(SignatureError, match=r"0001\.json: changed after it was signed"):
        signatures.read_signatures(tmp_path)


def test_a_removed_or_damaged_record_is_found(tmp_path):
    for _ in range(2):
        signatures.append_signature(tmp_path, "Wu", "", {"a": 1})
    (tmp_path / "signatures" / "0001.json").unlink()
    with pytest.raises(SignatureError, match="expected signature 1 here"):
        signatures.read_signatures(tmp_path)
    (tmp_path / "signatures" / "0002.json").write_text("{", encoding="utf-8")
    with pytest.raises(SignatureError, match="the signature cannot be read"):
        signatures.read_signatures(tmp_path)


def test_a_key_protects_the_records(tmp_path):
    key, other = key_files.create_key(tmp_path / "key"), key_files.create_key(tmp_path / "other")
    signed = signatures.append_signature(tmp_path, "Wu", "", {"a": 1}, key)
    assert signatures.read_signatures(tmp_path, key) == signatures.read_signatures(tmp_path) == (signed,)
    with pytest.raises(SignatureError, match="not signed with the given key"):
        signatures.read_signatures(tmp_path, other)
    with pytest.raises(SignatureError, match="not signed with the given key"):
        signatures.append_signature(tmp_path, "Wu", "", {"a": 1}, other)
