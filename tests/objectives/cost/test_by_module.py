"""Costs module by module: they add up, whatever the modules are called and return."""

import torch
from torch import nn
from widthwise.objectives.cost.by_module import count_modules
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 5))


def step(**options: object) -> StepSpec:
    return StepSpec(inputs=(TensorSpec(shape=(20,)),), batch_size=8, **options)  # type: ignore[arg-type]


def test_leaves_sum_to_the_model() -> None:
    root, *leaves = count_modules(mlp, step())
    costs = count_costs(mlp, step())
    assert (root.name, root.kind, root.leaf) == ("", "Sequential", False)
    assert [leaf.name for leaf in leaves] == ["0", "1", "2", "3"]
    assert root.parameters == costs.parameters == sum(leaf.parameters for leaf in leaves)
    assert root.macs == costs.macs == sum(leaf.macs for leaf in leaves)
    assert [leaf.macs for leaf in leaves] == [20 * 64, 0, 0, 64 * 5]


def test_modules_return_what_autocast_makes_of_them() -> None:
    full, half = (count_modules(mlp, step(autocast=dtype)) for dtype in (None, torch.float16))
    assert half[0].output_bytes == full[0].output_bytes // 2 == 8 * 5 * 2


def test_modules_return_what_a_gpus_autocast_makes_of_them() -> None:
    """On a GPU torch.autocast computes norms and softmax in float32, docs of torch.amp say."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.Softmax(-1))

    here, there = (
        count_modules(build, step(autocast=torch.bfloat16, device_type=device))
        for device in ("cpu", "cuda")
    )
    assert [module.output_bytes for module in there[1:]] == [8 * 64 * 2, 8 * 64 * 4, 8 * 64 * 4]
    assert [module.output_bytes for module in here[1:]] == [8 * 64 * 2] * 3
    assert [module.macs for module in there] == [module.macs for module in here]


def test_a_module_that_is_called_twice_returns_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(20, 20)
            self.unused = nn.Linear(20, 20)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x))

    _, layer, unused = count_modules(Twice, step())
    assert (layer.output_bytes, layer.macs) == (2 * 8 * 20 * 4, 2 * 20 * 20)
    assert (unused.output_bytes, unused.macs, unused.parameters) == (0, 0, 420)
