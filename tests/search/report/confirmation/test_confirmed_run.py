"""Trainings of a confirmation as the ledger holds them."""

from typing import Any

from widthwise.search.problem.seeds import confirmation_seed
from widthwise.search.report.confirmation.confirmed_run import read_runs
from widthwise.storage.ledger.slot import SlotRecord, SlotState, TrialOutcome

STUDY_SEED = 7


def record(number: int, seed: int | None, **others: Any) -> SlotRecord:
    fields: dict[str, Any] = {
        "number": number,
        "state": SlotState.DONE,
        "outcome": TrialOutcome.COMPLETE,
        "widths": {"hidden": 40},
        "origin": "recommended",
        "value": 0.9,
        "result": {"test": 0.88, "seconds": 2.0, "costs": {"flops": 10}, "measured": {}},
        "trial_id": None,
        "worker": None,
        "attempts": 1,
        "failures": 0,
        "started_at": None,
        "finished_at": None,
        "lease_until": None,
        "seed": seed,
    }
    return SlotRecord(**{**fields, **others})


def test_a_training_is_read_with_the_number_of_its_seed():
    [run] = read_runs([record(0, confirmation_seed(STUDY_SEED, 3))], STUDY_SEED)
    assert (run.seed_index, run.value, run.test, run.seconds) == (3, 0.9, 0.88, 2.0)
    assert run.costs == {"flops": 10}
    assert run.label == "recommended"


def test_a_training_is_read_with_the_number_of_its_folds():
    seed = confirmation_seed(STUDY_SEED, 0)
    [run] = read_runs([record(0, seed, result={"scores": [0.9, 0.8, 0.7]})], STUDY_SEED)
    [without] = read_runs([record(0, seed)], STUDY_SEED)
    assert (run.folds, without.folds) == (3, 0)


def test_a_failed_training_has_no_value():
    failed = record(
        0, confirmation_seed(STUDY_SEED, 0), outcome=TrialOutcome.NAN, value=None, result={}
    )
    [run] = read_runs([failed], STUDY_SEED)
    assert run.value is None


def test_what_is_not_done_or_has_another_seed_is_left_out():
    waiting = record(
        0, confirmation_seed(STUDY_SEED, 0), state=SlotState.FREE, outcome=None, value=None
    )
    foreign = record(1, 12345)
    ours = record(2, confirmation_seed(STUDY_SEED, 1))
    assert [run.seed_index for run in read_runs([waiting, foreign, ours], STUDY_SEED)] == [1]
