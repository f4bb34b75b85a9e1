"""Options that say what to search: a spec file, or a data file, and what to change in it.

Entry point: `StudyRequest`, what `run` and `submit` put into the database.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SpecError
from .options import open_database, stderr

if TYPE_CHECKING:
    from ...storage.ledger.slot import StudyRow
    from ..spec.from_data import DataRunOptions

SpecOrDataArgument = Annotated[
    Path | None, typer.Argument(metavar="[SPEC]", help="A spec file, or --data instead.")
]
DataOption = Annotated[
    str | None,
    typer.Option(help="Search an MLP for a .csv, .parquet or .npz file, or a built-in set."),
]
TargetOption = Annotated[str | None, typer.Option(help="Column of the data file to predict.")]
TaskOption = Annotated[
    str | None, typer.Option(help="classification or regression, where it is taken wrongly.")
]
MetricOption = Annotated[str | None, typer.Option(help="Metric, for --data.")]
FamilyOption = Annotated[str, typer.Option(help="Family of models, for --data: mlp or cnn.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs of a trial, for --data.")]
MaxFlopsOption = Annotated[
    str | None, typer.Option(help='Limit, forward per sample (= 2 × MACs): "2M".')
]
MaxParametersOption = Annotated[str | None, typer.Option(help='Limit: "200k".')]
MaxTrainMemoryOption = Annotated[
    str | None, typer.Option(help='Limit, peak of a training step: "64 MiB".')
]
TrialsOption = Annotated[
    int | None,
    typer.Option(
        "--trials", "-n", min=1, help="Budget in trainings, over all workers and resumes."
    ),
]
NameOption = Annotated[str | None, typer.Option(help="The study's name.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the study.")]


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """A study as the command line asks for it.

    Attributes:
        spec_file: The spec file; None where there is a data file instead.
        data_options: The data file, its target and so on.
        name: In place of the spec's own.
        trials: In place of the spec's own.
        seed: In place of the spec's own.
        flops: Limit in place of the spec's own.
        parameters: Limit in place of the spec's own.
        train_memory: Limit in place of the spec's own.
    """

    spec_file: Path | None
    data_options: DataRunOptions | None
    name: str | None
    trials: int | None
    seed: int | None
    flops: str | None
    parameters: str | None
    train_memory: str | None

    def create_or_join(self, storage: str | None, *, priority: int | None = None) -> StudyRow:
        """Put the study into the database, or join it there; see `studies.create_or_join`."""
        from ..problem.build import prefix_errors
        from ..spec.from_data import override_sections, sections_from_data
        from ..spec.spec import parse_spec, read_toml
        from ..study import create_or_join_study

        if self.spec_file is not None:
            sections, source = read_toml(self.spec_file), str(self.spec_file)
            base_folder = self.spec_file.resolve().parent
        else:
            assert self.data_options is not None, "one of the two was given"
            sections, source, base_folder = (
                sections_from_data(self.data_options),
                "the command line",
                Path.cwd(),
            )
        limits = {
            "flops": self.flops,
            "parameters": self.parameters,
            "train_memory": self.train_memory,
        }
        sections = override_sections(
            sections, name=self.name, trials=self.trials, seed=self.seed, limits=limits
        )
        parsed_spec = parse_spec(sections, source=source)
        with nullcontext() if self.spec_file is None else prefix_errors(source):
            return create_or_join_study(
                parsed_spec,
                base_folder,
                lambda: open_database(storage, create=True),
                stderr(),
                priority=priority,
            )


def parse_data_options(
    verb: str,
    spec_file: Path | None,
    data: str | None,
    *,
    target: str | None,
    task: str | None,
    metric: str | None,
    family: str,
    epochs: int,
) -> DataRunOptions | None:
    """What goes with a data file; None where there is a spec file.

    Raises:
        SpecError: There are both, or neither, or the spec file goes with a data file's options.
    """
    from ..spec.from_data import DataRunOptions

    if (spec_file is None) == (data is None):
        raise SpecError(
            f"{verb} needs a spec file or --data FILE"
            + (", not both" if spec_file is not None else "; `widthwise init` writes a spec file")
        )
    if data is None:
        data_flags = {"--target": target, "--task": task, "--metric": metric}
        misplaced_flags = [flag for flag, value in data_flags.items() if value is not None]
        if misplaced_flags:
            raise SpecError(
                f"{', '.join(misplaced_flags)} goes with --data: set it in {spec_file} instead"
            )
        return None
    return DataRunOptions(
        data=data, target=target, task=task, metric=metric, family=family, epochs=epochs
    )
