"""The diagnosis of a study: what holds its networks back, and what to do about it.

    diagnosis = diagnose_study(evidence, recommendation)
    diagnosis.headlines()        # a few lines for a terminal
    diagnosis.sentences()        # everything, the most important first
    diagnosis.to_json()

A study in which no trial beat a constant prediction gets that diagnosis, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...follow_up_kind import FollowUpKind
from ...surrogate.blas_threads import single_blas_thread
from ...trial.history import CompletedTrial, completed_trials
from .bounds import BoundDiagnosis, diagnose_bounds
from .fitting import Fitting, FittingDiagnosis, diagnose_fitting
from .interval import Effect, gain_unit
from .layers import LayersDiagnosis, diagnose_layers
from .limits import LimitsDiagnosis, diagnose_limits, main_cost
from .power_law import PowerLaw
from .returns import Returns, diagnose_returns
from .rows import RowsDiagnosis, diagnose_rows
from .shape import ShapeDiagnosis, diagnose_shape
from .surface import Surface, make_surface

if TYPE_CHECKING:
    from ..evidence import StudyEvidence
    from ..recommendation.recommendation import Recommendation

MAX_HEADLINES = 5
"""Lines that a terminal shows after a run; the report has all."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a study's trials say of its layers, limits, sizes and trainings.

    Attributes:
        untrained: The sentence on a study that learnt nothing; None for any other. With it all
            other parts are empty.
        metric: What a gain is in, `gain_unit`.
        layers: Layer by layer; None while there are too few trials for a surrogate.
        bounds: Layers at the bound of their range.
        limits: Which limit binds; None as for the layers.
        shape: The shape of the recommended widths; None as well where there is but one layer.
        returns: Quality against size, one for each measure of it.
        rows: More data or more width; None only for an untrained study.
        fitting: Over- and underfitting; likewise.
    """

    untrained: str | None = None
    metric: str
    layers: LayersDiagnosis | None = None
    bounds: tuple[BoundDiagnosis, ...] = ()
    limits: LimitsDiagnosis | None = None
    shape: ShapeDiagnosis | None = None
    returns: tuple[Returns, ...] = ()
    rows: RowsDiagnosis | None = None
    fitting: FittingDiagnosis | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as `report --json` writes it, a mapping of JSON values."""
        return {
            "not_trained": self.untrained,
            "layers": self.layers.to_json() if self.layers else None,
            "range_bounds": [bound.to_json() for bound in self.bounds],
            "limits": self.limits.to_json() if self.limits else None,
            "shape": self.shape.to_json() if self.shape else None,
            "returns": [each.to_json() for each in self.returns],
            "rows": self.rows.to_json() if self.rows else None,
            "fitting": self.fitting.to_json() if self.fitting else None,
            "sentences": self.sentences(),
        }

    def headlines(self) -> list[str]:
        """Return the few sentences that matter most; all of them stand in `sentences` as well."""
        if self.untrained is not None:
            return [self.untrained]
        lines = []
        if self.fitting and self.fitting.fitting not in (Fitting.GOOD, Fitting.UNKNOWN):
            lines.append(self.fitting.sentence())
        # Where twice the size brings less than the noise, longer ranges are no news.
        if not any(each.has_stopped_paying for each in self.returns[:1]):
            lines += [bound.sentence(self.metric) for bound in self.bounds if bound.too_narrow]
        if self.limits and (self.limits.binding or self.limits.binds_together):
            lines.append(self.limits.sentences()[0])
        if self.layers and self.layers.bottleneck:
            lines.append(self.layers.bottleneck_sentence())
        if self.layers and (shrinking := self.layers.shrinking_line()):
            lines.append(shrinking)
        lines += [each.sentence() for each in self.returns if isinstance(each.law, PowerLaw)][:1]
        if self.rows and self.rows.law is not None:
            lines.append(self.rows.sentence())
        if not lines and self.layers:
            lines.append(self.layers.bottleneck_sentence())
        return lines[:MAX_HEADLINES]

    def sentences(self) -> list[str]:
        """Return all that a person may read, the most important first, nothing twice."""
        lines = self.headlines()
        if self.untrained is None:
            lines += self.fitting.sentences() if self.fitting else []
            lines += [bound.sentence(self.metric) for bound in self.bounds]
            lines += self.limits.sentences() if self.limits else []
            lines += self.layers.sentences() if self.layers else []
            lines += [each.sentence() for each in self.returns]
            lines += [self.rows.sentence()] if self.rows else []
            lines += [self.shape.sentence()] if self.shape else []
        return list(dict.fromkeys(lines))


@single_blas_thread()
def diagnose_study(
    evidence: StudyEvidence, recommendation: Recommendation | None
) -> Diagnosis | None:
    """Judge a study around its recommended network.

    Args:
        evidence: The study.
        recommendation: Its answer.

    Returns:
        The diagnosis, or None while no trial is complete.
    """
    if recommendation is None or not evidence.trials:
        return None
    metric = gain_unit(evidence.spec.metric, evidence.goal)
    if evidence.untrained_reason is not None:
        return Diagnosis(metric=metric, untrained=f"Not trained. {evidence.untrained_reason}")
    if all(trial.no_better_than_constant for trial in evidence.trials):
        return Diagnosis(metric=metric, untrained=_describe_untrained(evidence))
    widths = recommendation.recommended.widths
    surface = make_surface(evidence, widths)
    rows, parameters = _training_rows(evidence), _parameters(evidence, widths)
    trained, is_recommended = _representative(evidence, widths)
    fitting = diagnose_fitting(
        evidence, trained, is_recommended=is_recommended, rows=rows, parameters=parameters
    )
    if surface is None:
        return Diagnosis(metric=metric, fitting=fitting, rows=_rows(evidence, widths, None, rows))
    cost = main_cost(evidence, surface)
    measures = list(dict.fromkeys(["parameters", cost]))
    found = [diagnose_returns(evidence, surface, measure) for measure in measures]
    return Diagnosis(
        metric=metric,
        layers=diagnose_layers(surface, cost, metric),
        bounds=tuple(diagnose_bounds(surface, wants_small=evidence.goal.kind.uses_cost)),
        limits=diagnose_limits(evidence, surface),
        shape=diagnose_shape(evidence, surface),
        returns=tuple(each for each in found if each is not None),
        rows=_rows(evidence, widths, _twice_as_wide(surface), rows),
        fitting=fitting,
    )


def _describe_untrained(evidence: StudyEvidence) -> str:
    constant = next(
        (each.constant_score for each in evidence.trials if each.constant_score is not None), None
    )
    told = "" if constant is None else f" ({evidence.spec.metric} {constant:.4g})"
    count = len(evidence.trials)
    trials = "The one trial is" if count == 1 else f"All {count} trials are"
    return (
        f"Not trained: {trials} no better than a constant prediction{told}, so nothing can be said "
        f"of widths. Try another learning rate (now {evidence.spec.proxy.learning_rate:g}: a tenth "
        "and ten times it), look at the scaling of inputs and targets, and whether the target can "
        "be told from the inputs at all."
    )


def _training_rows(evidence: StudyEvidence) -> int | None:
    """Return the rows that a training sees; None where model or data are not known here."""
    problem = evidence.problem
    objective = None if problem is None else problem.loop_objective
    if problem is None or objective is None:
        return None
    from ....objectives.data.streams.samples import training_rows

    return training_rows(objective.data, problem.settings.folds)


def _parameters(evidence: StudyEvidence, widths: Mapping[str, int]) -> int | None:
    """Return the recommended network's parameters, counted or as of its training."""
    for trial in evidence.trials:
        if dict(trial.widths) == dict(widths) and "parameters" in trial.costs:
            return int(trial.costs["parameters"])
    if evidence.feasible is None:
        return None
    costs = evidence.feasible.cost_function(evidence.space.as_row(widths)[None, :])
    return int(costs["parameters"][0]) if "parameters" in costs else None


def _representative(
    evidence: StudyEvidence, widths: Mapping[str, int]
) -> tuple[CompletedTrial | None, bool]:
    """Return a training of the recommended widths, else the nearest, and whether it is its own.

    Near is what differs least in encoded widths; only trainings with curves count, those that
    confirmed the study among them where the recommended network was not trained before.
    """
    trials = [trial for trial in evidence.trials if trial.validation_losses]
    confirmed = completed_trials(evidence.follow_ups.get(FollowUpKind.CONFIRMATION, ()))
    own = [trial for trial in [*trials, *confirmed] if dict(trial.widths) == dict(widths)]
    own = [trial for trial in own if trial.validation_losses]
    if own or not trials:
        return (own[0] if own else None), bool(own)
    space = evidence.space
    target = space.encode(space.as_row(widths)[None, :])
    encoded = space.encode(np.stack([space.as_row(trial.widths) for trial in trials]))
    return trials[int(np.argmin(((encoded - target) ** 2).sum(axis=1)))], False


def _twice_as_wide(surface: Surface) -> Effect | None:
    """Return the gain of twice every width, where the space has that network."""
    doubled = surface.space.snap([2.0 * width for width in surface.row.tolist()])
    if (doubled < 1.5 * surface.row).any():
        return None
    (effect,) = surface.effects([doubled])
    return effect


def _rows(
    evidence: StudyEvidence, widths: Mapping[str, int], wider: Effect | None, rows: int | None
) -> RowsDiagnosis:
    return diagnose_rows(
        evidence.row.name,
        evidence.follow_ups.get(FollowUpKind.LEARNING_CURVE, ()),
        widths,
        wider,
        sign=evidence.goal.sign,
        rows=rows,
        metric=gain_unit(evidence.spec.metric, evidence.goal),
    )
