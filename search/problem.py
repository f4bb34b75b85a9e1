"""The problem: a spec brought to life — space, limits, objective, exact costs, proposer.

`Problem.load` does everything that can go wrong before a study starts: it imports the user's code,
reads the data, tries the builder out, fits the cost model and finds an empty feasible set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..objectives.checks import check_builder
from ..objectives.cost import count_costs
from ..objectives.costmodel import CostModel
from ..objectives.data import Data
from ..objectives.loading import load_object, source_fingerprint
from ..objectives.metrics import load_metric
from ..objectives.objective import ModuleObjective, make_objective
from ..objectives.proxy import ProxySettings
from ..objectives.sources import data_fingerprint, load_data
from ..objectives.step import StepSpec, TensorSpec
from ..objectives.train import make_optimizer, resolve_device
from .baselines import Baseline, baselines, doubling, pyramid
from .candidates import EVALUATED_AT_ONCE, FeasibleSet
from .goals import Goal
from .limits import Limits
from .proposer import Proposer
from .space import Space
from .spec import Spec

# Candidates whose costs are traced one by one, where no polynomial holds: some 20 a second.
TRACED_AT_ONCE = 256


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
        costs: Exact costs of candidates.
        feasible: The candidates that keep the limits.
        proposer: Chooses what to train.
        fingerprint: Hash of spec, objective code and data; equal for all workers of a study.
        refused: Candidates whose traced costs broke a limit that the cost model had thought kept.
    """

    spec: Spec
    space: Space
    limits: Limits
    objective: ModuleObjective
    settings: ProxySettings
    costs: CostModel
    feasible: FeasibleSet
    proposer: Proposer
    fingerprint: str
    refused: list[NDArray[np.int64]] = field(default_factory=list)

    @classmethod
    def load(cls, spec: Spec, base: Path) -> Problem:
        """Bring a spec to life.

        Args:
            spec: A valid spec.
            base: Folder that its references are relative to.

        Raises:
            ObjectiveError: The user's code, data or metric does not work.
            NothingFeasible: No candidate keeps the limits.
            SearchError: Anything else about the search.
        """
        proxy, objective = spec.proxy, load_objective(spec, base)
        space = spec.widths.space()
        check_builder(
            objective, space.as_mapping(space.smallest()), space.as_mapping(space.largest())
        )
        resolve_device(proxy.device)
        settings = proxy_settings(spec)
        if proxy.metric is None:
            # Said in full, so that whoever reads the study needs no data to know.
            named = proxy.model_copy(update={"metric": objective.metric.name})
            spec = spec.model_copy(update={"proxy": named})
        costs = CostModel(objective.build, step_spec(objective, settings), space.names)
        costs.fit(space)
        spec = resolved(spec, costs, objective, settings, base)
        limits = spec.limits.limits()
        feasible = FeasibleSet(
            space,
            limits,
            costs.evaluate,
            at_once=EVALUATED_AT_ONCE if costs.exact_by == "polynomial" else TRACED_AT_ONCE,
        )
        return cls(
            spec=spec,
            space=space,
            limits=limits,
            objective=objective,
            settings=settings,
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

    def gate(self, widths: Mapping[str, int]) -> bool:
        """Whether a candidate may be trained; one that may not is never proposed again."""
        if self.limits.admits(self.trace(widths)):
            return True
        self.refused.append(self.space.as_row(widths))
        return False

    def notes(self) -> list[str]:
        """What was recognised, in sentences: about the data, the space and the costs."""
        share = f"{self.feasible.share:.1%}"
        about = "" if self.feasible.enumerated else "about "
        return [
            *self.objective.data.notes,
            f"{self.space.size:,} candidates, {about}{share} of them within the limits; costs are "
            f"exact by {self.costs.exact_by} ({self.costs.traces} traces)",
        ]


def load_objective(spec: Spec, base: Path) -> ModuleObjective:
    """The model, data, loss and metric of a spec.

    Raises:
        ObjectiveError: The user's code, data or metric does not work.
    """
    proxy = spec.proxy
    data = load_data(
        proxy.data,
        base=base,
        seed=spec.study.seed,
        target=proxy.target,
        task=proxy.task,
        image=spec.model.family == "cnn",
    )
    return make_objective(
        build=spec.model.build,
        family=spec.model.family,
        options=spec.model.options,
        data=data,
        metric=None if proxy.metric is None else load_metric(proxy.metric, base, proxy.direction),
        loss=proxy.loss,
        base=base,
    )


def proxy_settings(spec: Spec) -> ProxySettings:
    """How the spec trains a candidate."""
    proxy = spec.proxy
    return ProxySettings(
        epochs=proxy.epochs,
        batch_size=proxy.batch_size,
        patience=proxy.patience,
        learning_rate=proxy.learning_rate,
        weight_decay=proxy.weight_decay,
        device=proxy.device,
    )


def resolved(
    spec: Spec, costs: CostModel, objective: ModuleObjective, settings: ProxySettings, base: Path
) -> Spec:
    """The spec with its limits as numbers: what a share of a reference comes to."""
    references = {}
    for name in {reference for _, reference in spec.limits.shares.values()}:
        reference = spec.references[name]
        if isinstance(reference, str):
            builder = load_object(reference, base)
            found = count_costs(builder, step_spec(objective, settings))
        else:
            found = costs.one(reference)
        references[name] = found.as_dict()
    return spec.model_copy(update={"limits": spec.limits.resolved(references)})


def step_spec(objective: ModuleObjective, settings: ProxySettings) -> StepSpec:
    """The training step whose costs count: the proxy's own batch, loss and optimizer."""
    train = objective.data.train
    return StepSpec(
        inputs=(TensorSpec(shape=objective.data.input_shape, dtype=train.inputs.dtype),),
        targets=TensorSpec(shape=tuple(train.targets.shape[1:]), dtype=train.targets.dtype),
        batch_size=min(settings.batch_size, len(train)),
        optimizer=lambda model: make_optimizer(model, settings),
        loss=objective.loss,
    )


def fingerprint(spec: Spec, base: Path) -> str:
    """Hash of all that decides what a trial's result means.

    The study's name and budget do not, nor does the device; the spec's other keys, the files of the
    user's functions and the data do.
    """
    values = json.loads(spec.to_json())
    for section, key in (("study", "name"), ("study", "trials"), ("proxy", "device")):
        values[section].pop(key, None)
    references = (spec.model.build, spec.proxy.loss, spec.proxy.metric)
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
