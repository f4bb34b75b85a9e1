"""What ends a training of the user's own while it reports: a stop, a lost lease, a rung."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from widthwise.objectives.own_training.journal import Journal
from widthwise.objectives.own_training.trial import Trial
from widthwise.objectives.training.settings import Halving

from .calls import Drained, call_train, report_all, report_ten, train_to_result

Widths = Mapping[str, int]


def swallow_exceptions(widths: Widths, trial: Trial) -> float:
    for step in range(1, 11):
        with suppress(Exception):  # as a careless user may write it
            trial.report(step, step / 10)
    return 1.0


def swallow_everything(widths: Widths, trial: Trial) -> float:
    with suppress(BaseException):  # as a careless user may write it
        report_ten(trial)
    return 1.0


def swallow_and_go_on(widths: Widths, trial: Trial) -> float:
    for step in range(1, 11):
        with suppress(BaseException):  # as a careless user may write it
            trial.report(step, step / 10)
    return 1.0


def swallow_and_raise(widths: Widths, trial: Trial) -> float:
    try:
        report_ten(trial)
    except BaseException:
        raise ValueError("something else") from None
    return 1.0


def generate_all(widths: Widths, trial: Trial) -> Iterator[float]:
    yield from (step / 10 for step in range(1, 11))


def stubborn_generator(widths: Widths, trial: Trial) -> Iterator[float]:
    for step in range(1, 11):
        try:
            yield step / 10
        except GeneratorExit:
            yield 0.0


def ask_first(widths: Widths, trial: Trial) -> float:
    for step in range(1, 11):
        if trial.should_stop:
            return 0.0
        trial.report(step, step / 10)
    return 1.0


FUNCTIONS = [
    report_all,
    swallow_exceptions,
    swallow_everything,
    swallow_and_go_on,
    swallow_and_raise,
    generate_all,
    stubborn_generator,
    ask_first,
]
every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.__name__)


@every_function
def test_a_drained_training_ends_with_what_drained_it(function: Any, tmp_path: Path) -> None:
    def callback(step: float, metrics: Mapping[int, float]) -> tuple[()]:
        if step >= 4:
            raise Drained
        return ()

    with pytest.raises(Drained):
        call_train(function, tmp_path, callback=callback)


@every_function
def test_a_lost_training_has_no_result(function: Any, tmp_path: Path) -> None:
    def callback(step: float, metrics: Mapping[int, float]) -> list[int]:
        return [0] if step >= 4 else []

    assert call_train(function, tmp_path, callback=callback) is None


@pytest.mark.parametrize(("ends", "steps"), [("lost", 3), ("drained", 4)])
def test_what_is_reported_after_a_loss_is_the_new_owners_to_write(
    ends: str, steps: int, tmp_path: Path
) -> None:
    def callback(step: float, metrics: Mapping[int, float]) -> list[int]:
        if step >= 4 and ends == "drained":
            raise Drained
        return [0] if step >= 4 else []

    with suppress(Drained):
        call_train(swallow_and_go_on, tmp_path, callback=callback)
    journal = Journal(tmp_path / "reports.jsonl", {"slot": 3, "widths": {"a": 8}})
    assert [step for step, _ in journal.curve] == list(range(1, steps + 1))


@pytest.mark.parametrize("is_lost", [False, True], ids=["pruned", "lost"])
def test_what_is_logged_after_the_end_is_not_recorded(is_lost: bool, tmp_path: Path) -> None:
    told: list[Mapping[str, float]] = []

    def callback(step: float, metrics: Mapping[int, float]) -> list[int]:
        return [0] if is_lost and step >= 4 else []

    def tell(step: float, figures: Mapping[str, float]) -> None:
        told.append(figures)

    def train(widths: Widths, trial: Trial) -> float:
        trial.log(before=1.0)
        try:
            return report_ten(trial)
        finally:
            trial.log(after=1.0)

    call_train(
        train,
        tmp_path,
        halving=Halving(eta=2, first=4),
        other_rung_scores={} if is_lost else {4.0: [0.5, 0.6]},
        callback=callback,
        report=tell,
    )
    journal = Journal(tmp_path / "reports.jsonl", {"slot": 3, "widths": {"a": 8}})
    assert journal.logged == {"before": 1.0}
    assert {"before": 1.0} in told
    assert {"after": 1.0} not in told


@every_function
def test_a_pruned_training_is_recorded_as_pruned(function: Any, tmp_path: Path) -> None:
    result = train_to_result(
        function,
        tmp_path,
        halving=Halving(eta=2, first=4),
        other_rung_scores={4.0: [0.5, 0.6]},
    )
    assert (result.outcome, result.value, result.score) == ("pruned", None, 0.4)
    assert (result.fidelity, result.rung_scores) == (4.0, ((4.0, 0.4),))
    assert "accuracy of 0.4 at step 4 of 10" in str(result.detail)
    assert "1/2" in str(result.detail)


def test_a_baseline_and_the_best_go_on_with_their_rungs_recorded(tmp_path: Path) -> None:
    for name, options in (
        ("baseline", {"never_pruned": True, "other_rung_scores": {4.0: [0.5, 0.6]}}),
        ("best", {"other_rung_scores": {4.0: [0.1, 0.2], 8.0: [0.3]}}),
    ):
        (tmp_path / name).mkdir()
        result = train_to_result(
            report_all, tmp_path / name, halving=Halving(eta=2, first=4), **options
        )
        assert result.outcome == "complete"
        assert result.rung_scores == ((4.0, 0.4), (8.0, 0.8))
        assert result.fidelity == 10.0


def test_one_that_ended_before_a_rung_has_its_value_there(tmp_path: Path) -> None:
    result = train_to_result(lambda *_: 0.3, tmp_path, halving=Halving(eta=2, first=4))
    assert result.rung_scores == ((4.0, 0.3), (8.0, 0.3))
