"""The network of a result: within the limits, trained as stated, and as good as the trials were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import widthwise
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from widthwise.search.errors import SearchError, SpecError
from widthwise.search.python.result import SearchResult

X, Y = load_iris(return_X_y=True)
INPUTS = torch.tensor(X, dtype=torch.float32)
TARGETS = torch.tensor(Y)


def build(widths: Any) -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, widths["a"]), nn.ReLU(), nn.Dropout(0.1), nn.Linear(widths["a"], 3)
    )


def search(**changes: Any) -> SearchResult:
    given: dict[str, Any] = {
        "build": lambda widths: build(widths),
        "widths": {"a": [8, 16, 32]},
        "data": (X, Y),
        "trials": 2,
        "epochs": 40,
        "folds": 1,
        "batch_size": 16,
        "learning_rate": 0.02,
        "engine": "plain",
        "confirm": False,
        "progress": False,
    }
    return widthwise.search(**{**given, **changes})


@pytest.fixture(scope="module")
def result() -> SearchResult:
    return search()


def accuracy(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(INPUTS).argmax(dim=1) == TARGETS).float().mean())


def test_it_is_trained_has_the_widths_and_is_in_eval_mode(result: SearchResult) -> None:
    model = result.model()
    assert isinstance(model, nn.Sequential)
    assert model[0].out_features == result.widths["a"]
    assert not model.training
    assert isinstance(model[2], nn.Dropout)
    assert accuracy(model) > 0.9


def test_each_call_gives_a_copy_of_its_own(result: SearchResult) -> None:
    first, second = result.model(), result.model()
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert bool(next(second.parameters()).any())


def test_untrained_it_is_as_its_builder_makes_it(result: SearchResult) -> None:
    model = result.model(trained=False)
    assert not model.training
    again = result.model(trained=False)
    assert all(
        torch.equal(one, other)
        for one, other in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert accuracy(model) < 0.8


def test_the_same_search_gives_the_same_network_and_leaves_torch_alone(
    result: SearchResult,
) -> None:
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    other = search()
    for one, two in zip(result.model().parameters(), other.model().parameters(), strict=True):
        assert torch.equal(one, two)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_of_several_rates_the_best_one_trains_it() -> None:
    model = search(rate_factors=[0.0001, 1.0], trials=1).model()
    assert accuracy(model) > 0.9


def test_a_network_of_loaders_is_trained_on_their_batches() -> None:
    rows: Any = TensorDataset(INPUTS, TARGETS)
    loader = DataLoader(rows, batch_size=16, shuffle=True)
    model = search(data=(loader, loader), trials=1, folds=None).model()
    assert accuracy(model) > 0.9


def test_a_training_of_the_users_own_keeps_its_network() -> None:
    def own(widths: Any, trial: Any) -> float:
        trial.report(1, float(widths["a"]))
        return float(widths["a"])

    own_result = widthwise.search(
        train=own,
        direction="maximize",
        widths={"a": [8, 16]},
        trials=2,
        confirm=False,
        progress=False,
    )
    assert own_result.table["value"].max() == 16
    with pytest.raises(SearchError, match="keeps them to itself"):
        own_result.model()


def test_without_a_complete_trial_there_are_no_widths_to_take() -> None:
    def raises(widths: Any) -> nn.Module:
        class Fails(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = build(widths)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                output: torch.Tensor = self.layers(x)
                return output * float("nan") if self.training else output

        return Fails()

    failed = search(build=raises, trials=1)
    assert list(failed.table["outcome"]) == ["nan"]
    with pytest.raises(SpecError, match="no trial is complete yet, so that there are no widths"):
        _ = failed.widths
    assert "No training gave a value" in str(failed)
