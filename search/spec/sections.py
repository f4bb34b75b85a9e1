"""The sections `[study]`, `[model]` and `[widths]` of a spec, and what all sections are made of.

Entry points: `StudySection`, `ModelSection`, `WidthsSection`; `Section`, the base of all sections,
and `Reference`, the type of a reference to one of the user's functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from ...objectives.model.family_registry import FAMILIES
from ...storage.ledger.budget import MAX_BUDGET
from ..errors import SpecError
from ..goal import GoalKind
from ..printable import find_control
from ..space.constraints import AbsentLast, OrderDirection
from ..space.limits import LIMIT_NAMES
from ..space.space import Divisible, Order, Space, Tie, Width
from .input_shape import parse_input_shape
from .tracker_address import check_tracker


class Section(BaseModel):
    """A section refuses keys it does not know, and guesses no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _importable_reference(value: object) -> object:
    """Turn a module-level function into `FILE.py:name`, which another process can load."""
    if not callable(value):
        return value
    name = getattr(value, "__qualname__", "")
    if not name.isidentifier():
        raise ValueError(
            f"found {name or value!r}, which worker processes cannot import; "
            "expected a function defined at the top level of a module"
        )
    return f"{Path(inspect.getfile(value)).resolve()}:{name}"


Reference = Annotated[str, BeforeValidator(_importable_reference), Field(min_length=1)]
"""`FILE.py:name`, `package.module:name` or a word; a module-level function is turned into one."""

Patterns = Annotated[
    list[Annotated[str, Field(min_length=1)]] | None,
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]
"""Patterns of dotted paths of layers, with * and ?; one may stand without brackets."""

if TYPE_CHECKING:
    CostName = str
    FamilyName = str
else:
    CostName = Literal[LIMIT_NAMES]
    FamilyName = Literal[tuple(FAMILIES)]


def _check_study_name(value: str) -> str:
    if not value.strip() or value != value.strip():
        raise ValueError(f"found {value!r}, expected a name without spaces at its ends")
    return check_visible(value)


def check_visible(name: str) -> str:
    """Return a name, once it is known that people can see all of it.

    Raises:
        ValueError: It has a character that a terminal would obey, or that nobody can see.
    """
    if (control := find_control(name)) is not None:
        raise ValueError(
            f"found {name!r}, whose {control} is a control or invisible character; expected a name "
            "without any"
        )
    return name


AUTO = "auto"
"""In place of a number of trials: a search that ends itself."""

AUTO_TRIALS = 100
"""Trainings at most of a search that ends itself: twice what a search of eight widths takes to be
within the noise of its best (docs/sampler.md), and some."""


class StudySection(Section):
    """`[study]`: the name, the budget and the goal."""

    name: Annotated[str, Field(max_length=200), AfterValidator(_check_study_name)]
    trials: int = Field(default=40, ge=1, le=MAX_BUDGET)
    """Budget in trainings, exact over all workers and restarts; "auto" for `AUTO_TRIALS` at most,
    fewer where the search has found what there is to find."""
    stop: Literal["auto"] | None = None
    """"auto": `trials` is the most, and the search may end itself before."""
    goal: Annotated[GoalKind, Field(strict=False)] = GoalKind.BEST
    target: float | None = Field(default=None, allow_inf_nan=False)
    """For the goal "smallest": the metric that is good enough; else what is as good as the best."""
    cost: CostName | None = None
    """For the goals "smallest" and "front": the cost to make small (default: the first limit)."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    trackers: list[Annotated[str, AfterValidator(check_tracker)]] | None = None
    """What is told of every trial while it runs: `tensorboard:FOLDER`, `mlflow:URI`,
    `wandb:PROJECT`."""

    @model_validator(mode="before")
    @classmethod
    def _expand_auto(cls, values: Any) -> Any:
        """Write `trials = "auto"` as its two keys."""
        if not isinstance(values, dict) or values.get("trials") != AUTO:
            return values
        return {**values, "trials": AUTO_TRIALS, "stop": AUTO}

    @model_validator(mode="after")
    def _check_goal(self) -> StudySection:
        if self.goal is not GoalKind.SMALLEST and self.target is not None:
            raise ValueError(f'target goes with goal "smallest", found goal "{self.goal}"')
        if not self.goal.uses_cost and self.cost is not None:
            raise ValueError('cost goes with goal "smallest" or "front", found goal "best"')
        return self


def _check_input_shape(text: str) -> str:
    parse_input_shape(text)
    return text


class ModelSection(Section):
    """`[model]`: the user's `build(widths) -> nn.Module`, her model as it is, or a family."""

    build: Reference | None = None
    discover: Reference | None = None
    """`make_model() -> nn.Module`: a model that exists, whose widths are discovered."""
    only: Patterns = None
    """Of `discover`: patterns of the layers that give the widths to be searched."""
    keep: Patterns = None
    """Of `discover`: patterns of layers whose sizes stay."""
    per_layer: bool | None = None
    """Of `discover`: whether widths of repeated blocks are searched apart."""
    family: FamilyName | None = None
    activation: str | None = None
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    norm: str | None = None
    attention: str | None = None
    costs: Reference | None = None
    """`costs(widths) -> mapping`: the costs of a model that cannot be traced."""
    inputs: Annotated[
        list[Annotated[str, AfterValidator(_check_input_shape)]] | None,
        Field(min_length=1),
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    ] = None
    """Shapes of what the model is called with, one sample each, where no data says so; in a file
    `input` is another word for it."""

    @model_validator(mode="before")
    @classmethod
    def _rename_input(cls, values: Any) -> Any:
        """Write `input` as `inputs`."""
        if not isinstance(values, dict) or "input" not in values or "inputs" in values:
            return values
        return {"inputs" if key == "input" else key: value for key, value in values.items()}

    @model_validator(mode="after")
    def _check_source(self) -> ModelSection:
        sources = [name for name in ("build", "discover", "family") if getattr(self, name)]
        if len(sources) > 1:
            raise ValueError(
                f"expected either build, discover or family, found {' and '.join(sources)}"
            )
        if self.family is None and sources and self.options:
            raise ValueError(
                f"{', '.join(self.options)} goes with a family, found {sources[0]}: "
                "set it inside your function"
            )
        for name in ("only", "keep", "per_layer"):
            if self.discover is None and getattr(self, name) is not None:
                raise ValueError(f"{name} goes with discover, found none")
        return self

    @property
    def has_builder(self) -> bool:
        """Whether models come from the user's own code."""
        return self.build is not None or self.discover is not None

    @property
    def has_alike_layers(self) -> bool:
        """Whether each width is a layer of a chain in which all are built alike."""
        return self.family is not None and FAMILIES[self.family].has_alike_layers

    @property
    def options(self) -> dict[str, Any]:
        """The family's options that the spec sets."""
        family_options = {
            "activation": self.activation,
            "dropout": self.dropout,
            "norm": self.norm,
            "attention": self.attention,
        }
        return {name: value for name, value in family_options.items() if value is not None}


def _expand_width(value: object) -> object:
    """Expand `64`, a fixed width, and `[16, 32]`, its choices, to tables."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"choices": [value]}
    if isinstance(value, list | tuple):
        return {"choices": list(value)}
    return value


class WidthEntry(Section):
    """One width: a range with a step, or explicit choices."""

    low: int | None = None
    high: int | None = None
    step: int | None = None
    choices: list[int] | None = None
    scale: Literal["log", "linear"] = "log"
    optional: bool | None = None
    """Whether the layer may be absent, as the width 0."""

    @model_validator(mode="after")
    def _check_range_or_choices(self) -> WidthEntry:
        is_range = self.low is not None and self.high is not None
        if is_range == (self.choices is not None):
            raise ValueError("expected low and high, or choices")
        has_no_range_keys = self.low is None and self.high is None and self.step is None
        if self.choices is not None and not has_no_range_keys:
            raise ValueError("choices stand alone: expected no low, high or step beside them")
        return self

    def to_width(self, name: str) -> Width:
        """Return the searched width of this name."""
        if self.choices is not None:
            return Width.of(name, self.choices, scale=self.scale, optional=bool(self.optional))
        assert self.low is not None
        assert self.high is not None
        step = 1 if self.step is None else self.step
        return Width.range(
            name, self.low, self.high, step, scale=self.scale, optional=bool(self.optional)
        )


class OrderTable(Section):
    """An order over the widths named, in the order given; over all of them if none is."""

    direction: Annotated[OrderDirection, Field(strict=False)]
    widths: list[str] | None = Field(default=None, min_length=2)


def _expand_order(value: object) -> object:
    if isinstance(value, str):
        return [{"direction": value}]
    return [value] if isinstance(value, dict) else value


class WidthsSection(BaseModel):
    """`[widths]`: all keys but `order`, `tie`, `divisible`, `absent_last` are widths."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, Annotated[WidthEntry, BeforeValidator(_expand_width)]] = Field(
        init=False
    )

    order: Annotated[list[OrderTable], BeforeValidator(_expand_order)] = Field(default_factory=list)
    """`"non-increasing"` over all widths as written, or tables that name the widths."""
    tie: list[list[str]] = Field(default_factory=list)
    """Groups of widths that share one value."""
    divisible: dict[str, str | list[str]] = Field(default_factory=dict)
    """`{ d_model = "heads" }`: d_model is divisible by heads."""
    absent_last: list[list[str]] | None = None
    """Groups of optional layers that are built alike: the last of them are absent first."""

    @property
    def entries(self) -> dict[str, WidthEntry]:
        """The searched widths by name, in the order written."""
        return self.__pydantic_extra__ or {}

    @model_validator(mode="after")
    def _check_space(self) -> WidthsSection:
        if not self.entries:
            raise ValueError("expected at least one width, found none")
        try:
            self.to_space()
        except SpecError as error:
            raise ValueError(str(error)) from error
        for name in chain.from_iterable(self.absent_last or ()):
            if not self.entries[name].optional:
                raise ValueError(
                    f"absent_last names '{name}', which is never absent: give it optional = true, "
                    "or take it out"
                )
        return self

    def to_space(
        self, *, alike_layers: bool = False, divisible: Sequence[tuple[str, str]] = ()
    ) -> Space:
        """Return the lattice that these widths and constraints span.

        Args:
            alike_layers: Whether each width is a layer of a chain in which all are built alike:
                then neighbours that may be absent stand under `AbsentLast`, where they have the
                same values and no order or tie decides which of them is absent.
            divisible: Pairs of widths of which the first is divisible by the second, too.
        """
        widths = tuple(entry.to_width(name) for name, entry in self.entries.items())
        orders = [(tuple(table.widths or self.entries), table.direction) for table in self.order]
        divisors = {
            name: [divisor] if isinstance(divisor, str) else divisor
            for name, divisor in self.divisible.items()
        }
        return Space(
            widths,
            (
                *(Order(names, direction) for names, direction in orders if len(names) > 1),
                *(Tie(tuple(group)) for group in self.tie),
                *(
                    Divisible(name, divisor)
                    for name, group in divisors.items()
                    for divisor in group
                ),
                *(
                    Divisible(name, by)
                    for name, by in divisible
                    if by not in divisors.get(name, ())
                ),
                *(AbsentLast(tuple(group)) for group in self.absent_last or ()),
                *(self._alike_neighbours(widths) if alike_layers else ()),
            ),
        )

    def _alike_neighbours(self, widths: Sequence[Width]) -> Iterator[AbsentLast]:
        decided = [set(table.widths or self.entries) for table in self.order]
        decided += [set(group) for group in (*self.tie, *(self.absent_last or ()))]
        for first, second in pairwise(widths):
            pair = {first.name, second.name}
            if (
                first.optional
                and second.optional
                and first.values == second.values
                and not any(pair <= names for names in decided)
            ):
                yield AbsentLast((first.name, second.name))
