"""Halving across a study: pruned trials keep their curves, and everybody learns from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from optuna.trial import TrialState
from widthwise.search.goal import Goal
from widthwise.search.sampler.baselines import LARGEST_FEASIBLE, RULE_OF_THUMB, UNIFORM_SCALING
from widthwise.search.sampler.origin import CONFIRMATION, SAMPLER
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import build_history
from widthwise.search.trial.watch import Unwatched
from widthwise.storage.ledger.ledger import WidthBinding
from widthwise.storage.ledger.slot import SlotRecord, SlotState, outcome_from
from widthwise.storage.ledger.tried import TriedSlot
from widthwise.tests.search.bench import HarnessFactory, StudyHarness

HALVED = {"epochs": 4, "patience": 0, "halving": {"eta": 2, "first": 1.0}}


@pytest.fixture
def new_harness(new_harness: HarnessFactory) -> HarnessFactory:
    """Make small studies that are halved."""
    return lambda **options: new_harness(**{**HALVED, **options})


def run(study: StudyHarness, widths: Sequence[int], origin: str = SAMPLER.text) -> list[SlotRecord]:
    """Train these candidates as one batch."""
    runner = study.runner()
    slots = runner.ledger.claim_many(len(widths))
    bound = runner.ledger.bind_many(
        [
            WidthBinding(slot=slot, widths={"a": width}, origin=origin)
            for slot, width in zip(slots, widths, strict=True)
        ]
    )
    runner.run_batch(bound, Unwatched())
    runner.projection.repair()
    return [study.records()[slot.number] for slot in slots]


def outcomes_by_width(records: Sequence[SlotRecord]) -> dict[int, tuple[str | None, int]]:
    """Width to outcome and epochs trained."""
    return {
        record.widths["a"]: (record.outcome, len((record.result or {})["curve"]))
        for record in records
        if record.widths
    }


def test_the_worst_of_a_batch_are_stopped_and_recorded_as_pruned(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=4)
    assert outcomes_by_width(run(study, [30, 10, 40, 20])) == {
        40: ("complete", 4),
        30: ("pruned", 2),
        20: ("pruned", 1),
        10: ("pruned", 1),
    }
    by_width = {trial.params["a"]: trial for trial in study.trials()}
    assert by_width[40].state == TrialState.COMPLETE
    pruned = by_width[30]
    assert pruned.state == TrialState.PRUNED
    assert pruned.intermediate_values == {0: 30.0, 1: 30.0}
    assert pruned.user_attrs["score"] == 30.0
    assert "after 2 of 4 epochs is not among the best 1/2" in pruned.user_attrs["detail"]
    assert "score" not in by_width[40].user_attrs
    counts = study.ledger().reader.counts()
    assert (counts.complete, counts.pruned) == (1, 3)


def test_a_later_batch_is_compared_with_earlier_ones_at_the_same_rung(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=7)
    assert outcomes_by_width(run(study, [20, 30, 40]))[30] == ("pruned", 2)
    assert outcomes_by_width(run(study, [10, 35, 5])) == {
        35: ("complete", 4),
        10: ("pruned", 1),
        5: ("pruned", 1),
    }
    assert outcomes_by_width(run(study, [6])) == {6: ("pruned", 1)}, "one alone is compared as well"


@pytest.mark.parametrize(
    "origin", [LARGEST_FEASIBLE, f"{UNIFORM_SCALING} = {RULE_OF_THUMB}", CONFIRMATION.text]
)
def test_baselines_and_confirmations_are_never_pruned(
    new_harness: HarnessFactory, origin: str
) -> None:
    study = new_harness(trials=5)
    run(study, [40, 30, 20])
    assert outcomes_by_width(run(study, [1, 2], origin)) == {1: ("complete", 4), 2: ("complete", 4)}


def test_a_rung_within_the_first_epoch_leaves_a_score_and_no_curve(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=2, halving={"eta": 2, "first": 0.3})
    assert outcomes_by_width(run(study, [40, 20])) == {40: ("complete", 4), 20: ("pruned", 0)}
    [pruned] = [
        tried_slot for tried_slot in study.ledger().reader.tried() if tried_slot.outcome == "pruned"
    ]
    assert (pruned.score, pruned.fidelity, pruned.rungs) == (20.0, 0.3, ((0.3, 20.0),))
    trial = study.trials()[1]
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {})
    assert trial.user_attrs["score"] == 20.0


def test_the_proposer_hears_of_every_fidelity(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=4)
    run(study, [30, 10, 40, 20])
    problem = study.problem
    trial_history = build_history(problem.space, study.ledger().reader.tried(), problem.goal)
    assert trial_history.fidelity is not None
    observations = sorted(
        zip(trial_history.fidelity, trial_history.observed[:, 0], trial_history.values, strict=True)
    )
    assert observations == [
        *((1.0, width, float(width)) for width in (10, 20, 30, 40)),
        *((2.0, width, float(width)) for width in (30, 40)),
        (4.0, 40, 40.0),
    ]
    assert sorted(np.unique(trial_history.tried[:, 0])) == [10, 20, 30, 40], (
        "none is proposed again"
    )


def test_a_halved_study_runs_to_its_end(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=16, at_once=5)
    outcomes = study.run_worker()
    records = study.records()
    assert len(outcomes) == 16
    assert {record.outcome for record in records} == {"complete", "pruned"}
    named = {baseline.name for baseline in study.problem.suggester.baselines}
    never_pruned = [record for record in records if record.origin in named]
    assert len(never_pruned) == len(named) >= 2
    assert {record.outcome for record in never_pruned} == {"complete"}
    assert len({str(record.widths) for record in records}) == 16


# What the history is made of


def tried_slot(
    number: int, outcome: str | None, score: float | None = None, **other_columns: object
) -> TriedSlot:
    columns = {
        "state": SlotState.LEASED if outcome is None else SlotState.DONE,
        "value": score if outcome == "complete" else None,
        "fidelity": 9.0 if outcome == "complete" else None,
        "spread": None,
        "measured": {},
        "rungs": (),
        **other_columns,
    }
    return TriedSlot(  # type: ignore[arg-type]
        number=number,
        widths={"a": number + 1},
        outcome=outcome_from(outcome),
        score=score,
        **columns,
    )


SPACE = Space((Width.range("a", 1, 9, 1),))


def test_without_pruning_all_were_trained_alike() -> None:
    """Rungs that nobody fell at say nothing that the ends do not."""
    trial_history = build_history(
        SPACE,
        [tried_slot(0, "complete", 0.5, rungs=((1.0, 0.2), (3.0, 0.4))), tried_slot(1, "nan")],
        Goal(),
    )
    assert trial_history.fidelity is None
    assert trial_history.observed.tolist() == [[1]]
    assert trial_history.failed.tolist() == [[2]]


def test_a_pruned_trial_is_set_against_the_others_where_it_stopped() -> None:
    trial_history = build_history(
        SPACE,
        [
            tried_slot(0, "complete", 0.5, fidelity=9.0, rungs=((1.0, 0.2), (3.0, 0.4))),
            tried_slot(1, "pruned", 0.3, fidelity=3.0, rungs=((1.0, 0.1), (3.0, 0.3))),
            tried_slot(2, None),
            tried_slot(3, "infeasible", measured={"latency": 2.0}),
        ],
        Goal(direction="minimize"),
    )
    assert trial_history.observed.ravel().tolist() == [1, 1, 2]
    assert trial_history.values.tolist() == [-0.4, -0.5, -0.3]
    assert trial_history.fidelity is not None
    assert trial_history.fidelity.tolist() == [3.0, 9.0, 3.0]
    assert trial_history.skipped is not None
    assert trial_history.skipped.tolist() == [[2]]
    assert (trial_history.pending.tolist(), trial_history.failed.tolist()) == ([[3]], [[4]])
    assert trial_history.is_full_fidelity.tolist() == [False, True, False]


def test_what_says_nothing_about_the_widths_is_no_failure() -> None:
    """A person's cancellation, and memory that ran out on another class of devices."""
    trial_history = build_history(
        SPACE,
        [
            tried_slot(0, "complete", 0.5),
            tried_slot(1, "cancelled"),
            tried_slot(2, "out_of_memory"),
            tried_slot(3, "out_of_memory"),
            tried_slot(4, "infeasible"),
            tried_slot(5, "error"),
        ],
        Goal(),
        out_of_memory_elsewhere=[{"a": 3}],
    )
    assert trial_history.skipped is not None
    assert trial_history.skipped.ravel().tolist() == [2]
    assert trial_history.refused is not None
    assert trial_history.refused.ravel().tolist() == [3, 5]
    assert trial_history.failed.ravel().tolist() == [4, 6]
    assert sorted(trial_history.tried.ravel().tolist()) == [1, 2, 3, 4, 5, 6], (
        "none is proposed again"
    )
