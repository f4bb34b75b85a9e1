"""The candidates that rules of thumb would have chosen in a study.

A rule names a range, of which the geometric middle is taken for every layer, or a width for each
layer. The nearest candidate that keeps the limits stands for it.
Entry points: `rule_targets`, `published_targets`, `RuleTarget`, `nearest_row`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....objectives.data.dataset import Task as DataTask
from ....objectives.data.split import max_train_rows
from ....objectives.data.streams.source import BatchData
from ....objectives.model.family_registry import doubling
from ...rules.inquiry import Inquiry, Kind, Task
from ...rules.published import PUBLISHED, stretch
from ...rules.roles import role_rule
from ...rules.rule import FIRST_BLOCK, RuleRange
from ...rules.size_rules import size_rules
from ...sampler.baselines import RULE_OF_THUMB, nearest_candidate
from ..diagnosis.shape import layer_columns

if TYPE_CHECKING:
    from ...space.feasible_set import FeasibleSet
    from ...space.neighbourhood import Candidates
    from ...space.space import Space
    from ..diagnosis.steps import Row
    from ..evidence import StudyEvidence


@dataclass(frozen=True, kw_only=True)
class RuleTarget:
    """What a rule asks for.

    Attributes:
        rule: Its name.
        widths: Of each layer, in the space's order, positive.
        source: Where it stands.
    """

    rule: str
    widths: Sequence[float]
    source: str


def rule_targets(evidence: StudyEvidence) -> Iterator[RuleTarget]:
    """Yield what the rules of thumb ask for that are meant for the study's family of models.

    Of a model of the user's own it is not known what its widths are: there only the plain baseline
    that every study has stands for experience.
    """
    space = evidence.space
    if RULE_OF_THUMB in evidence.baselines:
        widths = evidence.baselines[RULE_OF_THUMB]
        yield RuleTarget(
            rule=f"the baseline “{RULE_OF_THUMB}”",
            widths=[widths[name] for name in space.names],
            source="every study trains it first",
        )
    inquiry = _inquiry(evidence)
    if inquiry is None:
        return
    for rule in (*size_rules(inquiry), role_rule(inquiry)):
        if not rule.applies:
            continue
        yield RuleTarget(
            rule=rule.rule, widths=_by_layer(rule, space.dimensions), source=rule.source
        )


def _by_layer(rule: RuleRange, layers: int) -> list[float]:
    """Return a rule's width of each layer: its own, or the geometric middle of its range."""
    if rule.widths:
        return [float(width) for width in rule.widths]
    middle = float(np.sqrt(rule.low * rule.high))
    return doubling(middle, layers) if rule.unit == FIRST_BLOCK else [middle] * layers


def published_targets(space: Space) -> Iterator[RuleTarget]:
    """Yield the widths of published networks, stretched over the study's layers."""
    for published in PUBLISHED:
        if published.kind is not Kind.MLP:  # of tables there are only ranges
            yield RuleTarget(
                rule=published.name,
                widths=stretch(published.widths, space.dimensions),
                source=published.source,
            )


def _inquiry(evidence: StudyEvidence) -> Inquiry | None:
    """Return the study's sizes; None for a model of one's own, or where it is not here."""
    family, problem = evidence.spec.model.family, evidence.problem
    objective = None if problem is None else problem.loop_objective
    if family is None or problem is None or objective is None:
        return None
    data = objective.data
    if isinstance(data, BatchData):  # of how many rows and outputs is not always known
        return None
    if family not in (Kind.MLP, Kind.CNN):
        return None  # the rules name layers or channels
    kind = Kind(family)
    dense = kind is Kind.MLP
    table = Task.REGRESSION if data.task == DataTask.REGRESSION else Task.CLASSIFICATION
    return Inquiry(
        task=table if dense else Task.IMAGE,
        kind=kind,
        input_shape=(data.features,) if dense else data.input_shape,
        outputs=data.outputs,
        samples=max_train_rows(data, problem.settings.folds),
        layers=evidence.space.dimensions,
        batch_size=problem.settings.batch_size,
    )


def nearest_row(
    feasible: FeasibleSet, pool: Candidates, target: Sequence[float], around: Row
) -> Row:
    """Return the feasible candidate nearest to a target, by the ratio of widths.

    Args:
        feasible: What keeps the limits.
        pool: Candidates of it to choose from, [n, d], where the target itself does not.
        target: A width for each layer; of what is no layer's width, such as heads, the recommended
            value stays.
        around: The recommended widths, [d].
    """
    point = np.asarray(around, dtype=np.float64)
    layers = layer_columns(feasible.space)
    point[layers] = np.asarray(target, dtype=np.float64)[layers]
    return nearest_candidate(feasible, pool, point)
