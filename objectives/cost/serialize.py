"""Fitted costs as JSON values, so that a worker need not trace what another has traced.

Coefficients have no bound, so they are written in decimal; everything is exact after a round trip.

Entry points: `serialise_pieces` and `deserialise_pieces`, of which `serialise_fit` and
`deserialise_fit` are one set of polynomials; `serialise_costs` and `deserialise_costs`,
`fit_conditions`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ..trace.live_bytes import Breakdown
from ..training.step import Specs, StepSpec, TensorSpec
from .branches.expression import Question
from .branches.partition import Partition
from .costs import Costs
from .piecewise import PiecewiseFit
from .polynomials.fit import CostFit
from .polynomials.lattice import StepLattice
from .polynomials.polynomial import Polynomials
from .registry import FIELDS

_LATTICE_FIELDS = ("origin", "step", "top")
_BREAKDOWN_FIELDS = ("train_breakdown", "inference_breakdown")
_TUPLE_FIELDS = ("uncounted", "notes")


STATE_FORM = 3
"""Grows when `CostModel.state` has other keys, or the same step another cost: an earlier release's
is fitted again."""


def fit_conditions(step: StepSpec, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what must be equal for the costs of one process to be those of another.

    Model, loss and optimizer are functions that cannot be compared: that they are the same is for
    the caller to know.
    """
    return {
        "form": STATE_FORM,
        "names": list(names),
        "fields": list(FIELDS),
        "torch": torch.__version__,
        "inputs": _serialise_specs(step.inputs),
        "targets": _serialise_specs(step.targets),
        **({} if step.given is None else {"given": _serialise_specs(step.given)}),
        "batch_size": step.batch_size,
        "autocast": step.autocast and str(step.autocast),
        "accumulate": step.accumulate,
        "device_type": step.device_type,
        "capability": step.capability and list(step.capability),
    }


def _serialise_specs(specs: Specs) -> Any:
    """Return nested specs as JSON values; what is no spec by its type."""
    if isinstance(specs, TensorSpec):
        return [list(specs.shape), str(specs.dtype), *(["whole"] if specs.whole else [])]
    if isinstance(specs, Mapping):
        return {str(key): _serialise_specs(value) for key, value in specs.items()}
    if isinstance(specs, tuple | list):
        return [_serialise_specs(value) for value in specs]
    return specs if isinstance(specs, str | int | float | bool | None) else type(specs).__name__


def serialise_fit(fit: CostFit) -> dict[str, Any]:
    """Return a fit as JSON values."""
    polynomials = fit.polynomials
    return {
        **{name: getattr(fit.lattice, name).tolist() for name in _LATTICE_FIELDS},
        "powers": [list(power) for power in polynomials.powers],
        "coefficients": [[str(value) for value in row] for row in polynomials.coefficients],
        "denominator": polynomials.denominator,
        "sizes": dict(fit.sizes),
    }


def deserialise_fit(state: Mapping[str, Any]) -> CostFit:
    """Return the fit that `serialise_fit` wrote."""
    coefficients = [[int(value) for value in row] for row in state["coefficients"]]
    return CostFit(
        polynomials=Polynomials(
            lattice=StepLattice(
                **{name: np.array(state[name], dtype=np.int64) for name in _LATTICE_FIELDS}
            ),
            powers=tuple(tuple(power) for power in state["powers"]),
            coefficients=np.array(coefficients, dtype=object),
            denominator=state["denominator"],
        ),
        sizes=dict(state["sizes"]),
    )


def serialise_pieces(pieces: PiecewiseFit) -> dict[str, Any]:
    """Return the fits of all parts as JSON values."""
    return {
        "questions": [question.state() for question in pieces.partition.questions],
        "fits": [serialise_fit(fit) for fit in pieces.fits],
        # Codes take 64 bits, which not every reader of JSON keeps.
        "parts": {str(code): index for code, index in pieces.fit_by_code.items()},
        "complete": pieces.is_complete,
    }


def deserialise_pieces(state: Mapping[str, Any]) -> PiecewiseFit:
    """Return the fits that `serialise_pieces` wrote."""
    questions = tuple(Question.from_state(question) for question in state["questions"])
    return PiecewiseFit(
        partition=Partition(questions=questions),
        fits=tuple(deserialise_fit(fit) for fit in state["fits"]),
        fit_by_code={int(code): index for code, index in state["parts"].items()},
        is_complete=state["complete"],
    )


def serialise_costs(costs: Costs) -> dict[str, Any]:
    """Return the costs of one candidate as JSON values."""
    return {
        name: list(value) if name in _TUPLE_FIELDS else value
        for name, value in asdict(costs).items()
    }


def deserialise_costs(state: Mapping[str, Any]) -> Costs:
    """Return the costs that `serialise_costs` wrote."""
    values = dict(state)
    values.update({name: Breakdown(**values[name]) for name in _BREAKDOWN_FIELDS})
    values.update({name: tuple(values[name]) for name in _TUPLE_FIELDS})
    return Costs(**values)
