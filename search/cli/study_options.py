"""Options that say what to search: a spec file, or a data file, and what to change in it.

Entry point: `Wanted`, what `run` and `submit` put into the database.
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
    from ..spec.from_data import QuickOptions

SpecOrData = Annotated[
    Path | None, typer.Argument(metavar="[SPEC]", help="A spec file, or --data instead.")
]
Data = Annotated[
    str | None,
    typer.Option(help="Search an MLP for a .csv, .parquet or .npz file, or a built-in set."),
]
Target = Annotated[str | None, typer.Option(help="Column of the data file to predict.")]
Task = Annotated[
    str | None, typer.Option(help="classification or regression, where it is taken wrongly.")
]
Metric = Annotated[str | None, typer.Option(help="Metric, for --data.")]
Family = Annotated[str, typer.Option(help="Family of models, for --data: mlp or cnn.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of a trial, for --data.")]
MaxFlops = Annotated[str | None, typer.Option(help='Limit, forward per sample (= 2 × MACs): "2M".')]
MaxParameters = Annotated[str | None, typer.Option(help='Limit: "200k".')]
MaxTrainMemory = Annotated[
    str | None, typer.Option(help='Limit, peak of a training step: "64 MiB".')
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", "-n", min=1, help="Budget in trainings, over all workers and resumes."
    ),
]
Name = Annotated[str | None, typer.Option(help="The study's name.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the study.")]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A study as the command line asks for it.

    Attributes:
        spec: The spec file; None where there is a data file instead.
        quick: The data file, its target and so on.
        name: In place of the spec's own.
        trials: In place of the spec's own.
        seed: In place of the spec's own.
        flops: Limit in place of the spec's own.
        parameters: Limit in place of the spec's own.
        train_memory: Limit in place of the spec's own.
    """

    spec: Path | None
    quick: QuickOptions | None
    name: str | None
    trials: int | None
    seed: int | None
    flops: str | None
    parameters: str | None
    train_memory: str | None

    def start(self, storage: str | None, *, priority: int | None = None) -> StudyRow:
        """Put the study into the database, or join it there; see `studies.start`."""
        from ..problem.build import at
        from ..spec.from_data import overridden, quick_sections
        from ..spec.spec import parse_spec, read_toml
        from ..study import start

        if self.spec is not None:
            sections, source = read_toml(self.spec), str(self.spec)
            base = self.spec.resolve().parent
        else:
            assert self.quick is not None, "one of the two was given"
            sections, source, base = quick_sections(self.quick), "the command line", Path.cwd()
        limits = {
            "flops": self.flops,
            "parameters": self.parameters,
            "train_memory": self.train_memory,
        }
        sections = overridden(
            sections, name=self.name, trials=self.trials, seed=self.seed, limits=limits
        )
        parsed = parse_spec(sections, source=source)
        with nullcontext() if self.spec is None else at(source):
            return start(
                parsed,
                base,
                lambda: open_database(storage, create=True),
                stderr(),
                priority=priority,
            )


def quick_options(
    verb: str,
    spec: Path | None,
    data: str | None,
    *,
    target: str | None,
    task: str | None,
    metric: str | None,
    family: str,
    epochs: int,
) -> QuickOptions | None:
    """What goes with a data file; None where there is a spec file.

    Raises:
        SpecError: There are both, or neither, or the spec file goes with a data file's options.
    """
    from ..spec.from_data import QuickOptions

    if (spec is None) == (data is None):
        raise SpecError(
            f"{verb} needs a spec file or --data FILE"
            + (", not both" if spec is not None else "; `widthwise init` writes a spec file")
        )
    if data is None:
        given = {"--target": target, "--task": task, "--metric": metric}
        wrong = [flag for flag, value in given.items() if value is not None]
        if wrong:
            raise SpecError(f"{', '.join(wrong)} goes with --data: set it in {spec} instead")
        return None
    return QuickOptions(
        data=data, target=target, task=task, metric=metric, family=family, epochs=epochs
    )
