"""The parts of a problem: the step whose costs count is the one that is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.data.load import load_data
from widthwise.objectives.data.split import make_folds
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.search.errors import SpecError
from widthwise.search.problem.build import (
    check_limits_counted,
    load_objective,
    proxy_settings,
    step_spec,
    trained_builder,
)
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.spec.spec import Spec, parse_spec

IRIS = load_data("iris", base=Path(), seed=0)
MLP = make_objective(family="mlp", options={"dropout": 0.5}, data=IRIS, base=Path())
CPU = ProxySettings(epochs=1, device="cpu")


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 16},
        {"batch_size": 500},
        {"batch_size": 500, "folds": 3},
        {"batch_size": 500, "folds": 11},
        {"batch_size": 16, "accumulate": 4},
        {"batch_size": 500, "accumulate": 7},
        {"batch_size": 500, "accumulate": 500},
    ],
    ids=str,
)
def test_the_largest_pass_that_is_counted_is_the_largest_that_is_trained(
    options: dict[str, Any],
) -> None:
    passes: list[int] = []

    class Watching(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                passes.append(len(x))
            return super().forward(x)

    objective = make_objective(build=lambda _: Watching(4, 3), data=IRIS, base=Path())
    settings = replace(CPU, **options)
    step = step_spec(objective, settings)
    parts = torch.empty(step.batch_size).tensor_split(step.accumulate)
    train(objective, {}, settings, seed=0)
    assert max(passes) == max(map(len, parts))
    largest = max(len(fold.train) for fold in make_folds(IRIS, settings.folds))
    assert step.batch_size == min(settings.batch_size, largest)


def test_dropout_is_counted_as_it_is_trained() -> None:
    step = step_spec(MLP, CPU)
    counted = trained_builder(MLP.build, step)({"a": 8, "b": 4})
    observed: list[nn.Module] = []
    watched = replace(
        MLP, builder=lambda widths: observed.append(MLP.builder(widths)) or observed[-1]
    )
    train(watched, {"a": 8, "b": 4}, CPU, seed=0)
    kinds = [[type(module) for module in model.modules()] for model in (counted, observed[0])]
    assert kinds[0] == kinds[1]
    assert nn.Dropout not in kinds[0]


@pytest.mark.parametrize(
    ("limits", "refused"), [({"train_memory": 1000}, True), ({"parameters": 1000}, False)]
)
def test_a_memory_limit_is_refused_where_memory_is_only_bounded_from_below(
    limits: dict[str, int], refused: bool
) -> None:
    """A recurrent layer on a GPU: what cuDNN reserves is not known before it runs."""

    class Recurrent(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = nn.LSTM(4, width, batch_first=True)
            self.head = nn.Linear(width, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(x[:, None])[0][:, -1])  # type: ignore[no-any-return]

    step = replace(step_spec(MLP, CPU), device_type="cuda")
    costs = CostModel(lambda widths: Recurrent(widths["a"]), step, ("a",))
    costs.fit(Space((Width.range("a", 2, 3),)))
    assert costs.lower_bound
    if refused:
        with pytest.raises(SpecError, match=r"limits\.train_memory: .* lower bound"):
            check_limits_counted(costs, Limits(**limits))
    else:
        check_limits_counted(costs, Limits(**limits))


@pytest.mark.parametrize(
    ("halving", "rungs"),
    [
        (None, ()),
        (3, (1.0, 3.0, 9.0)),
        ({"eta": 2, "first": 0.25}, (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
        ({"first": 30}, ()),
    ],
)
def test_halving_is_a_number_or_a_table(halving: Any, rungs: tuple[float, ...]) -> None:
    sections = {
        "study": {"name": "s"},
        "model": {"family": "mlp"},
        "widths": {"a": [1, 2]},
        "proxy": {"data": "digits", "epochs": 20, "halving": halving},
    }
    spec = parse_spec(sections)
    assert proxy_settings(spec, MLP.data).rungs == rungs
    assert Spec.model_validate_json(spec.to_json(), strict=False) == spec


def settings_of(**proxy: Any) -> ProxySettings:
    sections = {
        "study": {"name": "s"},
        "model": {"family": "mlp"},
        "widths": {"a": [1, 2]},
        "proxy": {"data": "iris", "folds": 1, **proxy},
    }
    return proxy_settings(parse_spec(sections), IRIS)


def test_a_share_of_the_rows_is_trained_for_as_many_steps() -> None:
    """90 training rows are two batches of 64, a quarter of them one."""
    whole, part = (
        settings_of(epochs=20, patience=5),
        settings_of(epochs=20, patience=5, train_share=0.25),
    )
    assert (whole.epochs, whole.patience) == (20, 5)
    assert (part.epochs, part.patience) == (40, 10)
    assert settings_of().epochs * 2 == settings_of(train_share=0.25).epochs


@pytest.mark.parametrize(
    ("proxy", "folds", "repeats"),
    [
        ({"folds": None}, 5, 3),
        ({"folds": None, "repeats": 1}, 5, 1),
        ({"folds": 4}, 4, 1),
        ({"folds": 4, "repeats": 2}, 4, 2),
        ({}, 1, 1),
    ],
    ids=str,
)
def test_small_data_is_validated_by_repeated_folds(
    proxy: dict[str, Any], folds: int, repeats: int
) -> None:
    settings = settings_of(**proxy)
    assert (settings.folds, settings.repeats) == (folds, repeats)
    assert settings.trainings == folds * repeats


def test_one_validation_split_cannot_be_repeated() -> None:
    with pytest.raises(SpecError, match=r"repeats is 2 and folds 1"):
        settings_of(repeats=2)
    sections: dict[str, Any] = {
        "study": {"name": "s"},
        "model": {"family": "mlp"},
        "widths": {"a": [1, 2]},
        "proxy": {"data": "iris", "repeats": 2},
    }
    with pytest.raises(SpecError, match=r"^proxy\.repeats: found 2, but there is one validation"):
        proxy_settings(parse_spec(sections), replace(IRIS, drawn_at_random=False))


def test_a_schedule_goes_to_its_end_unless_a_patience_is_set() -> None:
    assert settings_of(schedule="cosine").patience == 0
    assert settings_of(schedule="cosine", patience=7).patience == 7
    assert settings_of(schedule="constant").patience == settings_of().patience > 0


def test_settings_that_are_not_set_leave_a_stored_spec_as_it_was() -> None:
    """The fingerprints of studies made before hold."""
    assert not {"schedule", "input_noise", "train_share", "repeats"} & set(
        parse_spec(
            {
                "study": {"name": "s"},
                "model": {"family": "mlp"},
                "widths": {"a": [1, 2]},
                "proxy": {"data": "iris"},
            }
        ).model_dump(mode="json", exclude_none=True)["proxy"]
    )


def test_noise_on_token_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def load():\n"
        "    x = torch.arange(120).view(40, 3) % 9\n"
        "    return x, x[:, 0] % 2\n"
        "def build(widths):\n"
        "    return nn.Sequential(nn.Embedding(9, widths['a']), nn.Flatten(),"
        " nn.Linear(3 * widths['a'], 2))\n"
    )
    sections = {
        "study": {"name": "s"},
        "model": {"build": "words.py:build"},
        "widths": {"a": [1, 2]},
        "proxy": {"data": "words.py:load", "input_noise": 0.1},
    }
    with pytest.raises(
        SpecError, match=r"proxy\.input_noise: found 0\.1, but the inputs are int64"
    ):
        load_objective(parse_spec(sections), tmp_path)
    with_none = {**sections, "proxy": {"data": "words.py:load", "input_noise": 0}}
    assert load_objective(parse_spec(with_none), tmp_path).data.train.inputs.dtype == torch.int64


BATCHES = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

class Rows(Dataset):
    def __init__(self, rows):
        self.rows = rows
    def __len__(self):
        return self.rows
    def __getitem__(self, row):
        x = torch.full((6,), row / 100)
        return {"x": x, "mask": torch.ones(6), "labels": row % 3}

def sets():
    return Rows(50), Rows(20)

def loaders():
    return DataLoader(Rows(50), batch_size=12), DataLoader(Rows(20), batch_size=10)

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, width), nn.Dropout(0.3), nn.Linear(width, 3))
    def forward(self, x, mask):
        return self.layers(x * mask)

def build(widths):
    return Net(widths["a"])
"""


def batch_spec(folder: Path, data: str = "sets", **proxy: Any) -> Spec:
    (folder / "own.py").write_text(BATCHES)
    return parse_spec(
        {
            "study": {"name": "s"},
            "model": {"build": "own.py:build"},
            "widths": {"a": [4, 8]},
            "proxy": {"data": f"own.py:{data}", "device": "cpu", **proxy},
        }
    )


@pytest.mark.parametrize(
    ("data", "options", "batch_size"),
    [
        ("sets", {"batch_size": 16}, 16),
        ("sets", {"batch_size": 500}, 50),
        ("loaders", {"batch_size": 16}, 12),
    ],
    ids=["a data set in our batches", "a data set in one batch", "a loader's own batches"],
)
def test_the_step_of_batches_is_that_of_a_batch_of_their_own(
    data: str, options: dict[str, Any], batch_size: int, tmp_path: Path
) -> None:
    spec = batch_spec(tmp_path, data, **options)
    objective = load_objective(spec, tmp_path)
    settings = proxy_settings(spec, objective.data)
    step = step_spec(objective, settings)
    by_hand = StepSpec(
        inputs={"x": TensorSpec(shape=(6,)), "mask": TensorSpec(shape=(6,))},
        targets=TensorSpec(shape=(), dtype=torch.int64),
        batch_size=batch_size,
        optimizer=step.optimizer,
        loss=nn.functional.cross_entropy,
    )
    build = trained_builder(objective.build, step)
    actual = count_costs(lambda: build({"a": 8}), step).as_dict()
    assert actual == count_costs(lambda: build({"a": 8}), by_hand).as_dict()
    assert actual["macs"] == 6 * 8 + 8 * 3
    assert settings.batch_size == max(batch_size, settings.batch_size if data == "sets" else 0)


def test_lengths_of_batches_are_counted_in_their_steps(tmp_path: Path) -> None:
    spec = batch_spec(tmp_path, "loaders")
    settings = proxy_settings(spec, load_objective(spec, tmp_path).data)
    assert settings.folds == settings.repeats == 1
    assert settings.epochs == 3_000 / 5  # steps of 12 in 50


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("folds", 5, "divide the data into training and validation yourself"),
        ("repeats", 3, "train with several seeds by `replicas`"),
        ("train_share", 0.5, "let the data set be smaller"),
        ("input_noise", 0.1, "add the noise in your data set"),
        ("engine", "stacked", 'the engine "plain" alone trains on'),
    ],
)
def test_what_batches_cannot_follow_is_refused(
    key: str, value: object, advice: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SpecError, match=f"proxy.{key}: found .*{value}.* comes in batches.*{advice}"
    ):
        load_objective(batch_spec(tmp_path, **{key: value}), tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("folds", 1), ("train_share", 1.0), ("engine", "plain"), ("engine", "auto")]
)
def test_what_batches_follow_anyway_is_taken(key: str, value: object, tmp_path: Path) -> None:
    load_objective(batch_spec(tmp_path, **{key: value}), tmp_path)
