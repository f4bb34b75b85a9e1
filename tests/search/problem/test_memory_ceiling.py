"""What ran out of memory is a result; nothing as large is trained again on devices of its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.cost.user_costs import UserCostModel
from widthwise.search.errors import Exhausted, NothingFeasible, TrainerDied
from widthwise.search.problem.memory_ceiling import OutOfMemoryBound
from widthwise.search.report.evidence import load_problem
from widthwise.search.sampler.history import History
from widthwise.search.sampler.suggest import Suggester
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.neighbourhood import hash_rows
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.watch import Unwatched
from widthwise.storage.ledger.ledger import Slot
from widthwise.tests.one_slot import bind_one, claim_one, release_one, settle_one
from widthwise.tests.search.bench import HarnessFactory, StudyHarness

PREDICTED = pytest.mark.parametrize("costs", ["costs", "parameters"], ids=["predicted", "unknown"])


def record_out_of_memory(study: StudyHarness, width: int, device: str | None) -> None:
    """Record, as some worker's, that memory ran out at a width."""
    ledger = study.ledger("other")
    slot = claim_one(ledger)
    assert slot is not None
    slot = bind_one(ledger, slot, {"a": width}, "sampler")
    result = {} if device is None else {"device_class": device}
    settle_one(ledger, slot, outcome="out_of_memory", value=None, result=result)


def claim_bound_slot(study: StudyHarness, width: int) -> Slot:
    """A slot that another worker bound and gave back."""
    ledger = study.ledger("other")
    slot = claim_one(ledger)
    assert slot is not None
    slot = bind_one(ledger, slot, {"a": width}, "sampler")
    release_one(ledger, slot)
    return slot


def outcomes_by_width(study: StudyHarness) -> dict[int, str | None]:
    """Width to outcome."""
    return {record.widths["a"]: record.outcome for record in study.records() if record.widths}


@PREDICTED
def test_nothing_as_large_is_trained_after_it(new_harness: HarnessFactory, costs: str) -> None:
    """The largest is a baseline, and every width above 11 would run out of memory."""
    faults = dict.fromkeys(range(12, 25), "memory")
    study = new_harness(trials=20, at_once=1, widths=24, faults=faults, costs=costs)
    with pytest.raises(Exhausted):
        study.run_worker()
    outcomes = outcomes_by_width(study)
    failed = [width for width, outcome in outcomes.items() if outcome == "out_of_memory"]
    complete = [width for width, outcome in outcomes.items() if outcome == "complete"]
    assert sorted(complete) == list(range(1, 12))
    assert failed == sorted(failed, reverse=True), "each is smaller than all before"
    assert all(record.attempts == 1 for record in study.records() if record.widths), (
        "none is tried twice"
    )


def test_what_is_recorded_names_the_class_of_the_device(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=3, faults=dict.fromkeys(range(1, 41), "memory"))
    (outcome,) = study.supervisor().run_batch()
    assert outcome.kind == "out_of_memory"
    record = study.records()[0]
    assert record.widths is not None
    assert record.result is not None
    assert record.result["device_class"] == study.runner().device_class
    assert "memory ran out in epoch 0" in record.result["detail"]
    assert study.trials()[0].user_attrs["device_class"] == study.runner().device_class
    assert study.ledger().reader.out_of_memory() == [(record.widths, study.runner().device_class)]


@PREDICTED
@pytest.mark.parametrize("width", [21, 40])
def test_a_slot_bound_elsewhere_is_refused_without_training(
    new_harness: HarnessFactory, costs: str, width: int
) -> None:
    study = new_harness(trials=4, costs=costs, faults={width: "raise"})
    record_out_of_memory(study, 20, study.runner().device_class)
    slot = claim_bound_slot(study, width)
    outcomes = {outcome.number: outcome for outcome in study.supervisor().run_batch()}
    assert outcomes[slot.number].kind == "infeasible"
    assert study.runner().device_class in (outcomes[slot.number].detail or "")
    record = study.records()[slot.number]
    assert (record.attempts, record.failures) == (1, 0)


@PREDICTED
def test_a_smaller_slot_bound_elsewhere_is_trained(new_harness: HarnessFactory, costs: str) -> None:
    study = new_harness(trials=4, costs=costs)
    record_out_of_memory(study, 20, study.runner().device_class)
    slot = claim_bound_slot(study, 19)
    outcomes = {outcome.number: outcome.kind for outcome in study.supervisor().run_batch()}
    assert outcomes[slot.number] == "complete"


@PREDICTED
@pytest.mark.parametrize("device", ["cuda: NVIDIA H200, 140 GiB", None], ids=["other", "unknown"])
def test_another_class_of_devices_teaches_nothing(
    new_harness: HarnessFactory, costs: str, device: str | None
) -> None:
    study = new_harness(trials=6, costs=costs, widths=5)
    record_out_of_memory(study, 1, device)
    with pytest.raises(Exhausted):
        study.run_worker()
    assert {
        width for width, outcome in outcomes_by_width(study).items() if outcome == "complete"
    } == {
        2,
        3,
        4,
        5,
    }


@PREDICTED
def test_where_nothing_fits_the_worker_says_so_and_gives_its_slots_back(
    new_harness: HarnessFactory, costs: str
) -> None:
    study = new_harness(trials=4, costs=costs)
    record_out_of_memory(study, 1, study.runner().device_class)
    with pytest.raises(NothingFeasible, match=r"no candidate is left for cpu: .* ran out of it"):
        study.supervisor().run_batch()
    assert NothingFeasible.exit_code == 3
    assert [(record.state, record.attempts) for record in study.records()[1:]] == [("free", 0)] * 3


def test_what_was_too_much_together_is_tried_alone(new_harness: HarnessFactory) -> None:
    """Neighbours took the memory: alone each is trained, and nothing is held against its size."""
    study = new_harness(trials=5, at_once=4, faults=dict.fromkeys(range(1, 41), "crowded"))
    outcomes = study.supervisor().run_batch()
    assert [entry.kind for entry in outcomes] == ["complete"] * 4
    assert {entry.attempts for entry in study.records()[:4]} == {1}
    assert study.ledger().reader.out_of_memory() == []


def test_memory_that_runs_out_before_the_training_is_a_result_too(
    new_harness: HarnessFactory,
) -> None:
    def time_forward(*_: Any, **__: Any) -> float:
        raise MemoryError("no room")

    study = new_harness(trials=3, limits={"latency": "1 s"})
    study = replace(study, problem=replace(study.problem, time_forward=time_forward))
    (outcome,) = study.supervisor().run_batch()
    assert outcome.kind == "out_of_memory"
    record = study.records()[0]
    assert record.result is not None
    assert record.result["device_class"] == study.runner().device_class
    assert (record.attempts, record.failures) == (1, 0)


def test_a_process_that_lost_its_gpu_is_given_up(new_harness: HarnessFactory) -> None:
    """No result of the batch counts; the supervisor gives the slots back and takes each alone."""
    study = new_harness(trials=5, at_once=4, faults=dict.fromkeys(range(1, 41), "poison"))
    runner = study.runner()
    with pytest.raises(TrainerDied, match="lost the GPU: CUDA error: an illegal memory access"):
        runner.run_batch(runner.ledger.claim_many(4), Unwatched())
    assert [record.state for record in study.records()[:4]] == ["leased"] * 4


SPACE = Space([Width.range("a", 1, 12), Width.range("b", 1, 9), Width.of("c", [2, 5, 7])])
ALL = SPACE.enumerate()


def given_costs(*names: str) -> UserCostModel:
    def costs(widths: Mapping[str, int]) -> dict[str, int]:
        size = widths["a"] * widths["b"] + widths["c"]
        return dict.fromkeys(names, size)

    return UserCostModel(costs, SPACE.names)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_feasible_set_is_without_exactly_what_is_refused(data: st.DataObject) -> None:
    """Whether it is listed, enumerated or drawn from; and larger than refused is refused."""
    predicted = data.draw(st.booleans())
    costs = given_costs("parameters", *(["train_memory"] if predicted else []))
    exceeded = data.draw(st.lists(st.sampled_from(ALL.tolist()), min_size=1, max_size=4))
    failed = np.asarray(exceeded)
    memory = int(costs.evaluate(failed)["train_memory"].min()) if predicted else None
    memory_bound = OutOfMemoryBound(
        device_class="cpu: 1 GiB",
        cost_model=costs,
        names=SPACE.names,
        memory_bound=memory,
        failed_candidates=failed,
    )
    refused = memory_bound.exceeds(ALL)
    assert refused[np.isin(hash_rows(ALL), hash_rows(failed))].all()
    grown = np.minimum(ALL + 1, ALL.max(axis=0))
    grown[:, 2] = ALL[:, 2]
    assert (memory_bound.exceeds(grown) >= refused).all()
    for row in data.draw(st.lists(st.integers(0, len(ALL) - 1), max_size=5)):
        reason = memory_bound.too_large_reason(SPACE.as_mapping(ALL[row]))
        assert (reason is not None) == refused[row]
    limits = Limits(parameters=data.draw(st.integers(10, 115)))
    within = limits.is_feasible(costs.evaluate(ALL))
    expected = set(map(tuple, ALL[within & ~refused].tolist()))
    rng = np.random.default_rng(0)
    for unrestricted in (
        FeasibleSet(SPACE, limits, costs.evaluate),
        FeasibleSet.from_candidates(SPACE, limits, costs.evaluate, ALL),
        FeasibleSet(SPACE, limits, costs.evaluate, cost_batch_size=32),
    ):
        if not expected:
            with pytest.raises(NothingFeasible, match=r"^nothing is left$"):
                unrestricted.excluding(memory_bound.exceeds, "nothing is left")
            continue
        restricted = unrestricted.excluding(memory_bound.exceeds, "nothing is left")
        assert set(map(tuple, ALL[restricted.is_feasible(ALL)].tolist())) == expected
        pool = set(map(tuple, restricted.candidate_pool(rng, ALL[:3]).tolist()))
        assert pool <= expected
        assert pool == expected or not unrestricted.enumerated
        if unrestricted.enumerated:
            assert restricted.feasible_fraction == pytest.approx(len(expected) / len(ALL))


def test_the_best_candidate_fits_every_class_of_devices(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=3, widths=24)
    unrestricted = load_problem(study.row, [])
    exceeded = [({"a": 20}, "cuda: big"), ({"a": 12}, "cpu: small"), ({"a": 2}, None)]
    restricted = load_problem(study.row, exceeded)
    assert unrestricted is not None
    assert restricted is not None
    everywhere = np.arange(1, 25)[:, None]
    assert unrestricted.feasible.is_feasible(everywhere).all()
    assert everywhere[restricted.feasible.is_feasible(everywhere), 0].max() == 11


def test_another_class_of_devices_teaches_a_proposal_nothing(
    new_harness: HarnessFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_harness(trials=6, at_once=1, widths=24)
    record_out_of_memory(study, 20, "cuda: small")
    record_out_of_memory(study, 22, study.runner().device_class)
    observed: list[History] = []
    propose = Suggester.suggest

    def watched(self: Suggester, trial_history: History, *rest: Any, **options: Any) -> Any:
        observed.append(trial_history)
        return propose(self, trial_history, *rest, **options)

    monkeypatch.setattr(Suggester, "suggest", watched)
    study.supervisor().run_batch()
    (trial_history,) = observed
    assert trial_history.failed.ravel().tolist() == [22]
    assert trial_history.refused is not None
    assert trial_history.refused.ravel().tolist() == [20]
