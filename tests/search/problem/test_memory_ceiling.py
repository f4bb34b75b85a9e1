"""What ran out of memory is a result; nothing as large is trained again on devices of its class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.cost.user_costs import GivenCosts
from widthwise.search.errors import ChildDied, Exhausted, NothingFeasible
from widthwise.search.problem.memory_ceiling import Ceiling
from widthwise.search.report.status import feasible_of
from widthwise.search.sampler.history import History
from widthwise.search.sampler.suggest import Proposer
from widthwise.search.space.feasible_set import FeasibleSet, keys
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Slot
from widthwise.tests.one_slot import bind_one, claim_one, release_one
from widthwise.tests.search.bench import Bench, make_bench

Make = Callable[..., Bench]
PREDICTED = pytest.mark.parametrize("costs", ["costs", "parameters"], ids=["predicted", "unknown"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        yield lambda **how: make_bench(tmp_path, database, **how)


def ran_out(study: Bench, width: int, device: str | None) -> None:
    """Record, as some worker's, that memory ran out at a width."""
    ledger = study.ledger("other")
    slot = claim_one(ledger)
    assert slot is not None
    slot = bind_one(ledger, slot, {"a": width}, "sampler")
    result = {} if device is None else {"device_class": device}
    ledger.done(slot, outcome="out_of_memory", value=None, result=result)


def adopted(study: Bench, width: int) -> Slot:
    """A slot that another worker bound and gave back."""
    ledger = study.ledger("other")
    slot = claim_one(ledger)
    assert slot is not None
    slot = bind_one(ledger, slot, {"a": width}, "sampler")
    release_one(ledger, slot)
    return slot


def trained(study: Bench) -> dict[int, str | None]:
    """Width to outcome."""
    return {one.widths["a"]: one.outcome for one in study.records() if one.widths}


@PREDICTED
def test_nothing_as_large_is_trained_after_it(bench: Make, costs: str) -> None:
    """The largest is a baseline, and every width above 11 would run out of memory."""
    trouble = dict.fromkeys(range(12, 25), "memory")
    study = bench(trials=20, at_once=1, widths=24, trouble=trouble, costs=costs)
    with pytest.raises(Exhausted):
        study.work()
    found = trained(study)
    failed = [width for width, outcome in found.items() if outcome == "out_of_memory"]
    complete = [width for width, outcome in found.items() if outcome == "complete"]
    assert sorted(complete) == list(range(1, 12))
    assert failed == sorted(failed, reverse=True), "each is smaller than all before"
    assert all(one.attempts == 1 for one in study.records() if one.widths), "none is tried twice"


def test_what_is_recorded_names_the_class_of_the_device(bench: Make) -> None:
    study = bench(trials=3, trouble=dict.fromkeys(range(1, 41), "memory"))
    (outcome,) = study.holder().step()
    assert outcome.kind == "out_of_memory"
    record = study.records()[0]
    assert record.widths is not None
    assert record.result is not None
    assert record.result["device_class"] == study.runner().device
    assert "memory ran out in epoch 0" in record.result["detail"]
    assert study.trials()[0].user_attrs["device_class"] == study.runner().device
    assert study.ledger().out_of_memory() == [(record.widths, study.runner().device)]


@PREDICTED
@pytest.mark.parametrize("width", [21, 40])
def test_a_slot_bound_elsewhere_is_refused_without_training(
    bench: Make, costs: str, width: int
) -> None:
    study = bench(trials=4, costs=costs, trouble={width: "raise"})
    ran_out(study, 20, study.runner().device)
    slot = adopted(study, width)
    outcomes = {one.number: one for one in study.holder().step()}
    assert outcomes[slot.number].kind == "infeasible"
    assert study.runner().device in (outcomes[slot.number].detail or "")
    record = study.records()[slot.number]
    assert (record.attempts, record.failures) == (1, 0)


@PREDICTED
def test_a_smaller_slot_bound_elsewhere_is_trained(bench: Make, costs: str) -> None:
    study = bench(trials=4, costs=costs)
    ran_out(study, 20, study.runner().device)
    slot = adopted(study, 19)
    outcomes = {one.number: one.kind for one in study.holder().step()}
    assert outcomes[slot.number] == "complete"


@PREDICTED
@pytest.mark.parametrize("device", ["cuda: NVIDIA H200, 140 GiB", None], ids=["other", "unknown"])
def test_another_class_of_devices_teaches_nothing(
    bench: Make, costs: str, device: str | None
) -> None:
    study = bench(trials=6, costs=costs, widths=5)
    ran_out(study, 1, device)
    with pytest.raises(Exhausted):
        study.work()
    assert {width for width, outcome in trained(study).items() if outcome == "complete"} == {
        2,
        3,
        4,
        5,
    }


@PREDICTED
def test_where_nothing_fits_the_worker_says_so_and_gives_its_slots_back(
    bench: Make, costs: str
) -> None:
    study = bench(trials=4, costs=costs)
    ran_out(study, 1, study.runner().device)
    with pytest.raises(NothingFeasible, match=r"no candidate is left for cpu: .* ran out of it"):
        study.holder().step()
    assert NothingFeasible.exit_code == 3
    assert [(one.state, one.attempts) for one in study.records()[1:]] == [("free", 0)] * 3


def test_what_was_too_much_together_is_tried_alone(bench: Make) -> None:
    """Neighbours took the memory: alone each is trained, and nothing is held against its size."""
    study = bench(trials=5, at_once=4, trouble=dict.fromkeys(range(1, 41), "crowded"))
    outcomes = study.holder().step()
    assert [one.kind for one in outcomes] == ["complete"] * 4
    assert {one.attempts for one in study.records()[:4]} == {1}
    assert study.ledger().out_of_memory() == []


def test_memory_that_runs_out_before_the_training_is_a_result_too(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = bench(trials=3)

    def measure(*_: Any) -> dict[str, float]:
        raise MemoryError("no room")

    monkeypatch.setattr(type(study.problem), "measure", measure)
    (outcome,) = study.holder().step()
    assert outcome.kind == "out_of_memory"
    record = study.records()[0]
    assert record.result is not None
    assert record.result["device_class"] == study.runner().device
    assert (record.attempts, record.failures) == (1, 0)


def test_a_process_that_lost_its_gpu_is_given_up(bench: Make) -> None:
    """No result of the batch is believed; the holder gives the slots back and takes them singly."""
    study = bench(trials=5, at_once=4, trouble=dict.fromkeys(range(1, 41), "poison"))
    runner = study.runner()
    with pytest.raises(ChildDied, match="lost the GPU: CUDA error: an illegal memory access"):
        runner.run(runner.ledger.claim_many(4), frozenset)
    assert [one.state for one in study.records()[:4]] == ["leased"] * 4


# The ceiling itself

SPACE = Space([Width.range("a", 1, 12), Width.range("b", 1, 9), Width.of("c", [2, 5, 7])])
ALL = SPACE.enumerate()


def given_costs(*names: str) -> GivenCosts:
    def costs(widths: Mapping[str, int]) -> dict[str, int]:
        size = widths["a"] * widths["b"] + widths["c"]
        return dict.fromkeys(names, size)

    return GivenCosts(costs, SPACE.names)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_feasible_set_is_without_exactly_what_is_refused(data: st.DataObject) -> None:
    """Whether it is listed, enumerated or drawn from; and larger than refused is refused."""
    predicted = data.draw(st.booleans())
    costs = given_costs("parameters", *(["train_memory"] if predicted else []))
    exceeded = data.draw(st.lists(st.sampled_from(ALL.tolist()), min_size=1, max_size=4))
    out = np.asarray(exceeded)
    memory = int(costs.evaluate(out)["train_memory"].min()) if predicted else None
    ceiling = Ceiling(
        device="cpu: 1 GiB", costs=costs, names=SPACE.names, memory=memory, widths=out
    )
    refused = ceiling.refused(ALL)
    assert refused[np.isin(keys(ALL), keys(out))].all()
    grown = np.minimum(ALL + 1, ALL.max(axis=0))
    grown[:, 2] = ALL[:, 2]
    assert (ceiling.refused(grown) >= refused).all()
    for row in data.draw(st.lists(st.integers(0, len(ALL) - 1), max_size=5)):
        reason = ceiling.reason(SPACE.as_mapping(ALL[row]))
        assert (reason is not None) == refused[row]
    limits = Limits(parameters=data.draw(st.integers(10, 115)))
    within = limits.feasible(costs.evaluate(ALL))
    expected = set(map(tuple, ALL[within & ~refused].tolist()))
    rng = np.random.default_rng(0)
    for whole in (
        FeasibleSet(SPACE, limits, costs.evaluate),
        FeasibleSet.listed(SPACE, limits, costs.evaluate, ALL),
        FeasibleSet(SPACE, limits, costs.evaluate, at_once=32),
    ):
        if not expected:
            with pytest.raises(NothingFeasible, match=r"^nothing is left$"):
                whole.without(ceiling.refused, "nothing is left")
            continue
        left = whole.without(ceiling.refused, "nothing is left")
        assert set(map(tuple, ALL[left.admitted(ALL)].tolist())) == expected
        pool = set(map(tuple, left.pool(rng, ALL[:3]).tolist()))
        assert pool <= expected
        assert pool == expected or not whole.enumerated
        if whole.enumerated:
            assert left.share == pytest.approx(len(expected) / len(ALL))


def test_the_pick_is_of_what_every_class_of_devices_could_hold(bench: Make) -> None:
    study = bench(trials=3, widths=24)
    whole = feasible_of(study.row, [])
    exceeded = [({"a": 20}, "cuda: big"), ({"a": 12}, "cpu: small"), ({"a": 2}, None)]
    left = feasible_of(study.row, exceeded)
    assert whole is not None
    assert left is not None
    everywhere = np.arange(1, 25)[:, None]
    assert whole.admitted(everywhere).all()
    assert everywhere[left.admitted(everywhere), 0].max() == 11


def test_another_class_of_devices_teaches_a_proposal_nothing(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = bench(trials=6, at_once=1, widths=24)
    ran_out(study, 20, "cuda: small")
    ran_out(study, 22, study.runner().device)
    seen: list[History] = []
    propose = Proposer.propose

    def watched(self: Proposer, known: History, *rest: Any, **more: Any) -> Any:
        seen.append(known)
        return propose(self, known, *rest, **more)

    monkeypatch.setattr(Proposer, "propose", watched)
    study.holder().step()
    (known,) = seen
    assert known.failed.ravel().tolist() == [22]
    assert known.skipped is not None
    assert known.skipped.ravel().tolist() == [20]
