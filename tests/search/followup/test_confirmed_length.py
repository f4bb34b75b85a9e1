"""A confirmation's length is what was asked for, or three times the search's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from widthwise.search.errors import FingerprintMismatch, SpecError
from widthwise.search.followup.confirmed_length import confirmed_factor
from widthwise.search.problem.build import proxy_settings
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.overrides import with_overrides
from widthwise.search.spec.spec import load_spec
from widthwise.storage.ledger.slot import StudyRow

SPEC = """
study = { name = "iris", trials = 4 }
model = { family = "mlp" }
widths = { a = [2, 4] }
proxy = { data = "iris", epochs = 4, folds = 1 }
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """Four epochs a training."""
    folder = tmp_path_factory.mktemp("iris")
    (folder / "iris.toml").write_text(SPEC)
    return Problem.load(load_spec(folder / "iris.toml"), Path(folder))


def with_factor(problem: Problem, factor: float | None) -> Problem:
    spec = with_overrides(problem.spec, {"proxy.length_factor": factor})
    return replace(problem, spec=spec)


def begun_at(problem: Problem, factor: float) -> StudyRow:
    return StudyRow(
        id=2,
        name="iris/confirmation",
        spec=with_factor(problem, factor).spec.to_json(),
        fingerprint="",
        optuna_study_id=2,
        direction="maximize",
        base="",
        created_at=0.0,
    )


@pytest.mark.parametrize(
    ("own", "expected"), [(None, 3.0), (2.0, 6.0), (0.3, 0.9), (600.0, 1000.0)]
)
def test_it_is_three_times_the_searchs(plain: Problem, own: float | None, expected: float) -> None:
    factor = confirmed_factor(with_factor(plain, own), None, None)
    assert factor == pytest.approx(expected)


@pytest.mark.parametrize("own", [None, 0.3, 2.0, 7.7])
def test_epochs_that_are_asked_for_are_met_exactly(plain: Problem, own: float | None) -> None:
    problem = with_factor(plain, own)
    for epochs in (*range(1, 60), 3999, 4000):
        confirmed = with_factor(problem, confirmed_factor(problem, None, epochs))
        assert proxy_settings(confirmed.spec, problem.objective.data).epochs == epochs


@pytest.mark.parametrize(("own", "before"), [(None, ""), (0.5, " before proxy.length_factor")])
def test_too_many_epochs_are_refused_by_the_name_they_were_given(
    plain: Problem, own: float | None, before: str
) -> None:
    with pytest.raises(SpecError) as refused:
        confirmed_factor(with_factor(plain, own), None, 4001)
    assert str(refused.value) == (
        f"--epochs: found 4,001, but a training of iris has 4 epochs{before}, and a confirmation "
        "at most 1,000 times as many; give 4000 or fewer"
    )


def test_a_confirmation_goes_on_as_it_was_begun(plain: Problem) -> None:
    begun = begun_at(plain, 2.5)
    assert confirmed_factor(plain, begun, None) == 2.5
    assert confirmed_factor(plain, begun, 10) == 2.5
    with pytest.raises(FingerprintMismatch) as refused:
        confirmed_factor(plain, begun, 4001)
    assert str(refused.value) == (
        "--epochs: found 4,001, but iris/confirmation was begun with at most 10 epochs a "
        "training; leave --epochs out, or give 10, to go on with it"
    )
