"""A batch of slots: claimed, suggested, trained and recorded together, each on its own account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState
from widthwise.objectives.errors import CostError, ModelError
from widthwise.objectives.interrupt import note_interrupts
from widthwise.objectives.loop.train import train
from widthwise.search.errors import Drained, Exhausted, TooManyFailures
from widthwise.search.problem.seeds import trial_seed
from widthwise.search.sampler.suggest import Suggester, Suggestion
from widthwise.search.trial.claim_size import ClaimSizer
from widthwise.search.trial.watch import Unwatched
from widthwise.storage.ledger.ledger import PlannedTrial, WidthBinding
from widthwise.tests.search.bench import FixedWatch, HarnessFactory


def test_each_of_a_batch_is_trained_as_if_it_were_alone(new_harness: HarnessFactory) -> None:
    """Its own seed and learning rate; and what is recorded is what came out."""
    study = new_harness(trials=5, at_once=4, epochs=2, replicas=2, rate_factors=[0.5, 1.0])
    outcomes = study.supervisor().run_batch()
    assert [(outcome.number, outcome.kind) for outcome in outcomes] == [
        (n, "complete") for n in range(4)
    ]
    problem = study.problem
    for record in study.records()[:4]:
        assert record.widths is not None
        assert record.result is not None
        seed = trial_seed(0, record.number)
        separate = train(problem.objective, record.widths, problem.settings, seed=seed)
        assert record.value == separate.value == outcomes[record.number].value
        assert record.result["losses"] == list(separate.losses)
        assert record.result["curve"] == list(separate.curve)
        assert record.result["validation_losses"] == list(separate.validation_losses)
        assert len(separate.curve) == 2
        assert record.result["seed"] == seed
        assert record.result["learning_rate"] == separate.learning_rate
    assert len({tuple(record.result["losses"]) for record in study.records()[:4] if record.result})
    trials = study.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert [trial.intermediate_values for trial in trials] == [
        {0: trial.value, 1: trial.value} for trial in trials
    ]


@pytest.mark.parametrize(("at_once", "trials"), [(64, 7), (4, 9), (1, 3), (3, 1)])
def test_the_budget_is_exact_and_the_last_slot_is_suggested_alone(
    new_harness: HarnessFactory, at_once: int, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the last training can confirm what all others taught."""
    last: list[int] = []
    propose = Suggester.suggest

    def spy(self: Suggester, history: Any, rng: Any, **options: Any) -> Suggestion:
        if options.get("last"):
            last.append(len(history.observed))
            assert len(history.pending) == 0
        return propose(self, history, rng, **options)

    monkeypatch.setattr(Suggester, "suggest", spy)
    study = new_harness(trials=trials, at_once=at_once)
    outcomes = study.run_worker()
    assert sorted(outcome.number for outcome in outcomes) == list(range(trials))
    records = study.records()
    assert [record.outcome for record in records] == ["complete"] * trials
    assert len({str(record.widths) for record in records}) == trials
    assert last == [trials - 1]
    assert (
        study.ledger().reader.counts().complete == study.ledger().reader.counts().budget == trials
    )


def test_a_batch_that_takes_up_old_slots_leaves_the_last_one_for_later(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=4, at_once=3)
    ledger = study.ledger()
    begun = ledger.bind_many(
        [
            WidthBinding(slot=slot, widths={"a": 10 + slot.number}, origin="sampler")
            for slot in ledger.claim_many(3)
        ]
    )
    ledger.release_many(begun)
    supervisor = study.supervisor(claim_sizer=ClaimSizer(fixed=4))
    assert [outcome.number for outcome in supervisor.run_batch()] == [0, 1, 2]
    assert [outcome.number for outcome in supervisor.run_batch()] == [3]


def test_a_space_smaller_than_a_batch_is_searched_to_its_end(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=9, at_once=6, widths=4)
    with pytest.raises(Exhausted, match="every feasible candidate was tried"):
        study.run_worker()
    counts = study.ledger().reader.counts()
    assert (counts.complete, counts.waiting) == (4, 5)
    assert [record.attempts for record in study.records()] == [1] * 4 + [0] * 5


# Faults


@pytest.mark.parametrize(
    ("fault", "width", "kinds"),
    [
        ("raise", 5, ["retry", "retry", "error"]),
        ("exit", 5, ["retry", "retry", "error"]),
        ("unbuildable", 5, ["retry", "retry", "error"]),
        ("build abort", 5, ["retry", "retry", "error"]),
        ("cancel", 5, ["retry", "retry", "error"]),
        ("generator", 5, ["retry", "retry", "error"]),
        ("abort", 5, ["retry", "retry", "error"]),
        ("interrupt", 5, ["retry", "retry", "error"]),
        ("nan", 5, ["nan"]),
        # No larger one is trained after it.
        ("memory", 8, ["out_of_memory"]),
    ],
)
def test_a_fault_of_one_trial_is_recorded_for_that_trial_alone(
    new_harness: HarnessFactory, fault: str, width: int, kinds: list[str]
) -> None:
    study = new_harness(trials=8, at_once=4, widths=8, faults={width: fault})
    with note_interrupts():  # there is none: a KeyboardInterrupt is the user code's own
        outcomes = study.run_worker()
    records = {record.widths["a"]: record for record in study.records() if record.widths}
    assert set(records) == set(range(1, 9))
    troubled = records.pop(width)
    assert [outcome.kind for outcome in outcomes if outcome.number == troubled.number] == kinds
    assert troubled.outcome == kinds[-1]
    assert troubled.attempts == len(kinds)
    assert {record.outcome for record in records.values()} == {"complete"}
    assert {record.attempts for record in records.values()} == {1}
    assert all(record.value == a for a, record in records.items())
    failed = [trial for trial in study.trials() if trial.state == TrialState.FAIL]
    assert [trial.params for trial in failed] == [{"a": width}]


def test_costs_that_cannot_be_counted_fail_one_candidate_alone(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=4, at_once=4)
    ledger = study.ledger()
    bound = ledger.bind_many(
        [
            WidthBinding(slot=slot, widths={"a": 5 + slot.number}, origin="sampler")
            for slot in ledger.claim_many(2)
        ]
    )
    ledger.release_many(bound)
    counting = replace(study.problem, cost_model=_FailingCosts(study.problem.cost_model, 6))
    outcomes = replace(study, problem=counting).supervisor().run_batch()
    kinds = {outcome.number: outcome.kind for outcome in outcomes}
    assert kinds[0] == "complete"
    assert kinds[1] == "retry"


@pytest.mark.parametrize("error", [CostError("it raised"), ModelError("it cannot be built")])
def test_a_suggestion_whose_costs_cannot_be_counted_is_a_trial_that_fails(
    new_harness: HarnessFactory, error: Exception
) -> None:
    """Were it not bound, it would end each worker that it is suggested to."""
    study = new_harness(trials=8, at_once=2, widths=8)
    failing = _FailingCosts(study.problem.cost_model, 5, error)
    outcomes = replace(study, problem=replace(study.problem, cost_model=failing)).run_worker()
    [failed] = [record for record in study.records() if record.outcome != "complete"]
    assert (failed.widths, failed.outcome, failed.failures) == ({"a": 5}, "error", 3)
    assert [entry.kind for entry in outcomes if entry.number == failed.number] == [
        *("retry", "retry", "error")
    ]


class _FailingCosts:
    """Costs that cannot be counted at one width."""

    def __init__(self, costs: Any, width: int, error: Exception | None = None) -> None:
        self._costs, self._width = costs, width
        self._error = error or ZeroDivisionError("no such costs")

    def candidate_costs(self, widths: Any) -> Any:
        if widths["a"] == self._width:
            raise self._error
        return self._costs.candidate_costs(widths)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._costs, name)


def test_many_failures_in_one_batch_do_not_stop_a_worker_that_succeeds_too(
    new_harness: HarnessFactory,
) -> None:
    """Their order within the batch is by chance, and so is that of their second attempts."""
    trouble = dict.fromkeys(range(1, 16, 2), "raise")
    study = new_harness(trials=16, at_once=16, widths=16, faults=trouble)
    study.run_worker()
    counts = study.ledger().reader.counts()
    assert (counts.complete, counts.failed) == (8, 8)


def test_a_model_that_always_fails_stops_the_worker(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=20, at_once=4, faults=dict.fromkeys(range(1, 41), "raise"))
    with pytest.raises(TooManyFailures, match="the moon is full"):
        study.run_worker()
    counts = study.ledger().reader.counts()
    assert (counts.complete, counts.failed, counts.waiting) == (0, 4, 16)


def test_a_whole_batch_that_fails_is_enough(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=20, at_once=8, faults=dict.fromkeys(range(1, 41), "raise"))
    with pytest.raises(TooManyFailures, match="failed 8 times in a row"):
        study.run_worker()
    assert study.ledger().reader.counts().waiting == 20


# Stopping and losing slots


def test_a_drained_batch_is_given_back_whole_and_goes_on_where_it_was(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=6, at_once=4)
    stop_calls: list[bool] = []

    def stop_requested() -> bool:
        stop_calls.append(True)
        return True

    with pytest.raises(Drained, match="stopped in 4 trials"):
        study.supervisor(stop_requested=stop_requested).run_batch()
    assert len(stop_calls) == 2, "after the first epoch, and by the supervisor whose stop it is"
    records = study.records()
    assert [record.state for record in records] == ["free"] * 6
    assert [record.attempts for record in records] == [0] * 6
    begun = [record.widths for record in records[:4]]
    assert None not in begun
    study.run_worker()
    after = study.records()
    assert [record.widths for record in after[:4]] == begun
    assert [record.attempts for record in after] == [1] * 6
    assert len(study.trials()) == 6, "the trials that were open are gone on with"


def test_a_failed_candidate_is_not_given_back_twice_by_a_drain(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=4, at_once=3, widths=4)
    study = replace(
        study, problem=replace(study.problem, cost_model=_FailingCosts(study.problem.cost_model, 1))
    )
    ledger = study.ledger()
    bound = ledger.bind_many(
        [
            WidthBinding(slot=slot, widths={"a": 1 + slot.number}, origin="sampler")
            for slot in ledger.claim_many(3)
        ]
    )
    ledger.release_many(bound)
    with pytest.raises(Drained):
        study.supervisor(stop_requested=lambda: True).run_batch()
    records = study.records()
    assert [record.state for record in records] == ["free"] * 4
    assert [record.attempts for record in records[:3]] == [1, 0, 0]
    assert [record.failures for record in records[:3]] == [1, 0, 0]


def test_a_lost_slot_is_given_up_while_its_neighbours_go_on(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=6, at_once=4, epochs=3)
    runner = study.runner()
    slots = runner.ledger.claim_many(4)
    outcomes = runner.run_batch(slots, FixedWatch(lambda: frozenset({1})))
    assert {outcome.number: outcome.kind for outcome in outcomes} == {
        0: "complete",
        1: "lost",
        2: "complete",
        3: "complete",
    }
    records = study.records()
    assert [record.state for record in records[:4]] == ["done", "leased", "done", "done"]


def test_a_batch_that_is_lost_as_a_whole_ends_its_training(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=4, at_once=2, epochs=50)
    runner = study.runner()
    slots = runner.ledger.claim_many(2)
    outcomes = runner.run_batch(slots, FixedWatch(lambda: frozenset({0, 1})))
    assert [outcome.kind for outcome in outcomes] == ["lost", "lost"]


def test_what_a_late_worker_trained_is_refused_and_its_neighbours_recorded(
    new_harness: HarnessFactory,
) -> None:
    """The worker does not know: the ledger's fence refuses it."""
    study = new_harness(trials=5, at_once=3)
    runner = study.runner()
    stolen: list[Any] = []

    def lost() -> frozenset[int]:
        if not stolen:
            stolen.extend(study.steal_leases([1]))
        return frozenset()

    outcomes = runner.run_batch(runner.ledger.claim_many(3), FixedWatch(lost))
    assert [outcome.kind for outcome in outcomes] == ["complete", "lost", "complete"]
    record = study.records()[1]
    assert (record.state, record.worker, record.value) == ("leased", "thief", None)
    assert stolen[0].widths == record.widths, "the thief takes up the same candidate"


def test_a_slot_lost_before_its_trial_is_opened_is_not_trained(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=4, at_once=2)
    runner = study.runner()
    ledger = runner.ledger
    bound = ledger.bind_many(
        [
            WidthBinding(slot=slot, widths={"a": 7 + slot.number}, origin="sampler")
            for slot in ledger.claim_many(2)
        ]
    )
    study.steal_leases([0])
    outcomes = runner.run_batch(bound, Unwatched())
    assert [(outcome.number, outcome.kind) for outcome in outcomes] == [
        (0, "lost"),
        (1, "complete"),
    ]


# Planned trainings


def plan(width: int, seed: int = 1, **overrides: Any) -> PlannedTrial:
    keys = {f"proxy.{name}": value for name, value in overrides.items()}
    return PlannedTrial(widths={"a": width}, seed=seed, origin="recommended", overrides=keys)


def test_planned_trainings_are_those_that_were_planned(new_harness: HarnessFactory) -> None:
    """Widths, seed and overrides of each, though they are claimed together."""
    study = new_harness(trials=1, epochs=2)
    planned = [
        plan(5, seed=7),
        plan(5, seed=8),
        plan(6, seed=7, learning_rate=0.05, epochs=3),
        plan(5, seed=7, learning_rate=0.05, epochs=3),
    ]
    study.ledger().add_planned(planned)
    outcomes = study.supervisor(claim_sizer=ClaimSizer(fixed=4)).run_batch()
    assert [outcome.kind for outcome in outcomes] == ["complete"] * 4
    for trial, record in zip(planned, study.records()[1:], strict=True):
        assert record.result is not None
        variant = study.problem.variant(trial.overrides)
        separate = train(variant.objective, trial.widths, variant.settings, seed=trial.seed)
        assert record.widths == trial.widths
        assert record.result["seed"] == trial.seed
        assert record.result["losses"] == list(separate.losses)
        assert record.result["epochs"] == (3 if trial.overrides else 2)
    assert (
        len({tuple(record.result["losses"]) for record in study.records()[1:] if record.result})
        == 4
    )
    shown = study.trials()
    assert [trial.user_attrs.get("proxy.learning_rate") for trial in shown] == [
        None,
        None,
        0.05,
        0.05,
    ]


def test_no_planned_training_breaks_a_limit(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=1, limits={"parameters": 100})
    study.ledger().add_planned([plan(10), plan(11)])
    outcomes = study.supervisor(claim_sizer=ClaimSizer(fixed=2)).run_batch()
    assert [outcome.kind for outcome in outcomes] == ["complete", "infeasible"]
    record = study.records()[2]
    assert record.result is not None
    assert record.result["detail"] == "parameters 110 against a limit of 100"
    assert "losses" not in record.result


def test_planned_widths_may_lie_off_the_lattice(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=1, widths=40)
    study.ledger().add_planned([plan(41)])
    [outcome] = study.supervisor().run_batch()
    assert (outcome.kind, outcome.value) == ("complete", 41.0)
    [trial] = study.trials()
    assert trial.params == {"a": 41}


def test_an_override_that_is_no_spec_fails_its_own_trial_alone(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=1)
    study.ledger().add_planned([plan(5, epochs=0), plan(6)])
    supervisor = study.supervisor(claim_sizer=ClaimSizer(fixed=2))
    kinds = {outcome.number: outcome.kind for outcome in supervisor.run_batch()}
    assert kinds == {1: "retry", 2: "complete"}
