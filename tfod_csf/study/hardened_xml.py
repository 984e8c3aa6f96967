"""Untrusted XML: detects the encoding from the bytes, rejects DOCTYPE and entities, never touches files or network.

DOCTYPE and entities are looked for in the decoded text, before a parser sees it, so that neither another file nor
nested entities that expand to gigabytes can be brought in, whatever the encoding.
"""

import codecs
import re

from lxml import etree

_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_DECLARED_ENCODING = re.compile(rb"<\?xml[^>]{0,200}encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
# Python's names of the encodings that programs write texts in. It has others that compress, or take quadratic time.
_TEXT_ENCODINGS = frozenset(
    {"ascii", "utf-8", "utf-8-sig", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "cp950", "euc_jp", "shift_jis"}
    | {"cp932", "euc_kr", "cp949", "koi8-r", "koi8-u", "mac-roman", "tis-620", "cp437", "cp850", "cp852", "cp866"}
    | {
        "cp874",
        *(f"cp{number}" for number in range(1250, 1259)),
        *(f"iso8859-{number}" for number in range(1, 17) if number != 12),
    }
)
_FORBIDDEN = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
# A byte order mark decides; the longer mark first, because UTF-32's begins with UTF-16's.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# What may come before the first element.
_PROLOG = re.compile(r"\s+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE)
_START_TAG = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)")
_SAVE_AGAIN = "Save the annotation again in LabelImg."


class HardenedXmlError(Exception):
    """Why XML cannot be used: args are (reason, remedy)."""


def decode(data: bytes) -> tuple[str, str]:
    """Text of an XML file, and how its encoding had to be repaired ("" for not at all).

    Raises:
      HardenedXmlError: no encoding fits.
    """
    try:
        return _decode(data)
    except (UnicodeError, LookupError) as error:
        raise HardenedXmlError(f"the encoding is unknown ({error})", "Save the file as UTF-8.") from None


def _decode(data: bytes) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding), ""
    if data[:4] in (b"<\0?\0", b"<\0a\0"):
        return data.decode("utf-16-le"), "is UTF-16 without a byte order mark"
    match = _DECLARED_ENCODING.match(data.lstrip())
    declared = match.group(1).decode("ascii") if match else ""
    if declared.lower().startswith(("utf-16", "utf-32", "ucs")):
        declared = ""  # the declaration itself was just read as single bytes, so it is wrong
    if declared.lower() in ("gbk", "gb2312", "gb18030", "cp936"):
        return data.decode("gb18030"), ""  # the superset of the other three
    try:
        encoding = codecs.lookup(declared or "utf-8").name
        if encoding not in _TEXT_ENCODINGS:
            raise HardenedXmlError(f"{declared!r} is not an encoding of texts that is read", "Save the file as UTF-8.")
        return data.decode(encoding), ""
    except (UnicodeError, LookupError):
        text = data.decode("gb18030")  # what Chinese Windows programs write without declaring it
        return text, f"is not {declared or 'UTF-8'}, was read as GB18030"


def root_name(head: bytes) -> str:
    """Name of the first element in small letters, without its namespace; "" where there is none. Nothing is parsed.

    Args:
      head: the beginning of a file; may end anywhere.

    >>> root_name(b'<?xml version="1.0"?><!-- of 2024 --><!DOCTYPE x [<!ENTITY a "b">]><o:OME xmlns:o="x">')
    'ome'
    """
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "latin-1")
    if head[:4] in (b"<\0?\0", b"<\0a\0"):
        encoding = "utf-16-le"
    text, place = head.decode(encoding, "ignore").lstrip("\ufeff"), 0
    while match := _PROLOG.match(text, place):
        place = match.end()
    found = _START_TAG.match(text, place)
    return found[1].lower() if found else ""


def _with_plain_names(root: etree._Element) -> etree._Element:
    """The tree with tags in small letters and without namespaces, as programs differ in both."""
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname.lower()
    return root


def parse(data: bytes) -> tuple[etree._Element, str]:
    """Root element of an XML file, and how its encoding had to be repaired ("" for not at all).

    Tags are in small letters and without namespaces.

    Raises:
      HardenedXmlError: empty, in no known encoding, with DOCTYPE or entities, or not well-formed (names the line).
    """
    if not data.strip():
        raise HardenedXmlError("the XML is empty (0 bytes of content)", _SAVE_AGAIN)
    text, repair = decode(data)
    if _FORBIDDEN.search(text):
        raise HardenedXmlError(
            "the XML has a DOCTYPE or entities, which annotations never need", "Remove them, or label the image again."
        )
    text = _DECLARATION.sub("", text.lstrip("\ufeff"), count=1)  # it names the encoding of the bytes, not of the text
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return _with_plain_names(etree.fromstring(text.encode("utf-8"), parser)), repair
    except (etree.XMLSyntaxError, ValueError) as error:
        raise HardenedXmlError(f"not well-formed XML ({error})", _SAVE_AGAIN) from None
