"""How a data file is read, column by column: what each is taken as, and what becomes of it.

Nothing is trained. What becomes of a column is what encoding it by itself gives; where a target is
named, medians and categories are those of the training rows that a study with this seed would have.

Entry point: `describe_file` makes a `FileDescription`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .columns.reading import ColumnKind, ColumnReading, format_counts
from .dataset import RawData, Task
from .features import encode_columns
from .files.data_file import is_data_file, read_columns_of, read_file
from .read_options import DEFAULT_OPTIONS, ReadOptions
from .row_numbers import row_naming
from .split import Partition, split_rows
from .table import ValueTable, is_text, take_target
from .target import Target, recognise_target
from .text_target import read_text_target

EXAMPLES = 3
"""Values of a column that are shown, the commonest first."""

_MAX_EXAMPLE_CHARACTERS = 24


@dataclass(frozen=True, kw_only=True)
class ColumnDescription:
    """A column of a file.

    Attributes:
        name: Column name.
        kind: What its values are taken as.
        format: How they are written, where that is not plain.
        gaps: Rows without a value.
        missing_words: Words that were taken as gaps, and their rows.
        distinct: Different values.
        examples: Some of them as they stand in the file, the commonest first.
        features: Numbers that the network gets from it in each row.
        outcome: What becomes of it, or why it is dropped.
        remarks: What else a person should know.
    """

    name: str
    kind: str
    format: str
    gaps: int
    missing_words: Mapping[str, int]
    distinct: int
    examples: tuple[str, ...]
    features: int
    outcome: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FileDescription:
    """How a file is read.

    Attributes:
        name: Of the file.
        layout: Its kind, encoding, separator and column names, for people.
        rows: All of them.
        columns: In the order of the file, the target among them.
        notes: On how the file was read.
        target: Name of the target; None where none was named.
        target_notes: What the target was recognised as, and what was dropped for it.
        task: Classes or quantities; None without a target, or where it cannot be predicted.
        problem: Why nothing can be trained on the file; None where it can.
    """

    name: str
    layout: Mapping[str, str]
    rows: int
    columns: tuple[ColumnDescription, ...]
    notes: tuple[str, ...]
    target: str | None = None
    target_notes: tuple[str, ...] = ()
    task: Task | None = None
    problem: str | None = None


@dataclass(kw_only=True, eq=False)
class _TargetFindings:
    """What a target is; or the sentence that says why it is none."""

    target: Target | None = None
    partition: Partition | None = None
    problem: str | None = None
    notes: list[str] = field(default_factory=list)


def describe_file(
    path: Path,
    target: str | None = None,
    *,
    seed: int = 0,
    task: Task | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> FileDescription:
    """Return how a file is read.

    Args:
        path: The file.
        target: Column to predict; None to look at the columns alone.
        seed: Decides which rows are the training rows.
        task: Overrules what the target is recognised as.
        options: What the user says of the file.

    Raises:
        DataError: The file cannot be read, or has no such column.
    """
    if target is not None and is_data_file(path.name) and path.suffix.lower() == ".npz":
        raw = read_file(path, target, options=options)
        if not isinstance(raw.inputs, pd.DataFrame):
            return _describe_samples(raw, seed, task)
    table = read_columns_of(path, target, options)
    findings = _TargetFindings()
    if target is not None:
        findings = _find_target(take_target(table, target), seed, task)
    columns = [
        _describe_column(table, str(name), findings, is_target=name == target)
        for name in table.values.columns
    ]
    problem = findings.problem
    if problem is None and not any(column.features for column in columns):
        problem = f"{path.name} has no column to learn from: add some."
    return FileDescription(
        name=path.name,
        layout=table.layout,
        rows=len(table.values),
        columns=tuple(columns),
        notes=table.notes,
        target=target,
        target_notes=tuple(findings.notes),
        task=None if findings.target is None else findings.target.task,
        problem=problem,
    )


def _find_target(raw: RawData, seed: int, task: Task | None) -> _TargetFindings:
    try:
        target = recognise_target(
            raw.target, raw.target_name, task, raw.reading_of(raw.target_name)
        )
        partition = split_rows(target.values, target.classes, seed)
    except DataError as error:
        return _TargetFindings(problem=str(error))
    return _TargetFindings(
        target=target, partition=partition, notes=[*target.notes, *partition.notes]
    )


def _describe_column(
    table: ValueTable, name: str, findings: _TargetFindings, *, is_target: bool
) -> ColumnDescription:
    values, source = table.values[name], table.source[name]
    reading = next((one for one in table.readings if one.name == name), None)
    if is_target and reading is not None and _has_words_as_classes(reading, findings.target):
        texts = read_text_target(source, reading).texts
        reading = ColumnReading(
            name=name,
            kind=ColumnKind.TEXT,
            values=texts,
            empty=reading.empty,
            remarks=reading.remarks,
        )
        values = texts
    features, outcome = (0, "the target") if is_target else _outcome(values, name, findings)
    present = source[values.notna().to_numpy()]
    if reading is not None:
        present = present[present.astype(str).str.strip() != ""]
    return ColumnDescription(
        name=name,
        kind=_kind(values, reading),
        format="" if reading is None else reading.format,
        gaps=int(values.isna().sum()) if reading is None else reading.gaps,
        missing_words={} if reading is None else dict(reading.missing_words),
        distinct=_count_distinct(values),
        examples=_examples(present),
        features=features,
        outcome=outcome,
        remarks=() if reading is None else tuple(map(str, reading.remarks)),
    )


def _has_words_as_classes(reading: ColumnReading, target: Target | None) -> bool:
    """Return whether words that would be gaps among the numbers of a feature are classes."""
    classes = () if target is None or target.classes is None else target.classes
    return not set(reading.missing_words).isdisjoint(classes)


def _outcome(values: "pd.Series[Any]", name: str, findings: _TargetFindings) -> tuple[int, str]:
    """Return how many features a column becomes, and a word on it."""
    numbering = row_naming(name, values)
    if numbering is not None:
        return 0, f"dropped, since its values {numbering}"
    if findings.target is None or findings.partition is None:
        rows = np.arange(len(values))
        partition = Partition(train=rows, validation=rows[:1], test=rows[:1])
    else:
        values, partition = values[findings.target.has_target], findings.partition
    if not len(values):
        return 0, "dropped, since there are no rows"
    splits, notes = encode_columns(values.to_frame(name), partition)
    count = int(splits[0].shape[1])
    said = "; ".join(note.rsplit(f": '{name}", 1)[0].removesuffix(", in") for note in notes)
    if not count:
        return 0, said or "dropped"
    return count, f"{count} feature{'' if count == 1 else 's'}" + (f": {said}" if said else "")


def _kind(values: "pd.Series[Any]", reading: ColumnReading | None) -> str:
    if reading is not None:
        return str(reading.kind)
    if pd.api.types.is_bool_dtype(values):
        return "true/false"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    return "text" if is_text(values) else str(values.dtype)


def _count_distinct(values: "pd.Series[Any]") -> int:
    try:
        return int(values.nunique())
    except TypeError:  # lists and the like have no hash
        return int(values.dropna().astype(str).nunique())


def _examples(present: "pd.Series[Any]") -> tuple[str, ...]:
    commonest = present.astype(str).value_counts(sort=True).index[:EXAMPLES]
    return tuple(
        text if len(text) <= _MAX_EXAMPLE_CHARACTERS else f"{text[: _MAX_EXAMPLE_CHARACTERS - 1]}…"
        for text in map(str, commonest)
    )


def _describe_samples(raw: RawData, seed: int, task: Task | None) -> FileDescription:
    """Describe samples that lie in one array, which are encoded as a whole."""
    findings = _find_target(raw, seed, task)
    shape = tuple(raw.inputs.shape[1:])
    samples = np.asarray(raw.inputs)
    column = ColumnDescription(
        name="samples",
        kind=f"array {shape} of {samples.dtype}",
        format="",
        gaps=int((~np.isfinite(samples.astype(np.float64))).sum()),
        missing_words={},
        distinct=len(samples),
        examples=(),
        features=int(np.prod(shape)),
        outcome="standardised",
        remarks=(),
    )
    return FileDescription(
        name=raw.name,
        layout={"kind": "NumPy archive"},
        rows=len(samples),
        columns=(column,),
        notes=raw.notes,
        target=raw.target_name,
        target_notes=tuple(findings.notes),
        task=None if findings.target is None else findings.target.task,
        problem=findings.problem,
    )


def format_kind(column: ColumnDescription) -> str:
    """Return what a column is taken as, with how it is written and which words are gaps."""
    details = [column.format] if column.format else []
    if column.missing_words:
        details.append(f"missing: {format_counts(column.missing_words)}")
    return f"{column.kind} ({'; '.join(details)})" if details else column.kind
