"""The parts of a problem: objective, proxy settings, training step and costs, each from a spec.

Entry points: `load_objective`, `proxy_settings`, `step_spec`, `trained_builder`, `fit_cost_model`,
`traced_cost_model`, `resolve_limits` (limits as numbers), `check_limits_counted`. What is trained
by the user's own function is an `OwnTraining` in place of an objective.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from ...objectives.cost.costs import count_costs
from ...objectives.cost.model import CostModel
from ...objectives.cost.source import CostSource
from ...objectives.cost.user_costs import NoCosts, UserCostModel
from ...objectives.data.batches import DataLocation
from ...objectives.data.dataset import Data, Task
from ...objectives.data.load import load_data
from ...objectives.data.split import (
    check_folds,
    default_folds,
    default_repeats,
    max_train_rows,
    share_rows,
)
from ...objectives.data.streams.make_feed import DEFAULT_STREAMS, StreamOptions
from ...objectives.data.streams.source import BatchData
from ...objectives.errors import CostError, ObjectiveError, describe_dtype
from ...objectives.model.family_registry import FAMILIES
from ...objectives.model.keyed_dropout import with_keyed_dropout
from ...objectives.model.losses import LOSSES, is_own_loss
from ...objectives.model.metrics import METRICS, load_metric, load_reported
from ...objectives.model.objective import ModuleObjective, make_objective
from ...objectives.own_training.own_training import OwnTraining
from ...objectives.training.input_type import adapt_input_type
from ...objectives.training.length import TrainingLength, training_length
from ...objectives.training.optimizer import make_adamw
from ...objectives.training.settings import Halving, ProxySettings, resolve_device
from ...objectives.training.step import StepSpec, TensorSpec, batch_specs
from ...objectives.user_code import load_object
from ..discovery.builder import model_builder
from ..errors import SpecError
from ..space.limits import Limits
from ..space.space import Space
from ..spec.batch_keys import check_batch_keys
from ..spec.device import parse_memory_device
from ..spec.spec import Spec
from .own_training import own_step

ModelBuilder = Callable[..., nn.Module]

Trained = ModuleObjective | OwnTraining
"""What a study trains: a model by Widthwise's own loop, or what the user's own function does."""


def fit_cost_model(
    spec: Spec,
    folder: Path,
    objective: Trained,
    settings: ProxySettings,
    space: Space,
    serialised_costs: str | None,
) -> CostSource:
    """Return the costs of the space: the user's function, or fitted here unless done before."""
    cost_model: CostSource
    if spec.model.costs is not None:
        cost_model = UserCostModel(load_object(spec.model.costs, folder), space.names)
    elif not spec.counts_costs:
        cost_model = NoCosts(space.names)
    else:
        step = step_spec(objective, settings, spec.limits.memory_for)
        cost_model = CostModel(counted_builder(objective, step), step, space.names)
    if serialised_costs is not None:
        try:
            cost_model.restore(json.loads(serialised_costs), space)
        except (CostError, ValueError):
            # Another torch or release, or damaged JSON: then its own fit is the right one here.
            cost_model.fit(space)
    else:
        cost_model.fit(space)
    return cost_model


def traced_cost_model(
    spec: Spec,
    folder: Path,
    objective: Trained,
    settings: ProxySettings,
    space: Space,
    known: Mapping[str, Any] | None,
) -> CostSource:
    """Return the costs of single candidates, each counted by its own trace: nothing is fitted.

    Args:
        spec: What is trained.
        folder: Folder that its references are relative to.
        objective: Its model, data, loss and metric.
        settings: How it is trained.
        space: The lattice.
        known: The state of the costs of the same model trained in another way: taken over where
            that makes no difference.
    """
    if spec.model.costs is not None:
        return UserCostModel(load_object(spec.model.costs, folder), space.names)
    if not spec.counts_costs:
        return NoCosts(space.names)
    step = step_spec(objective, settings, spec.limits.memory_for)
    cost_model = CostModel(counted_builder(objective, step), step, space.names)
    if known is not None:
        with suppress(CostError):  # other conditions, such as another batch size
            cost_model.restore(known, space)
    return cost_model


def check_limits_counted(cost_model: CostSource, limits: Limits) -> None:
    """Check that what limits bound is counted in full.

    Raises:
        SpecError: A limit bounds operations, or memory, that no count covers.
    """
    if cost_model.lower_bound and limits.train_memory is not None:
        raise SpecError(
            "limits.train_memory: the model has recurrent layers whose kernels reserve memory that "
            "cannot be known before they run, so the predicted figure is a lower bound; take the "
            'limit away, train with device = "cpu" where it is exact, or give the costs as a '
            "function of the widths by `costs` in [model]"
        )
    limited = [name for name in ("flops", "macs") if getattr(limits, name) is not None]
    if cost_model.uncounted and limited:
        raise SpecError(
            f"limits.{limited[0]}: the model runs {', '.join(cost_model.uncounted)}, which no "
            "formula counts; take the limit away, or give the costs as a function of the widths by "
            "`costs` in [model]"
        )


def load_objective(
    spec: Spec, folder: Path, data: Data | BatchData | None = None
) -> ModuleObjective:
    """Return the model, data, loss and metric of a spec.

    Args:
        spec: A valid spec.
        folder: Folder that its references are relative to.
        data: What it names, if that was read before.

    Raises:
        ObjectiveError: The user's code, data or metric does not work.
    """
    proxy = spec.proxy
    assert proxy.data is not None, "only a training of the user's own has none"
    if data is None:
        with prefix_errors("proxy.data"):
            data = load_data(proxy.data, base=folder, **_data_options(spec))
    if isinstance(data, BatchData):
        check_batch_keys(spec, has_targets=data.example.targets is not None)
    else:
        with prefix_errors("proxy.folds"):
            check_folds(data, proxy.folds or 1)
    metric = None
    if proxy.metric is not None:
        with prefix_errors("proxy.metric"):
            metric = load_metric(proxy.metric, folder, proxy.direction)
    with prefix_errors("proxy.report"):
        reported = load_reported(proxy.report or (), folder)
    with prefix_errors("model"):
        objective = make_objective(
            build=model_builder(spec, folder, data),
            family=spec.model.family,
            options=spec.model.options,
            data=data,
            metric=metric,
            reported=reported,
            loss=proxy.loss,
            base=folder,
        )
    space = spec.to_space()
    objective = adapt_input_type(objective, space.as_mapping(space.smallest()))
    given = objective.data
    if isinstance(given, BatchData):
        return objective
    inputs = given.train.inputs
    if proxy.input_noise and not inputs.is_floating_point():
        raise SpecError(
            f"proxy.input_noise: found {proxy.input_noise:g}, but the inputs are "
            f"{describe_dtype(inputs.dtype)} that the model takes as they are, such as token ids, "
            "to which no noise can be added; leave it out"
        )
    return objective


def is_same_data(spec: Spec, other: Spec) -> bool:
    """Return whether two specs with the same folder name the same data, read in the same way."""
    return (
        spec.proxy.data is not None
        and spec.proxy.data == other.proxy.data
        and _data_options(spec) == _data_options(other)
    )


def _data_options(spec: Spec) -> dict[str, Any]:
    """Return all that decides what a source of data is read as."""
    proxy = spec.proxy
    return {
        "seed": spec.study.seed,
        "target": proxy.target,
        "task": _stated_task(spec),
        "own_loss": is_own_loss(proxy.loss),
        "image": spec.model.family is not None and FAMILIES[spec.model.family].requires_images,
        "options": proxy.read_options,
        "streams": _stream_options(spec) if ":" in (proxy.data or "") else DEFAULT_STREAMS,
    }


def _stream_options(spec: Spec) -> StreamOptions:
    """Return what a spec says of data that comes in batches."""
    size, steps = spec.proxy.batch_size, spec.proxy.steps_per_epoch
    model_loss = spec.proxy.loss == "model"
    return StreamOptions(batch_size=size, steps_per_epoch=steps, model_loss=model_loss)


def _stated_task(spec: Spec) -> Task | None:
    """Return the task that the spec names, or that its built-in loss or metric is for."""
    proxy = spec.proxy
    if proxy.task is not None:
        return Task(proxy.task)
    if proxy.loss in LOSSES:
        return LOSSES[proxy.loss][0]
    return METRICS[proxy.metric].task if proxy.metric in METRICS else None


@contextmanager
def prefix_errors(location: str) -> Iterator[None]:
    """Put the file or key of a spec before the message of an error of the user's code or data."""
    try:
        yield
    except ObjectiveError as error:
        raise type(error)(f"{location}: {error}") from error


def proxy_settings(spec: Spec, data: Data | BatchData) -> ProxySettings:
    """Return how the spec trains a candidate: its keys that `ProxySettings` has, by name.

    Length, patience, folds and their repeats that it does not set follow from the rows there are.
    Epochs that it sets count by all training rows: those of a share are so many more that the
    steps are as many.
    A schedule goes to its end, where its rate is low, unless the spec sets a patience.
    """
    proxy = spec.proxy
    settings = proxy.model_dump(
        include={field.name for field in fields(ProxySettings)}
        - {*TrainingLength._fields, "folds", "repeats", "data_on", "rate_factors", "halving"},
        exclude_none=True,
    )
    patience = proxy.patience
    if patience is None and proxy.schedule not in (None, "constant"):
        patience = 0
    if isinstance(data, BatchData):
        folds = repeats = 1
        settings["batch_size"] = data.batch_size
        length = training_length(data.train.steps, 1, epochs=proxy.epochs, patience=patience)
    else:
        folds, repeats = _folds_and_repeats(spec, data)
        all_rows, share = max_train_rows(data, folds), proxy.train_share or 1.0
        rows = share_rows(all_rows, share)
        length = training_length(
            rows,
            proxy.batch_size,
            epochs=_same_steps(proxy.epochs, all_rows, rows, proxy.batch_size),
            patience=_same_steps(patience, all_rows, rows, proxy.batch_size),
        )
    factor = proxy.length_factor or 1.0
    length = length._replace(
        epochs=max(1, round(factor * length.epochs)), patience=math.ceil(factor * length.patience)
    )
    halving = proxy.halving
    return ProxySettings(
        **settings,
        **length._asdict(),
        folds=folds,
        repeats=repeats,
        data_on=DataLocation(proxy.data_on),
        rate_factors=tuple(proxy.rate_factors or (1.0,)),
        halving=None if halving is None else Halving(**halving.model_dump()),
    )


def _folds_and_repeats(spec: Spec, data: Data) -> tuple[int, int]:
    folds, repeats = spec.proxy.folds, spec.proxy.repeats
    if folds is None:
        folds = default_folds(data)
        if folds == 1 and (repeats or 1) > 1:
            raise SpecError(
                f"proxy.repeats: found {repeats}, but there is one validation split, as the rows "
                "are many or were divided by you; ask for folds, too, such as folds = 5"
            )
        repeats = repeats or default_repeats(data, folds)
    return folds, repeats or 1


def _same_steps(epochs: int | None, all_rows: int, rows: int, batch_size: int) -> int | None:
    """Return the epochs of fewer rows that take as many steps as those of all rows."""
    if epochs is None:
        return None
    return math.ceil(epochs * math.ceil(all_rows / batch_size) / math.ceil(rows / batch_size))


def resolve_limits(
    spec: Spec,
    cost_model: CostSource,
    objective: Trained,
    settings: ProxySettings,
    folder: Path,
) -> Spec:
    """Return the spec with its limits as numbers, shares of a reference resolved."""
    reference_costs = {}
    for name in {reference for _, reference in spec.limits.relative_bounds.values()}:
        reference = spec.references[name]
        if isinstance(reference, str):
            builder = load_object(reference, folder)
            step = step_spec(objective, settings, spec.limits.memory_for)
            build = counted_builder(objective, step, builder)
            reference_costs[name] = count_costs(build, step).as_dict()
        else:
            reference_costs[name] = cost_model.candidate_costs(reference).as_dict()
    return spec.model_copy(update={"limits": spec.limits.resolve(reference_costs)})


def step_spec(
    objective: Trained, settings: ProxySettings, memory_for: str | None = None
) -> StepSpec:
    """Return the training step whose costs count: the proxy's own batch, loss and optimizer.

    Args:
        objective: What is trained.
        settings: How.
        memory_for: What its memory is counted for; None for the device that it is trained on.
    """
    step = (
        own_step(objective, settings)
        if isinstance(objective, OwnTraining)
        else _loop_step(objective, settings)
    )
    if memory_for is None:
        return step
    device_type, capability = parse_memory_device(memory_for)
    return replace(step, device_type=device_type, capability=capability)


def _loop_step(objective: ModuleObjective, settings: ProxySettings) -> StepSpec:
    data = objective.data
    if isinstance(data, BatchData):
        specs, batch_size = batch_specs(data.example), data.example.rows
    else:
        inputs, targets = data.train.inputs, data.train.targets
        specs = {
            "inputs": (TensorSpec(shape=data.input_shape, dtype=inputs.dtype),),
            "targets": TensorSpec(shape=tuple(targets.shape[1:]), dtype=targets.dtype),
        }
        rows = share_rows(max_train_rows(data, settings.folds), settings.train_share)
        batch_size = min(settings.batch_size, rows)
    return StepSpec(
        **specs,
        batch_size=batch_size,
        device_type="cuda" if resolve_device(settings.device).type == "cuda" else "cpu",
        # Factors on the rates by width change no byte and no operation.
        optimizer=lambda model: make_adamw(model, settings.learning_rate, settings.weight_decay),
        loss=objective.loss,
        autocast=settings.autocast,
        accumulate=settings.accumulation_steps(batch_size),
    )


def counted_builder(
    objective: Trained, step: StepSpec, build: ModelBuilder | None = None
) -> ModelBuilder:
    """Return the builder whose models are counted as they are trained.

    Args:
        objective: What is trained.
        step: Its training step.
        build: Of another model, trained in the same way; None for the objective's own.
    """
    chosen = build or objective.build
    return chosen if isinstance(objective, OwnTraining) else trained_builder(chosen, step)


def trained_builder(build: ModelBuilder, step: StepSpec) -> ModelBuilder:
    """Return the builder of what is trained, with the dropout that training puts in."""
    return with_keyed_dropout(build, step.zeros)
