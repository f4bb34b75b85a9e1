"""What the candidates of a builder or a spec cost, for the command `cost`.

A `CostSurvey` counts one candidate, breaks it down by module, measures a real step of it, or
surveys the whole space.

Entry points: `from_build`, `from_spec`, `CostSurvey`; `read_candidates`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...objectives.cost.by_module import count_modules
from ...objectives.cost.costs import Costs, count_costs
from ...objectives.cost.measure import measure_step
from ...objectives.cost.model import CostModel
from ...objectives.cost.source import CostSource
from ...objectives.cost.user_costs import UserCostModel, UserCosts
from ...objectives.training.settings import ProxySettings, resolve_device
from ...objectives.training.step import StepSpec
from ...objectives.user_code import load_object
from ..discovery.ranges import load_complete_spec
from ..errors import SpecError
from ..space.limits import Limits
from ..space.space import MAX_ENUMERATED, Space
from ..space.width import MAX_WIDTH
from ..spec.device import device_kind
from ..spec.spec import Spec, with_memory_for
from .build import (
    Trained,
    counted_builder,
    load_objective,
    proxy_settings,
    resolve_limits,
    step_spec,
)
from .own_training import load_own, own_settings
from .problem import TRACED_COST_BATCH_SIZE

# Candidates surveyed where the space is larger: enough for a quantile to a thousandth.
_SURVEY_SAMPLE = 2**17
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class CostSurvey:
    """A builder with its training step, and a space of candidates where a spec gives one.

    Attributes:
        build: From widths to a module.
        step: The training step that is counted.
        space: The candidates; None for a builder alone.
        limits: Bounds, where a spec sets some.
        device: What is trained on: "auto", "cpu", "cuda", "cuda:1" or "mps".
        given_costs: What a study takes for the costs, where its spec gives them by a function.
    """

    build: Callable[[Mapping[str, int]], nn.Module]
    step: StepSpec
    space: Space | None
    limits: Limits
    device: str
    given_costs: UserCostModel | None = None

    @property
    def counts_for_gpu(self) -> bool:
        """Whether memory is traced for a GPU; the user's own function counts as it likes."""
        return self.given_costs is None and self.step.device_type == "cuda"

    def count(self, widths: Mapping[str, int]) -> Costs | UserCosts:
        """Return the costs of one candidate."""
        self._check_names(widths)
        if self.given_costs is not None:
            return self.given_costs.candidate_costs(widths)
        return count_costs(lambda: self.build(dict(widths)), self.step)

    def count_by_module(self, widths: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return the costs of one candidate module by module."""
        self._check_names(widths)
        module_costs = count_modules(lambda: self.build(dict(widths)), self.step)
        return [asdict(module) for module in module_costs]

    def measure(self, widths: Mapping[str, int], costs: Costs | UserCosts) -> dict[str, Any]:
        """Measure a real training step of one candidate, beside its prediction.

        Args:
            widths: The candidate.
            costs: As `count` gave them.

        Raises:
            SpecError: Memory is counted for a GPU, and there is none here.
        """
        predicted = costs.as_dict()["train_memory"]
        device = self._measuring_device()
        measured = measure_step(lambda: self.build(dict(widths)), self.step, device)
        ratio = predicted / measured.train_memory
        return {**asdict(measured), "predicted_over_measured": ratio}

    def _measuring_device(self) -> torch.device:
        """Return a device of the kind that memory is counted for."""
        kind = self.step.device_type
        if kind == "cuda" and not torch.cuda.is_available():
            raise SpecError(
                "--verify: memory is counted for a GPU, and there is none here to measure a step "
                "on; leave --verify out, or run the same command on a machine with one"
            )
        if device_kind(self.device) in (kind, "mps"):
            return resolve_device(self.device)
        return torch.device(kind)

    def memory_elsewhere(
        self, widths: Mapping[str, int], costs: Costs | UserCosts
    ) -> dict[str, int]:
        """Return the training memory of one candidate on each kind of device, in bytes.

        Empty where it is counted for a CPU, or by the user's own function.

        Args:
            widths: The candidate.
            costs: As `count` gave them.
        """
        if not (self.counts_for_gpu and isinstance(costs, Costs)):
            return {}
        on_cpu = replace(self.step, device_type="cpu", capability=None)
        here = count_costs(lambda: self.build(dict(widths)), on_cpu)
        return {"cpu": here.train_memory, "cuda": costs.train_memory}

    def survey(self) -> dict[str, Any]:
        """Return costs of the whole space: extremes, quantiles, feasible share, binding limit."""
        assert self.space is not None
        space, cost_model = self.space, self._cost_model(self.space.names)
        cost_model.fit(space)
        max_evaluated = (
            MAX_ENUMERATED if cost_model.counted_by == "polynomial" else TRACED_COST_BATCH_SIZE
        )
        complete = space.size <= max_evaluated
        rng = np.random.default_rng(0)
        candidates = (
            space.enumerate() if complete else space.sample(min(max_evaluated, _SURVEY_SAMPLE), rng)
        )
        costs = cost_model.evaluate(candidates)
        extremes = {"smallest": space.smallest(), "largest": space.largest()}
        extreme_widths = {name: space.as_mapping(row) for name, row in extremes.items()}
        return {
            "candidates": space.size,
            "evaluated": len(candidates),
            "complete": complete,
            "exact": complete and cost_model.counted_by == "tracing",
            "counted_by": cost_model.counted_by,
            "limits": self.limits.as_dict(),
            "feasible_share": float(self.limits.is_feasible(costs).mean()),
            "binding": self.limits.tightest_limit(costs),
            **{
                name: {"widths": widths, **cost_model.candidate_costs(widths).as_dict()}
                for name, widths in extreme_widths.items()
            },
            "quantiles": {
                name: {
                    f"{quantile:g}": int(np.quantile(values, quantile, method="inverted_cdf"))
                    for quantile in _QUANTILES
                }
                for name, values in costs.items()
            },
        }

    def _cost_model(self, names: tuple[str, ...]) -> CostSource:
        return self.given_costs or CostModel(self.build, self.step, names)

    def _check_names(self, widths: Mapping[str, int]) -> None:
        if self.space is not None and set(widths) != set(self.space.names):
            raise SpecError(
                f"found the widths {', '.join(widths) or 'none'}, expected "
                f"{', '.join(self.space.names)}"
            )


def from_build(reference: str, step: StepSpec) -> CostSurvey:
    """Return the survey of a builder, given by its reference, for a training step.

    Raises:
        ImportFailure: The reference leads nowhere.
    """
    return CostSurvey(
        build=load_object(reference, Path.cwd()),
        step=step,
        space=None,
        limits=Limits(),
        device=step.device_type,
    )


def from_spec(path: Path, memory_for: str | None = None) -> CostSurvey:
    """Return the survey of a spec's model, on its own data, loss and training step.

    Args:
        path: The spec's file.
        memory_for: What memory is counted for; None for what the spec says.

    Raises:
        SpecError: The spec is wrong.
        ObjectiveError: The user's code or data does not work.
    """
    folder = path.resolve().parent
    spec = with_memory_for(load_complete_spec(path), memory_for)
    objective, settings = _load_counted(spec, folder)
    step = step_spec(objective, settings, spec.limits.memory_for)
    space = spec.to_space()
    build = counted_builder(objective, step)
    given_costs = None
    if spec.model.costs is not None:
        given_costs = UserCostModel(load_object(spec.model.costs, folder), space.names)
    cost_model = given_costs or CostModel(build, step, space.names)
    return CostSurvey(
        build=build,
        step=step,
        space=space,
        limits=resolve_limits(spec, cost_model, objective, settings, folder).limits.to_limits(),
        device=settings.device,
        given_costs=given_costs,
    )


def _load_counted(spec: Spec, folder: Path) -> tuple[Trained, ProxySettings]:
    """Return what a spec trains, and how.

    Raises:
        SpecError: Nothing says what a step of it works on.
    """
    if spec.proxy.train is None:
        objective = load_objective(spec, folder)
        return objective, proxy_settings(spec, objective.data)
    if spec.model.inputs is None:
        raise SpecError(
            "cost counts a step of the model, but [model] names no build with its inputs beside "
            "the train of [proxy]; name them"
        )
    return load_own(spec, folder), own_settings(spec)


def read_candidates(path: Path) -> list[dict[str, int]]:
    """Read candidates: a `.csv` file (names, then a row each) or a `.json` list of mappings.

    Raises:
        SpecError: It cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else csv.DictReader(text.splitlines())
        candidates = [
            {str(name): _as_int(value) for name, value in dict(row).items()} for row in rows
        ]
    except OSError as error:
        raise SpecError(f"--candidates: {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise SpecError(
            f"--candidates: {path} holds {error}; expected a row of whole numbers for each "
            "candidate, under the names of its widths"
        ) from error
    if not candidates:
        raise SpecError(f"--candidates: {path} holds no candidate; expected one a row")
    return candidates


def _as_int(value: object) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= MAX_WIDTH:
        raise ValueError(f"{str(value)[:40]!r}")
    return int(text)
