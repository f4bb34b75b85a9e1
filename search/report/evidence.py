"""The evidence of a study: all that its answer is drawn from, read from the database once.

Recommendation, confirmation, diagnosis and figures take a `StudyEvidence`; none of them asks the
database by itself. Entry point: `load_evidence`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...storage.database.database import Database
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import SlotCounts, SlotRecord, StudyRow
from ...storage.ledger.tried import TriedSlot
from ...storage.study.notes import read_note
from ...storage.study.study import list_follow_ups, load_study
from ..command import format_command
from ..errors import SearchError, SpecError
from ..follow_up_kind import FollowUpKind, followed_name
from ..goal import Goal
from ..problem.stored import base_folder, stored_spec
from ..sampler.baselines import AGREEING_NAMES, TODAY
from ..space.feasible_set import stack_rows
from ..space.space import Space
from ..spec.spec import Spec
from ..trial.history import CompletedTrial, build_history, completed_trials
from .reference import Reference, read_references

if TYPE_CHECKING:
    from ..problem.memory_ceiling import OutOfMemoryRecord
    from ..problem.problem import Problem
    from ..sampler.history import History
    from ..sampler.posterior import ConstrainedPosterior
    from ..space.feasible_set import FeasibleSet

RACE_NOTE = "widthwise:race"
"""The note of a confirmation that says how many trainings it may take."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyEvidence:
    """All that a study has found.

    Attributes:
        row: The study.
        spec: What it was made with.
        records: Its slots that have a row, by number.
        counts: The trials by state, and the budget.
        tried: Its slots that have widths, as the sampler learns from them.
        feasible: All candidates that keep the limits; None where they are not known, because the
            model or the data are not on this machine.
        problem: The model, its data and its exact costs; None where they are not on this machine.
        references: Models other than a network, on the same splits.
        follow_ups: Slots of the studies that follow it up, by kind, or by kind and detail where
            there may be several: "confirmation", "sweep hidden1".
        race: How many trainings the confirmation may take: "first_seeds" of every contender,
            "most_seeds" of one, and "spread", the further candidates; None without one.
        closing: How the search ended itself, see `LedgerReader.closing`; None where it did not.
        untrained_reason: Why the study was stopped as it learned nothing; None if it was not.
    """

    row: StudyRow
    spec: Spec
    records: Sequence[SlotRecord]
    counts: SlotCounts
    tried: Sequence[TriedSlot]
    feasible: FeasibleSet | None = None
    problem: Problem | None = None
    references: Sequence[Reference] = ()
    follow_ups: Mapping[str, Sequence[SlotRecord]] = field(default_factory=dict)
    race: Mapping[str, int] | None = None
    closing: Mapping[str, Any] | None = None
    untrained_reason: str | None = None

    @cached_property
    def space(self) -> Space:
        """The lattice."""
        return self.spec.to_space()

    @cached_property
    def goal(self) -> Goal:
        """What was looked for."""
        return self.spec.goal_for(self.row.direction)

    @cached_property
    def baselines(self) -> dict[str, Mapping[str, int]]:
        """Widths of the plain baselines by name, today's model among them where it is named.

        Today's model need not keep the limits; it is not trained then.
        """
        known = self.problem.suggester.baselines if self.problem else ()
        widths: dict[str, Mapping[str, int]] = {
            name: baseline.widths
            for baseline in known
            for name in baseline.name.split(AGREEING_NAMES)
        }
        today = self.spec.references.get(TODAY)
        return {**widths, TODAY: today} if isinstance(today, dict) else widths

    @cached_property
    def trials(self) -> list[CompletedTrial]:
        """The completed trials, by number."""
        return completed_trials(self.records)

    @cached_property
    def failed(self) -> list[SlotRecord]:
        """The slots that failed."""
        return [record for record in self.records if record.outcome and record.outcome.is_failure]

    @cached_property
    def history(self) -> History:
        """All trials, the failed ones among them, as the sampler sees them."""
        return build_history(
            self.space,
            self.tried,
            self.goal,
            measured_limits=self.spec.limits.measured_limits,
        )

    @cached_property
    def posterior(self) -> ConstrainedPosterior | None:
        """The surrogate after all trials; None while there are too few of them."""
        # The surrogate, and all that it stands on, is for those who ask for an answer.
        from ..sampler.best_candidate import MIN_TRAININGS
        from ..sampler.posterior import fit_posterior
        from ..surrogate.blas_threads import single_blas_thread

        if len(self.trials) < MIN_TRAININGS:
            return None
        with single_blas_thread():
            return fit_posterior(self.space, self.history)

    @property
    def exhausted(self) -> bool:
        """Whether every feasible candidate was tried; False where too many to be listed."""
        feasible = self.feasible
        if feasible is None or not feasible.enumerated:
            return False
        # No two slots have the same widths. After an out of memory some are feasible no more.
        rows = stack_rows([self.space.as_row(slot.widths) for slot in self.tried], self.space)
        return int(feasible.is_feasible(rows).sum()) >= feasible.known_count


def load_evidence(database: Database, name: str) -> StudyEvidence:
    """Read a study, with all its feasible candidates where its model and data are here.

    Raises:
        StudyNotFound: There is no such study.
        SpecError: It follows up another one, whose evidence it is part of.
    """
    row = load_study(database, name)
    if row.kind is not None:
        parent = followed_name(name, row.kind)
        raise SpecError(
            f"{name} is the {row.kind} of the study {parent}; "
            f"`{format_command('report', parent)}` shows what came of it"
        )
    reader = LedgerReader(database, row)
    records, counts = reader.records(), reader.counts()
    problem = load_problem(row, reader.out_of_memory()) if counts.complete else None
    follow_ups = list_follow_ups(database, row)
    confirmation = next(
        (each for each in follow_ups if each.kind == FollowUpKind.CONFIRMATION), None
    )
    return StudyEvidence(
        row=row,
        spec=stored_spec(row),
        records=records,
        counts=counts,
        tried=reader.tried(),
        feasible=problem.feasible if problem else None,
        problem=problem,
        references=read_references(database, row, confirmation),
        follow_ups={
            follow_up.name.removeprefix(f"{row.name}/"): LedgerReader(database, follow_up).records()
            for follow_up in follow_ups
        },
        race=None if confirmation is None else read_note(database, confirmation, RACE_NOTE),
        closing=reader.closing(),
        untrained_reason=reader.untrained_reason(),
    )


def load_problem(row: StudyRow, records: Sequence[OutOfMemoryRecord]) -> Problem | None:
    """Return the problem of a study; None where its model or data are not on this machine.

    Args:
        row: The study.
        records: What ran out of memory: these candidates, and larger ones, are left out, on
            whichever class of devices they failed.
    """
    from ...objectives.errors import ObjectiveError
    from ..problem.memory_ceiling import fit_to_devices
    from ..problem.problem import Problem

    try:
        problem = Problem.load(stored_spec(row), base_folder(row), row.costs)
        device_classes = sorted({device for _, device in records if device is not None})
        return fit_to_devices(problem, records, device_classes)
    except (ObjectiveError, SearchError) as error:
        _log.debug("only trained candidates are judged: %s", error)
        return None
