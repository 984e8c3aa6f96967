import collections
import hashlib
import hmac
import stat

import pytest

from tfod_csf.cytology.blinding import pseudonyms
from tfod_csf.cytology.blinding.pseudonyms import IMAGE, PATIENT, BlindedImage, PseudonymError, assign, pseudonym
from tfod_csf.files import csv_schemas

KEY, OTHER = bytes(range(32)), bytes(32)


def test_a_pseudonym_is_the_beginning_of_a_keyed_digest():
    digest = hmac.new(KEY, "pseudonym p\0王".encode(), hashlib.sha256).digest()
    # Base 32: the first letter is the first five bits.
    assert pseudonym(KEY, PATIENT, "王")[1] == "abcdefghijklmnopqrstuvwxyz234567"[digest[0] >> 3]
    assert pseudonym(KEY, PATIENT, "王") == pseudonym(KEY, PATIENT, "王")
    different = {pseudonym(key, kind, name) for key in (KEY, OTHER) for kind in (PATIENT, IMAGE) for name in ("a", "A")}
    assert len(different) == 8


@pytest.mark.parametrize("name", ["=1+2", "王芳", "a/b", "", "p1" * 200, "CON"])
def test_a_pseudonym_is_a_safe_name_whatever_the_id(name):
    given = pseudonym(KEY, PATIENT, name)
    assert given.isascii()
    assert given.isalnum()
    assert given == given.lower()
    assert len(given) == 13


def test_the_order_of_pseudonyms_says_nothing_of_the_order_of_names():
    names = [f"{number:03d}" for number in range(400)]
    given = assign(KEY, PATIENT, names, {})
    order = sorted(names, key=given.get)
    place = {name: index for index, name in enumerate(order)}
    # Spearman's rank correlation of 400 random orders has the standard deviation 1 / sqrt(399) = 0.05.
    distance = sum((index - place[name]) ** 2 for index, name in enumerate(names))
    assert abs(1 - 6 * distance / (400 * (400**2 - 1))) < 0.2
    assert collections.Counter(given[name][1] for name in names).most_common(1)[0][1] < 40


def test_collisions_get_more_letters_and_earlier_names_stay():
    names = [f"n{number}" for number in range(100)]
    given = assign(KEY, PATIENT, names, {}, length=1)  # 32 names of one letter for 100 patients
    assert len(set(given.values())) == 100
    assert {len(value) for value in given.values()} >= {2, 6}
    more = assign(KEY, PATIENT, [*names, "another"], given, length=1)
    assert {name: more[name] for name in names} == given
    assert assign(KEY, PATIENT, [], {}) == {}


def _rows(key=KEY):
    given = pseudonym(key, PATIENT, "=王")
    stem = pseudonym(key, IMAGE, "=王\0day1/a.jpg")
    return [BlindedImage("=王", given, "day1/a.jpg", f"{stem}.jpg", "1" * 64, "2" * 64, "jpeg_stripped")]


def test_the_table_is_the_owners_only_and_is_read_back(tmp_path):
    path = tmp_path / "mapping.csv"
    pseudonyms.write_mapping(path, _rows())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert csv_schemas.load("blind_mapping").check(path) == 1
    assert pseudonyms.read_mapping(path, KEY) == _rows()


def test_a_table_of_another_key_or_an_edited_one_is_refused(tmp_path):
    path = tmp_path / "mapping.csv"
    pseudonyms.write_mapping(path, _rows())
    with pytest.raises(PseudonymError, match="not made with this key"):
        pseudonyms.read_mapping(path, OTHER)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("'=王", "李"), encoding="utf-8")
    with pytest.raises(PseudonymError, match="not made with this key"):
        pseudonyms.read_mapping(path, KEY)
    path.write_text(text.replace("day1/a.jpg", "day1/b.jpg"), encoding="utf-8")
    with pytest.raises(PseudonymError, match="not made with this key from its image"):
        pseudonyms.read_mapping(path, KEY)
