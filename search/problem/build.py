"""The parts of a problem: objective, proxy settings, training step and costs, each from a spec.

Entry points: `load_objective`, `proxy_settings`, `step_spec`, `fitted` (the cost model), `resolved`
(limits as numbers), `as_trained`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

from torch import nn

from ...objectives.cost.costs import count_costs
from ...objectives.cost.model import CostModel
from ...objectives.cost.user_costs import GivenCosts
from ...objectives.data.load import load_data
from ...objectives.data.split import check_folds, most_rows
from ...objectives.errors import CostError, ObjectiveError
from ...objectives.loop.train import resolve_device
from ...objectives.model.keyed_dropout import keyed
from ...objectives.model.metrics import load_metric
from ...objectives.model.objective import ModuleObjective, make_objective
from ...objectives.training.optimizer import make_optimizer
from ...objectives.training.settings import Halving, ProxySettings
from ...objectives.training.step import StepSpec, TensorSpec
from ...objectives.user_code import load_object
from ..errors import SpecError
from ..space.limits import Limits
from ..space.space import Space
from ..spec.spec import Spec

Builder = Callable[..., nn.Module]

Costing = CostModel | GivenCosts
"""Costs of many candidates: fitted to traced steps, or the user's own function."""


def fitted(
    spec: Spec,
    base: Path,
    objective: ModuleObjective,
    settings: ProxySettings,
    space: Space,
    saved: str | None,
) -> Costing:
    """The costs of the space: the user's function, or fitted here unless that was done before."""
    costs: Costing
    if spec.model.costs is not None:
        costs = GivenCosts(load_object(spec.model.costs, base), space.names)
    else:
        step = step_spec(objective, settings)
        costs = CostModel(as_trained(objective.build, step), step, space.names)
    if saved is not None:
        try:
            costs.restore(json.loads(saved))
        except CostError:
            # Another torch, say: then its own fit is the right one here.
            costs.fit(space)
    else:
        costs.fit(space)
    return costs


def refuse_uncounted(costs: Costing, limits: Limits) -> None:
    """A limit holds only where all that it bounds is counted.

    Raises:
        SpecError: Operations, or memory, that no count covers are limited.
    """
    if costs.lower_bound and limits.train_memory is not None:
        raise SpecError(
            "limits.train_memory: the model has recurrent layers whose kernels reserve memory that "
            "cannot be known before they run, so the predicted figure is a lower bound; take the "
            'limit away, train with device = "cpu" where it is exact, or give the costs as a '
            "function of the widths by `costs` in [model]"
        )
    limited = [name for name in ("flops", "macs") if getattr(limits, name) is not None]
    if costs.uncounted and limited:
        raise SpecError(
            f"limits.{limited[0]}: the model runs {', '.join(costs.uncounted)}, which no formula "
            "counts; take the limit away, or give the costs as a function of the widths by "
            "`costs` in [model]"
        )


def load_objective(spec: Spec, base: Path) -> ModuleObjective:
    """The model, data, loss and metric of a spec.

    Raises:
        ObjectiveError: The user's code, data or metric does not work.
    """
    proxy = spec.proxy
    with at("proxy.data"):
        data = load_data(
            proxy.data,
            base=base,
            seed=spec.study.seed,
            target=proxy.target,
            task=proxy.task,
            image=spec.model.family == "cnn",
        )
    with at("proxy.folds"):
        check_folds(data, proxy.folds)
    metric = None
    if proxy.metric is not None:
        with at("proxy.metric"):
            metric = load_metric(proxy.metric, base, proxy.direction)
    with at("model"):
        return make_objective(
            build=spec.model.build,
            family=spec.model.family,
            options=spec.model.options,
            data=data,
            metric=metric,
            loss=proxy.loss,
            base=base,
        )


@contextmanager
def at(place: str) -> Iterator[None]:
    """Say which file or key of a spec an error of the user's code or data is about."""
    try:
        yield
    except ObjectiveError as error:
        raise type(error)(f"{place}: {error}") from error


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
        data_on=proxy.data_on,
        precision=proxy.precision,
        accumulate=proxy.accumulate,
        replicas=proxy.replicas,
        folds=proxy.folds,
        rate_factors=tuple(proxy.rate_factors or (1.0,)),
        halving=None
        if proxy.halving is None
        else Halving(eta=proxy.halving.eta, first=proxy.halving.first),
    )


def resolved(
    spec: Spec,
    costs: Costing,
    objective: ModuleObjective,
    settings: ProxySettings,
    base: Path,
) -> Spec:
    """The spec with its limits as numbers: what a share of a reference comes to."""
    references = {}
    for name in {reference for _, reference in spec.limits.shares.values()}:
        reference = spec.references[name]
        if isinstance(reference, str):
            builder = load_object(reference, base)
            step = step_spec(objective, settings)
            references[name] = count_costs(as_trained(builder, step), step).as_dict()
        else:
            references[name] = costs.one(reference).as_dict()
    return spec.model_copy(update={"limits": spec.limits.resolved(references)})


def step_spec(objective: ModuleObjective, settings: ProxySettings) -> StepSpec:
    """The training step whose costs count: the proxy's own batch, loss and optimizer."""
    train = objective.data.train
    batch_size = min(settings.batch_size, most_rows(objective.data, settings.folds))
    return StepSpec(
        inputs=(TensorSpec(shape=objective.data.input_shape, dtype=train.inputs.dtype),),
        targets=TensorSpec(shape=tuple(train.targets.shape[1:]), dtype=train.targets.dtype),
        batch_size=batch_size,
        device_type=cast(Literal["cpu", "cuda"], resolve_device(settings.device).type),
        # Factors on the rates by width change no byte and no operation.
        optimizer=lambda model: make_optimizer(
            model, settings.learning_rate, settings.weight_decay
        ),
        loss=objective.loss,
        autocast=settings.autocast,
        accumulate=settings.parts(batch_size),
    )


def as_trained(build: Builder, step: StepSpec) -> Builder:
    """The builder of what is really trained: dropout's masks are made in another way there."""
    return keyed(build, step.inputs[0].zeros)
