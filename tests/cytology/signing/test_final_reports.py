"""Final reports read back from their signatures."""

import json

import pytest

from tests.support.signing_desk import folder_of, review, sign
from tfod_csf.cytology.signing.final_reports import NotFinalError, read_final_report


def test_the_numbers_are_the_signed_ones_whatever_flags_a_command_has(desk):
    review(desk)
    assert sign(desk, "--unknown_below=0.9", "--noreport") == 0
    report = read_final_report(folder_of(desk))
    assert (report.patient_id, report.reviewers, report.models) == ("王伟", ("Li",), ("m",))
    assert report.counts["monocyte"] == 1
    assert not report.corrects_earlier
    assert (
        report.headline
        == "3 white cells on 2 images: lymphocytes 67\u00a0%, monocytes 33\u00a0%, neutrophils 0\u00a0%."
    )
    assert report.range_of("neutrophil").high == 2


def test_signing_the_same_numbers_again_corrects_nothing(desk):
    review(desk)
    for who in ("Dr Wu", "Dr Xu"):
        assert sign(desk, "--noreport", who=who) == 0
    report = read_final_report(folder_of(desk))
    assert (report.signature.signed_by, report.corrects_earlier) == ("Dr Xu", False)


def test_a_signature_of_another_version_is_refused(desk):
    review(desk)
    assert sign(desk, "--noreport") == 0
    from tfod_csf.cytology.signing import signatures

    content = json.loads((folder_of(desk) / "signatures" / "0001.json").read_text(encoding="utf-8"))["content"]
    content["basis"]["rules"]["gone"] = 1
    signatures.append_signature(folder_of(desk), "Dr Wu", "", content)
    with pytest.raises(NotFinalError, match="signed by another version"):
        read_final_report(folder_of(desk))
