"""A study's network, brought home: a folder that says what it is, builds it and holds its weights.

    widths.json           widths, costs, metric, study and versions
    model.py              `build()` returns the network; the user's own files lie beside it
    weights.safetensors   the weights of the final training
    model.onnx            the same network for other programs, where torch exports it

What cannot be written is said in a sentence, with what to do; the rest is written all the same.

Entry points: `export`, from Python; `export_network`, and what it returns, `Exported`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ...objectives.data.streams.samples import first_rows
from ...objectives.data.streams.source import BatchData
from ...objectives.model.objective import family_facts
from ...objectives.own_training.own_training import OwnTraining
from ...objectives.randomness import Randomness
from ...storage.database.database import Database, resolve_url
from ..command import format_command
from ..discovery.builder import discovered
from ..errors import SearchError, SpecError
from ..followup.final_training import FinalTraining, find_trainings
from ..followup.subject import Subject, load_subject, trial_widths
from ..problem.build import step_spec
from ..report.metric_format import format_metric
from ..report.summary import build_summary
from ..units import format_widths
from .model_source import MARK, SOURCE_FOLDER, DiscoveredModel, ModelSource, model_source
from .onnx_file import OnnxFailure, write_onnx
from .program import loading_program
from .source_check import build_failure, tensor_shapes
from .widths_record import NO_ENCODING, widths_record

WIDTHS, MODEL, WEIGHTS, ONNX = "widths.json", "model.py", "weights.safetensors", "model.onnx"

_EXAMPLES = 3
"""Samples that an ONNX file is tried out on; not one, which torch takes for a fixed size."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        study: Whose network it is.
        folder: Where it is.
        widths: Of the network.
        files: The files written, below the folder.
        notes: Sentences on what was checked, and on what could not be written and why.
        program: Lines of Python that load the network.
    """

    study: str
    folder: Path
    widths: Mapping[str, int]
    files: tuple[str, ...]
    notes: tuple[str, ...]
    program: str

    def to_json(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {
            "study": self.study,
            "folder": str(self.folder),
            "widths": dict(self.widths),
            "files": list(self.files),
            "notes": list(self.notes),
            "program": self.program,
        }


def export(
    name: str,
    out: str | Path,
    *,
    storage: str | None = None,
    widths: Mapping[str, int] | None = None,
    trial: int | None = None,
    checkpoints: str | Path | None = None,
    training: int | None = None,
) -> Exported:
    """Write a study's network as files: what `widthwise export NAME --out DIR` does.

    Args:
        name: The study's name.
        out: The folder; made if it is not there.
        storage: Database URL; None as on the command line (environment, then a file here).
        widths: In place of those recommended, or of some of them.
        trial: Whose widths to take instead.
        checkpoints: Folder that the final training kept its weights in; None for the usual one.
        training: Number of the final training of these widths; None for the longest.

    Returns:
        The files, sentences on what is missing, and the program that loads the network.

    Raises:
        SearchError: There is no such network, or the folder holds files of somebody else.
        ObjectiveError: The model or the data are not here.
        StorageError: The database refuses, or has no such study.
    """
    if widths is not None and trial is not None:
        raise SpecError("found both of widths and trial: give one of them")
    with Database.open(resolve_url(storage), create=False) as database:
        chosen = dict(widths or {}) if trial is None else trial_widths(database, name, trial)
        return export_network(
            database,
            name,
            Path(out),
            chosen,
            checkpoints=None if checkpoints is None else Path(checkpoints),
            number=training,
        )


def export_network(
    database: Database,
    name: str,
    folder: Path,
    widths: Mapping[str, int],
    *,
    checkpoints: Path | None = None,
    number: int | None = None,
) -> Exported:
    """Write a study's network into a folder.

    Args:
        database: Where the study is.
        name: Its name.
        folder: Where to.
        widths: In place of those recommended, or of some of them.
        checkpoints: What `--checkpoints` says.
        number: Of the final training of these widths; None for the longest.

    Raises:
        SearchError, ObjectiveError, StorageError: As of `export`.
    """
    _check_folder(folder)
    subject = load_subject(database, name, widths, flag="--widths")
    trainings = find_trainings(database, subject.evidence.row, subject.widths, checkpoints)
    chosen = trainings if number is None else [one for one in trainings if one.number == number]
    if number is not None and not chosen:
        known = ", ".join(str(one.number) for one in trainings) or "none"
        raise SpecError(
            f"--training: {number} is no final training of {format_widths(subject.widths)}; there "
            f"are: {known}; other widths are named by --widths"
        )
    training = next((one for one in chosen if one.weights.is_file()), None)
    notes = [
        _no_weights(subject, chosen) if training is None else _which_weights(training, trainings)
    ]
    objective = subject.problem.loop_objective
    if objective is not None and not isinstance(objective.data, BatchData):
        notes.append(f"inputs: {NO_ENCODING}")
    source: ModelSource | None = None
    try:
        source = _model_source(subject)
    except SpecError as error:
        notes.append(f"no model.py: {error}")
    record = widths_record(subject, build_summary(subject.evidence), training)
    try:
        files = _write(folder, record, source, training)
    except OSError as error:
        raise SpecError(
            f"--out: {error.filename or folder} cannot be written ({error.strerror}); give a "
            "folder that you may write to"
        ) from error
    failure = None if source is None else _failure(subject, folder)
    if failure is not None and subject.evidence.spec.model.discover is not None:
        # A name in the call may be none of the file's: then we build it, as in the search.
        source = _model_source(subject, by_call=False)
        (folder / MODEL).write_text(source.text, encoding="utf-8")
        failure = _failure(subject, folder)
    if failure is not None:
        (folder / MODEL).unlink()
        files.remove(MODEL)
        source = None
        notes.append(f"no model.py: written as a file of its own, {failure}")
    if training is not None:
        try:
            notes.append(_write_onnx(subject, folder))
            files.append(ONNX)
        except OnnxFailure as failure:
            notes.append(str(failure))
    if source is not None and source.needs:
        notes.append(
            f"model.py needs the package {' and '.join(source.needs)}, which builds the network."
        )
    step = step_spec(subject.problem.objective, subject.problem.settings)
    program = (
        ""
        if source is None
        else loading_program(folder, step.inputs, has_weights=training is not None)
    )
    return Exported(
        study=name,
        folder=folder,
        widths=subject.widths,
        files=tuple(files),
        notes=tuple(notes),
        program=program,
    )


def _check_folder(folder: Path) -> None:
    """Check that nothing in the folder is lost.

    Raises:
        SpecError: It is a file, or has files of our names that are not ours.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"--out: {folder} is a file; give a folder")
    present = [
        name for name in (MODEL, WIDTHS, WEIGHTS, ONNX, SOURCE_FOLDER) if (folder / name).exists()
    ]
    if not present:
        return
    for name, mark in ((MODEL, MARK), (WIDTHS, '"widthwise"')):
        try:
            if mark in (folder / name).read_text(encoding="utf-8")[:100_000]:
                return
        except (OSError, UnicodeDecodeError):
            continue
    raise SpecError(
        f"--out: {folder / present[0]} is there already, and no earlier export wrote it; give "
        "another folder"
    )


def _which_weights(training: FinalTraining, trainings: list[FinalTraining]) -> str:
    """Return which final training the weights are of, and how another is chosen."""
    tested = (
        "no test split judged it"
        if training.test is None
        else f"test {training.metric} {format_metric(training.test)}"
    )
    epochs = "epoch" if training.epochs == 1 else "epochs"
    text = f"weights: final training {training.number}, {training.epochs:,} {epochs}, {tested}"
    others = [f"{one.number} ({one.epochs:,})" for one in trainings if one != training]
    if others:
        text += f"; others by --training N, with their epochs: {', '.join(others)}"
    return text


def _no_weights(subject: Subject, trainings: list[FinalTraining]) -> str:
    """Return why there are no weights, and what to do."""
    name = subject.name
    if trainings:
        return (
            f"no weights: those of the final training are not at {trainings[0].weights}; name the "
            "folder they were kept in with --checkpoints"
        )
    objective = subject.problem.objective
    if isinstance(objective, OwnTraining):
        return (
            f"no weights: {objective.name} trains the networks and keeps them to itself; call it "
            f"with {format_widths(subject.widths)}, and save there what it trains"
        )
    chosen = ",".join(f"{width}={value}" for width, value in subject.widths.items())
    command = format_command("train", name, options=["--widths", chosen])
    return f"no weights, and so no model.onnx: `{command}` trains them; export again then"


def _model_source(subject: Subject, *, by_call: bool = True) -> ModelSource:
    """Return the module that builds the network.

    Args:
        subject: The study, and the network's widths.
        by_call: Whether a discovered model may be built by its constructor's call.

    Raises:
        SpecError: Nothing that a file can name builds it.
    """
    spec, problem = subject.evidence.spec, subject.problem
    model, objective = spec.model, problem.loop_objective
    found = None
    if model.discover is not None:
        data = None if objective is None else objective.data
        call = discovered(model, problem.folder, data).call(subject.widths) if by_call else None
        found = DiscoveredModel(
            reference=model.discover,
            call=call,
            inputs=step_spec(problem.objective, problem.settings).inputs,
            options={
                "only": tuple(model.only or ()),
                "keep": tuple(model.keep or ()),
                "per_layer": bool(model.per_layer),
            },
        )
    return model_source(
        spec,
        problem.folder,
        subject.widths,
        family_options=_family_options(subject),
        discovered=found,
    )


def _failure(subject: Subject, folder: Path) -> str | None:
    """Return why the written `model.py` does not build the network; None where it does."""
    return build_failure(folder / MODEL, tensor_shapes(_untrained(subject)))


def _family_options(subject: Subject) -> dict[str, Any]:
    """Return what a family's builder is called with, besides the widths."""
    objective = subject.problem.loop_objective
    model = subject.evidence.spec.model
    if objective is None or model.family is None:
        return {}
    return {**family_facts(model.family, objective.data), **model.options}


def _write(
    folder: Path,
    record: Mapping[str, Any],
    source: ModelSource | None,
    training: FinalTraining | None,
) -> list[str]:
    """Write all files but the ONNX one; what an earlier export left is taken away.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WIDTHS, MODEL, WEIGHTS, ONNX):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / SOURCE_FOLDER, ignore_errors=True)
    files = [WIDTHS]
    (folder / WIDTHS).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    if source is not None:
        (folder / MODEL).write_text(source.text, encoding="utf-8")
        files.append(MODEL)
        for target, original in source.copies.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(original.read_bytes())
            files.append(target.as_posix())
    if training is not None:
        unfinished = folder / f"{WEIGHTS}.{os.getpid()}.unfinished"
        shutil.copyfile(training.weights, unfinished)
        unfinished.replace(folder / WEIGHTS)
        files.append(WEIGHTS)
    return files


def _write_onnx(subject: Subject, folder: Path) -> str:
    """Write the trained network as ONNX; return how it was checked.

    Raises:
        OnnxFailure: It cannot be.
    """
    objective = subject.problem.loop_objective
    assert objective is not None, "whose training is the user's own has no weights here"
    network = _trained(subject, folder / WEIGHTS)
    batch = first_rows(objective.data, _EXAMPLES).without_targets().to(torch.device("cpu"))
    return write_onnx(network, batch, folder / ONNX)


def _untrained(subject: Subject) -> nn.Module:
    """Return the network with fresh weights, which are of no importance."""
    with Randomness(0, torch.device("cpu")):
        return subject.problem.objective.build(subject.widths)


def _trained(subject: Subject, weights: Path) -> nn.Module:
    """Return the network with its weights, on the CPU, in eval mode."""
    network = _untrained(subject)
    try:
        network.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise SearchError(
            f"{weights} does not fit the network of {format_widths(subject.widths)}: "
            f"{str(error).splitlines()[-1].strip()}; train it again"
        ) from error
    return network.cpu().eval()
