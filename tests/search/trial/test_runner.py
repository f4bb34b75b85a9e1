"""A batch of slots: claimed, proposed, trained and recorded together, each on its own account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from widthwise.objectives.errors import DataError
from widthwise.objectives.loop.train import train
from widthwise.search.errors import Drained, Exhausted, TooManyFailures
from widthwise.search.problem import device_memory
from widthwise.search.problem.seeds import trial_seed
from widthwise.search.sampler.suggest import Proposal, Proposer
from widthwise.search.trial.claim_size import Pace
from widthwise.search.worker.heartbeat import Heartbeat
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger import events
from widthwise.tests.search.bench import Bench, make_bench, wait_for

Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        yield lambda **how: make_bench(tmp_path, database, **how)


def test_each_of_a_batch_is_trained_as_if_it_were_alone(bench: Make) -> None:
    """Its own seed, learning rate and early stopping; and what is recorded is what came out."""
    study = bench(trials=5, at_once=4, epochs=5, patience=1, replicas=2, rate_factors=[0.5, 1.0])
    outcomes = study.holder().step()
    assert [(one.number, one.kind) for one in outcomes] == [(n, "complete") for n in range(4)]
    problem = study.problem
    for record in study.records()[:4]:
        assert record.widths is not None
        assert record.result is not None
        seed = trial_seed(0, record.number)
        alone = train(problem.objective, record.widths, problem.settings, seed=seed)
        assert record.value == alone.value == outcomes[record.number].value
        assert record.result["losses"] == list(alone.losses)
        assert record.result["curve"] == list(alone.curve)
        assert len(alone.curve) == 2, "the metric never gets better"
        assert record.result["seed"] == seed
        assert record.result["learning_rate"] == alone.learning_rate
    assert len({tuple(record.result["losses"]) for record in study.records()[:4] if record.result})
    trials = study.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert [trial.intermediate_values for trial in trials] == [
        {0: trial.value, 1: trial.value} for trial in trials
    ]


@pytest.mark.parametrize(("at_once", "trials"), [(64, 7), (4, 9), (1, 3), (3, 1)])
def test_the_budget_is_exact_and_the_last_slot_is_proposed_by_itself(
    bench: Make, at_once: int, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the last training can confirm what all others taught."""
    last: list[int] = []
    propose = Proposer.propose

    def spy(self: Proposer, history: Any, rng: Any, **more: Any) -> Proposal:
        if more.get("last"):
            last.append(len(history.observed))
            assert len(history.pending) == 0
        return propose(self, history, rng, **more)

    monkeypatch.setattr(Proposer, "propose", spy)
    study = bench(trials=trials, at_once=at_once)
    outcomes = study.work()
    assert sorted(one.number for one in outcomes) == list(range(trials))
    records = study.records()
    assert [record.outcome for record in records] == ["complete"] * trials
    assert len({str(record.widths) for record in records}) == trials
    assert last == [trials - 1]
    assert study.ledger().counts().complete == study.ledger().counts().budget == trials


def test_a_batch_that_takes_up_old_slots_leaves_the_last_one_for_later(bench: Make) -> None:
    study = bench(trials=4, at_once=3)
    ledger = study.ledger()
    begun = ledger.bind_many(
        [(slot, {"a": 10 + slot.number}, "sampler") for slot in ledger.claim_many(3)]
    )
    ledger.release_many(begun)
    holder = study.holder(pace=Pace(fixed=4))
    assert [one.number for one in holder.step()] == [0, 1, 2]
    assert [one.number for one in holder.step()] == [3]


def test_a_space_smaller_than_a_batch_is_searched_to_its_end(bench: Make) -> None:
    study = bench(trials=9, at_once=6, widths=4)
    with pytest.raises(Exhausted, match="every feasible candidate was tried"):
        study.work()
    counts = study.ledger().counts()
    assert (counts.complete, counts.waiting) == (4, 5)
    assert [record.attempts for record in study.records()] == [1] * 4 + [0] * 5


# Trouble


@pytest.mark.parametrize(
    ("what", "width", "kinds"),
    [
        ("raise", 5, ["retry", "retry", "error"]),
        ("exit", 5, ["retry", "retry", "error"]),
        ("unbuildable", 5, ["retry", "retry", "error"]),
        ("nan", 5, ["nan"]),
        # No larger one is trained after it.
        ("memory", 8, ["out_of_memory"]),
    ],
)
def test_trouble_of_one_is_recorded_for_that_one_alone(
    bench: Make, what: str, width: int, kinds: list[str]
) -> None:
    study = bench(trials=8, at_once=4, widths=8, trouble={width: what})
    outcomes = study.work()
    records = {record.widths["a"]: record for record in study.records() if record.widths}
    assert set(records) == set(range(1, 9))
    troubled = records.pop(width)
    assert [one.kind for one in outcomes if one.number == troubled.number] == kinds
    assert troubled.outcome == kinds[-1]
    assert troubled.attempts == len(kinds)
    assert {record.outcome for record in records.values()} == {"complete"}
    assert {record.attempts for record in records.values()} == {1}
    assert all(record.value == a for a, record in records.items())
    failed = [trial for trial in study.trials() if trial.state == TrialState.FAIL]
    assert [trial.params for trial in failed] == [{"a": width}]


def test_costs_that_cannot_be_counted_are_one_candidates_trouble(bench: Make) -> None:
    """The gate asks while proposals are made: that is the search's own, and said in a sentence."""
    study = bench(trials=4, at_once=4)
    ledger = study.ledger()
    bound = ledger.bind_many(
        [(slot, {"a": 5 + slot.number}, "sampler") for slot in ledger.claim_many(2)]
    )
    ledger.release_many(bound)
    counting = replace(study.problem, costs=_Failing(study.problem.costs, 6))
    outcomes = replace(study, problem=counting).holder().step()
    kinds = {one.number: one.kind for one in outcomes}
    assert kinds[0] == "complete"
    assert kinds[1] == "retry"


class _Failing:
    """Costs that cannot be counted at one width."""

    def __init__(self, costs: Any, width: int) -> None:
        self._costs, self._width = costs, width

    def one(self, widths: Any) -> Any:
        if widths["a"] == self._width:
            raise ZeroDivisionError("no such costs")
        return self._costs.one(widths)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._costs, name)


def test_many_failures_in_one_batch_do_not_stop_a_worker_that_succeeds_too(bench: Make) -> None:
    """Their order within the batch is by chance, and so is that of their second attempts."""
    trouble = dict.fromkeys(range(1, 16, 2), "raise")
    study = bench(trials=16, at_once=16, widths=16, trouble=trouble)
    study.work()
    counts = study.ledger().counts()
    assert (counts.complete, counts.failed) == (8, 8)


def test_a_model_that_always_fails_stops_the_worker(bench: Make) -> None:
    study = bench(trials=20, at_once=4, trouble=dict.fromkeys(range(1, 41), "raise"))
    with pytest.raises(TooManyFailures, match="the moon is full"):
        study.work()
    counts = study.ledger().counts()
    assert (counts.complete, counts.failed, counts.waiting) == (0, 4, 16)


def test_a_whole_batch_that_fails_is_enough(bench: Make) -> None:
    study = bench(trials=20, at_once=8, trouble=dict.fromkeys(range(1, 41), "raise"))
    with pytest.raises(TooManyFailures, match="failed 8 times in a row"):
        study.work()
    assert study.ledger().counts().waiting == 20


# Stopping and losing slots


def test_a_drained_batch_is_given_back_whole_and_goes_on_where_it_was(bench: Make) -> None:
    study = bench(trials=6, at_once=4)
    asked: list[bool] = []

    def stopping() -> bool:
        asked.append(True)
        return True

    with pytest.raises(Drained, match="stopped in 4 trials"):
        study.holder(stopping=stopping).step()
    assert len(asked) == 1, "after the first epoch"
    records = study.records()
    assert [record.state for record in records] == ["free"] * 6
    assert [record.attempts for record in records] == [0] * 6
    begun = [record.widths for record in records[:4]]
    assert None not in begun
    study.work()
    after = study.records()
    assert [record.widths for record in after[:4]] == begun
    assert [record.attempts for record in after] == [1] * 6
    assert len(study.trials()) == 6, "the trials that were open are gone on with"


def test_a_failed_candidate_is_not_given_back_twice_by_a_drain(bench: Make) -> None:
    study = bench(trials=4, at_once=3, widths=4)
    study = replace(study, problem=replace(study.problem, costs=_Failing(study.problem.costs, 1)))
    ledger = study.ledger()
    bound = ledger.bind_many(
        [(slot, {"a": 1 + slot.number}, "sampler") for slot in ledger.claim_many(3)]
    )
    ledger.release_many(bound)
    with pytest.raises(Drained):
        study.holder(stopping=lambda: True).step()
    records = study.records()
    assert [record.state for record in records] == ["free"] * 4
    assert [record.attempts for record in records[:3]] == [1, 0, 0]
    assert [record.failures for record in records[:3]] == [1, 0, 0]


def test_a_lost_slot_is_given_up_while_its_neighbours_go_on(bench: Make) -> None:
    study = bench(trials=6, at_once=4, epochs=3)
    runner = study.runner()
    slots = runner.ledger.claim_many(4)
    outcomes = runner.run(slots, lambda: frozenset({1}))
    assert {one.number: one.kind for one in outcomes} == {
        0: "complete",
        1: "lost",
        2: "complete",
        3: "complete",
    }
    records = study.records()
    assert [record.state for record in records[:4]] == ["done", "leased", "done", "done"]


def test_all_lost_is_said_so_and_ends_the_training(bench: Make) -> None:
    study = bench(trials=4, at_once=2, epochs=50)
    runner = study.runner()
    slots = runner.ledger.claim_many(2)
    outcomes = runner.run(slots, lambda: frozenset({0, 1}))
    assert [one.kind for one in outcomes] == ["lost", "lost"]


def test_what_a_late_holder_trained_is_refused_and_its_neighbours_recorded(bench: Make) -> None:
    """Nobody told it: the ledger's fence is what holds."""
    study = bench(trials=5, at_once=3)
    runner = study.runner()
    stolen: list[Any] = []

    def lost() -> frozenset[int]:
        if not stolen:
            stolen.extend(study.steal([1]))
        return frozenset()

    outcomes = runner.run(runner.ledger.claim_many(3), lost)
    assert [one.kind for one in outcomes] == ["complete", "lost", "complete"]
    record = study.records()[1]
    assert (record.state, record.worker, record.value) == ("leased", "thief", None)
    assert stolen[0].widths == record.widths, "the thief takes up the same candidate"


def test_a_slot_lost_before_its_trial_is_opened_is_not_trained(bench: Make) -> None:
    study = bench(trials=4, at_once=2)
    runner = study.runner()
    ledger = runner.ledger
    bound = ledger.bind_many(
        [(slot, {"a": 7 + slot.number}, "sampler") for slot in ledger.claim_many(2)]
    )
    study.steal([0])
    outcomes = runner.run(bound, frozenset)
    assert [(one.number, one.kind) for one in outcomes] == [(0, "lost"), (1, "complete")]


def test_heartbeats_keep_a_whole_batch_and_tell_what_is_lost(bench: Make) -> None:
    study = bench(trials=4)
    ledger = study.ledger(lease_seconds=0.6)
    slots = ledger.claim_many(3)
    before = [study.records()[n].lease_until for n in range(3)]
    with Heartbeat(ledger, slots, 0.06) as heartbeat:
        study.steal([1])
        wait_for(heartbeat, {1})
        assert heartbeat.lost == {1}
    records = study.records()
    for number in (0, 2):
        assert (records[number].lease_until or 0) > (before[number] or 0)
        assert records[number].worker == "me"
    refused = [one for one in events.read(study.database, study.row) if one.kind == "refused"]
    assert [one.number for one in refused] == [1], "told once, and never asked for again"


@pytest.mark.parametrize(("fits", "size"), [(2, 2), (0, 1), (None, 5)])
def test_memory_bounds_a_claim(bench: Make, fits: int | None, size: int) -> None:
    study = bench(trials=8, at_once=5)
    assert len(study.holder(pace=Pace(fixed=5, fits=fits)).step()) == size


def test_all_trainings_of_a_candidate_have_to_fit(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest candidate takes 40,000 bytes for each of its 12 trainings; 60 % of what is free
    is used."""
    study = bench(trials=2, replicas=2, folds=3, rate_factors=[0.5, 1.0])
    for free, fits in ((None, None), (1_600_000, 2), (1_599_999, 1), (1000, 1)):
        monkeypatch.setattr(device_memory, "free_memory", lambda _, free=free: free)
        assert study.problem.fit_together() == fits


def test_a_memory_limit_above_what_candidates_take_does_not_keep_them_apart(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = bench(trials=2, limits={"train_memory": "1 MB"})
    monkeypatch.setattr(device_memory, "free_memory", lambda _: 1_000_000)
    assert study.problem.fit_together() == 15  # 60 % of what is free, over 40,000 bytes


def test_more_folds_than_rows_are_refused_before_the_study_starts(bench: Make) -> None:
    bench(trials=1, folds=32)
    with pytest.raises(DataError, match=r"^proxy\.folds: .*33 folds need as many rows.* 32"):
        bench(trials=1, folds=33)
