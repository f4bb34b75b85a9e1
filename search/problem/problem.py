"""The problem: a spec brought to life — space, limits, objective, exact costs, proposer.

`Problem.load` does everything that can go wrong before a study starts: it imports the user's code,
reads the data, tries the builder out, fits the cost model and finds an empty feasible set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from ...objectives.cost.latency import measure_latency
from ...objectives.cost.measure import measure_step
from ...objectives.data.dataset import Data
from ...objectives.data.load import data_fingerprint
from ...objectives.loop.train import resolve_device
from ...objectives.model.objective import ModuleObjective
from ...objectives.parametrisation.standard import Parametrisation
from ...objectives.training.check_builder import check_builder
from ...objectives.training.settings import ProxySettings
from ...objectives.user_code import source_fingerprint
from ..goal import Goal
from ..sampler.baselines import Baseline, baselines, doubling, pyramid
from ..sampler.suggest import Proposer
from ..space.feasible_set import EVALUATED_AT_ONCE, FeasibleSet
from ..space.limits import Limits
from ..space.space import Space
from ..spec.spec import Spec
from ..units import show_memory
from .build import (
    Costing,
    as_trained,
    fitted,
    load_objective,
    proxy_settings,
    refuse_uncounted,
    resolved,
    step_spec,
)
from .device_memory import fitting_together
from .parametrise import parametrised

# Candidates whose costs are traced one by one, where no polynomial holds: some 20 a second.
TRACED_AT_ONCE = 256
# Keys of a spec that change no result.
_MEANINGLESS = (
    ("study", "name"),
    ("study", "trials"),
    ("proxy", "device"),
    ("proxy", "data_on"),
    ("proxy", "engine"),
    ("proxy", "at_once"),
)
_KNOWN_BY = {
    "polynomial": "are exact, by polynomials fitted to traced training steps",
    "tracing": "are exact, each candidate's training step being traced",
    "given": "are what the spec's function says",
}


def _fits(widths: Mapping[str, int]) -> None:
    """Nothing is known to be too large for the device."""
    del widths


@final
@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything a worker needs to propose, gate and train candidates.

    Attributes:
        spec: What was asked for.
        space: The lattice.
        limits: Hard bounds on costs.
        objective: Builds and judges models.
        settings: How a proxy is trained.
        scaling: How initial weights and learning rates follow the widths.
        costs: Exact costs of candidates.
        feasible: The candidates that keep the limits.
        proposer: Chooses what to train.
        fingerprint: Hash of spec, objective code and data; equal for all workers of a study.
        ceiling: Why a candidate is too large for the device here; None if it is not known to be.
        refused: Candidates whose traced costs broke a limit that the cost model had thought kept.
    """

    spec: Spec
    space: Space
    limits: Limits
    objective: ModuleObjective
    settings: ProxySettings
    scaling: Parametrisation
    costs: Costing
    feasible: FeasibleSet
    proposer: Proposer
    fingerprint: str
    ceiling: Callable[[Mapping[str, int]], str | None] = _fits
    refused: list[NDArray[np.int64]] = field(default_factory=list)

    @classmethod
    def load(cls, spec: Spec, base: Path, saved: str | None = None) -> Problem:
        """Bring a spec to life.

        Args:
            spec: A valid spec.
            base: Folder that its references are relative to.
            saved: What `fitted_costs` of this problem gave in another process, to save the fit.

        Raises:
            ObjectiveError: The user's code, data or metric does not work.
            NothingFeasible: No candidate keeps the limits.
            SearchError: Anything else about the search.
        """
        device = resolve_device(spec.proxy.device).type
        objective = load_objective(spec, base)
        # Said in full: the device decides what memory means, and whoever reads the study needs no
        # data to know its metric.
        said = {"device": device, "metric": spec.proxy.metric or objective.metric.name}
        spec = spec.model_copy(update={"proxy": spec.proxy.model_copy(update=said)})
        space = spec.widths.space()
        check_builder(
            objective, space.as_mapping(space.smallest()), space.as_mapping(space.largest())
        )
        scaling, settings = parametrised(spec, objective, proxy_settings(spec), space)
        costs = fitted(spec, base, objective, settings, space, saved)
        spec = resolved(spec, costs, objective, settings, base)
        limits = spec.limits.limits()
        refuse_uncounted(costs, limits)
        feasible = FeasibleSet(
            space,
            limits,
            costs.evaluate,
            at_once=TRACED_AT_ONCE if costs.exact_by == "tracing" else EVALUATED_AT_ONCE,
        )
        return cls(
            spec=spec,
            space=space,
            limits=limits,
            objective=objective,
            settings=settings,
            scaling=scaling,
            costs=costs,
            feasible=feasible,
            proposer=Proposer(
                feasible=feasible,
                goal=spec.goal_for(objective.metric.direction),
                baselines=_baselines(spec, feasible, objective.data),
            ),
            fingerprint=fingerprint(spec, base),
        )

    @property
    def goal(self) -> Goal:
        """What is looked for."""
        return self.proposer.goal

    def trace(self, widths: Mapping[str, int]) -> dict[str, int]:
        """Costs of one candidate, counted on its own training step: the gate's last word."""
        return self.costs.one(widths).as_dict()

    def measure(self, widths: Mapping[str, int]) -> dict[str, float]:
        """What only a measurement can tell, for the limits that are set: latency in seconds."""
        if "latency" not in self.spec.limits.measured:
            return {}
        found = measure_latency(
            lambda: self.objective.build(widths),
            step_spec(self.objective, self.settings).inputs,
            device=resolve_device(self.settings.device),
        )
        return {"latency": found.median_seconds}

    def measured_violations(self, measured: Mapping[str, float]) -> dict[str, float]:
        """By how much measurements break their limits, as a share; at most 0 keeps them."""
        bounds = self.spec.limits.measured
        return {name: (value - bounds[name]) / bounds[name] for name, value in measured.items()}

    def gate(self, widths: Mapping[str, int]) -> bool:
        """Whether a candidate may be trained; one that may not is never proposed again."""
        if self.limits.admits(self.trace(widths)) and self.ceiling(widths) is None:
            return True
        self.refused.append(self.space.as_row(widths))
        return False

    def notes(self) -> list[str]:
        """What was recognised, in sentences: about the data, the space and the costs."""
        share = f"{self.feasible.share:.1%}"
        about = "" if self.feasible.enumerated else "about "
        return [
            *self.objective.data.notes,
            f"{self.space.size:,} candidates, {about}{share} of them within the limits; costs "
            f"{_KNOWN_BY[self.costs.exact_by]}",
            *self.costs.notes,
            self._parametrisation(),
            *self._measured_step(),
        ]

    def _parametrisation(self) -> str:
        factors = self.settings.rate_factors
        tried = "" if factors == (1.0,) else f" Each candidate is tried with {len(factors)} rates."
        return f"{self.scaling.describe()}{tried}"

    def _measured_step(self) -> list[str]:
        """On a GPU, whose memory is estimated: a real step of a baseline and its prediction."""
        if self.settings.device != "cuda" or not self.proposer.baselines:
            return []
        baseline = self.proposer.baselines[0]
        predicted = self.trace(baseline.widths).get("train_memory")
        if predicted is None:
            return []
        step = step_spec(self.objective, self.settings)
        device = resolve_device(self.settings.device)
        build = as_trained(self.objective.build, step)
        found = measure_step(lambda: build(baseline.widths), step, device)
        share = found.train_memory / predicted
        advice = "" if share <= 1 else "; set a train_memory limit lower by as much"
        return [
            f"training memory of “{baseline.name}” on this GPU: predicted "
            f"{show_memory(predicted)}, measured {share:.0%} of it{advice}"
        ]

    def fit_together(self) -> int | None:
        """How many candidates fit into memory at once; None where nothing bounds it."""
        traced = [self.trace(one.widths).get("train_memory") for one in self.proposer.baselines]
        known = [memory for memory in traced if memory is not None]
        trainings = self.settings.replicas * self.settings.folds * len(self.settings.rate_factors)
        return fitting_together(
            max(known) * trainings if known else None, resolve_device(self.settings.device)
        )

    def fitted_costs(self) -> str:
        """What was fitted of the costs, as JSON, for `load` in other processes."""
        return json.dumps(self.costs.state())


def fingerprint(spec: Spec, base: Path) -> str:
    """Hash of all that decides what a trial's result means.

    The study's name and budget do not, nor do device, engine and batch of claims; the spec's other
    keys, the files of the user's functions and the data do.
    """
    values = json.loads(spec.to_json())
    for section, key in _MEANINGLESS:
        values[section].pop(key, None)
    references = (spec.model.build, spec.model.costs, spec.proxy.loss, spec.proxy.metric)
    sources = {
        reference: source_fingerprint(reference, base)
        for reference in references
        if reference is not None and ":" in reference
    }
    content = [values, sources, data_fingerprint(spec.proxy.data, base)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _baselines(spec: Spec, feasible: FeasibleSet, data: Data) -> list[Baseline]:
    """The plain baselines, the rule of thumb being the model family's own.

    A module of the user's own has no rule of thumb that we know of: the geometric middle of each
    width's range stands for "what one would try first".
    """
    widths = feasible.space.widths
    if spec.model.family == "mlp":
        thumb = pyramid(data.features, data.outputs, len(widths))
    elif spec.model.family == "cnn":
        thumb = doubling(widths[0].low * 2.0, len(widths))
    else:
        thumb = [(width.low * width.high) ** 0.5 for width in widths]
    return baselines(feasible, thumb)
