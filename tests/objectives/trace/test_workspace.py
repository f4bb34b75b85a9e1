"""Recurrent networks: their workspaces are measured, and their peaks never under-predicted."""

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import Costs, StepSpec, TensorSpec, count_costs
from widthwise.objectives.trace import workspace
from widthwise.objectives.trace.workspace import workspace_bytes
from widthwise.tests.objectives.trace.real_step import CLASS, OPTIMIZERS, real_peaks

LSTM = torch.ops.aten.mkldnn_rnn_layer.default


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], layers: int = 1, bidirectional: bool = False):
        super().__init__()
        self.layer = kind(8, 16, layers, bidirectional=bidirectional, batch_first=True)
        self.head = nn.Linear(32 if bidirectional else 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


def step(batch_size: int = 8, autocast: torch.dtype | None = None) -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=(5, 8)),),
        targets=CLASS,
        batch_size=batch_size,
        loss=nn.functional.cross_entropy,
        autocast=autocast,
    )


def peaks(costs: Costs) -> tuple[int, int]:
    return costs.train_memory, costs.inference_memory


@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_peaks_equal_the_real_ones(
    kind: type[nn.RNNBase], layers: int, bidirectional: bool, batch_size: int
) -> None:
    def build() -> nn.Module:
        return Recurrent(kind, layers, bidirectional)

    spec = step(batch_size)
    costs = count_costs(build, spec)
    assert peaks(costs) == real_peaks(build, spec, OPTIMIZERS["adamw"][1])
    assert not costs.lower_bound


def test_a_fused_layer_under_autocast() -> None:
    """Without gradients the real layer casts its input later than the traced one."""
    spec = step(autocast=torch.bfloat16)
    costs = count_costs(lambda: Recurrent(nn.LSTM, 2), spec)
    training, inference = real_peaks(lambda: Recurrent(nn.LSTM, 2), spec, OPTIMIZERS["adamw"][1])
    assert costs.train_memory == training
    assert inference <= costs.inference_memory < 1.02 * inference


def test_a_calibrated_figure_has_a_note() -> None:
    (note,) = count_costs(lambda: Recurrent(nn.LSTM), step()).notes
    assert note.startswith("calibrated:")
    assert not count_costs(lambda: Recurrent(nn.GRU), step()).notes


def test_the_workspace_is_a_part_of_the_peak() -> None:
    parts = count_costs(lambda: Recurrent(nn.LSTM, 2), step(32)).train_breakdown
    shapes = [((5, 32, i), (64, i), (64, 16), (64,), (64,), (32, 16), (32, 16)) for i in (8, 16)]
    options = (False, [], 2, 16, 1, True, False, True, True)
    sizes = [workspace_bytes(LSTM, (*map(torch.zeros, shape), *options)) for shape in shapes]
    assert parts.workspace == sum(sizes) > 0


def test_a_layer_too_large_to_run_is_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = count_costs(lambda: Recurrent(nn.LSTM), step())
    workspace._measure_workspace.cache_clear()
    monkeypatch.setattr(workspace, "MAX_MEASURED_BYTES", 1_000)
    costs = count_costs(lambda: Recurrent(nn.LSTM), step())
    workspace._measure_workspace.cache_clear()
    assert costs.lower_bound
    assert costs.train_memory < exact.train_memory
    assert any("lower bound" in note for note in costs.notes)


def test_one_shape_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace._measure_workspace.cache_clear()
    count_costs(lambda: Recurrent(nn.LSTM), step())
    misses = workspace._measure_workspace.cache_info().misses
    count_costs(lambda: Recurrent(nn.LSTM), step())
    assert (misses, workspace._measure_workspace.cache_info().misses) == (1, 1)


def test_on_a_gpu_a_recurrent_layer_is_a_lower_bound() -> None:
    spec = StepSpec(inputs=(TensorSpec(shape=(5, 8)),), batch_size=8, device_type="cuda")
    costs = count_costs(lambda: Recurrent(nn.GRU), spec)
    assert costs.lower_bound
    assert any("cuDNN" in note for note in costs.notes)
