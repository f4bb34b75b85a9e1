"""The spec: one file, `widthwise.toml`, or the same as Python objects, that says what to search.

A spec has five sections (study, model, widths, limits, proxy); `Spec` is their pydantic model.
`load_spec` reads a file, `parse_spec` a mapping. All errors are reported at once, one line each:
the file, the key, what was found and what was expected.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ...objectives.errors import ModelError
from ...objectives.model.families.width_names import check_layers_only
from ...objectives.model.family_registry import FAMILIES
from ..errors import SpecError
from ..goal import Goal, MetricDirection
from ..space.space import Space
from ..space.width import MAX_WIDTH
from .device import device_kind, parse_memory_device
from .limits_section import LimitsSection
from .messages import error_messages
from .proxy_section import ProxySection
from .sections import (
    CostName,
    ModelSection,
    Reference,
    Section,
    StudySection,
    WidthsSection,
    check_visible,
)

ReferenceWidth = Annotated[int, Field(ge=0, le=MAX_WIDTH)]
"""A width of a reference model; 0 where an optional layer is absent."""


class Spec(Section):
    """What to search: the five sections of a spec."""

    study: StudySection
    model: ModelSection = Field(default_factory=ModelSection)
    """May be left out where the training is the user's own and nothing is counted."""
    widths: WidthsSection
    limits: LimitsSection = Field(default_factory=LimitsSection)
    references: dict[str, dict[str, ReferenceWidth] | Reference] = Field(default_factory=dict)
    """What limits may be shares of: widths of this model, or a builder of another one."""
    proxy: ProxySection

    @model_validator(mode="after")
    def _check_references(self) -> Spec:
        for limit, (_, name) in self.limits.relative_bounds.items():
            if name not in self.references:
                available = ", ".join(self.references) or "none"
                raise ValueError(
                    f'limits.{limit} is a share of "{name}", found {available} in [references]; '
                    "expected it there, as widths or as a builder"
                )
        for name, reference in self.references.items():
            check_visible(name)
            if isinstance(reference, dict) and set(reference) != set(self.widths.entries):
                raise ValueError(
                    f"references.{name}: found the widths {', '.join(reference)}, expected "
                    f"{', '.join(self.widths.entries)}"
                )
        return self

    @model_validator(mode="after")
    def _check_model(self) -> Spec:
        if self.proxy.train is not None:
            self._check_own_training()
        elif not self.model.has_builder and self.model.family is None:
            raise ValueError("model: expected either build, discover or family, found none")
        elif self.model.inputs is not None and self.model.discover is None:
            raise ValueError(
                "model.inputs goes with train in [proxy]: otherwise the data says what the model "
                "is called with"
            )
        return self

    def _check_own_training(self) -> None:
        """Check that what is limited can be counted without data."""
        model = self.model
        if model.family is not None:
            raise ValueError(
                f'model.family is "{model.family}", found train in [proxy]: a family is made for '
                "data that Widthwise reads; name your own build, or the costs, or leave [model] out"
            )
        if model.options:
            raise ValueError(
                f"model: {', '.join(model.options)} goes with a family, found train in [proxy]: "
                "take it away, and do inside your function what it would say"
            )
        if model.discover is not None and model.inputs is None:
            raise ValueError(
                "model.inputs is missing: say what the model of discover is called with, as "
                'inputs = "3x32x32" for one sample, so that its widths can be discovered'
            )
        if model.build is not None and model.inputs is None and model.costs is None:
            raise ValueError(
                "model.inputs is missing: say what the model of build is called with, as "
                'inputs = "3x32x32" for one sample, so that its costs can be counted; or give '
                "costs, a function of the widths"
            )
        if model.inputs is not None and not model.has_builder:
            raise ValueError("model.inputs goes with build, found none: name the builder, too")
        if self.limits.measured_limits and (not model.has_builder or model.inputs is None):
            raise ValueError(
                f"limits.{next(iter(self.limits.measured_limits))} is measured on the model, but "
                "[model] names no build with its inputs; name them, or take the limit away"
            )
        if self.counts_costs:
            self._check_references_counted()
            return
        limited = self.limits.counted_limits
        if limited:
            raise ValueError(
                f"limits.{limited[0]}: nothing is known of costs, as [model] names neither build "
                "nor costs; name one, or take the limit away"
            )
        if self.study.goal.uses_cost:
            raise ValueError(
                f'study.goal: found "{self.study.goal}", but nothing is known of costs, as [model] '
                "names neither build nor costs; name one"
            )

    def _check_references_counted(self) -> None:
        """Check that a builder which a limit is a share of has inputs to be counted on."""
        for _, name in self.limits.relative_bounds.values():
            if isinstance(self.references[name], str) and self.model.inputs is None:
                raise ValueError(
                    f"references.{name} is a builder, which is counted on model.inputs, found "
                    "none: give its widths, or name build with inputs"
                )

    @property
    def counts_costs(self) -> bool:
        """Whether anything is known of what candidates cost."""
        model = self.model
        return model.has_builder or model.family is not None or model.costs is not None

    @model_validator(mode="after")
    def _check_family_widths(self) -> Spec:
        family = self.model.family
        if family is not None:
            space, names = self.to_space(), FAMILIES[family].width_names
            try:
                if names is None:
                    check_layers_only(family, space.names)
                else:
                    names.check(family, space.names, space.optional_names)
            except ModelError as error:
                raise ValueError(f"widths: {str(error).removesuffix('.')}") from error
        return self

    def to_space(self) -> Space:
        """Return the lattice of the widths, each network of the family in it once."""
        family = self.model.family
        divisible = () if family is None else FAMILIES[family].divisible
        return self.widths.to_space(
            alike_layers=self.model.has_alike_layers,
            divisible=[pair for pair in divisible if set(pair) <= set(self.widths.entries)],
        )

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.name

    @property
    def metric(self) -> str:
        """The metric's name; a study in the database always has it."""
        return self.proxy.metric or "metric"

    @property
    def cost(self) -> CostName:
        """The cost that the goals "smallest" and "front" make small."""
        if self.study.cost is not None:
            return self.study.cost
        return next(iter(self.limits.counted_limits), "flops")

    def goal_for(self, direction: Literal["maximize", "minimize"]) -> Goal:
        """Return what to look for, given the direction of the metric."""
        return Goal(
            kind=self.study.goal,
            direction=MetricDirection(direction),
            target=self.study.target,
            cost=self.cost,
        )

    @property
    def memory_device(self) -> Literal["cpu", "cuda"]:
        """The kind of device that memory is counted for; the spec must be a study's own."""
        trained_on = "cuda" if device_kind(self.proxy.device) == "cuda" else "cpu"
        kind, _ = parse_memory_device(self.limits.memory_for or trained_on)
        return kind

    @property
    def counts_for_gpu(self) -> bool:
        """Whether memory is traced for a GPU; a function for the costs counts as it likes."""
        return self.model.costs is None and self.memory_device == "cuda"

    def to_json(self) -> str:
        """Return canonical JSON: the same spec gives the same text."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), separators=(",", ":"))


def with_memory_for(spec: Spec, device: str | None) -> Spec:
    """Return the spec with memory counted for a device; None leaves what it says.

    Raises:
        SpecError: The costs are those of a function, which no device changes.
    """
    if device is None:
        return spec
    if spec.model.costs is not None:
        raise SpecError(
            f"--for: the costs are those of {spec.model.costs} (model.costs), for whatever it "
            "counts; leave --for out"
        )
    limits = spec.limits.model_copy(update={"memory_for": device})
    return spec.model_copy(update={"limits": limits})


def parse_spec(values: Mapping[str, Any], *, source: str = "spec") -> Spec:
    """Validate a mapping of sections.

    Args:
        values: The sections, as in the file.
        source: What to call the mapping in messages, a file's name usually.

    Raises:
        SpecError: One line for each thing that is wrong, all at once.
    """
    try:
        return Spec.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError("\n".join(error_messages(error, Spec, source))) from error


def parse_model_section(values: Mapping[str, Any], *, source: str) -> ModelSection:
    """Validate the section `[model]` alone.

    Args:
        values: Its keys.
        source: What to call it in messages.

    Raises:
        SpecError: One line for each thing that is wrong, all at once.
    """
    try:
        return ModelSection.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError("\n".join(error_messages(error, ModelSection, source))) from error


def load_spec(path: Path) -> Spec:
    """Read and validate a `.toml` spec.

    Raises:
        SpecError: The file cannot be read, is no TOML, or is no valid spec.
    """
    return parse_spec(read_toml(path), source=str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the sections of a `.toml` file.

    Raises:
        SpecError: The file cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(
            f"{path}: no such file; `widthwise init` writes a widthwise.toml to start from"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: is not valid TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or brackets within thousands of brackets.
        raise SpecError(
            f"{path}: is not valid TOML: a number is too long, or its tables too deep, to be read"
        ) from error
