"""Halving across a study: pruned trials keep their curves, and everybody learns from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from widthwise.search.goal import Goal
from widthwise.search.sampler.baselines import LARGEST, THUMB, UNIFORM
from widthwise.search.sampler.suggest import CONFIRMED, SAMPLED
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import history
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Record, Tried
from widthwise.tests.search.bench import Bench, make_bench

Make = Callable[..., Bench]
HALVED = {"epochs": 4, "patience": 0, "halving": {"eta": 2, "first": 1.0}}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Make]:
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        yield lambda **how: make_bench(tmp_path, database, **{**HALVED, **how})


def run(study: Bench, widths: Sequence[int], origin: str = SAMPLED) -> list[Record]:
    """Train these candidates as one batch."""
    runner = study.runner()
    slots = runner.ledger.claim_many(len(widths))
    bound = runner.ledger.bind_many(
        [(slot, {"a": width}, origin) for slot, width in zip(slots, widths, strict=True)]
    )
    runner.run(bound, frozenset)  # type: ignore[arg-type]
    runner.projection.repair()
    return [study.records()[slot.number] for slot in slots]


def ends(records: Sequence[Record]) -> dict[int, tuple[str | None, int]]:
    """Width to outcome and epochs trained."""
    return {
        record.widths["a"]: (record.outcome, len((record.result or {})["curve"]))
        for record in records
        if record.widths
    }


def test_the_worst_of_a_batch_are_stopped_and_recorded_as_pruned(bench: Make) -> None:
    study = bench(trials=4)
    assert ends(run(study, [30, 10, 40, 20])) == {
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
    counts = study.ledger().counts()
    assert (counts.complete, counts.pruned) == (1, 3)


def test_a_later_batch_is_compared_with_earlier_ones_at_the_same_rung(bench: Make) -> None:
    study = bench(trials=7)
    assert ends(run(study, [20, 30, 40]))[30] == ("pruned", 2)
    assert ends(run(study, [10, 35, 5])) == {
        35: ("complete", 4),
        10: ("pruned", 1),
        5: ("pruned", 1),
    }
    assert ends(run(study, [6])) == {6: ("pruned", 1)}, "one alone is compared as well"


@pytest.mark.parametrize("origin", [LARGEST, f"{UNIFORM} = {THUMB}", CONFIRMED])
def test_baselines_and_confirmations_are_never_pruned(bench: Make, origin: str) -> None:
    study = bench(trials=5)
    run(study, [40, 30, 20])
    assert ends(run(study, [1, 2], origin)) == {1: ("complete", 4), 2: ("complete", 4)}


def test_a_rung_within_the_first_epoch_leaves_a_score_and_no_curve(bench: Make) -> None:
    study = bench(trials=2, halving={"eta": 2, "first": 0.3})
    assert ends(run(study, [40, 20])) == {40: ("complete", 4), 20: ("pruned", 0)}
    [pruned] = [one for one in study.ledger().tried() if one.outcome == "pruned"]
    assert (pruned.score, pruned.fidelity, pruned.rungs) == (20.0, 0.3, ((0.3, 20.0),))
    trial = study.trials()[1]
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {})
    assert trial.user_attrs["score"] == 20.0


def test_the_proposer_hears_of_every_fidelity(bench: Make) -> None:
    study = bench(trials=4)
    run(study, [30, 10, 40, 20])
    problem = study.problem
    known = history(problem.space, study.ledger().tried(), problem.goal, epochs=4)
    assert known.fidelity is not None
    told = sorted(zip(known.fidelity, known.observed[:, 0], known.values, strict=True))
    assert told == [
        *((1.0, width, float(width)) for width in (10, 20, 30, 40)),
        *((2.0, width, float(width)) for width in (30, 40)),
        (4.0, 40, 40.0),
    ]
    assert sorted(np.unique(known.tried[:, 0])) == [10, 20, 30, 40], "none is proposed again"


def test_a_halved_study_runs_to_its_end(bench: Make) -> None:
    study = bench(trials=16, at_once=5)
    outcomes = study.work()
    records = study.records()
    assert len(outcomes) == 16
    assert {record.outcome for record in records} == {"complete", "pruned"}
    named = {baseline.name for baseline in study.problem.proposer.baselines}
    spared = [record for record in records if record.origin in named]
    assert len(spared) == len(named) >= 2
    assert {record.outcome for record in spared} == {"complete"}
    assert len({str(record.widths) for record in records}) == 16


# What the history is made of


def tried(number: int, outcome: str | None, score: float | None = None, **more: object) -> Tried:
    columns = {
        "state": "leased" if outcome is None else "done",
        "value": score if outcome == "complete" else None,
        "fidelity": 9.0 if outcome == "complete" else None,
        "spread": None,
        "measured": {},
        "rungs": (),
        **more,
    }
    return Tried(  # type: ignore[arg-type]
        number=number, widths={"a": number + 1}, outcome=outcome, score=score, **columns
    )


SPACE = Space((Width.range("a", 1, 9, 1),))


def test_without_pruning_all_were_trained_alike() -> None:
    """Rungs that nobody fell at say nothing that the ends do not."""
    known = history(
        SPACE,
        [tried(0, "complete", 0.5, rungs=((1.0, 0.2), (3.0, 0.4))), tried(1, "nan")],
        Goal(),
        epochs=9,
    )
    assert known.fidelity is None
    assert known.observed.tolist() == [[1]]
    assert known.failed.tolist() == [[2]]


def test_a_pruned_trial_is_set_against_the_others_where_it_stopped() -> None:
    known = history(
        SPACE,
        [
            tried(0, "complete", 0.5, rungs=((1.0, 0.2), (3.0, 0.4))),
            tried(1, "pruned", 0.3, fidelity=3.0, rungs=((1.0, 0.1), (3.0, 0.3))),
            tried(2, None),
            tried(3, "infeasible", measured={"latency": 2.0}),
        ],
        Goal(direction="minimize"),
        epochs=9,
    )
    assert known.observed.ravel().tolist() == [1, 1, 2]
    assert known.values.tolist() == [-0.4, -0.5, -0.3]
    assert known.fidelity is not None
    assert known.fidelity.tolist() == [3.0, 9.0, 3.0]
    assert known.skipped is not None
    assert known.skipped.tolist() == [[2]]
    assert (known.pending.tolist(), known.failed.tolist()) == ([[3]], [[4]])
    assert known.complete.tolist() == [False, True, False]


def test_what_says_nothing_about_the_widths_is_no_failure() -> None:
    """A person's cancellation, and memory that ran out on another class of devices."""
    known = history(
        SPACE,
        [
            tried(0, "complete", 0.5),
            tried(1, "cancelled"),
            tried(2, "out_of_memory"),
            tried(3, "out_of_memory"),
            tried(4, "infeasible"),
            tried(5, "error"),
        ],
        Goal(),
        epochs=9,
        elsewhere=[{"a": 3}],
    )
    assert known.skipped is not None
    assert known.skipped.ravel().tolist() == [2, 3, 5]
    assert known.failed.ravel().tolist() == [4, 6]
    assert sorted(known.tried.ravel().tolist()) == [1, 2, 3, 4, 5, 6], "none is proposed again"
