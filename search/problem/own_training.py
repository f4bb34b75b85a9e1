"""A problem whose training is the user's own: what stands for model, data and the loop's settings.

Entry points: `load_own`, `own_settings`, `own_epochs`, `own_step`.
"""

from __future__ import annotations

from pathlib import Path

from ...objectives.errors import ObjectiveError
from ...objectives.own_training.own_training import OwnTraining, load_own_training
from ...objectives.training.settings import Halving, ProxySettings, resolve_device
from ...objectives.training.step import StepSpec
from ..discovery.builder import input_spec, model_builder
from ..spec.spec import Spec


def load_own(spec: Spec, folder: Path) -> OwnTraining:
    """Return the training that a spec names.

    Raises:
        ObjectiveError: The user's code cannot be loaded, or the metric's direction is not known.
    """
    proxy, model = spec.proxy, spec.model
    assert proxy.train is not None, "asked only of such a spec"
    try:
        return load_own_training(
            proxy.train,
            folder,
            metric=proxy.metric,
            direction=proxy.direction,
            build=model_builder(spec, folder),
            inputs=None if model.inputs is None else tuple(map(input_spec, model.inputs)),
        )
    except ObjectiveError as error:
        raise type(error)(f"proxy.train: {error}") from error


def own_epochs(spec: Spec) -> int | None:
    """Return how long a training is asked to be; None where the spec says nothing."""
    if spec.proxy.epochs is None:
        return None
    return max(1, round(spec.proxy.epochs * (spec.proxy.length_factor or 1.0)))


def own_settings(spec: Spec) -> ProxySettings:
    """Return what of the settings of a training means something to one of the user's own.

    Without epochs, all trainings are equally long: 1 stands for whatever that is.
    """
    proxy = spec.proxy
    return ProxySettings(
        epochs=own_epochs(spec) or 1,
        batch_size=proxy.batch_size,
        patience=0,
        device=proxy.device,
        precision=proxy.precision,
        accumulate=proxy.accumulate,
        halving=None if proxy.halving is None else Halving(**proxy.halving.model_dump()),
    )


def own_step(own: OwnTraining, settings: ProxySettings) -> StepSpec:
    """Return the step whose costs are counted: AdamW on the batch size and precision of the spec.

    The loss is the sum of the output's means, which every output takes part in.
    """
    assert own.inputs is not None, "nothing is traced without inputs"
    return StepSpec(
        inputs=own.inputs,
        batch_size=settings.batch_size,
        device_type="cuda" if resolve_device(settings.device).type == "cuda" else "cpu",
        autocast=settings.autocast,
        accumulate=settings.accumulate,
    )
