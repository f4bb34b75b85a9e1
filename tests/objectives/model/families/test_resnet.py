"""The family `resnet`: shapes, parameters and shortcuts."""

import pytest
import torch
from torch import nn
from widthwise.objectives.model.families.resnet import ResidualBlock, build_resnet


def test_a_resnet_has_the_parameters_of_its_widths() -> None:
    model = build_resnet(
        {"channels1": 4, "channels2": 6, "depth": 2}, input_shape=(3, 8, 8), outputs=5
    )

    def convolution(channels: int, out: int, kernel: int = 3) -> int:
        return channels * out * kernel**2 + 2 * out

    first = 4 * convolution(4, 4)
    second = convolution(4, 6) + convolution(4, 6, 1) + 3 * convolution(6, 6)
    expected = convolution(3, 4) + first + second + (6 * 5 + 5)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize(("side", "strides"), [(8, [1, 2, 2]), (4, [1, 2, 1]), (3, [1, 1, 1])])
def test_stages_halve_the_side_while_it_is_four_or_more(side: int, strides: list[int]) -> None:
    model = build_resnet({"a": 4, "b": 4, "c": 4}, input_shape=(1, side, side), outputs=2)
    blocks = [module for module in model if isinstance(module, ResidualBlock)]
    assert [block.first[0].stride[0] for block in blocks] == strides


def test_a_block_whose_convolutions_are_zero_passes_its_inputs_on() -> None:
    block = ResidualBlock(4, 4, 1, "relu", projects=False).eval()
    nn.init.zeros_(block.second[0].weight)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("side", [8, 3], ids=["halved", "not halved"])
def test_candidates_have_the_same_layers_and_grow_with_their_widths(side: int) -> None:
    """Whether two stages have equal channels or not."""

    def parameters(*channels: int) -> dict[str, int]:
        widths = {f"channels{stage}": width for stage, width in enumerate(channels)}
        model = build_resnet(widths, input_shape=(1, side, side), outputs=2)
        return {name: parameter.numel() for name, parameter in model.named_parameters()}

    below, equal, above = parameters(4, 4, 3), parameters(4, 4, 4), parameters(4, 4, 5)
    assert below.keys() == equal.keys() == above.keys()
    assert sum(below.values()) < sum(equal.values()) < sum(above.values())
