"""Whatever a training of the user's own does, one of the outcomes of a trial comes of it."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.errors import StopTraining, TrainingError
from widthwise.objectives.own_training.train import MAX_CURVE
from widthwise.objectives.own_training.trial import Trial
from widthwise.objectives.training.settings import Halving
from widthwise.objectives.user_code import is_out_of_memory

from .calls import Drained, call_train, report_all, train_to_result

Widths = Mapping[str, int]


# What it gives


@pytest.mark.parametrize(
    "given",
    [
        0.75,
        np.float32(0.75),
        np.array([0.75]),
        torch.tensor(0.75),
        torch.tensor([[0.75]]),
        {"accuracy": 0.75},
    ],
    ids=["float", "numpy", "array", "tensor", "one element", "mapping"],
)
def test_one_number_is_the_value(given: Any, tmp_path: Path) -> None:
    result = train_to_result(lambda *_: given, tmp_path)
    assert (result.outcome, result.value, result.score) == ("complete", 0.75, 0.75)
    assert (result.scores, result.curve, result.engine) == ((0.75,), (), "own")


def test_a_whole_number_is_one_too(tmp_path: Path) -> None:
    assert train_to_result(lambda *_: 3, tmp_path).value == 3.0


def test_nothing_returned_means_the_last_report(tmp_path: Path) -> None:
    def train(widths: Widths, trial: Trial) -> None:
        for step, value in ((1, 0.9), (2, 0.8), (5, 0.7)):
            trial.report(step, value)

    result = train_to_result(train, tmp_path)
    assert (result.value, result.epochs) == (0.7, 5)
    assert (result.curve, result.steps) == ((0.9, 0.8, 0.7), (1.0, 2.0, 5.0))


def test_a_generator_yields_a_value_a_step(tmp_path: Path) -> None:
    def train(widths: Widths, trial: Trial) -> Iterator[Any]:
        yield 0.5
        yield {"accuracy": 0.6, "f1": 0.4}
        yield {"accuracy": 0.7, "f1": 0.5, "step": 8}
        yield torch.tensor(0.75)

    result = train_to_result(train, tmp_path)
    assert (result.value, result.steps) == (0.75, (1.0, 2.0, 8.0, 9.0))
    assert result.reported == {"f1": 0.5}


def test_what_a_generator_returns_is_the_value(tmp_path: Path) -> None:
    def train(widths: Widths, trial: Trial) -> Iterator[float]:
        yield 0.5
        return 0.9

    assert train_to_result(train, tmp_path).value == 0.9


def test_logged_values_are_kept_the_last_of_each_name(tmp_path: Path) -> None:
    def train(widths: Widths, trial: Trial) -> dict[str, float]:
        trial.log(loss=2.0, reward=1.0, self=0.25)
        trial.log(loss=1.0, odd=math.nan)
        return {"accuracy": 0.5, "f1": 0.25}

    assert train_to_result(train, tmp_path).reported == {
        "loss": 1.0,
        "reward": 1.0,
        "self": 0.25,
        "f1": 0.25,
    }


def test_what_is_reported_and_logged_is_told_at_its_step(tmp_path: Path) -> None:
    told: list[tuple[float, dict[str, float]]] = []

    def train(widths: Widths, trial: Trial) -> None:
        trial.report(1, 0.25)
        trial.log(loss=2.0, odd=math.nan)
        trial.report(2, 0.5, {"loss": 1.0, "odd": math.nan})

    def generate(widths: Widths, trial: Trial) -> Iterator[dict[str, float]]:
        yield {"accuracy": 0.25, "loss": 2.0, "odd": math.nan}
        yield {"accuracy": 0.5, "step": 3}

    def tell(step: float, figures: Mapping[str, float]) -> None:
        told.append((step, dict(figures)))

    train_to_result(train, tmp_path, report=tell)
    assert told == [
        (1, {"accuracy": 0.25}),
        (1, {"loss": 2.0}),
        (2, {"accuracy": 0.5, "loss": 1.0}),
    ]
    told.clear()
    assert train_to_result(generate, tmp_path, report=tell).reported == {"loss": 2.0}
    assert told == [(1, {"accuracy": 0.25, "loss": 2.0}), (3, {"accuracy": 0.5})]


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path: Path) -> None:
    count = 3 * MAX_CURVE + 1

    def train(widths: Widths, trial: Trial) -> Iterator[float]:
        yield from (step / count for step in range(1, count + 1))

    result = train_to_result(train, tmp_path)
    assert len(result.curve) <= MAX_CURVE
    assert result.steps[-1] == count
    assert result.curve == tuple(step / count for step in result.steps)


# What it is given


def test_it_is_given_the_trial(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def train(widths: Widths, trial: Trial) -> float:
        seen.update(vars(trial), widths=widths, is_folder=trial.folder.is_dir())
        return 1.0

    train_to_result(train, tmp_path)
    assert (seen["seed"], seen["epochs"], seen["number"]) == (7, 10, 3)
    assert (seen["costs"], seen["device"]) == ({"parameters": 80}, torch.device("cpu"))
    assert seen["widths"] == {"a": 8}
    assert seen["is_folder"]


def test_its_seed_is_one_that_every_library_takes(tmp_path: Path) -> None:
    def train(widths: Widths, trial: Trial) -> float:
        np.random.seed(trial.seed)
        return float(trial.seed)

    assert train_to_result(train, tmp_path, seed=2**62 + 9).value == 9


def test_the_streams_come_from_the_trials_seed_and_the_callers_go_on(tmp_path: Path) -> None:
    draws = []

    def train(widths: Widths, trial: Trial) -> float:
        draws.append((torch.rand(1).item(), np.random.rand(), random.random()))
        random.seed(0)
        return 1.0

    torch.manual_seed(1)
    random.seed(1)
    expected = torch.rand(2)[1].item()
    torch.manual_seed(1)
    torch.rand(1)
    before = random.getstate()
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        train_to_result(train, tmp_path / name, seed=seed)
    assert draws[0] == draws[1]
    assert not set(draws[0]) & set(draws[2])
    assert torch.rand(1).item() == expected
    assert random.getstate() == before


# What is wrong with it


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(None, ["returned None", "trial.report"], id="nothing"),
        pytest.param("0.9", ["'0.9' (str)", "one number"], id="a string"),
        pytest.param(True, ["True (bool)", "one number"], id="a truth"),
        pytest.param(torch.zeros(2), ["tensor([0., 0.])", "one number"], id="several"),
        pytest.param(1 + 2j, ["complex", "one number"], id="complex"),
        pytest.param({"loss": 0.1}, ["loss", "not accuracy"], id="no metric"),
        pytest.param({"accuracy": "high"}, ["accuracy", "'high'"], id="metric is text"),
        pytest.param({"accuracy": 1, "f1": "low"}, ["f1", "'low'"], id="other is text"),
        pytest.param(10**400, ["double precision"], id="too large"),
    ],
)
def test_what_is_no_value_is_refused(given: Any, words: list[str], tmp_path: Path) -> None:
    error = call_train(lambda *_: given, tmp_path)
    assert isinstance(error, TrainingError)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("way", ["returned", "reported", "yielded"])
def test_what_is_not_finite_is_recorded_as_such(value: float, way: str, tmp_path: Path) -> None:
    def returns(widths: Widths, trial: Trial) -> float:
        return value

    def reports(widths: Widths, trial: Trial) -> float:
        with suppress(BaseException):  # as a careless user may write it
            trial.report(4, value)
        return 1.0

    def yields(widths: Widths, trial: Trial) -> Iterator[float]:
        yield value

    function = {"returned": returns, "reported": reports, "yielded": yields}[way]
    result = train_to_result(function, tmp_path)
    assert (result.outcome, result.value) == ("nan", None)
    assert str(value) in str(result.detail)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((3, 3), ["3 after 3", "grow"]),
        ((3, 2), ["2 after 3", "grow"]),
        ((0,), ["0 (int)", "above 0"]),
        ((math.nan,), ["nan", "above 0"]),
        (("one",), ["'one'", "one number"]),
    ],
    ids=["twice", "backwards", "zero", "nan", "text"],
)
@pytest.mark.parametrize("swallows", [False, True], ids=["raised", "swallowed"])
def test_a_step_that_is_none_is_refused(
    steps: tuple[Any, ...], words: list[str], swallows: bool, tmp_path: Path
) -> None:
    def train(widths: Widths, trial: Trial) -> float:
        try:
            for step in steps:
                trial.report(step, 0.5)
        except Exception:
            if not swallows:
                raise
        return 0.5

    error = call_train(train, tmp_path)
    assert isinstance(error, TrainingError)
    for word in words:
        assert word in str(error)


class Abort(BaseException):
    """No Exception."""


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (lambda: _raise(ValueError("no such layer")), ["ValueError: no such layer", "line"]),
        (lambda: sys.exit(3), ["SystemExit: 3", "exception instead"]),
        (lambda: sys.exit(), ["SystemExit", "exception instead"]),
        (lambda: _raise(Abort("enough")), ["Abort: enough"]),
        (lambda: _raise(asyncio.CancelledError()), ["CancelledError"]),
        (lambda: _raise(StopTraining()), ["StopTraining by itself"]),
    ],
    ids=["exception", "exit", "exit without a code", "abort", "cancelled", "stop"],
)
@pytest.mark.parametrize("is_generator", [False, True], ids=["function", "generator"])
def test_what_it_raises_is_a_sentence(
    deed: Any, words: list[str], is_generator: bool, tmp_path: Path
) -> None:
    def train(widths: Widths, trial: Trial) -> Any:
        return deed()

    def generate(widths: Widths, trial: Trial) -> Iterator[float]:
        yield 0.5
        deed()

    error = call_train(generate if is_generator else train, tmp_path)
    assert isinstance(error, TrainingError)
    for word in ("mine.py:train", *words):
        assert word in str(error)


def test_a_generator_that_does_not_end_hides_nothing(tmp_path: Path) -> None:
    def generate(widths: Widths, trial: Trial) -> Iterator[Any]:
        for given in ("high", 0.5):
            with suppress(GeneratorExit):  # as a careless user may write it
                yield given

    error = call_train(generate, tmp_path)
    assert isinstance(error, TrainingError)
    assert "yielded 'high' (str)" in str(error)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_passes_as_it_is(error: BaseException, tmp_path: Path) -> None:
    result = call_train(lambda *_: _raise(error), tmp_path)
    assert result is error
    assert is_out_of_memory(error)


def test_a_coroutine_is_refused(tmp_path: Path) -> None:
    async def train(widths: Widths, trial: Trial) -> float:
        return 1.0

    error = call_train(train, tmp_path)
    assert isinstance(error, TrainingError)
    assert "async" in str(error)


# What it goes on with


def test_a_training_goes_on_in_its_folder_with_its_curve(tmp_path: Path) -> None:
    def train(widths: Widths, trial: Trial) -> float:
        checkpoint = trial.folder / "step"
        first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1
        for step in range(first, 11):
            checkpoint.write_text(str(step))
            trial.report(step, step / 10)
        return 1.0

    def stop_at(last: float) -> Any:
        def callback(step: float, metrics: Mapping[int, float]) -> tuple[()]:
            if step >= last:
                raise Drained
            return ()

        return callback

    for last in (3, 7):
        with pytest.raises(Drained):
            call_train(train, tmp_path, callback=stop_at(last))
    seen: list[float] = []

    def note(step: float, metrics: Mapping[int, float]) -> tuple[()]:
        seen.append(step)
        return ()

    result = train_to_result(train, tmp_path, callback=note)
    assert seen == [8, 9, 10]
    assert result.steps == tuple(range(1, 11))
    assert result.curve == tuple(step / 10 for step in range(1, 11))


def test_one_that_was_pruned_and_not_recorded_is_not_trained_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"halving": Halving(eta=2, first=4)}
    first = train_to_result(report_all, tmp_path, other_rung_scores={4.0: [0.9, 0.9]}, **options)

    def never(widths: Widths, trial: Trial) -> float:
        raise AssertionError("it was trained again")

    again = train_to_result(never, tmp_path, **options)
    assert (again.outcome, again.score, again.detail) == ("pruned", first.score, first.detail)


def test_the_folder_of_another_training_is_emptied(tmp_path: Path) -> None:
    def leave(widths: Widths, trial: Trial) -> float:
        (trial.folder / "weights").write_text("mine")
        return 1.0

    train_to_result(leave, tmp_path)
    journal = next(tmp_path.glob("*.jsonl"))
    journal.write_text(journal.read_text().replace('"slot": 3', '"slot": 4'))
    found: list[Path] = []

    def look(widths: Widths, trial: Trial) -> float:
        found.extend(trial.folder.iterdir())
        return 1.0

    train_to_result(look, tmp_path)
    assert found == []
