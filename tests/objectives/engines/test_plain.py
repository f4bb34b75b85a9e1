"""The plain engine on batches: against the same data as arrays, and a loop in plain torch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.data.dataset import Data, Split, Task
from widthwise.objectives.data.streams.batch import Batch, read_batch
from widthwise.objectives.data.streams.source import BatchData
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.errors import ModelError
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.metrics import METRICS
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.data.streams.sets import read
from widthwise.tests.objectives.loop.snapshots import (
    FileSnapshotStore,
    ResumableTraining,
    assert_same_snapshots,
    make_candidates,
    pause_every,
)

STREAM = torch.Generator().manual_seed(3)
X = torch.randn(120, 6, generator=STREAM)
MASK = (torch.rand(120, 6, generator=STREAM) > 0.3).float()
Y = ((X * MASK).sum(1) > 0).long()
ROWS = {"train": slice(0, 70), "validation": slice(70, 95), "test": slice(95, 120)}
SETTINGS = ProxySettings(
    epochs=3, batch_size=16, device="cpu", learning_rate=0.02, patience=0, judge_test=True
)


class Rows(Dataset[Any]):
    """Rows of a split, each made by a function of its number."""

    def __init__(self, split: str, sample: Callable[[int], Any]) -> None:
        self.rows, self.sample = range(*ROWS[split].indices(120)), sample

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return self.sample(self.rows[row])


class Streamed(IterableDataset[Any]):
    def __init__(self, split: str, sample: Callable[[int], Any]) -> None:
        self.rows, self.sample = Rows(split, sample), sample

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return (self.rows[row] for row in range(len(self.rows)))


@dataclass(frozen=True)
class InSamplerOrder:
    """A source that has the order of `BatchSampler`, which arrays are trained on in."""

    split: Split
    shuffled: bool = True

    @property
    def rows(self) -> int:
        return len(self.split)

    @property
    def steps(self) -> int:
        return BatchSampler(self.rows, 16, 0).steps_per_epoch

    def batches(
        self, seed: int, epoch: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        order = BatchSampler(self.rows, 16, seed)
        for _ in range(epoch + 1):
            rows = order.batches_until(1.0)
        if not self.shuffled:
            rows = torch.split(torch.arange(self.rows), 16)
        for batch in rows[start:stop]:
            yield read_batch((self.split.inputs[batch], self.split.targets[batch]))

    def close(self) -> None:
        pass


ARRAYS = Data(
    name="arrays",
    task=Task.CLASSIFICATION,
    outputs=2,
    classes=("0", "1"),
    **{name: Split(inputs=X[rows], targets=Y[rows]) for name, rows in ROWS.items()},
)


def mlp(widths: Mapping[str, int]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, widths["a"]), nn.BatchNorm1d(widths["a"]), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(widths["a"], 2),
    )  # fmt: skip


class Masked(nn.Module):
    """Two inputs, by position or by name, and any number of outputs around the logits."""

    def __init__(self, width: int, wrap: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 2)
        )
        self.wrap = wrap

    def forward(self, x: Tensor, mask: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.layers(x * mask)
        if labels is not None:
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
        return self.wrap(logits)


def objective(
    data: Data | BatchData, build: Callable[[Mapping[str, int]], nn.Module] = mlp, **options: Any
) -> ModuleObjective:
    return make_objective(build=build, data=data, base=Path(), **options)


def masked(wrap: Callable[[Tensor], Any] = lambda logits: logits) -> Callable[..., nn.Module]:
    return lambda widths: Masked(widths["a"], wrap)


def splits(sample: Callable[[int], Any], kind: Any = Rows, **options: Any) -> BatchData:
    return read(tuple(kind(split, sample) for split in ROWS), **{"batch_size": 16, **options})


def training(study: ModuleObjective, settings: ProxySettings = SETTINGS) -> ResumableTraining:
    return ResumableTraining(
        study, make_candidates(8, 5), settings, PlainEngine, make_slicer=pause_every(2)
    )


def results(study: ModuleObjective, settings: ProxySettings = SETTINGS) -> list[TrainingResult]:
    found = training(study, settings).train_uninterrupted()
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found


def test_batches_in_the_order_of_arrays_give_the_very_same_training(tmp_path: Path) -> None:
    batched = BatchData(
        name="batches",
        train=InSamplerOrder(ARRAYS.train),
        validation=InSamplerOrder(ARRAYS.validation, shuffled=False),
        test=InSamplerOrder(ARRAYS.test, shuffled=False),
        example=next(InSamplerOrder(ARRAYS.train).batches(0, 0)),
        batch_size=16,
        task=Task.CLASSIFICATION,
        outputs=2,
        classes=("0", "1"),
    )
    stores = [FileSnapshotStore(tmp_path / name) for name in ("arrays", "batches")]
    (tmp_path / "arrays").mkdir()
    (tmp_path / "batches").mkdir()
    by_arrays, by_batches = (
        training(objective(data, reported=[METRICS["f1"]])).train_with_store(store)
        for data, store in zip((ARRAYS, batched), stores, strict=True)
    )
    for one, other in zip(by_arrays, by_batches, strict=True):
        assert other.engine == "plain (the data comes in batches)"
        assert (one.losses, one.curve) == (other.losses, other.curve)
        assert (one.value, one.test_value) == (other.value, other.test_value)
        assert one.reported == other.reported
        assert one.reported.keys() == {"f1"}
        assert other.validation_losses == pytest.approx(one.validation_losses, rel=1e-6)
    middle = [key for key in stores[0].saved if key[1] % 1]
    assert middle, "the training was cut within epochs"
    for key in middle:
        one, other = (store.saved[key].tensors for store in stores)
        weights = [name for name in one if ".best." not in name]
        assert all(one[name].equal(other[name]) for name in weights)


def test_a_training_is_that_of_a_loop_in_plain_torch() -> None:
    data = splits(named)

    def build(widths: Mapping[str, int]) -> nn.Module:
        model = Masked(widths["a"])
        model.layers[2] = nn.Identity()  # dropout's masks are our own
        return model

    (result, _) = results(objective(data, build))
    torch.manual_seed(make_candidates(8)[0].seed)
    model = build({"a": 8})
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.0)
    losses, accuracies, validation_losses = [], [], []
    for epoch in range(3):
        model.train()
        total = 0.0
        for batch in data.train.batches(make_candidates(8)[0].seed, epoch):
            optimizer.zero_grad()
            logits = model(batch.kwargs["x"], batch.kwargs["mask"])
            loss = nn.functional.cross_entropy(logits, batch.targets)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch.targets)
        losses.append(total / 70)
        model.eval()
        with torch.no_grad():
            logits = model(X[ROWS["validation"]], MASK[ROWS["validation"]])
        truth = Y[ROWS["validation"]]
        accuracies.append((logits.argmax(1) == truth).double().mean().item())
        validation_losses.append(nn.functional.cross_entropy(logits, truth).item())
    assert result.losses == pytest.approx(losses, rel=1e-6)
    assert result.curve == pytest.approx(accuracies)
    assert result.validation_losses == pytest.approx(validation_losses, rel=1e-6)


def named(row: int) -> dict[str, Tensor]:
    return {"x": X[row], "mask": MASK[row], "labels": Y[row]}


@pytest.mark.parametrize(
    ("sample", "build", "options"),
    [
        pytest.param(lambda row: (X[row], MASK[row], Y[row]), masked(), {}, id="positional"),
        pytest.param(lambda row: ((X[row], MASK[row]), Y[row]), masked(), {}, id="a pair of pairs"),
        pytest.param(named, masked(), {}, id="keywords"),
        pytest.param(
            named,
            masked(),
            {"loss": "model", "metric_name": "accuracy"},
            id="the forward's own loss",
        ),
        pytest.param(
            lambda row: (X[row], MASK[row], Y[row]),
            masked(lambda logits: (logits, logits.mean())),
            {"loss": lambda output, y: nn.functional.cross_entropy(output[0], y)},
            id="a tuple of outputs",
        ),
        pytest.param(
            lambda row: (X[row], MASK[row], Y[row]),
            masked(lambda logits: {"logits": logits}),
            {"loss": lambda output, y: nn.functional.cross_entropy(output["logits"], y)},
            id="a dict of outputs",
        ),
    ],
)
def test_all_ways_to_write_a_model_give_the_same_training(
    sample: Callable[[int], Any], build: Callable[..., nn.Module], options: dict[str, Any]
) -> None:
    expected = results(objective(splits(lambda row: (X[row], MASK[row], Y[row])), masked()))
    model_loss = options.get("loss") == "model"
    data = splits(sample, model_loss=model_loss)
    if name := options.pop("metric_name", None):
        options["metric"] = objective(splits(lambda row: (X[row], Y[row]))).metric
        assert options["metric"].name == name
    found = results(objective(data, build, **options))
    for one, other in zip(found, expected, strict=True):
        assert (one.losses, one.curve, one.test_value) == (
            other.losses,
            other.curve,
            other.test_value,
        )


def test_several_heads_and_their_targets() -> None:
    class Heads(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.trunk = nn.Linear(6, width)
            self.kind, self.amount = nn.Linear(width, 2), nn.Linear(width, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = torch.relu(self.trunk(x))
            return {"kind": self.kind(hidden), "amount": self.amount(hidden)}

    def loss(output: Any, targets: Any) -> Tensor:
        return nn.functional.cross_entropy(
            output["kind"], targets["kind"]
        ) + nn.functional.mse_loss(output["amount"][:, 0], targets["amount"])

    data = splits(lambda row: (X[row], {"kind": Y[row], "amount": X[row].sum()}))
    study = objective(data, lambda widths: Heads(widths["a"]), loss=loss)
    assert study.metric.name == "loss"
    for result in results(study, replace(SETTINGS, epochs=12)):
        assert result.losses[-1] < 0.8 * result.losses[0]
        assert result.value == pytest.approx(result.validation_losses[result.best_epoch or 0])


def test_no_targets_at_all() -> None:
    """An autoencoder: its loss gets what the data gave."""
    data = splits(lambda row: X[row])
    study = objective(
        data,
        lambda widths: nn.Sequential(nn.Linear(6, widths["a"]), nn.Linear(widths["a"], 6)),
        loss=lambda output, batch: nn.functional.mse_loss(output, batch),
    )
    for result in results(study, replace(SETTINGS, epochs=12)):
        assert result.losses[-1] < 0.8 * result.losses[0]


def test_a_batch_in_parts() -> None:
    data = splits(lambda row: (X[row], MASK[row], Y[row]))
    whole, parts = (
        results(objective(data, lambda w: Masked(w["a"])), replace(SETTINGS, accumulate=n))
        for n in (1, 3)
    )
    for one, other in zip(whole, parts, strict=True):
        # Dropout's masks go by the row within a part.
        assert one.losses != other.losses
        assert one.losses == pytest.approx(other.losses, rel=0.2)


def _draws(row: int) -> Any:
    return X[row] + 0.1 * torch.randn(6), Y[row]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: splits(_draws), id="map-style"),
        pytest.param(lambda: splits(lambda row: (X[row], Y[row]), Streamed), id="stream"),
        pytest.param(
            lambda: read(
                tuple(DataLoader(Rows(part, _draws), batch_size=16, shuffle=True) for part in ROWS)
            ),
            id="loader",
        ),
    ],
)
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_training_resumes_within_an_epoch(
    data: Callable[[], BatchData], stop_after: int, tmp_path: Path
) -> None:
    whole_store = FileSnapshotStore(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    (tmp_path / "pieces").mkdir()
    whole = training(objective(data())).train_with_store(whole_store)
    in_pieces = training(objective(data()))
    found, stores = in_pieces.train_in_pieces(tmp_path / "pieces", stop_after)
    assert len(stores) > 2
    assert found == whole
    saved = {key: snapshot for store in stores for key, snapshot in store.saved.items()}
    assert any(epochs % 1 for _, epochs in saved)
    assert_same_snapshots(saved, whole_store.saved)


def test_a_failure_on_other_shapes_says_so() -> None:
    def sample(row: int) -> Any:
        return (X[row], Y[row]) if row < 64 or row >= 70 else (X[row][:5], Y[row])

    loader = DataLoader(Rows("train", sample), batch_size=1)
    data = read((loader, DataLoader(Rows("validation", sample), batch_size=25)))
    (first, _) = training(objective(data, lambda w: nn.Linear(6, w["a"]))).train_uninterrupted()
    assert isinstance(first, Exception)
    assert "its inputs are [5] float32 a sample, those of the first batch were [6]" in str(first)


def test_a_class_beyond_the_outputs_is_told_by_its_number() -> None:
    def sample(row: int) -> Any:
        return torch.ones(6), 5 if row == 20 else row % 3

    study = objective(splits(sample), lambda _: nn.Linear(6, 3))
    (failed, *_) = training(study).train_uninterrupted()
    assert isinstance(failed, ModelError)
    assert "Target 5 is out of bounds" in str(failed)
    assert "on a batch with targets from 0 to 5: give numbers from 0" in str(failed)


def test_float_labels_are_judged_one_by_one() -> None:
    def sample(row: int) -> Any:
        return torch.ones(6), torch.tensor([1.0, row % 2, row % 3 == 0])

    study = objective(splits(sample), lambda _: nn.Linear(6, 3))
    output, labels = torch.randn(8, 3), torch.randint(2, (8, 3)).float()
    expected = nn.BCEWithLogitsLoss()(output, labels)
    torch.testing.assert_close(study.loss(output, labels), expected)
    assert study.metric.name == "accuracy"


def test_a_data_set_that_breaks_ends_the_trainings_of_all() -> None:
    def sample(row: int) -> Any:
        if row == 93:
            raise OSError("the disk is gone")
        return X[row], Y[row]

    found = training(objective(splits(sample))).train_uninterrupted()
    assert all("the disk is gone" in str(result) for result in found)
    assert all(isinstance(result, Exception) for result in found)
