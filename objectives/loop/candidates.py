"""Candidates that are trained together: each by its members, one group of them in every fold.

Entry point: `CandidateBatch`.
"""

import logging
import math
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import final

import torch

from ..data.batches import place_data
from ..data.dataset import Data
from ..data.split import join_validation, make_folds, take_share
from ..data.streams.source import BatchData
from ..engines.base import Engine, TrainingSetup
from ..errors import describe_error
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..training.settings import ProxySettings
from ..training.snapshot import MemberSnapshot, Snapshot
from .aggregate import (
    best_members,
    first_error,
    latest_figures,
    mean_latest,
    mean_score,
    moot,
    outcome_of,
    promoted_candidates,
    training_result,
)
from .candidate import Candidate, CandidateState, members_of, resume_signature, unpack_snapshot
from .fold import Fold
from .member import MemberState
from .milestone import Milestone
from .result import TrainingOutcome, TrainingResult

_log = logging.getLogger(__name__)


@final
class CandidateBatch:
    """The candidates of one call of the training loop; they go by their index."""

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
        """Build all networks, and load the state of those that have a snapshot.

        Args:
            objective: Model, data, loss and metric.
            candidates: What to train.
            settings: How to train.
            device: Where to train.
            engine: What trains.
            parametrisation: Initial weights and rates by width; None for the model's own and one
                rate.
            other_rung_scores: Rung to the scores that other trials had there.
            snapshots: Candidate to where it goes on from; one that does not fit is logged as a
                warning, and its candidate begins anew.
        """
        started = time.perf_counter()
        self._candidates, self._settings, self._device = candidates, settings, device
        self._metric, self._engine = objective.metric, engine
        self._other_rung_scores = other_rung_scores
        self._candidate_states = [CandidateState() for _ in candidates]
        # Of each repeat of the folds: the members of each candidate.
        self._members = [
            [members_of(candidate, settings, repeat) for candidate in candidates]
            for repeat in range(settings.repeats)
        ]
        self._trainings = [
            TrainingSetup(
                objective=objective,
                data=data,
                settings=settings,
                device=device,
                parametrisation=parametrisation,
            )
            for data in _fold_data(objective.data, settings, device)
            if candidates
        ]
        self._signature = resume_signature(
            settings, [_training_size(training.data) for training in self._trainings]
        )
        self._folds: list[Fold] = []
        self._build_folds()
        self._restore(snapshots)
        self.add_seconds(range(len(candidates)), time.perf_counter() - started)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, of the fold with the most."""
        return max((fold.steps_per_epoch for fold in self._folds), default=1)

    @property
    def epochs_done(self) -> float:
        """Epochs of the running member that has the fewest; infinite where none runs."""
        return min(
            (state.epochs for state in self._all_member_states() if state.running),
            default=math.inf,
        )

    def advance(self, milestone: Milestone) -> list[int]:
        """Train all members to a milestone; those that have reached it before stay as they are.

        Returns:
            The candidates of which a member was trained.
        """
        trained = self._running(before=milestone.epochs)
        for fold in self._folds:
            fold.session.run(partial(fold.train, milestone), repeat=milestone.validate)
        for index in trained:
            self._candidate_states[index].trained_here = True
        return trained

    def validate(self, milestone: Milestone) -> None:
        """Validate the members just trained, and end those that should stop or have become moot."""
        for fold in self._folds:
            fold.validate(milestone)
        self._end_members(
            state for index in range(len(self._candidates)) for state in moot(self._states(index))
        )

    def prune(self, milestone: Milestone, trained: Collection[int]) -> None:
        """Stop the candidates that fall behind at a rung.

        A candidate that had reached the rung before is not judged again, but its score there
        counts for the others.

        Args:
            milestone: The rung.
            trained: The candidates just trained to it.
        """
        epochs, scores = milestone.epochs, {}
        for index, candidate_state in enumerate(self._candidate_states):
            states = self._states(index)
            if candidate_state.cancelled or first_error(states) is not None:
                continue
            score = mean_score(best_members(states, self._metric))
            if score is not None and not candidate_state.pruned:
                candidate_state.rung_scores.setdefault(epochs, score)
            if epochs in candidate_state.rung_scores:
                scores[index] = candidate_state.rung_scores[epochs]
        assert self._settings.halving is not None, "only halving has rungs"
        promoted = promoted_candidates(
            scores,
            self._other_rung_scores.get(epochs, ()),
            self._settings.halving.eta,
            self._metric,
        )
        pruned = [
            index
            for index in self._running()
            if index in trained
            and index in scores
            and index not in promoted
            and not self._candidates[index].never_pruned
        ]
        for index in pruned:
            self._candidate_states[index].pruned = True
        self._end_candidates(pruned)

    def metrics(self, indices: Collection[int]) -> dict[int, float]:
        """Return the latest metric of those candidates that have one."""
        latest = {
            index: mean_latest(best_members(self._states(index), self._metric)) for index in indices
        }
        return {index: metric for index, metric in latest.items() if metric is not None}

    def figures(self, indices: Collection[int]) -> dict[int, dict[str, float]]:
        """Return the latest metric and losses of those candidates that have any, by name."""
        latest = {
            index: latest_figures(best_members(self._states(index), self._metric), self._metric)
            for index in indices
        }
        return {index: figures for index, figures in latest.items() if figures}

    def cancel(self, indices: Collection[int]) -> None:
        """Stop candidates that the callback gave up."""
        for index in indices:
            self._candidate_states[index].cancelled = True
        self._end_candidates(indices)

    def add_seconds(self, indices: Collection[int], seconds: float) -> None:
        """Share out wall-clock time among the candidates that used it."""
        for index in indices:
            self._candidate_states[index].seconds += seconds / len(indices)

    def results(self) -> list[TrainingResult | Exception | None]:
        """Return what came of each candidate."""
        return [
            training_result(
                candidate_state,
                self._states(index),
                self._settings,
                metric=self._metric,
                engines=candidate_state.all_engines(self._engine_descriptions()),
                device=self._device,
            )
            for index, candidate_state in enumerate(self._candidate_states)
        ]

    def close(self) -> None:
        """End what reads the data ahead; the results stay."""
        for fold in self._folds:
            fold.close()

    def snapshot_version(self, index: int) -> Hashable:
        """Return a value that changes whenever a candidate's snapshot does."""
        return tuple((state.epochs, state.status) for state in self._states(index))

    def snapshot(self, index: int) -> Snapshot | None:
        """Return a candidate's snapshot; None where it is to begin anew.

        That is a candidate whose code raised, one that ran out of memory, of which another machine
        may have more, and one that has ended with weights to be kept, which no snapshot holds.

        Raises:
            Exception: Its network has a state that cannot be stored, or its own code raised.
        """
        candidate_state, states = self._candidate_states[index], self._states(index)
        if (
            candidate_state.cancelled
            or first_error(states) is not None
            or outcome_of(best_members(states, self._metric)) == TrainingOutcome.OUT_OF_MEMORY
            or (self._settings.final and not any(state.running for state in states))
        ):
            return None
        return Snapshot.from_members(
            epochs=max(state.epochs for state in states),
            members=[
                fold.member_snapshot(member_index)
                for fold in self._folds
                for member_index in self._member_range(index)
            ],
            metadata={
                **self._signature,
                "story": candidate_state.state_dict(self._engine_descriptions()),
            },
        )

    def _build_folds(self) -> None:
        self._folds.clear()  # frees the memory of the old ones first
        for index, training in enumerate(self._trainings):
            repeat_members = self._members[index // self._settings.folds]
            members = [member for of_candidate in repeat_members for member in of_candidate]
            self._folds.append(Fold(training, members, self._engine))

    def _restore(self, snapshots: Mapping[int, Snapshot]) -> None:
        """Load snapshots; where one does not fit, build all folds again and leave it out."""
        restored: dict[int, tuple[CandidateState, list[MemberSnapshot]]] = {}
        for index, snapshot in snapshots.items():
            member_count = len(self._folds) * self._members_per_fold
            try:
                restored[index] = unpack_snapshot(snapshot, self._signature, member_count)
            except Exception as error:  # whatever was stored, it must not end a training
                self._warn_incompatible(index, error)
        while incompatible := self._load_state(
            {index: members for index, (_, members) in restored.items()}
        ):
            for index, cause in incompatible.items():
                self._warn_incompatible(index, cause)
                del restored[index]
            self._build_folds()
        for index, (candidate_state, _) in restored.items():
            self._candidate_states[index] = candidate_state

    def _load_state(
        self, snapshots: Mapping[int, Sequence[MemberSnapshot]]
    ) -> dict[int, Exception]:
        """Load the members' snapshots; return the candidates that do not fit, and why."""
        incompatible: dict[int, Exception] = {}
        for fold_index, fold in enumerate(self._folds):
            fold_snapshots: dict[int, MemberSnapshot] = {}
            for index, member_snapshots in snapshots.items():
                members = self._member_range(index)
                offset = fold_index * len(members)
                own = member_snapshots[offset : offset + len(members)]
                fold_snapshots |= dict(zip(members, own, strict=True))
            for member_index, error in fold.load_state(fold_snapshots).items():
                incompatible[self._candidate_of(member_index)] = error
        return incompatible

    def _warn_incompatible(self, index: int, error: Exception) -> None:
        _log.warning(
            "the training of %s begins anew, its checkpoint does not fit: %s",
            dict(self._candidates[index].widths),
            describe_error(error),
        )

    def _end_candidates(self, indices: Iterable[int]) -> None:
        self._end_members(state for index in indices for state in self._states(index))

    def _end_members(self, states: Iterable[MemberState]) -> None:
        ending = set(states)
        for fold in self._folds:
            fold.end_members(
                [index for index, state in enumerate(fold.member_states) if state in ending]
            )

    def _running(self, before: float = math.inf) -> list[int]:
        """Return the candidates of which a member runs that has not reached so many epochs."""
        return [
            index
            for index in range(len(self._candidates))
            if any(state.running and state.epochs < before for state in self._states(index))
        ]

    def _states(self, index: int) -> list[MemberState]:
        """Return the states of a candidate's members, fold by fold."""
        members = self._member_range(index)
        return [
            fold.member_states[member_index] for fold in self._folds for member_index in members
        ]

    def _all_member_states(self) -> Iterable[MemberState]:
        return (state for fold in self._folds for state in fold.member_states)

    def _member_range(self, index: int) -> range:
        """Return the indices of a candidate's members, the same in every fold."""
        count = self._members_per_fold
        return range(index * count, (index + 1) * count)

    def _candidate_of(self, member_index: int) -> int:
        return member_index // self._members_per_fold

    @property
    def _members_per_fold(self) -> int:
        """Members of a candidate in one fold."""
        return self._settings.replicas * len(self._settings.rate_factors)

    def _engine_descriptions(self) -> tuple[str, ...]:
        return tuple(fold.engine_description for fold in self._folds)


def _fold_data(
    data: Data | BatchData, settings: ProxySettings, device: torch.device
) -> Iterable[Data | BatchData]:
    """Return the data of every fold, where it is to be; data in batches has one, and stays."""
    if isinstance(data, BatchData):
        return [data]
    if settings.final:
        data = join_validation(data)
    return (
        place_data(take_share(fold, settings.train_share), device, settings.data_on)
        for fold in make_folds(data, settings.folds, settings.repeats)
    )


def _training_size(data: Data | BatchData) -> int:
    """Return the training rows, or batches, which a snapshot and its training have in common."""
    return data.train.steps if isinstance(data, BatchData) else len(data.train)
