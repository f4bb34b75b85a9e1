"""The problem: a spec with what it names, loaded: space, limits, objective, costs, suggester.

`Problem.load` does everything that can go wrong before a study starts: it imports the user's code,
reads the data, tries the builder out, fits the cost model and finds an empty feasible set.

Entry points: `Problem`, `problem_fingerprint`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from ...objectives.cost.latency import measure_latency
from ...objectives.cost.source import CostSource
from ...objectives.data.dataset import Data
from ...objectives.data.load import data_fingerprint
from ...objectives.data.streams.samples import input_shape
from ...objectives.data.streams.source import BatchData
from ...objectives.errors import ObjectiveError
from ...objectives.model.family_registry import FAMILIES
from ...objectives.model.objective import ModuleObjective
from ...objectives.own_training.own_training import OwnTraining
from ...objectives.parametrisation.standard import Parametrisation, StandardParametrisation
from ...objectives.training.check_builder import check_builder
from ...objectives.training.constant import constant_loss, constant_score
from ...objectives.training.settings import ProxySettings, resolve_device
from ...objectives.user_code import source_fingerprint
from ..goal import Goal
from ..sampler.baselines import TODAY, Baseline, baselines
from ..sampler.suggest import Suggester
from ..space.feasible_set import COST_BATCH_SIZE, FeasibleSet
from ..space.limits import Limits
from ..space.space import Space
from ..spec.differences import KEYS_WITHOUT_EFFECT
from ..spec.overrides import with_overrides
from ..spec.spec import Spec
from .build import (
    Trained,
    check_limits_counted,
    fit_cost_model,
    is_same_data,
    load_objective,
    proxy_settings,
    resolve_limits,
    step_spec,
    traced_cost_model,
)
from .device_memory import candidates_in_memory, free_memory
from .own_training import load_own, own_settings
from .parametrise import parametrise

# Candidates whose costs are traced one by one, where no polynomial holds: some 20 a second.
TRACED_COST_BATCH_SIZE = 256
# Choices of the baselines, each of which found that a forecast of costs was wrong.
_MAX_BASELINE_ROUNDS = 8


def _never_too_large(_widths: Mapping[str, int]) -> None:
    """Return no reason: nothing is known to be too large for the device."""


@final
@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything a worker needs to propose, gate and train candidates.

    Attributes:
        spec: What was asked for.
        space: The lattice.
        limits: Hard bounds on costs.
        objective: Builds and judges models, or trains by the user's own function.
        settings: How a proxy is trained.
        parametrisation: How initial weights and learning rates follow the widths.
        cost_model: Exact costs of candidates.
        feasible: The candidates that keep the limits.
        suggester: Chooses what to train.
        fingerprint: Hash of spec, objective code and data; equal for all workers of a study.
        too_large_reason: Why a candidate is too large for the device here, in a sentence; None
            where it is not known to be.
        time_forward: Returns the seconds of a candidate's forward pass.
        folder: Folder that the spec's references are relative to.
    """

    spec: Spec
    space: Space
    limits: Limits
    objective: Trained
    settings: ProxySettings
    parametrisation: Parametrisation
    cost_model: CostSource
    feasible: FeasibleSet
    suggester: Suggester
    fingerprint: str
    too_large_reason: Callable[[Mapping[str, int]], str | None] = _never_too_large
    time_forward: Callable[..., float] = measure_latency
    folder: Path = field(default_factory=Path)
    _variants: dict[str, Problem] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        spec: Spec,
        folder: Path,
        serialised_costs: str | None = None,
        *,
        judge_test: bool = False,
        final: bool = False,
    ) -> Problem:
        """Load what a spec names.

        Args:
            spec: A valid spec.
            folder: Folder that its references are relative to.
            serialised_costs: What `serialise_costs` of this problem returned in another process, to
                save the fit.
            judge_test: Whether what is trained is judged on the test split, too.
            final: Whether the trainings are final ones, whose weights are kept.

        Raises:
            ObjectiveError: The user's code, data or metric does not work.
            NothingFeasible: No candidate keeps the limits.
            SearchError: Anything else about the search.
        """
        device = resolve_device(spec.proxy.device)
        space = spec.to_space()
        objective, settings, parametrisation = _load_trained(spec, folder, space)
        settings = replace(settings, judge_test=judge_test, final=final)
        # Written out: the device decides what memory means, and whoever reads the study needs no
        # data to know its metric.
        detected = {"device": str(device), "metric": spec.proxy.metric or objective.metric.name}
        spec = spec.model_copy(update={"proxy": spec.proxy.model_copy(update=detected)})
        cost_model = fit_cost_model(spec, folder, objective, settings, space, serialised_costs)
        spec = resolve_limits(spec, cost_model, objective, settings, folder)
        limits = spec.limits.to_limits()
        check_limits_counted(cost_model, limits)
        feasible = _feasible_set(space, limits, cost_model)
        return cls(
            spec=spec,
            space=space,
            limits=limits,
            objective=objective,
            settings=settings,
            parametrisation=parametrisation,
            cost_model=cost_model,
            feasible=feasible,
            suggester=Suggester(
                feasible_set=feasible,
                goal=spec.goal_for(objective.metric.direction),
                baselines=_confirmed_baselines(spec, feasible, objective, cost_model),
            ),
            fingerprint=problem_fingerprint(spec, folder),
            folder=folder,
        )

    def variant(self, overrides: Mapping[str, Any]) -> Problem:
        """Return the problem with keys of its spec changed, as a planned training asks for it.

        Costs are those of the variant, limits those of the study; the candidates that may be
        suggested stay as they are. The data is read again only where the keys say other data.

        Args:
            overrides: Keys of the spec, with dots, to their values.

        Raises:
            SpecError: There is no such key, or it cannot have that value.
            ObjectiveError: The model, data or metric does not work so.
        """
        if not overrides:
            return self
        key = json.dumps(dict(overrides), sort_keys=True)
        if key not in self._variants:
            self._variants[key] = self._load_variant(overrides)
        return self._variants[key]

    def _load_variant(self, overrides: Mapping[str, Any]) -> Problem:
        space, spec = self.space, with_overrides(self.spec, overrides)
        known = self.loop_objective
        data = known.data if known is not None and is_same_data(spec, self.spec) else None
        objective, settings, parametrisation = _load_trained(spec, self.folder, space, data)
        own = self.settings
        settings = replace(settings, judge_test=own.judge_test, final=own.final)
        has_same_step = data is not None or known is None
        is_same_model = has_same_step and (spec.model, spec.proxy.loss) == (
            self.spec.model,
            self.spec.proxy.loss,
        )
        return replace(
            self,
            spec=spec,
            objective=objective,
            settings=settings,
            parametrisation=parametrisation,
            cost_model=traced_cost_model(
                spec,
                self.folder,
                objective,
                settings,
                space,
                self.cost_model.state() if is_same_model else None,
            ),
            # What ran out of memory did so with other settings.
            too_large_reason=_never_too_large,
        )

    @property
    def loop_objective(self) -> ModuleObjective | None:
        """What Widthwise's own loop trains; None where the training is the user's own."""
        return None if isinstance(self.objective, OwnTraining) else self.objective

    @cached_property
    def constant_score(self) -> float | None:
        """The metric of a constant prediction on the validation rows; None where it is unknown."""
        if self.loop_objective is None:
            return None
        smallest = self.space.as_mapping(self.space.smallest())
        return constant_score(
            self.loop_objective, self.settings.folds, smallest, repeats=self.settings.repeats
        )

    @cached_property
    def constant_loss(self) -> float | None:
        """The loss of a constant prediction on the validation rows; None where it is unknown."""
        if self.loop_objective is None:
            return None
        return constant_loss(
            self.loop_objective, self.settings.folds, repeats=self.settings.repeats
        )

    @property
    def goal(self) -> Goal:
        """What is looked for."""
        return self.suggester.goal

    def exact_costs(self, widths: Mapping[str, int]) -> dict[str, int]:
        """Return the costs of one candidate, counted on its own training step: the gate decides."""
        return self.cost_model.candidate_costs(widths).as_dict()

    def measure(self, widths: Mapping[str, int]) -> dict[str, float]:
        """Return what only a measurement can tell, for the limits set: latency in seconds."""
        if "latency" not in self.spec.limits.measured_limits:
            return {}
        seconds = self.time_forward(
            lambda: self.objective.build(widths),
            step_spec(self.objective, self.settings).inputs,
            device=resolve_device(self.settings.device),
        )
        return {"latency": seconds}

    def measured_violations(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Return by how much measurements break their limits, as a share; ≤ 0 keeps them."""
        bounds = self.spec.limits.measured_limits
        return {name: (value - bounds[name]) / bounds[name] for name, value in measured.items()}

    def may_train(self, widths: Mapping[str, int]) -> bool:
        """Return whether a candidate keeps the limits by its own costs, and may fit the device."""
        return self.limits.admits(self.exact_costs(widths)) and (
            self.too_large_reason(widths) is None
        )

    def max_in_memory(
        self, free_bytes: Callable[[torch.device], int | None] = free_memory
    ) -> int | None:
        """Return how many candidates fit into memory at once; None where nothing bounds it.

        Args:
            free_bytes: Says what a device has left.
        """
        predicted = [
            self.exact_costs(baseline.widths).get("train_memory")
            for baseline in self.suggester.baselines
        ]
        train_memories = [memory for memory in predicted if memory is not None]
        return candidates_in_memory(
            max(train_memories) * self.settings.trainings if train_memories else None,
            free_bytes(resolve_device(self.settings.device)),
        )

    def serialise_costs(self) -> str:
        """Return what was fitted of the costs, as JSON, for `load` in other processes."""
        return json.dumps(self.cost_model.state())


def problem_fingerprint(spec: Spec, folder: Path) -> str:
    """Return the hash of all that decides what a trial's result means.

    The study's name and budget do not, nor do device, engine and batch of claims; the spec's other
    keys, the files of the user's functions and the data do.
    """
    values = json.loads(spec.to_json())
    for section, key in KEYS_WITHOUT_EFFECT:
        values[section].pop(key, None)
    proxy = spec.proxy
    references = (
        spec.model.build,
        spec.model.discover,
        spec.model.costs,
        proxy.loss,
        proxy.metric,
        proxy.train,
        *(proxy.report or ()),
    )
    sources = {
        reference: source_fingerprint(reference, folder)
        for reference in references
        if reference is not None and ":" in reference
    }
    content = [values, sources]
    if proxy.data is not None:
        content.append(data_fingerprint(proxy.data, folder))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _load_trained(
    spec: Spec, folder: Path, space: Space, data: Data | BatchData | None = None
) -> tuple[Trained, ProxySettings, Parametrisation]:
    """Return what a spec trains, how, and how initial weights and rates follow the widths.

    Args:
        spec: What is asked for.
        folder: Folder that its references are relative to.
        space: The lattice.
        data: What it names, if that was read before.
    """
    if spec.proxy.train is not None:
        return load_own(spec, folder), own_settings(spec), StandardParametrisation()
    objective = load_objective(spec, folder, data)
    check_builder(objective, space.as_mapping(space.smallest()), space.as_mapping(space.largest()))
    settings = proxy_settings(spec, objective.data)
    parametrisation, settings = parametrise(spec, objective, settings, space)
    return objective, settings, parametrisation


def _feasible_set(space: Space, limits: Limits, cost_model: CostSource) -> FeasibleSet:
    def admits(row: NDArray[np.int64]) -> bool:
        try:
            costs = cost_model.candidate_costs(space.as_mapping(row)).as_dict()
        except ObjectiveError:
            return False  # it cannot be built or trained
        return limits.admits(costs)

    return FeasibleSet(
        space,
        limits,
        cost_model.evaluate,
        cost_batch_size=lambda: (
            TRACED_COST_BATCH_SIZE if cost_model.counted_by == "tracing" else COST_BATCH_SIZE
        ),
        revision=lambda: cost_model.revision,
        admits=admits,
    )


def _confirmed_baselines(
    spec: Spec, feasible: FeasibleSet, objective: Trained, cost_model: CostSource
) -> list[Baseline]:
    """Return baselines that keep the limits by their own costs.

    Each that does not teaches the cost model where it was wrong, so that the next choice is
    another.
    """
    for _ in range(_MAX_BASELINE_ROUNDS):
        chosen = _build_baselines(spec, feasible, objective)
        keep_limits = [
            feasible.limits.admits(cost_model.candidate_costs(baseline.widths).as_dict())
            for baseline in chosen
        ]
        if all(keep_limits):
            break
    return [baseline for baseline, keeps in zip(chosen, keep_limits, strict=True) if keeps]


def _build_baselines(spec: Spec, feasible: FeasibleSet, objective: Trained) -> list[Baseline]:
    """Return the plain baselines, the rule of thumb being the model family's own.

    A module of the user's own has no known rule of thumb, nor have some families: the geometric
    middle of each width's range stands for what one would try first.
    """
    widths = feasible.space.widths
    shape = outputs = None
    if not isinstance(objective, OwnTraining):
        shape, outputs = input_shape(objective.data), objective.data.outputs
    family = None if spec.model.family is None else FAMILIES[spec.model.family]
    if family is None or family.rule_of_thumb is None or shape is None or outputs is None:
        rule_of_thumb = [(width.low * width.high) ** 0.5 for width in widths]
    else:
        lows = [width.low for width in widths]
        rule_of_thumb = family.rule_of_thumb(lows, prod(shape), outputs)
    today = spec.references.get(TODAY)
    return baselines(feasible, rule_of_thumb, today if isinstance(today, dict) else None)
