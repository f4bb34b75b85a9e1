"""The tables that installed packages ship, without importing any of them.

Entry point: `find_tables`.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".tsv")


@dataclass(frozen=True, kw_only=True)
class PublicTable:
    """A table of a package.

    Attributes:
        package: Name of its folder.
        path: Of the file.
    """

    package: str
    path: Path


def find_tables(folder: Path, unpacked: Path) -> Iterator[PublicTable]:
    """Yield the tables of the packages in a folder, every content once.

    Args:
        folder: Where the packages were installed, one folder each.
        unpacked: An empty folder for archives of tables, as pydataset ships them.
    """
    seen: set[bytes] = set()
    for package in sorted(folder.iterdir()):
        if not package.is_dir() or package.suffix == ".dist-info":
            continue
        for archive in sorted(package.rglob("*.tar.gz")):
            with tarfile.open(archive) as opened:
                opened.extractall(unpacked / package.name, filter="data")
        for root in (package, unpacked / package.name):
            for path in sorted(root.rglob("*")):
                if not path.name.lower().endswith(SUFFIXES) or path.name.startswith("._"):
                    continue
                digest = hashlib.sha256(path.read_bytes()).digest()
                if path.is_file() and digest not in seen:
                    seen.add(digest)
                    yield PublicTable(package=package.name, path=path)
