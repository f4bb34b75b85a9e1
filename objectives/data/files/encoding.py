"""The text encoding of a file's bytes: as the user says, by its byte order mark, or detected.

UTF-8 is proved by decoding all of it. What is not UTF-8, and has no byte order mark, is UTF-16 or
UTF-32 where its zero bytes lie as theirs do; anything else is chardet's answer for the fields that
are not plain ASCII, since these alone tell encodings apart. The answer is a guess, so it is said
with an example of what it makes of the file, and the user can overrule it.

Entry point: `decode`.
"""

import codecs
import io
import re
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # begins with the mark of UTF-16: tried before it
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_DETECTABLE = (
    "gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949", "cp1250", "cp1251",
    "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp866", "cp874",
    "koi8-r", "koi8-u",
)  # fmt: skip
"""Legacy encodings that tables come in; each more makes short texts harder to tell apart."""

_WESTERN = "cp1252"
_LATIN_SCRIPT = ("Windows-1250", "Windows-1254", "Windows-1257", "Windows-1258")
_MIN_CONFIDENCE = 0.05
"""Of chardet in an encoding of Latin letters, below which Western letters are likelier."""

_WESTERN_SIGNS = re.compile("\u00a0?[\u00a0€£¥§µ°±²³¹¼½¾‰…•–—‘’“”„«»™©®×÷ªº¿¡·¤]\u00a0?")
"""A sign by itself, as in "5 €" or "µg": of the letters of other encodings there would be more."""

_NO_WESTERN_WORD = re.compile(r"[A-Za-z][¡-¿×÷][a-z]|\b[£¥¦¯¶¼¾³¹][a-zà-ÿ]|[a-z][ŸŠŽ]\b")
"""Signs within words: other Latin text has them when it is read as Western."""

_FIELD = re.compile(rb"[^,;\t|\r\n\"]+")
_MAX_DETECTED_BYTES = 200_000
"""Bytes of fields that are not ASCII that the detection looks at."""

_MAX_FAULT_SHARE = 0.25
"""Faults to each well-formed character of UTF-8, up to which a text is UTF-8 that was damaged."""


@dataclass(frozen=True, kw_only=True)
class DecodedText:
    """A file's text.

    Attributes:
        text: Without a byte order mark; line ends as they are in the file.
        encoding: For people.
        note: On how it was read, where that is not plain UTF-8.
    """

    text: str
    encoding: str
    note: str | None = None

    def lines(self) -> io.StringIO:
        """Return the lines, each with its line end, as the `csv` module wants them."""
        return io.StringIO(self.text, newline="")


def decode(path: Path, content: bytes, encoding: str | None = None) -> DecodedText:
    """Return the text that bytes stand for.

    Args:
        path: For messages.
        content: All bytes of the file.
        encoding: As the user says it; None to recognise it.

    Raises:
        DataError: There is no such encoding, the bytes do not fit it, or they are no text.
    """
    if encoding is not None:
        return _decode_as_said(path, content, encoding)
    for mark, codec, name in _MARKS:
        if content.startswith(mark):
            return _checked(
                path, content, codec, name, f"the file is {name}, by its byte order mark"
            )
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in content:
        return _decode_wide(path, content)
    if b"\x1b$" in content:  # escapes to another character set: ISO-2022 is plain ASCII otherwise
        text = _try_decode(content, "iso2022_jp_2")
        if text is not None:
            return DecodedText(text=text, encoding="ISO-2022-JP", note=_note(text, "ISO-2022-JP"))
    try:
        return DecodedText(text=content.decode("utf-8"), encoding="UTF-8")
    except UnicodeDecodeError as error:
        _refuse_damaged_utf8(path, content, error)
    return _detect(content)


def _decode_as_said(path: Path, content: bytes, encoding: str) -> DecodedText:
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError, UnicodeError):
        codec = None
    if codec is None or not codec._is_text_encoding:
        raise DataError(
            f"there is no text encoding '{encoding}' to read {path} with: name one such as utf-8, "
            "utf-16, cp1252, cp1251, gb18030 or shift_jis."
        )
    name = codec.name
    if name == "utf-8":
        name = "utf-8-sig"  # a byte order mark is none of the first column's name
    return _checked(path, content, name, encoding, f"the file is read as {encoding}, as asked")


def _checked(path: Path, content: bytes, codec: str, name: str, note: str | None) -> DecodedText:
    """Return bytes decoded strictly; a fault is said with its place."""
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        faulty = content[error.start : error.start + 4].hex(" ")
        if error.end >= len(content):
            raise DataError(
                f"{path} is cut short: its last bytes (from byte {error.start}: {faulty}) are no "
                f"whole character of {name}; fetch or save it anew."
            ) from error
        raise DataError(
            f"{path} is not {name}: byte {error.start} (in line "
            f"{_line_number(content, error.start)}: {faulty}) does not fit it; name its encoding, "
            "or save it as UTF-8."
        ) from error
    except (UnicodeError, ValueError) as error:  # codecs that know no position, such as utf-7
        raise DataError(
            f"{path} is not {name} ({error!s:.80}): name its encoding, or save it as UTF-8."
        ) from error
    if "\0" in text:
        where = text.index("\0")
        raise DataError(
            f"{path} is not a text file: read as {name}, line {text.count(chr(10), 0, where) + 1} "
            "holds a NUL character; save it as CSV, or name it as what it is."
        )
    return DecodedText(text=text.removeprefix("\ufeff"), encoding=name, note=note)


def _decode_wide(path: Path, content: bytes) -> DecodedText:
    """Decode UTF-16 or UTF-32 without a byte order mark: texts have lines, and hold no NUL."""
    for codec in _WIDE:
        unit = 4 if "32" in codec else 2
        whole = content[: len(content) // unit * unit]
        text = _try_decode(whole, codec)
        if text is None or "\0" in text or not re.search("[\r\n]", text):
            continue
        if len(re.findall("[,;\t| 0-9\r\n]", text)) < len(text) / 20:
            continue  # any pairs of bytes are characters of UTF-16: a table has separators
        name = codec[:-3].upper()
        return _checked(path, content, codec, name, f"the file is {name} ({codec[-2:].upper()})")
    position = content.index(b"\0")
    raise DataError(
        f"{path} is not a text file: byte {position} (in line {_line_number(content, position)}) "
        "is NUL; save it as CSV, or name it as what it is."
    )


def _refuse_damaged_utf8(path: Path, content: bytes, error: UnicodeDecodeError) -> None:
    """Refuse UTF-8 that was damaged or cut short: as anything else all its letters are wrong."""
    text = content.decode("utf-8", errors="replace")
    faults = text.count("\ufffd")
    well_formed = sum(not character.isascii() for character in text) - faults
    if well_formed and error.reason == "unexpected end of data" and faults == 1:
        raise DataError(
            f"{path} is cut short: it ends within a character of UTF-8, at byte {error.start}; "
            "fetch or save it anew."
        ) from error
    if faults <= _MAX_FAULT_SHARE * well_formed:
        raise DataError(
            f"{path} is UTF-8, but byte {error.start} (in line "
            f"{_line_number(content, error.start)}: {content[error.start]:#04x}) is not: mend it, "
            "or name the encoding of the file."
        ) from error


def _detect(content: bytes) -> DecodedText:
    import chardet  # some 50 ms to load, and few files want it

    fields = dict.fromkeys(field for field in _FIELD.findall(content) if not field.isascii())
    # A hundred prices in € would outvote one "Größe".
    words = [field for field in fields if not _has_signs_only(field)]
    sample = b"\n".join(words or fields)[:_MAX_DETECTED_BYTES]
    detected = chardet.detect(sample, include_encodings=_DETECTABLE)
    found = detected["encoding"]
    western = _try_decode(content, _WESTERN)
    text = None if found is None else _try_decode(content, found)
    is_western = (
        found in _LATIN_SCRIPT
        and western is not None
        and (
            text == western  # the same letters stand at the same codes in several encodings
            or (detected["confidence"] < _MIN_CONFIDENCE and not _NO_WESTERN_WORD.search(western))
        )
    )
    is_western = is_western or not words or found in (None, "Windows-1252")
    if text is None or found is None or is_western:
        has_controls = any(0x80 <= byte < 0xA0 for field in fields for byte in field)
        name = "Windows-1252" if has_controls and western is not None else "Latin-1"
        text = content.decode("latin-1") if western is None else western
        return DecodedText(text=text, encoding=name, note=_note(text, name))
    return DecodedText(text=text, encoding=found, note=_note(text, found))


def _has_signs_only(field: bytes) -> bool:
    foreign = re.findall(r"[^\x00-\x7f]+", field.decode(_WESTERN, errors="replace"))
    return all(map(_WESTERN_SIGNS.fullmatch, foreign))


def _note(text: str, name: str) -> str:
    words = re.findall(r"[^\W\d_]+", text) + re.findall(r"[^\x00-\x7f\s]", text)
    example = next((word for word in words if not word.isascii()), None)
    shown = "" if example is None else f", such as '{example:.40}'"
    return f"the file is not UTF-8: read as {name}{shown} (say its `encoding` if that is wrong)"


def _try_decode(content: bytes, codec: str) -> str | None:
    try:
        return content.decode(codec)
    except (UnicodeError, LookupError):
        return None


def _line_number(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1
