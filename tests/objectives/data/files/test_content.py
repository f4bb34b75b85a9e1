"""Content: files are unpacked by what they are; what cannot be read twice is refused at once."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from widthwise.objectives.data.files.content import read_content
from widthwise.objectives.errors import DataError

PLAIN = b"a,label\n1,x\n" * 50


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda content: zipped({"rows": content}),
    "zip of a Mac": lambda content: zipped({"r/rows.csv": content, "__MACOSX/._rows": b"\0"}),
}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_a_file_is_unpacked_whatever_its_name(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(PACKERS[kind](PLAIN))
    assert read_content(path) == PLAIN


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zip"])
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_packed_file_that_is_cut_short_is_refused(kind: str, keep: float, tmp_path: Path) -> None:
    packed = PACKERS[kind](os.urandom(3_000))
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(packed[: int(keep * len(packed))])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_content(path)


REFUSED = {
    "two members": (zipped({"a": PLAIN, "b": PLAIN}), "holds 2 .*a, b"),
    "no member": (zipped({}), "holds 0"),
    "a workbook": (zipped({"[Content_Types].xml": b"<x/>", "sheet": b""}), "Office document"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "Excel workbook"),
    "parquet": (b"PAR1" + bytes(20), "a Parquet file"),
    "a web page": (b"\n<!DOCTYPE html><html>", "a web page"),
    "JSON": (b'[{"a": 1, "label": "x"},\n', "holds JSON"),
    "JSON lines": (b'{"a": 1}\n{"a": 2}\n', "holds JSON"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_text_is_refused_by_its_kind(case: str, tmp_path: Path) -> None:
    content, says = REFUSED[case]
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_content(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="is a pipe"):
        read_content(tmp_path / "rows.csv")


def test_a_socket_and_a_device_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("rows.csv")
        for path in (Path("rows.csv"), Path(os.devnull)):
            with pytest.raises(DataError, match="socket or device"):
                read_content(path)


@pytest.mark.parametrize("name", ["gone.csv", "x" * 5_000, "nul\0.csv"])
def test_a_file_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_content(tmp_path / name)


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").symlink_to(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="there is no file"):
        read_content(tmp_path / "rows.csv")
