"""The scan of public tables: finds them in packages, counts loads and refusals, sees leaks."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from widthwise.benchmarks.data_files.__main__ import main
from widthwise.benchmarks.data_files.packages import find_tables
from widthwise.benchmarks.data_files.scan import scan_table

ROWS = 60


def public_table(seed: int) -> str:
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "size": random.normal(size=ROWS).round(2),
            "year": np.arange(1900, 1900 + ROWS),
            "kind": np.repeat(["a", "b", "c"], ROWS // 3),
        }
    )
    return table.to_csv()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    (folder / "one" / "data").mkdir(parents=True)
    (folder / "two").mkdir()
    (folder / "two.dist-info").mkdir()
    (folder / "one" / "data" / "plain.csv").write_text(public_table(0))
    (folder / "one" / "data" / "copy.csv").write_text(public_table(0))
    (folder / "one" / "broken.csv").write_text("a,b\n1,2\n1,2,3\n")
    (folder / "one" / "packed.csv.gz").write_bytes(gzip.compress(public_table(1).encode()))
    (folder / "two.dist-info" / "none.csv").write_text(public_table(2))
    content = public_table(3).encode()
    with tarfile.open(folder / "two" / "resources.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("csv/inner.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return folder


def test_every_table_is_found_once(packages: Path, tmp_path: Path) -> None:
    found = [(table.package, table.path.name) for table in find_tables(packages, tmp_path / "u")]
    assert len(found) == 4
    assert {("one", "broken.csv"), ("one", "packed.csv.gz"), ("two", "inner.csv")} < set(found)


def test_a_table_is_loaded_and_planted_into(packages: Path, tmp_path: Path) -> None:
    scan = scan_table(packages / "one" / "data" / "plain.csv", tmp_path)
    assert (scan.loads, scan.planted) == (3, 5)
    assert len(scan.refusals) <= 1
    assert scan.exceptions == scan.leaks == []
    assert scan.counting == ["plain.csv: year (1900 to 1959)"]


def test_the_command_writes_a_table_and_all_findings(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([str(packages), "--json", str(tmp_path / "found.json"), "--quick"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "| package | files | loads | refusals | exceptions | planted | leaks |" in out
    assert "| all | 4 |" in out
    assert "FILE cannot be read as CSV" in out
    assert set(json.loads((tmp_path / "found.json").read_text())["two"]) == {"inner.csv"}


def test_a_folder_without_tables_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    assert main([str(tmp_path / "packages")]) == 1
