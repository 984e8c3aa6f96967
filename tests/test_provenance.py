import datetime
import platform

import pytest

from tfod_csf import provenance


def test_the_time_has_a_zone_and_whole_seconds():
    text = provenance.now()
    time = datetime.datetime.fromisoformat(text)
    assert time.tzinfo is not None
    assert abs((datetime.datetime.now(datetime.timezone.utc) - time).total_seconds()) < 60
    assert time.isoformat() == text


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU  @ 2 GHz\nmodel name\t: other\n", "Some CPU @ 2 GHz"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", platform.processor() or platform.machine()),
        (None, platform.processor() or platform.machine()),
    ],
)
def test_the_processors_name(tmp_path, monkeypatch, cpuinfo, expected):
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo, encoding="utf-8")
    monkeypatch.setattr(provenance, "_CPUINFO", path)
    assert provenance.processor() == expected
    assert provenance.cpuinfo_words("flags") == []


@pytest.mark.parametrize(
    ("flags", "bfloat16", "int8"),
    [
        ("flags\t\t: fpu avx512_vnni avx512_bf16", True, True),
        ("flags\t\t: fpu avx2 fma", False, False),
        ("flags\t\t: fpu avx_vnni", False, True),
        ("Features\t: fp asimd asimddp", False, True),
        ("BogoMIPS\t: 50.00", None, None),
    ],
)
def test_which_number_formats_the_processor_has_instructions_for(tmp_path, monkeypatch, flags, bfloat16, int8):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{flags}\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "_CPUINFO", path)
    assert (provenance.has_bfloat16(), provenance.has_int8()) == (bfloat16, int8)
