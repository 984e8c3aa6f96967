import pytest

from tfod_csf.study import hardened_xml
from tfod_csf.study.hardened_xml import HardenedXmlError

BODY = "<annotation><object><name>淋巴细胞</name></object></annotation>"


def name_in(data: bytes) -> tuple[str, str]:
    root, repair = hardened_xml.parse(data)
    return root.findtext("object/name"), repair


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_needs_no_mending(encoding):
    assert name_in(BODY.encode(encoding)) == ("淋巴细胞", "")


@pytest.mark.parametrize("declared", ["GBK", "gb2312", "GB18030", "gbk"])
def test_declared_chinese_encodings_need_no_mending(declared):
    assert name_in(f'<?xml version="1.0" encoding="{declared}"?>\n{BODY}'.encode("gb18030")) == ("淋巴细胞", "")


@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="UTF-8"?>', "<?xml encoding='no-such'?>"])
def test_undeclared_or_wrongly_declared_gb18030_is_read_and_said(declaration):
    name, repair = name_in((declaration + BODY).encode("gb18030"))
    assert name == "淋巴细胞"
    assert "GB18030" in repair


def test_utf8_that_calls_itself_utf16_is_utf8():
    assert name_in(f'<?xml version="1.0" encoding="UTF-16"?>{BODY}'.encode()) == ("淋巴细胞", "")


def test_utf16_without_a_mark():
    name, repair = name_in(BODY.encode("utf-16-le"))
    assert name == "淋巴细胞"
    assert "byte order mark" in repair


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<annotation><object>", "line 1"),
        (b"\xff\xff\xff", "encoding is unknown"),
        (b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "DOCTYPE"),
        ("<!doctype a SYSTEM 'file:///etc/hostname'><a/>".encode("utf-16"), "DOCTYPE"),
        (b"<a>&undefined;</a>", "not well-formed"),
        (b"<a>\x00</a>", "not well-formed"),
    ],
)
def test_what_is_refused(data, words):
    with pytest.raises(HardenedXmlError) as caught:
        hardened_xml.parse(data)
    reason, remedy = caught.value.args
    assert words in reason
    assert remedy


@pytest.mark.parametrize("encoding", ["punycode", "idna", "utf-7", "cp037", "unicode_escape", "base64", "zlib"])
def test_encodings_that_are_not_of_texts_are_refused(encoding):
    # Python's punycode takes quadratic time: these two million letters would take minutes.
    data = f"<?xml version='1.0' encoding='{encoding}'?><annotation></annotation>-{'a' * 2_000_000}".encode()
    with pytest.raises(HardenedXmlError, match=r"encoding|not well-formed"):
        hardened_xml.parse(data)


@pytest.mark.parametrize("encoding", ["GBK", "GB2312", "Big5", "Shift_JIS", "windows-1252", "latin1", "ISO-8859-15"])
def test_encodings_that_programs_write_texts_in_are_read(encoding):
    data = f"<?xml version='1.0' encoding='{encoding}'?><annotation/>".encode(encoding)
    assert hardened_xml.parse(data)[0].tag == "annotation"
