"""Encodings: proved, by their mark, or detected and said; the user overrules them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from widthwise.objectives.data.files.encoding import decode
from widthwise.objectives.errors import DataError

PATH = Path("rows.csv")
WORDS = {
    "gbk": ["北京", "上海", "广州", "城市", "价格"],
    "gb18030": ["是", "否"],
    "big5": ["臺北", "高雄", "城市", "價格"],
    "shift_jis": ["東京", "大阪", "名古屋", "はい", "いいえ"],
    "euc_jp": ["東京", "大阪", "名古屋", "はい", "いいえ"],
    "euc_kr": ["서울", "부산", "인천", "도시"],
    "cp1251": ["Москва", "Казань", "город", "цена"],
    "koi8_r": ["Москва", "Казань", "город", "цена"],
    "cp866": ["Москва", "Казань", "город", "цена"],
    "latin-1": ["Köln", "Überlingen", "Größe"],
    "cp1252": ["Málaga", "Córdoba", "Año", "5 €"],
    "iso8859-1": ["São Paulo", "Coração", "não"],
    "cp1252 ": ["5 €", "7 €"],
    "cp1252  ": ["1\u00a0234,5\u00a0€", "it\u2019s", "\u201cso\u201d"],
    "cp1252   ": ["Größe", *(f"{k}.50 €" for k in range(40))],
    "cp1251 ": ["Москва", "Казань", *(f"{k}\u00a0°" for k in range(40))],
    "latin-1 ": ["3 µg", "§ 5"],
    " latin-1": ["10 £/m²", "±3"],
    "cp1250": ["Łódź", "Kraków", "Wrocław", "Gdańsk"],
    "cp1253": ["Αθήνα", "Θεσσαλονίκη", "τιμή"],
    "cp1254": ["İstanbul", "Diyarbakır", "Muğla", "yaş"],
    "cp1255": ["תל אביב", "ירושלים", "חיפה"],
    "cp1256": ["القاهرة", "الرياض", "دبي"],
    "iso2022_jp": ["東京", "大阪"],
}


def table_of(words: list[str]) -> str:
    rows = [f"{k},{words[k % len(words)]},{k * k % 17 / 3:.3f}\n" for k in range(60)]
    return "".join(["id,city,x\n", *rows])


@pytest.mark.parametrize("encoding", WORDS)
def test_an_encoding_is_detected_and_said(encoding: str) -> None:
    text = table_of(WORDS[encoding])
    decoded = decode(PATH, text.encode(encoding.strip()))
    assert decoded.text == text
    assert decoded.note is not None
    assert f"read as {decoded.encoding}, such as '" in decoded.note


@pytest.mark.parametrize("words", [["Köln", "Łódź"], ["是", "否"], ["yes", "no"]])
@pytest.mark.parametrize(
    "encoding",
    ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8", "utf-8-sig"],
)
def test_unicode_is_read_with_a_mark_and_without(encoding: str, words: list[str]) -> None:
    text = table_of(words)
    decoded = decode(PATH, text.encode(encoding))
    assert (decoded.text, decoded.encoding) == (text, encoding.upper()[:6].rstrip("-"))
    assert (decoded.note is None) == encoding.startswith("utf-8")


@pytest.mark.parametrize(
    ("encoding", "cut"),
    [
        ("utf-16", 1),
        ("utf-16-le", 1),
        ("utf-16-be", 3),
        ("utf-32", 2),
        ("utf-32-be", 1),
        ("utf-8", 2),
        ("utf-8-sig", 1),
    ],
)
def test_a_text_that_is_cut_short_is_refused_with_the_byte(encoding: str, cut: int) -> None:
    content = (table_of(["北京"]) + "60,北").encode(encoding)[:-cut]
    with pytest.raises(DataError, match=r"is cut short.* byte \d+.*\.$"):
        decode(PATH, content)


def test_one_bad_byte_does_not_make_all_letters_wrong() -> None:
    lines = table_of(["Köln", "Łódź"]).encode().splitlines(keepends=True)
    lines[30] = b"29,K\xf6ln,1\n"
    with pytest.raises(DataError, match=r"is UTF-8, but byte \d+ \(in line 31: 0xf6\)"):
        decode(PATH, b"".join(lines))


@pytest.mark.parametrize("encoding", ["cp1251", "mac_cyrillic", "iso8859_5", "utf_16_be", "cp855"])
def test_the_user_overrules_the_detection(encoding: str) -> None:
    text = table_of(["Москва", "Казань"])
    decoded = decode(PATH, text.encode(encoding), encoding)
    assert (decoded.text, decoded.note) == (text, f"the file is read as {encoding}, as asked")


def test_a_byte_order_mark_is_no_letter_where_the_user_says_utf_8() -> None:
    assert decode(PATH, codecs.BOM_UTF8 + b"a\n", "UTF8").text == "a\n"


@pytest.mark.parametrize("name", ["utf-9", "", "rot13", "base64", "a\0b", "klingon"])
def test_an_encoding_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="there is no text encoding"):
        decode(PATH, b"a,b\n", name)


@pytest.mark.parametrize(
    ("said", "actual", "byte"), [("ascii", "utf-8", 13), ("utf-8", "latin-1", 13), ("gbk", "", 1)]
)
def test_an_encoding_that_does_not_fit_is_refused_with_the_byte(
    said: str, actual: str, byte: int
) -> None:
    content = table_of(["Köln"]).encode(actual) if actual else b"\n\xff\n"
    with pytest.raises(DataError, match=rf"is not {said}: byte {byte} \(in line 2: "):
        decode(PATH, content, said)


@pytest.mark.parametrize("content", [b"a,label\n\0\0\1", b"a,b\n1,\x002\n" * 9, bytes(64)])
def test_zero_bytes_are_no_text(content: bytes) -> None:
    with pytest.raises(DataError, match=r"is not a text file: byte \d+ \(in line \d\) is NUL"):
        decode(PATH, content)
