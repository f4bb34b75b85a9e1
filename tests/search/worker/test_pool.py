"""A worker of the pool: which study it serves, how long it stays, and what it does not serve.

The world is a fake one with a clock of its own; real workers are in `test_control`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.search.errors import Drained, Exhausted, TooManyFailures
from widthwise.search.worker.messages import Raised, TrainerFailed
from widthwise.search.worker.pool import WorkerCounts
from widthwise.storage.errors import StorageUnreachable
from widthwise.storage.study.workers import WorkerRow
from widthwise.tests.search.worker.fake_pool import (
    FakeStudy,
    FakeSupervisor,
    FakeWorld,
    make_mismatch,
    run_until_drained,
)


def test_the_greatest_priority_is_served_first() -> None:
    world = FakeWorld(
        [FakeStudy("low", 2, priority=-1), FakeStudy("high", 2, priority=7), FakeStudy("mid", 2)]
    )
    world.run()
    assert world.served == ["high", "high", "mid", "mid", "low", "low"]
    assert world.freed_devices == 3
    assert world.logged[-1] == "no work for 3 s"


def test_equals_take_turns_but_not_before_the_quantum_is_over() -> None:
    world = FakeWorld([FakeStudy("a", 100), FakeStudy("b", 100)])
    run_until_drained(world, until=180.0)
    assert world.visits == ["a", "b", "a", "b", "a", "b"]
    assert Counter(world.served) == {"a": 90, "b": 90}


def test_a_batch_is_never_cut_short_for_another_study() -> None:
    world = FakeWorld([FakeStudy("long", 3, seconds=100.0), FakeStudy("quick", 3)])
    world.run()
    assert world.served == ["long", "quick", "quick", "quick", "long", "long"]


def test_a_more_urgent_study_is_next_once_the_batch_has_ended() -> None:
    world = FakeWorld([FakeStudy("usual", 10, seconds=5.0)])
    world.at[12.0] = lambda: world.studies.append(FakeStudy("urgent", 2, priority=1))
    world.run()
    assert world.served == ["usual"] * 3 + ["urgent"] * 2 + ["usual"] * 7


def test_a_study_that_others_serve_already_is_left_to_them() -> None:
    world = FakeWorld([FakeStudy("own", 90), FakeStudy("theirs", 90, other_workers=1)])
    world.run(quantum_seconds=10.0)
    assert world.visits == ["own", "theirs"]


@pytest.mark.parametrize(("others", "visits"), [(1, 1), (2, 2), (5, 2)])
def test_a_study_with_many_workers_is_left_for_one_with_two_fewer(others: int, visits: int) -> None:
    world = FakeWorld([FakeStudy("crowded", 40), FakeStudy("lonely", 40, other_workers=1)])
    world.studies[1].slots = 0
    world.at[5.0] = lambda: world.studies.__setitem__(1, FakeStudy("lonely", 40, other_workers=1))
    world.studies[0].other_workers = others
    run_until_drained(world, until=35.0, quantum_seconds=10.0)
    assert len(world.visits) == visits


def test_slots_that_starting_workers_will_claim_are_left_to_them() -> None:
    world = FakeWorld([FakeStudy("usual", 5), FakeStudy("urgent", 2, priority=1)])
    starting = Counter({"urgent": 2})
    worker_counts = WorkerCounts(serving=starting, starting=starting)
    world.worker_counts = lambda: worker_counts  # type: ignore[method-assign]
    run_until_drained(world, until=4.0)
    assert world.visits == ["usual"]


def test_a_study_that_is_paused_is_left_and_served_again_when_it_goes_on() -> None:
    world = FakeWorld([FakeStudy("a", 20)])
    world.at[5.0] = lambda: setattr(world.studies[0], "open", False)
    world.at[50.0] = lambda: setattr(world.studies[0], "open", True)
    run_until_drained(world, until=60.0)
    assert world.visits == ["a", "a"]
    assert 15 <= len(world.served) <= 18, "but for the batches until the next look"


def test_what_does_not_run_here_is_skipped_with_its_reason_logged_once() -> None:
    world = FakeWorld(
        [FakeStudy("other", 5, priority=9, fails=make_mismatch), FakeStudy("own", 400)]
    )
    run_until_drained(world, until=400.0)
    assert world.visits.count("other") == 2
    assert world.served == ["own"] * 398
    assert [line for line in world.logged if "set aside" in line] == [
        "study other is set aside here: other code"
    ]
    assert world.given_up == []


def test_what_was_brought_back_is_served_in_the_end() -> None:
    world = FakeWorld([FakeStudy("other", 5, fails=make_mismatch)])
    world.at[30.0] = lambda: setattr(world.studies[0], "fails", None)
    run_until_drained(world, until=400.0)
    assert world.served == ["other"] * 5


def test_a_study_that_keeps_failing_is_given_up_and_the_worker_goes_on() -> None:
    world = FakeWorld(
        [
            FakeStudy("bad", 5, priority=1, fails=lambda: TooManyFailures("6 in a row")),
            FakeStudy("good", 3),
        ]
    )
    run_until_drained(world, until=5000.0)
    assert world.visits == ["bad", "good"]
    assert world.served == ["good"] * 3
    assert world.given_up == ["bad: 6 in a row"]
    assert any("bad is set aside" in line and "6 in a row" in line for line in world.logged)


def test_a_study_that_was_given_up_is_served_anew_after_a_pause() -> None:
    world = FakeWorld([FakeStudy("bad", 1, fails=lambda: TooManyFailures("6 in a row"))])
    world.at[50.0] = lambda: setattr(world.studies[0], "open", False)
    world.at[60.0] = lambda: world.studies.__setitem__(0, FakeStudy("bad", 1))
    run_until_drained(world, until=100.0)
    assert world.served == ["bad"]


def test_a_study_with_nothing_left_to_suggest_is_backed_off() -> None:
    world = FakeWorld(
        [FakeStudy("done", 5, fails=lambda: Exhausted("all tried")), FakeStudy("good", 3)]
    )
    run_until_drained(world, until=100.0)
    assert world.visits == ["done", "good"]
    assert world.freed_devices == 2


def test_a_study_whose_slots_are_gone_is_backed_off() -> None:
    world = FakeWorld([FakeStudy("taken", 3)])
    world.supervisor = lambda study: EmptyFirstClaim(world, world.studies[study.id])  # type: ignore[method-assign]
    run_until_drained(world, until=20.0)
    assert len(world.visits) <= 5


class EmptyFirstClaim(FakeSupervisor):
    def run_batch(self) -> bool:
        return False


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Drained("stopped on request"), id="a stop"),
        pytest.param(StorageUnreachable("the database is away"), id="no database"),
        pytest.param(
            TrainerFailed(Raised.from_error(StorageUnreachable("away"))),
            id="no database for the child",
        ),
    ],
)
def test_what_is_no_study_s_fault_ends_the_worker(error: Exception) -> None:
    world = FakeWorld([FakeStudy("a", 3, fails=lambda: error)])
    with pytest.raises(type(error)):
        world.run()
    assert world.freed_devices == 1


def test_only_other_workers_that_are_alive_are_counted() -> None:
    def worker_row(name: str, **options: Any) -> WorkerRow:
        fields: dict[str, Any] = {"study": "s", "activity": "training", "alive": True, **options}
        return WorkerRow(
            name=name,
            host="h",
            pid=1,
            device=None,
            trials=(),
            version="0",
            age_seconds=0.0,
            **fields,
        )

    worker_counts = WorkerCounts.from_workers(
        [
            worker_row("me"),
            worker_row("one"),
            worker_row("new", activity="starting"),
            worker_row("dead", alive=False),
            worker_row("idle_seconds", study=None),
            worker_row("zealous", study=None),
        ],
        "me",
    )
    assert (worker_counts.serving["s"], worker_counts.starting["s"], worker_counts.ahead) == (
        2,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("ahead", "claimable", "expected", "begun"),
    [
        pytest.param(0, (9, 9), "a", 0.0, id="the first one"),
        pytest.param(1, (9, 9), "b", 0.0, id="the second one"),
        pytest.param(2, (9, 9), "a", 0.0, id="the third one"),
        pytest.param(2, (1, 9), "b", 0.0, id="no free slot for a second one"),
        pytest.param(1, (1, 0), "a", 2.0, id="none is left, and nobody takes it"),
    ],
)
def test_workers_that_wait_share_the_studies_that_come(
    ahead: int, claimable: tuple[int, int], expected: str, begun: float
) -> None:
    worker_counts = WorkerCounts(serving=Counter(), starting=Counter(), ahead=ahead)
    for until, visits in ((begun, []), (begun + 0.5, [expected])):
        world = FakeWorld([FakeStudy("a", claimable[0]), FakeStudy("b", claimable[1])])
        world.worker_counts = lambda: worker_counts  # type: ignore[method-assign]
        run_until_drained(world, until=until)
        assert world.visits == visits


@pytest.mark.parametrize(("draw", "visits"), [(0.1, ["crowded", "lonely"]), (0.9, ["crowded"])])
def test_of_many_that_see_the_same_imbalance_half_the_difference_goes(
    draw: float, visits: list[str]
) -> None:
    world = FakeWorld(
        [FakeStudy("crowded", 90, other_workers=7), FakeStudy("lonely", 90, other_workers=0)]
    )
    world.studies[1].slots = 0
    world.at[3.0] = lambda: setattr(world.studies[1], "slots", 90)
    run_until_drained(world, until=35.0, quantum_seconds=10.0, draw_uniform=lambda: draw)
    assert world.visits[: len(visits) + 1] == visits


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(-2, 2), st.floats(0.1, 50.0)),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=60)
def test_all_work_is_done_and_never_before_more_urgent_work(
    drawn: list[tuple[int, int, float]],
) -> None:
    studies = [
        FakeStudy(f"s{index}", slots, seconds=seconds, priority=priority)
        for index, (slots, priority, seconds) in enumerate(drawn)
    ]
    world = FakeWorld(studies)
    world.run(until=1e9)
    assert Counter(world.served) == Counter(
        {f"s{index}": slots for index, (slots, _, _) in enumerate(drawn) if slots}
    )
    order = [studies[int(name[1:])].priority for name in world.served]
    assert order == sorted(order, reverse=True)
