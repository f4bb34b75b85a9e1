"""A problem whose training is the user's own: from its spec to a study that is done.

The examples are run as a user runs them, by the command line on copies.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from widthwise.objectives.errors import MetricError, ObjectiveError
from widthwise.search.discovery.builder import input_spec
from widthwise.search.errors import SpecError
from widthwise.search.problem.own_training import own_epochs
from widthwise.search.problem.problem import Problem, problem_fingerprint
from widthwise.search.spec.spec import parse_spec
from widthwise.tests.command_line import run_in_process

EXAMPLES = Path(__file__).parents[3] / "examples"

CODE = """\
from torch import nn

def train(widths, trial):
    return 1.0

def build(widths):
    return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))

def costs(widths):
    return {"parameters": 8 * widths["a"] + 3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


def sections(**changed: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a spec whose training is the user's own; keys of some of them changed."""
    base: dict[str, dict[str, Any]] = {
        "study": {"name": "own", "trials": 4},
        "widths": {"a": {"low": 2, "high": 9}},
        "proxy": {"train": "mine.py:train", "metric": "reward", "direction": "maximize"},
    }
    return {name: {**base.get(name, {}), **changed.get(name, {})} for name in {**base, **changed}}


# Costs


def test_costs_are_those_of_the_builders_step(folder: Path) -> None:
    spec = parse_spec(
        sections(model={"build": "mine.py:build", "inputs": "4"}, limits={"parameters": 50})
    )
    problem = Problem.load(spec, folder)
    # By hand: 4 a + a weights and biases, then 3 a + 3.
    assert {
        problem.exact_costs({"a": width})["parameters"] - (8 * width + 3) for width in (2, 5, 9)
    } == {0}
    assert not problem.may_train({"a": 6})
    assert problem.may_train({"a": 5})
    assert problem.loop_objective is None
    assert (problem.constant_score, problem.constant_loss) == (None, None)


def test_costs_of_a_function_and_none_at_all(folder: Path) -> None:
    given = parse_spec(sections(model={"costs": "mine.py:costs"}, limits={"parameters": 50}))
    assert Problem.load(given, folder).exact_costs({"a": 5}) == {"parameters": 43}
    nothing = Problem.load(parse_spec(sections()), folder)
    assert nothing.exact_costs({"a": 5}) == {}
    assert nothing.feasible.feasible_fraction == 1.0


@pytest.mark.parametrize(
    ("text", "shape", "dtype"),
    [
        ("4", (4,), torch.float32),
        ("3x8x8", (3, 8, 8), torch.float32),
        ("16:int64", (16,), torch.int64),
    ],
)
def test_inputs_are_written_as_on_the_command_line(
    text: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    spec = input_spec(text)
    assert (spec.shape, spec.dtype) == (shape, dtype)


# What a spec may say


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"proxy": {"data": "iris"}}, ["data", "found train"]),
        ({"proxy": {"loss": "mse", "folds": 5}}, ["loss, folds", "found train"]),
        ({"proxy": {"engine": "plain", "at_once": 4}}, ["engine, at_once"]),
        ({"proxy": {"learning_rate": 0.1}}, ["learning_rate", "inside your function"]),
        ({"proxy": {"metric": "mine.py:metric"}}, ["mine.py:metric", "expected the name"]),
        ({"proxy": {"halving": 3}}, ["halving", "epochs"]),
        ({"proxy": {"length_factor": 2.5}}, ["length_factor: found 2.5", "epochs"]),
        ({"model": {"family": "mlp"}}, ["model.family", "build"]),
        ({"model": {"activation": "relu", "norm": "batch"}}, ["activation, norm goes with a fam"]),
        ({"model": {"costs": "mine.py:costs", "dropout": 0.1}}, ["dropout goes with a family"]),
        (
            {
                "model": {"costs": "mine.py:costs"},
                "limits": {"parameters": "50% of today"},
                "references": {"today": "mine.py:build"},
            },
            ["references.today is a builder", "model.inputs, found none", "give its widths"],
        ),
        ({"model": {"build": "mine.py:build"}}, ["model.inputs is missing", "costs"]),
        ({"model": {"inputs": "4"}}, ["model.inputs goes with build"]),
        (
            {"model": {"build": "mine.py:build", "inputs": "four"}},
            ["model.inputs", '"four"', "3x32x32"],
        ),
        ({"limits": {"flops": "1k"}}, ["limits.flops", "nothing is known of costs"]),
        ({"limits": {"latency": "1 ms"}}, ["limits.latency", "measured"]),
        ({"study": {"goal": "smallest"}}, ["study.goal", "nothing is known of costs"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_means_nothing_to_it_is_refused_in_a_sentence(
    changed: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(sections(**changed))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("model", "today"),
    [
        ({"costs": "mine.py:costs"}, {"a": 8}),
        ({"build": "mine.py:build", "inputs": "4"}, "mine.py:today"),
    ],
    ids=["widths", "a builder"],
)
def test_a_limit_may_be_a_share_of_a_reference(model: Any, today: Any, folder: Path) -> None:
    (folder / "mine.py").write_text(CODE + "\ndef today():\n    return build({'a': 8})\n")
    spec = parse_spec(
        sections(model=model, limits={"parameters": "50% of today"}, references={"today": today})
    )
    problem = Problem.load(spec, folder)
    # Half of 8 * 8 + 3.
    assert problem.spec.limits.parameters == 33


def test_one_training_a_candidate_may_be_said(folder: Path) -> None:
    once = {"folds": 1, "repeats": 1, "replicas": 1, "at_once": 1, "length_factor": 1}
    spec = parse_spec(sections(proxy=once))
    assert Problem.load(spec, folder).settings.trainings == 1


def test_inputs_go_with_train_only() -> None:
    with pytest.raises(SpecError, match=r"model.inputs goes with train"):
        parse_spec(
            sections(
                model={"build": "mine.py:build", "inputs": "4"},
                proxy={"train": None, "data": "iris"},
            )
        )


def test_the_direction_has_to_be_known(folder: Path) -> None:
    spec = parse_spec(sections(proxy={"direction": None}))
    with pytest.raises(MetricError, match=r"proxy.train: .*'reward' is better: set direction"):
        Problem.load(spec, folder)


def test_a_function_that_is_not_there(folder: Path) -> None:
    spec = parse_spec(sections(proxy={"train": "mine.py:trian"}))
    with pytest.raises(ObjectiveError, match=r"proxy.train: .*did you mean 'train'"):
        Problem.load(spec, folder)


def test_the_fingerprint_covers_the_functions_source(folder: Path) -> None:
    spec = parse_spec(sections())
    before = problem_fingerprint(spec, folder)
    assert problem_fingerprint(spec, folder) == before
    (folder / "mine.py").write_text(CODE.replace("return 1.0", "return 2.0"))
    assert problem_fingerprint(spec, folder) != before


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [({}, None), ({"epochs": 8}, 8), ({"epochs": 8, "length_factor": 2.5}, 20)],
    ids=["none", "as said", "times as long"],
)
def test_epochs_are_those_of_the_spec(proxy: dict[str, Any], expected: int | None) -> None:
    assert own_epochs(parse_spec(sections(proxy=proxy))) == expected


# Whole studies


@pytest.mark.slow
def test_a_policy_gradient_learns_and_is_pruned(tmp_path: Path) -> None:
    report, _ = run_example("policy_gradient", tmp_path, trials=6)
    trials = report["trials"]
    assert trials["complete"] + trials["pruned"] == 6
    assert report["metric"] == {"name": "mean_return", "direction": "maximize"}
    assert all(trial["costs"]["parameters"] <= 2000 for trial in report["history"])
    # Chance walks to the goal now and then; whoever has learned stays there.
    best = max(trial["metric"]["value"] for trial in report["history"])
    first = [trial["reported"]["first_return"] for trial in report["history"]]
    assert best > 4 * max(first)


@pytest.mark.slow
def test_a_distilled_student_is_as_good_as_a_loop_by_hand(tmp_path: Path) -> None:
    report, progress = run_example("distillation", tmp_path, trials=3)
    assert report["trials"]["complete"] == 3
    assert "accuracy is to maximize" in progress
    trial = report["history"][0]
    assert trial["metric"]["value"] == pytest.approx(distil_by_hand(trial["widths"], trial["seed"]))
    assert not list(tmp_path.glob("study.db.checkpoints/*/*")), "settled trials keep no files"


def run_example(name: str, folder: Path, trials: int) -> tuple[dict[str, Any], str]:
    """Run an example's spec; returns its report, and what was written on the way."""
    for path in EXAMPLES.glob(f"{name}.*"):
        shutil.copy(path, folder)
    result = run_in_process(
        folder,
        {"WIDTHWISE_STORAGE": f"sqlite:///{folder}/study.db", "OMP_NUM_THREADS": "1"},
        *("run", f"{name}.toml", "--trials", str(trials), "--no-confirm", "--json"),
    )
    assert result.code == 0, result.err
    parsed: dict[str, Any] = result.json
    return parsed, result.err


def distil_by_hand(widths: Mapping[str, int], seed: int) -> float:
    """The accuracy of the example's student, by a plain loop of the same rule."""
    from sklearn.datasets import load_digits

    x_all, y_all = load_digits(return_X_y=True)
    x, y = torch.tensor(x_all / 16, dtype=torch.float32), torch.tensor(y_all)
    torch.manual_seed(0)
    large = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    large_optimizer = torch.optim.Adam(large.parameters(), lr=3e-3)
    for _ in range(60):
        large_optimizer.zero_grad()
        nn.functional.cross_entropy(large(x[:1200]), y[:1200]).backward()
        large_optimizer.step()
    soft = (large(x[:1200]) / 3).softmax(1).detach()
    torch.manual_seed(seed)
    small = nn.Sequential(
        nn.Linear(64, widths["hidden"]), nn.ReLU(), nn.Linear(widths["hidden"], 10)
    )
    optimizer = torch.optim.Adam(small.parameters(), lr=0.01)
    for epoch in range(8):
        order = torch.randperm(1200, generator=torch.Generator().manual_seed(seed + epoch))
        for start in range(0, 1200, 64):
            rows = order[start : start + 64]
            optimizer.zero_grad()
            divergence = nn.functional.kl_div(
                (small(x[rows]) / 3).log_softmax(1), soft[rows], reduction="batchmean"
            )
            divergence.backward()
            optimizer.step()
    return float((small(x[1200:]).argmax(1) == y[1200:]).float().mean())
