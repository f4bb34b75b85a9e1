"""A cohort: candidates trained side by side, each by its members in squads of one fold.

Entry point: `CandidateBatch`.
"""

import logging
import math
import time
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import final

import torch

from ..data.batches import place_data
from ..data.split import make_folds
from ..engines.base import Engine, TrainingSetup
from ..errors import describe_error
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..training.settings import ProxySettings, TrainingResult
from ..training.snapshot import MemberSnapshot, Snapshot
from .aggregate import Aggregate, aggregate_members, moot, promoted_candidates, training_result
from .candidate import Candidate, CandidateState, members_of, resume_signature, unpack_snapshot
from .fold import Fold, Milestone
from .member import MemberState

_log = logging.getLogger(__name__)


@final
class CandidateBatch:
    """All candidates, their members in squads of one fold each."""

    def __init__(
        self,
        objective: Objective,
        candidates: Sequence[Candidate],
        settings: ProxySettings,
        *,
        device: torch.device,
        engine: Engine,
        parametrisation: Parametrisation | None,
        other_rung_scores: Mapping[float, Sequence[float]],
        snapshots: Mapping[int, Snapshot],
    ) -> None:
        """Build all networks, and put those that were saved where they were.

        Args:
            objective: Model, data, loss and metric.
            candidates: What to train.
            settings: How.
            device: Where.
            engine: Who computes.
            parametrisation: Initial weights and rates by width; None for the model's own and one rate.
            other_rung_scores: Rung to the scores that other trials had there.
            snapshots: Candidate to where it goes on from; one that does not fit is said in a warning.
        """
        started = time.perf_counter()
        self._candidates, self._settings, self._device = candidates, settings, device
        self._metric, self._other_rung_scores, self._engine = (
            objective.metric,
            other_rung_scores,
            engine,
        )
        self._candidate_states = [CandidateState() for _ in candidates]
        self._trainings = [
            TrainingSetup(
                objective=objective,
                data=place_data(data, device, settings.data_on),
                settings=settings,
                device=device,
                parametrisation=parametrisation,
            )
            for data in make_folds(objective.data, settings.folds)
            if candidates
        ]
        self._resume_signature = resume_signature(
            settings, [len(training.data.train) for training in self._trainings]
        )
        self._restore(snapshots)
        self._add_seconds(range(len(candidates)), started)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, of the fold with the most."""
        return max((fold.steps_per_epoch for fold in self._folds), default=1)

    @property
    def epochs_done(self) -> float:
        """How far those are that go on, the last of them; infinite where none does."""
        running = (
            member_state
            for member_states in self._states_by_candidate()
            for member_state in member_states
            if member_state.state == "running"
        )
        return min((member_state.at for member_state in running), default=math.inf)

    def running(self) -> list[int]:
        """Return the candidates of which a member goes on."""
        return self._running_before(math.inf)

    def advance_to(self, milestone: Milestone) -> list[int]:
        """Train all to a stop; end what failed, and at a rung the candidates that fall behind.

        Returns:
            The candidates that were trained: the others have ended, or have the stop behind them.
        """
        started, trained = time.perf_counter(), self._running_before(milestone.epochs)
        for fold in self._folds:
            fold.advance_to(milestone)
        if milestone.validate:
            self._end_members(
                [
                    member_state
                    for member_states in self._states_by_candidate()
                    for member_state in moot(member_states)
                ]
            )
        if milestone.rung:
            self._prune_at_rung(milestone.epochs, trained)
        for index in trained:
            self._candidate_states[index].trained_here = True
        self._add_seconds(trained, started)
        return trained

    def metrics(self, indices: Collection[int]) -> dict[int, float]:
        """Return the present metric of those candidates that have one."""
        latest = {
            index: aggregate.latest
            for index, aggregate in enumerate(self._aggregates())
            if index in indices
        }
        return {index: metric for index, metric in latest.items() if metric is not None}

    def cancel(self, indices: Collection[int]) -> None:
        """Stop candidates that nobody waits for any more."""
        for index in indices:
            self._candidate_states[index].cancelled = True
        self._end_candidates(indices)

    def results(self) -> list[TrainingResult | Exception | None]:
        """Return what came of each candidate."""
        return [
            training_result(
                candidate_state,
                aggregate,
                self._settings,
                metric=self._metric,
                engines=candidate_state.all_engines(self._engine_descriptions()),
                device=self._device,
            )
            for candidate_state, aggregate in zip(
                self._candidate_states, self._aggregates(), strict=True
            )
        ]

    def snapshot_version(self, index: int) -> Hashable:
        """Return what is another one whenever a candidate's snapshot is."""
        return tuple(
            (member_state.at, member_state.state)
            for member_state in self._states_by_candidate()[index]
        )

    def snapshot(self, index: int) -> Snapshot | None:
        """Return where a candidate stands; None where it is to begin anew.

        That is one whose code raised, and one that ran out of memory, of which another machine may
        have more.

        Raises:
            Exception: Its network has a state that cannot be stored, or its own code raised.
        """
        candidate_state, member_states = (
            self._candidate_states[index],
            self._states_by_candidate()[index],
        )
        aggregate = aggregate_members(member_states, self._metric)
        if (
            candidate_state.cancelled
            or aggregate.error is not None
            or aggregate.outcome == "out_of_memory"
        ):
            return None
        return Snapshot.from_members(
            epochs=max(member_state.at for member_state in member_states),
            members=[
                self._folds[fold_index].member_snapshot(member_index)
                for fold_index, member_index in self._member_locations(index)
            ],
            metadata={
                **self._resume_signature,
                "story": candidate_state.state_dict(self._engine_descriptions()),
            },
        )

    def _restore(self, snapshots: Mapping[int, Snapshot]) -> None:
        """Build the squads, and anew without those that turn out not to fit."""
        self._build_folds()
        restored: dict[int, tuple[CandidateState, list[MemberSnapshot]]] = {}
        for index, snapshot in snapshots.items():
            try:
                restored[index] = unpack_snapshot(
                    snapshot, self._resume_signature, len(self._member_locations(index))
                )
            except Exception as error:  # whatever was stored, it must not end a training
                _warn_incompatible(self._candidates[index], error)
        while incompatible := self._load_state(restored):
            for index, cause in incompatible.items():
                _warn_incompatible(self._candidates[index], cause)
                del restored[index]
            self._build_folds()
        for index, (candidate_state, _) in restored.items():
            self._candidate_states[index] = candidate_state

    def _build_folds(self) -> None:
        members = [
            (index, member)
            for index, candidate in enumerate(self._candidates)
            for member in members_of(candidate, self._settings)
        ]
        self._folds: list[Fold] = []  # the memory of those before is given up first
        for training in self._trainings:
            self._folds.append(
                Fold(
                    training,
                    [member for _, member in members],
                    [index for index, _ in members],
                    self._engine,
                )
            )

    def _load_state(
        self, restored: Mapping[int, tuple[CandidateState, Sequence[MemberSnapshot]]]
    ) -> dict[int, Exception]:
        """Put members where they were; return candidates that do not fit, and why."""
        snapshots_by_fold: list[dict[int, MemberSnapshot]] = [{} for _ in self._folds]
        for index, (_, member_snapshots) in restored.items():
            for (fold_index, member_index), member_snapshot in zip(
                self._member_locations(index), member_snapshots, strict=True
            ):
                snapshots_by_fold[fold_index][member_index] = member_snapshot
        incompatible = {}
        for fold, fold_snapshots in zip(self._folds, snapshots_by_fold, strict=True):
            for member_index, error in fold.load_state(fold_snapshots).items():
                incompatible[fold.member_states[member_index].candidate_index] = error
        return incompatible

    def _prune_at_rung(self, epochs: float, trained: Collection[int]) -> None:
        """Stop the candidates that fall behind at a rung.

        One that has the rung behind it is judged no more, but its score there counts for others.
        """
        scores = {}
        for index, aggregate in enumerate(self._aggregates()):
            candidate_state = self._candidate_states[index]
            if candidate_state.cancelled or aggregate.error is not None:
                continue
            if aggregate.score is not None and not candidate_state.pruned:
                candidate_state.rung_scores.setdefault(epochs, aggregate.score)
            if epochs in candidate_state.rung_scores:
                scores[index] = candidate_state.rung_scores[epochs]
        assert self._settings.halving is not None
        promoted = promoted_candidates(
            scores,
            self._other_rung_scores.get(epochs, ()),
            self._settings.halving.eta,
            self._metric,
        )
        pruned = [
            index
            for index in self.running()
            if index in trained
            and index in scores
            and index not in promoted
            and not self._candidates[index].never_pruned
        ]
        for index in pruned:
            self._candidate_states[index].pruned = True
        self._end_candidates(pruned)

    def _end_candidates(self, indices: Collection[int]) -> None:
        states_by_candidate = self._states_by_candidate()
        self._end_members(
            [member_state for index in indices for member_state in states_by_candidate[index]]
        )

    def _end_members(self, member_states: Collection[MemberState]) -> None:
        ending = {id(member_state) for member_state in member_states}
        for fold in self._folds:
            fold.end_members(
                [
                    member_index
                    for member_index in fold.running()
                    if id(fold.member_states[member_index]) in ending
                ]
            )

    def _running_before(self, epochs: float) -> list[int]:
        """Return the candidates of which a member goes on that is not yet so far."""
        return [
            index
            for index, member_states in enumerate(self._states_by_candidate())
            if any(
                member_state.state == "running" and member_state.at < epochs
                for member_state in member_states
            )
        ]

    def _member_locations(self, index: int) -> list[tuple[int, int]]:
        """Return where a candidate's members are: the fold, and the place in its squad."""
        return [
            (fold_index, member_index)
            for fold_index, fold in enumerate(self._folds)
            for member_index, member_state in enumerate(fold.member_states)
            if member_state.candidate_index == index
        ]

    def _states_by_candidate(self) -> list[list[MemberState]]:
        """Return every candidate's trainings."""
        by_candidate: list[list[MemberState]] = [[] for _ in self._candidates]
        for fold in self._folds:
            for member_state in fold.member_states:
                by_candidate[member_state.candidate_index].append(member_state)
        return by_candidate

    def _engine_descriptions(self) -> tuple[str, ...]:
        return tuple(fold.engine_description for fold in self._folds)

    def _aggregates(self) -> list[Aggregate]:
        return [
            aggregate_members(member_states, self._metric)
            for member_states in self._states_by_candidate()
        ]

    def _add_seconds(self, indices: Collection[int], started: float) -> None:
        """Share the time since then among the candidates that used it."""
        elapsed = time.perf_counter() - started
        for index in indices:
            self._candidate_states[index].seconds += elapsed / len(indices)


def _warn_incompatible(candidate: Candidate, error: Exception) -> None:
    _log.warning(
        "the training of %s begins anew, its checkpoint does not fit: %s",
        dict(candidate.widths),
        describe_error(error),
    )
