"""Options that say what to search: a spec file, or a data file, and what to change in it.

Entry point: `StudyRequest`, what `run` and `submit` take and put into the database; a field of it
is an option of both.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from ...objectives.cost.registry import LIMITABLE_COSTS
from ...objectives.model.family_registry import FAMILIES
from ...storage.ledger.budget import MAX_BUDGET
from ..errors import SpecError
from ..flags import parse_int_option, whole_number
from ..spec.proxy_section import MAX_EPOCHS
from .check_data import FileOptions
from .options import open_database, parse_name, stderr

if TYPE_CHECKING:
    from ...storage.ledger.slot import StudyRow

_AUTO = "auto"


def _parse_trials(text: object) -> int | str:
    """Return `--trials` as a spec takes it: a number, or "auto".

    Raises:
        SpecError: It is neither.
    """
    if str(text).strip() == _AUTO:
        return _AUTO
    try:
        return parse_int_option("--trials", str(text), minimum=1, maximum=MAX_BUDGET)
    except SpecError as error:
        raise SpecError(f'{error}, or "{_AUTO}" for a search that ends itself') from None


_LIMIT_FLAGS = {f"max_{cost.name}": cost for cost in LIMITABLE_COSTS if cost.option_help}

if TYPE_CHECKING:
    LimitOptions: TypeAlias = Any
else:
    LimitOptions = make_dataclass(
        "LimitOptions",
        [
            (flag, Annotated[str | None, typer.Option(help=cost.option_help)], None)
            for flag, cost in _LIMIT_FLAGS.items()
        ],
        frozen=True,
        kw_only=True,
    )
"""`--max-NAME` for each cost of the registry that has such an option."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(FileOptions):
    """What goes with a data file, in place of a spec file."""

    metric: Annotated[str | None, typer.Option(help="Metric, for --data.")] = None
    family: Annotated[
        str, typer.Option(help=f"Family of models, for --data: {' or '.join(FAMILIES)}.")
    ] = "mlp"
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--epochs", 1, MAX_EPOCHS),
            metavar="N",
            help="Epochs of a trial at most, for --data; else 3,000 steps, or 20 epochs if more.",
            show_default=False,
        ),
    ] = None


def _parse_metric(text: str) -> float:
    """Parse `--good-enough`.

    Raises:
        SpecError: It is no number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError(f'--good-enough: found "{text[:60]}", expected a metric such as 0.97')
    return value


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """A study as the command line asks for it: a field an option.

    Attributes:
        spec: The spec file; None where there is a data file instead.
        data: The data file, its target and so on.
        limits: In place of the spec's own.
        trials: In place of the spec's own.
        goal: In place of the spec's own.
        good_enough: The target of the goal "smallest", in place of the spec's own.
        name: In place of the spec's own.
        seed: In place of the spec's own.
    """

    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC]", help="A spec file, or --data instead.")
    ] = None
    data: DataOptions
    limits: LimitOptions
    trials: Annotated[
        Any,
        typer.Option(
            "--trials",
            "-n",
            parser=_parse_trials,
            metavar="N",
            help="Budget in trainings, over all workers and resumes; auto: ends itself.",
        ),
    ] = None
    goal: Annotated[
        str | None,
        typer.Option(
            metavar="GOAL",
            help="best metric, smallest cost that is as good, or front of both.",
            show_default=False,
        ),
    ] = None
    good_enough: Annotated[
        Any,
        typer.Option(
            "--good-enough",
            parser=_parse_metric,
            metavar="X",
            help="With --goal smallest: the metric that is good enough; else within one standard "
            "error of the best.",
            show_default=False,
        ),
    ] = None
    name: Annotated[
        str | None, typer.Option(help="The study's name.", parser=parse_name, metavar="TEXT")
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--seed", 0, 2**63 - 1), metavar="N", help="Seed of the study."
        ),
    ] = None

    def check_source(self, verb: str) -> None:
        """Check that there is a spec file or a data file, and what goes with it.

        Args:
            verb: The command, for the message.

        Raises:
            SpecError: There are both, or neither, or the spec file goes with a data file's options.
        """
        if (self.spec is None) == (self.data.data is None):
            advice = "; `widthwise init` writes a spec file" if self.spec is None else ", not both"
            raise SpecError(f"{verb} needs a spec file or --data FILE{advice}")
        if self.spec is None:
            return
        misplaced = self.data.given_flags
        if self.data.metric is not None:
            misplaced.append("--metric")
        if misplaced:
            raise SpecError(
                f"{', '.join(misplaced)} goes with --data: set it in {self.spec} instead"
            )

    def create_or_join(
        self, storage: str | None, *, priority: int | None = None, device: str | None = None
    ) -> StudyRow:
        """Put the study into the database, or join it there; see `study.create_or_join_study`.

        Args:
            storage: The flag of the storage.
            priority: Of the study; None leaves it.
            device: What its workers train on here; its kind is the study's. None for the spec's.
        """
        from ..problem.build import prefix_errors
        from ..spec.device import device_kind
        from ..spec.from_data import override_sections, sections_from_data
        from ..spec.spec import parse_spec, read_toml
        from ..study import create_or_join_study

        if self.spec is not None:
            sections, source = read_toml(self.spec), str(self.spec)
            base_folder = self.spec.resolve().parent
        else:
            sections, source = sections_from_data(**asdict(self.data)), "the command line"
            base_folder = Path.cwd()
        sections = override_sections(
            sections,
            name=self.name,
            trials=self.trials,
            goal=self.goal,
            target=self.good_enough,
            seed=self.seed,
            device=None if device is None else device_kind(device),
            limits={cost.name: getattr(self.limits, flag) for flag, cost in _LIMIT_FLAGS.items()},
        )
        model = sections.get("model")
        if isinstance(model, dict) and "discover" in model:
            from ..discovery.ranges import with_ranges  # it loads torch

            with prefix_errors(source):
                sections = with_ranges(sections, base_folder)
        parsed_spec = parse_spec(sections, source=source)
        with nullcontext() if self.spec is None else prefix_errors(source):
            return create_or_join_study(
                parsed_spec,
                base_folder,
                lambda: open_database(storage, create=True),
                stderr(),
                find_existing=lambda name: _find_study(storage, name),
                priority=priority,
            )


def _find_study(storage: str | None, name: str) -> StudyRow | None:
    """Return a study that is there; nothing is made where nothing is."""
    from ...storage.errors import NoStudies
    from ...storage.study.study import find_study

    try:
        with open_database(storage) as database:
            return find_study(database, name)
    except NoStudies:
        return None
