"""The bytes of a data file, taken out of what they are packed in.

What a file is packed in (gzip, bzip2, xz, or a zip archive of one file) is seen by its first bytes,
whatever its name says. Only regular files are read: a pipe could be read once only, and the data of
a study is read by every worker.

Entry points: `check_regular_file`, `read_content`.
"""

import bz2
import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from ...errors import DataError

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")

_UNPACK: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\0": ("xz", lzma.decompress),
}
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OTHER_KINDS = {
    b"PAR1": "a Parquet file: name it .parquet",
    b"\x93NUMPY": "a NumPy array: save it with its target as .npz",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook: save the sheet as CSV",
    b"SQLite format 3\0": "an SQLite database: export the table as CSV",
    b"\x89HDF": "an HDF5 file: save the table as CSV or Parquet",
    b"ARROW1": "an Arrow file: save the table as Parquet",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it",
    b"%PDF": "a PDF document: save the table as CSV",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with `git lfs pull`",
}
_MAX_LISTED_MEMBERS = 5


def check_regular_file(path: Path) -> None:
    """Check that a path is a file that can be read as often as wanted.

    Raises:
        DataError: There is none, or it is a folder, a pipe or a device.
    """
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise _forbidden(path) from error
    except (OSError, ValueError) as error:  # none, a name too long, a NUL in it, a circle of links
        raise DataError(f"there is no file {path}: check the path.") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a folder: name a file in it.")
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket or device"
        raise DataError(
            f"{path} is {kind}, every worker of a study must read its data anew: save it to a "
            "file, and name that."
        )


def read_content(path: Path) -> bytes:
    """Return the bytes of a text file, unpacked where it is packed.

    Raises:
        DataError: It may not be read, is damaged, is an archive of several files, or is of a kind
            that holds no text.
    """
    check_regular_file(path)
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise _forbidden(path) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the disk.") from error
    for magic, (name, unpack) in _UNPACK.items():
        if content.startswith(magic):
            content = _unpacked(path, name, unpack, content)
            break
    else:
        if content.startswith((_ZIP, _EMPTY_ZIP)):
            content = _unpacked(path, "zip", lambda packed: _only_member(path, packed), content)
    for magic, kind in _OTHER_KINDS.items():
        if content.startswith(magic):
            raise DataError(f"{path} is not a text file but {kind}.")
    if content[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{path} holds a web page: download the table itself.")
    if content[:256].lstrip().replace(b" ", b"").startswith((b'{"', b'[{"', b"[\n{")):
        raise DataError(f"{path} holds JSON: save it as CSV, by pandas' `read_json` and `to_csv`.")
    return content


def _forbidden(path: Path) -> DataError:
    return DataError(f"{path} may not be read: allow it, or name another file.")


def _unpacked(path: Path, name: str, unpack: Callable[[bytes], bytes], content: bytes) -> bytes:
    try:
        return unpack(content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is packed with {name} and damaged or cut short ({_cause(error)}): fetch or "
            "pack it anew."
        ) from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile: a password, another method
        raise DataError(f"{path} cannot be unpacked ({_cause(error)}): unpack it.") from error


def _cause(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{text[0]:.120}" if text else type(error).__name__


def _only_member(path: Path, packed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = [
            member.filename
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if "[Content_Types].xml" in names:
            raise DataError(f"{path} is an Office document: save the sheet as CSV.")
        if len(names) != 1:
            listed = ", ".join(names[:_MAX_LISTED_MEMBERS]) or "none"
            more = f" and {len(names) - _MAX_LISTED_MEMBERS} more"
            raise DataError(
                f"{path} must hold one file, it holds {len(names)} "
                f"({listed}{more if len(names) > _MAX_LISTED_MEMBERS else ''}): unpack it, and "
                "name one of them."
            )
        return archive.read(names[0])
