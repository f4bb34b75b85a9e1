"""Costing: a builder with its training step, and a space of candidates where a spec gives one.

Entry points: `from_build` and `from_spec` make a `Costing`; it counts one candidate, breaks it down
by module, measures a real step of it, or surveys the whole space.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ...objectives.cost.by_module import count_modules
from ...objectives.cost.costs import Costs, count_costs
from ...objectives.cost.measure import measure_step
from ...objectives.cost.model import CostModel
from ...objectives.loop.train import resolve_device
from ...objectives.training.step import StepSpec, TensorSpec
from ...objectives.user_code import load_object
from ..errors import SpecError
from ..space.limits import Limits
from ..space.space import ENUMERABLE, Space
from ..spec.spec import load_spec
from .build import as_trained, load_objective, proxy_settings, resolved, step_spec
from .problem import TRACED_AT_ONCE

# Candidates surveyed where the space is larger: enough for a quantile to a thousandth.
_SURVEYED = 2**17
_RANKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class Costing:
    """What candidates cost.

    Attributes:
        build: From widths to a module.
        step: The training step that is counted.
        space: The candidates; None for a builder alone.
        limits: Bounds, where a spec sets some.
        device: Where a real step runs: "auto", "cpu" or "cuda".
    """

    build: Callable[[Mapping[str, int]], nn.Module]
    step: StepSpec
    space: Space | None
    limits: Limits
    device: str

    def count(self, widths: Mapping[str, int]) -> Costs:
        """The costs of one candidate."""
        self._check(widths)
        return count_costs(lambda: self.build(dict(widths)), self.step)

    def modules(self, widths: Mapping[str, int]) -> list[dict[str, Any]]:
        """The costs of one candidate module by module."""
        self._check(widths)
        counted = count_modules(lambda: self.build(dict(widths)), self.step)
        return [asdict(module) for module in counted]

    def measure(self, widths: Mapping[str, int]) -> dict[str, Any]:
        """A real training step of one candidate beside its prediction."""
        predicted = self.count(widths).train_memory
        device = resolve_device(self.device)
        measured = measure_step(lambda: self.build(dict(widths)), self.step, device)
        ratio = predicted / measured.train_memory
        return {**asdict(measured), "predicted_over_measured": ratio}

    def survey(self) -> dict[str, Any]:
        """The costs of the whole space: extremes, quantiles, feasible share, binding limit."""
        assert self.space is not None
        space, model = self.space, CostModel(self.build, self.step, self.space.names)
        model.fit(space)
        at_once = ENUMERABLE if model.exact_by == "polynomial" else TRACED_AT_ONCE
        exact = space.size <= at_once
        rng = np.random.default_rng(0)
        rows = space.enumerate() if exact else space.sample(min(at_once, _SURVEYED), rng)
        costs = model.evaluate(rows)
        corners = {"smallest": space.smallest(), "largest": space.largest()}
        ends = {name: space.as_mapping(row) for name, row in corners.items()}
        return {
            "candidates": space.size,
            "evaluated": len(rows),
            "exact": exact,
            "exact_by": model.exact_by,
            "limits": self.limits.as_dict(),
            "feasible_share": float(self.limits.feasible(costs).mean()),
            "binding": self.limits.binding(costs),
            **{name: {"widths": end, **model.one(end).as_dict()} for name, end in ends.items()},
            "quantiles": {
                name: {
                    f"{rank:g}": int(np.quantile(values, rank, method="inverted_cdf"))
                    for rank in _RANKS
                }
                for name, values in costs.items()
            },
        }

    def _check(self, widths: Mapping[str, int]) -> None:
        if self.space is not None and set(widths) != set(self.space.names):
            raise SpecError(
                f"found the widths {', '.join(widths) or 'none'}, expected "
                f"{', '.join(self.space.names)}"
            )


def from_build(
    reference: str, inputs: tuple[TensorSpec, ...], *, batch_size: int, optimizer: str
) -> Costing:
    """The costing of a builder by its reference, on inputs of a given shape.

    Raises:
        ImportFailure: The reference leads nowhere.
        CostError: There is no such optimizer.
    """
    step = StepSpec(inputs=inputs, batch_size=batch_size, optimizer=optimizer)
    return Costing(
        build=load_object(reference, Path.cwd()),
        step=step,
        space=None,
        limits=Limits(),
        device="auto",
    )


def from_spec(path: Path) -> Costing:
    """The costing of a spec's model, on its own data, loss and training step.

    Raises:
        SpecError: The spec is wrong.
        ObjectiveError: The user's code or data does not work.
    """
    spec, base = load_spec(path), path.resolve().parent
    objective, settings = load_objective(spec, base), proxy_settings(spec)
    step, space = step_spec(objective, settings), spec.widths.space()
    build = as_trained(objective.build, step)
    model = CostModel(build, step, space.names)
    return Costing(
        build=build,
        step=step,
        space=space,
        limits=resolved(spec, model, objective, settings, base).limits.limits(),
        device=settings.device,
    )


def read_candidates(path: Path) -> list[dict[str, int]]:
    """The candidates of a `.csv` file (names, then a row each) or a `.json` list of mappings.

    Raises:
        SpecError: It cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else csv.DictReader(text.splitlines())
        found = [{str(name): _whole(value) for name, value in dict(row).items()} for row in rows]
    except OSError as error:
        raise SpecError(f"--candidates: {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SpecError(
            f"--candidates: {path} holds {error}; expected a row of whole numbers for each "
            "candidate, under the names of its widths"
        ) from error
    if not found:
        raise SpecError(f"--candidates: {path} holds no candidate; expected one a row")
    return found


def _whole(value: object) -> int:
    number = int(str(value).strip())
    if isinstance(value, bool | float):
        raise ValueError(f"{value!r}")
    return number
